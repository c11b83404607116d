import numpy as np
import pytest

NAMES = ["cat", "dog", "red fox"]


def make_pictures(count=12, seed=0):
    """Returns noisy pictures of mixed sizes and their labels; a class is a colour."""
    rng = np.random.default_rng(seed)
    images = [rng.integers(0, 70, (40 + number, 50, 3)) for number in range(count)]
    labels = [number % len(NAMES) for number in range(count)]
    for image, label in zip(images, labels, strict=True):
        image[..., label] += 180
    return [image.astype("uint8") for image in images], np.array(labels)


@pytest.fixture(scope="session")
def pictures():
    return make_pictures()[0]


@pytest.fixture(scope="session")
def classifier(tiny_preset):
    """A trained classifier of the tiny preset. Tests must not change it."""
    from keras_cmm import CMMImageClassifier

    model = CMMImageClassifier.from_preset(tiny_preset, NAMES)
    model.fit(*make_pictures(), epochs=5, verbose=0)
    model.head.temperature = 1.7
    return model


@pytest.fixture(scope="session")
def onnx_file(classifier, tmp_path_factory):
    """That classifier as ONNX. Tests must not change it."""
    path = tmp_path_factory.mktemp("onnx") / "classifier.onnx"
    classifier.export(path, verbose=False)
    return path
