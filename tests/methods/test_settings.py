"""Numbers that no method can be fitted with, and embeddings that none can predict."""

import numpy as np
import pytest

from keras_cmm.methods import (
    CLAP,
    CMM,
    LFA,
    METHODS,
    RLA,
    CLIPAdapter,
    FewShotTask,
    HOSOAdapter,
    LPPlusPlus,
    NearestMean,
    TaskRes,
    TipAdapterF,
    ZeroShot,
)
from keras_cmm.recipes import AutoRecipe, closed_form_start, logit_adjustment
from keras_cmm_runtime.errors import InputError

SETTINGS = {
    CLAP: ("learning_rate", "momentum", "text_length", "epochs", "batch_size", "max_steps"),
    CLIPAdapter: ("learning_rate", "epochs", "batch_size", "max_steps"),
    TaskRes: ("learning_rate", "epochs", "batch_size", "max_steps"),
    TipAdapterF: ("learning_rate", "weight_decay", "epochs", "batch_size"),
    LPPlusPlus: ("iterations",),
    LFA: ("learning_rate", "weight_decay", "batch_size"),
    RLA: ("learning_rate", "steps", "batch_size"),
    HOSOAdapter: ("learning_rate", "ratio_learning_rate", "steps", "batch_size"),
    CMM: ("margin", "triplet_weight", "contrastive_weight"),
}
EYE = np.eye(3, dtype="float32")


@pytest.mark.parametrize(
    ("method", "name"), [(method, name) for method, names in SETTINGS.items() for name in names]
)
def test_settings_out_of_range(method, name):
    for value in (-1, float("nan"), float("inf"), True, "1"):
        with pytest.raises(InputError, match=f"`{name}` must be an? .* Received: {name}="):
            method(**{name: value})


def test_defaults_are_in_range():
    for method in METHODS.values():
        method()
    for value in (float("nan"), float("inf"), -1):
        with pytest.raises(InputError, match="`alpha` must be a"):
            CMM("plain", alpha=value)


@pytest.mark.parametrize("method", [ZeroShot, NearestMean])
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (EYE * np.nan, "row 0 has NaN, infinite or too large values"),
        (EYE * [[1], [0], [1]], "row 1 has only zeros"),
        (EYE[:, :2], r"shape \(rows, 3\)"),
        (EYE[0], r"shape \(rows, 3\)"),
        (EYE.astype(complex), "real numbers"),
    ],
)
def test_embeddings_without_a_direction(method, rows, message):
    task = FewShotTask(EYE, np.arange(3), EYE, logit_scale=100.0, shots=1, seed=1)
    fitted = method().fit(task)
    with pytest.raises(InputError, match=message):
        fitted.predict_logits(rows)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, True])
def test_numbers_of_the_start(value):
    labels = np.arange(3)
    for name in ("prior_shots", "shrinkage_factor"):
        with pytest.raises(InputError, match=f"`{name}` must be a"):
            closed_form_start(EYE, labels, EYE, **{name: value})
    with pytest.raises(InputError, match="`strength` must be a"):
        logit_adjustment(labels, 3, value)
    with pytest.raises(InputError, match="`text_trust` must be a"):
        AutoRecipe(text_trust=value)
