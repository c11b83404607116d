import keras
import pytest
from pictures import NAMES, make_images


@pytest.fixture
def model(tiny_preset):
    return _classifier(tiny_preset, NAMES)


@pytest.fixture(scope="module")
def trained(tiny_preset):
    model = _classifier(tiny_preset, NAMES)
    model.compile(optimizer=keras.optimizers.Adam(0.05))
    model.fit(*make_images(), epochs=60, verbose=0)
    return model


def _classifier(preset, names):
    from keras_cmm import CMMImageClassifier

    return CMMImageClassifier.from_preset(preset, names)
