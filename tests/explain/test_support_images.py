import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from keras_cmm import InputError
from keras_cmm.explain import SupportImages

ROWS = np.array([[3.0, 0.0], [0.0, 0.5], [1.0, 1.0], [2.0, 2.0]])


def make(rows=ROWS):
    numbers = range(len(rows))
    return SupportImages(rows, [f"class {n % 2}" for n in numbers], [f"{n}.png" for n in numbers])


def test_nearest_are_those_of_the_highest_cosine():
    found = make().nearest(np.array([0.0, 7.0]), 3)
    assert [image.name for image in found] == ["1.png", "2.png", "3.png"]  # equals in order
    assert [image.class_name for image in found] == ["class 1", "class 0", "class 1"]
    np.testing.assert_allclose([image.similarity for image in found], [1, 0.5**0.5, 0.5**0.5], 1e-3)
    assert len(make().nearest([1.0, 0.0], 99)) == 4


def test_an_image_is_its_own_nearest():
    rows = np.random.default_rng(0).normal(size=(50, 16))
    support = make(rows)
    for number, row in enumerate(rows):
        (found,) = support.nearest(row, 1)
        assert found.name == f"{number}.png"
        assert found.similarity == pytest.approx(1, abs=1e-3)
        assert found.similarity <= 1


def test_a_file_holds_all(tmp_path):
    support = make()
    support.write(tmp_path / "support.safetensors")
    again = SupportImages.read(tmp_path / "support.safetensors")
    np.testing.assert_array_equal(again.embeddings, support.embeddings)
    assert again.embeddings.dtype == np.float16
    assert (again.classes, again.names) == (support.classes, support.names)


@pytest.mark.parametrize(
    ("embeddings", "metadata", "reason"),
    [
        (ROWS, {"format": "other"}, "no file of support images"),
        (ROWS, {"names": "[1, 2, 3, 4]"}, "no list of classes or of names"),
        (ROWS, {"names": "["}, "is damaged"),
        (ROWS, {"names": '["a.png"]'}, "4 classes and 1 names"),
        (ROWS * np.nan, {}, "finite numbers"),
        (ROWS * 0, {}, "finite numbers"),
        (ROWS[0], {}, r"shape \(2,\)"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, embeddings, metadata, reason):
    texts = json.dumps([*"abcd"])
    known = {"format": "keras-cmm-support-images/1", "classes": texts, "names": texts}
    path = tmp_path / "support.safetensors"
    save_file({"embeddings": embeddings.astype("float16")}, path, known | metadata)
    with pytest.raises(InputError, match=reason) as caught:
        SupportImages.read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no safetensors", b"\xff" * 64])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "support.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is damaged"):
        SupportImages.read(path)
    with pytest.raises(InputError, match="absent"):
        SupportImages.read(tmp_path / "absent.safetensors")


def test_a_wrong_width_and_count():
    with pytest.raises(InputError, match=r"must have shape \(2,\)"):
        make().nearest([1.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="`count`"):
        make().nearest([1.0, 0.0], 0)
