import pytest
from scipy.stats import norm

from keras_cmm.evaluation import interval_of_accuracy, wilson_interval
from keras_cmm_runtime.errors import InputError

# Of statsmodels 0.15.0: 100 * proportion_confint(right, total, 1 - confidence, method="wilson").
STATSMODELS = [
    (0, 1, 0.95, 0.0, 79.34506856),
    (8, 12, 0.95, 39.06220889, 86.18799090),
    (12, 12, 0.95, 75.75059933, 100.0),
    (50, 100, 0.95, 40.38315304, 59.61684696),
    (3, 7, 0.9, 18.64431904, 71.05229089),
    (77, 80, 0.99, 86.36854180, 99.04738516),
]


@pytest.mark.parametrize(("right", "total", "confidence", "low", "high"), STATSMODELS)
def test_it_is_that_of_statsmodels(right, total, confidence, low, high):
    assert wilson_interval(right, total, confidence) == pytest.approx((low, high), abs=1e-7)


@pytest.mark.parametrize(("right", "total", "confidence"), [(3, 7, 0.9), (77, 80, 0.99)])
def test_it_is_the_formula(right, total, confidence):
    z, p = norm.ppf((1 + confidence) / 2), right / total
    centre = (p + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * (p * (1 - p) / total + z**2 / (4 * total**2)) ** 0.5
    expected = 100 * (centre - half), 100 * (centre + half)
    assert wilson_interval(right, total, confidence) == pytest.approx(expected)


def test_an_accuracy_in_percent():
    assert interval_of_accuracy(100 * 7 / 9, 9) == wilson_interval(7, 9)


@pytest.mark.parametrize(
    ("right", "total", "confidence"),
    [(1, 0, 0.95), (-1, 3, 0.95), (4, 3, 0.95), (1.5, 3, 0.95), (1, 3, 0.0), (1, 3, 1.0)],
)
def test_arguments_out_of_range(right, total, confidence):
    with pytest.raises(InputError, match="Received: "):
        wilson_interval(right, total, confidence)
