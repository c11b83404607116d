"""The rate of pictures that are turned away."""

import numpy as np
import pytest

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.unknowns import HeldOutScores
from keras_cmm_studio.none_of_these import reject_rate


@pytest.mark.parametrize("images", [1, 2, 12, 18, 19, 20, 39, 1000])
def test_the_rate_is_the_smallest_that_is_promised_but_no_smaller_than_5_percent(images):
    ones = np.ones(images)
    scores = HeldOutScores(ones, ones)
    rate = reject_rate(scores)
    assert scores.is_unknown(np.array([[0.9, 0.1], [1.0, 0.0]]), rate).tolist() == [True, False]
    if images >= 19:
        assert rate == 0.05
    else:
        with pytest.raises(InputError, match="held-out images or more"):
            scores.is_unknown(np.array([[0.9, 0.1]]), 0.99 * rate)
