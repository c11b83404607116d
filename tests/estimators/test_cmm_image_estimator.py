import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from keras_cmm import CMMImageClassifier
from keras_cmm.estimators import CMMImageEstimator
from keras_cmm_runtime import InputError


def coloured(folder, count=12):
    """Writes pictures of two colours; returns their paths and class names."""
    rng = np.random.default_rng(0)
    paths, names = [], []
    for number in range(count):
        values = rng.integers(0, 60, (40, 50, 3))
        values[..., number % 2] += 190
        paths.append(folder / f"{number}.png")
        Image.fromarray(values.astype("uint8")).save(paths[-1])
        names.append(("red", "green")[number % 2])
    return paths, names


def test_it_is_the_classifier(tiny_preset, tmp_path):
    paths, names = coloured(tmp_path)
    estimator = CMMImageEstimator(tiny_preset, random_state=2).fit(paths, names)
    model = CMMImageClassifier.from_preset(tiny_preset, ["green", "red"])
    model.fit(paths, names, seed=2, verbose=0)
    expected = np.asarray(model.head.probabilities(model.predict(paths)))
    np.testing.assert_allclose(estimator.predict_proba(paths), expected, atol=1e-5)
    assert estimator.classes_.tolist() == ["green", "red"]
    assert estimator.predict(paths).tolist() == names
    assert clone(estimator).get_params() == estimator.get_params()


def test_cross_validation_embeds_no_image_twice(tiny_preset, tmp_path):
    paths, names = coloured(tmp_path)
    store = tmp_path / "store"
    scores = cross_val_score(CMMImageEstimator(tiny_preset, store=store), paths, names, cv=3)
    assert scores.mean() > 0.9
    estimator = CMMImageEstimator(tiny_preset, store=store).fit(paths, names)
    assert estimator.model_.embedder.store.taken == len(paths)


def test_labels_are_class_names(tiny_preset):
    with pytest.raises(InputError, match=r"must hold class names.*Received: \[0\]"):
        CMMImageEstimator(tiny_preset).fit([np.zeros((4, 4, 3), "uint8")] * 2, [0, 1])
