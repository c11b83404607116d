import numpy as np
import pytest

from keras_cmm.recipes import logit_adjustment


@pytest.mark.parametrize(
    ("labels", "weights", "counts"),
    [
        ([0, 0, 0, 1], None, [3, 1, 1]),
        ([0, 0, 0, 1], [2.0, 2.0, 2.0, 4.0], [6, 4, 2.5]),  # The last counts as a mean row.
        ([0, 1, 2, 2], [1.0, 1.0, 0.0, 0.0], [1, 1, 0.5]),
    ],
)
def test_formula(labels, weights, counts):
    weights = None if weights is None else np.array(weights)
    expected = 1.5 * np.log(np.array(counts) / np.mean(counts))
    np.testing.assert_allclose(logit_adjustment(np.array(labels), 3, 1.5, weights), expected)
