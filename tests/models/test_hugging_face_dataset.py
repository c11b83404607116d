import numpy as np
import pytest
from pictures import NAMES, make_images
from PIL import Image

from keras_cmm import CMMImageClassifier
from keras_cmm_runtime import InputError

datasets = pytest.importorskip("datasets")


def dataset(labels, kind):
    images, _ = make_images()
    columns = {"image": [Image.fromarray(image) for image in images]}
    features = {"image": datasets.Image()}
    if kind is not None:
        columns["label"], features["label"] = labels, kind
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def test_labels_count_by_their_names(tiny_preset):
    images, ids = make_images()
    expected = CMMImageClassifier.from_preset(tiny_preset, NAMES)
    expected.fit(images, ids, epochs=2, verbose=0)
    turned = NAMES[::-1]
    kinds = {
        "another order": ([2 - label for label in ids], datasets.ClassLabel(names=turned)),
        "texts": ([NAMES[label] for label in ids], datasets.Value("string")),
    }
    for labels, kind in kinds.values():
        model = CMMImageClassifier.from_preset(tiny_preset, NAMES)
        model.fit(dataset(labels, kind), epochs=2, verbose=0)
        np.testing.assert_allclose(model.predict(images), expected.predict(images), atol=1e-5)
        assert model.evaluate(dataset(labels, kind), verbose=0)["accuracy"] >= 0


def test_without_labels_it_is_predicted(model):
    unlabelled = dataset(None, None)
    np.testing.assert_allclose(model.predict(unlabelled), model.predict(make_images()[0]))
    with pytest.raises(InputError, match="Received: images alone"):
        model.fit(unlabelled)


def test_a_class_that_the_classifier_has_not(model):
    foreign = dataset([0] * 12, datasets.ClassLabel(names=["dodo"]))
    with pytest.raises(InputError, match="'dodo' is none of the model's 3 class names"):
        model.fit(foreign)
