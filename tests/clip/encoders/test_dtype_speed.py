import warnings

import keras
import numpy as np
import pytest

from keras_cmm import clip
from keras_cmm.clip.encoders import dtype_speed, image_engine

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="other backends choose their own products"
)


def images(count=4):
    return list(np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), "uint8"))


@pytest.fixture
def factor(monkeypatch):
    """Sets what is measured, and makes every job one that takes long."""
    monkeypatch.setattr(image_engine, "_LONG_JOB", 1.0)

    def set_factor(value):
        monkeypatch.setattr(dtype_speed, "slowdown", lambda dtype: value)

    return set_factor


def messages(embedder):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        embedder.embed(images())
        embedder.embed(images())
    return [str(each.message) for each in caught if each.category is UserWarning]


def test_a_slow_dtype_is_told_once_with_its_factor(tiny_model, factor):
    factor(5.04)
    (message,) = messages(clip.ImageEmbedder(tiny_model, dtype="bfloat16"))
    assert message.startswith("bfloat16 takes 5.0 times as long as float32 on this processor")


def test_the_dtype_of_the_backbone_counts_too(tiny_preset, factor):
    factor(3.0)
    assert len(messages(clip.ImageEmbedder(clip.load(tiny_preset, dtype="bfloat16")))) == 1


@pytest.mark.parametrize("dtype", [None, "float32", "float16"])
def test_other_dtypes_say_nothing(tiny_model, factor, dtype):
    """The towers multiply float16 as float32."""
    factor(5.0)
    assert messages(clip.ImageEmbedder(tiny_model, dtype=dtype)) == []


def test_units_for_a_dtype_say_nothing(tiny_model, factor):
    factor(0.6)
    assert messages(clip.ImageEmbedder(tiny_model, dtype="bfloat16")) == []


def test_a_short_job_measures_nothing(tiny_model, monkeypatch):
    def measured(dtype):
        raise AssertionError

    monkeypatch.setattr(dtype_speed, "slowdown", measured)
    assert messages(clip.ImageEmbedder(tiny_model, dtype="bfloat16")) == []


def test_the_measurement_is_a_ratio(monkeypatch):
    monkeypatch.setattr(dtype_speed, "_SHAPE", (8, 16, 16))
    assert 0 < dtype_speed.slowdown.__wrapped__("bfloat16") < 1000
