"""Files that only look like images are named with a reason and never embedded."""

import io
import os
import warnings

import numpy as np
import pytest
from hostile_files import encode, write_hostile_files
from PIL import Image

from keras_cmm.clip import ImageEmbedder, read_image
from keras_cmm.data import ImageList
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images.image_reading import image_name


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Two classes of good images. One of them also has the hostile files."""
    root = tmp_path_factory.mktemp("hostile")
    reasons = write_hostile_files(root / "photos" / "cat")
    good = []
    for name, suffix in (("cat", "JPEG"), ("dog", "PNG"), ("cat", "WEBP"), ("dog", "BMP")):
        path = root / "photos" / name / f"good {suffix}.jpg"  # most have another format
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode(suffix))
        good.append(path)
    return root / "photos", reasons, good


@pytest.mark.parametrize("action", ["error", "ignore"])
def test_each_is_refused_with_its_reason(hostile, action):
    """The error is the same whether or not Pillow's warnings are errors."""
    _, reasons, _ = hostile
    assert len(reasons) >= 60
    for path, word in reasons.items():
        with warnings.catch_warnings():
            warnings.simplefilter(action)
            with pytest.raises(InputError) as caught:
                read_image(path)
        message = str(caught.value)
        assert message.startswith(f"{image_name(path)}: ")
        assert word in message
        assert "\n" not in message
        assert message.count(image_name(path)) == 1
        assert len(message) - len(str(path)) < 160


def test_bytes_are_refused_alike(hostile):
    _, reasons, _ = hostile
    files = [path for path in reasons if path.is_file() and path.stat().st_size < 2**20]
    assert len(files) >= 60
    for path in files:
        with pytest.raises(InputError, match=r"^bytes: cannot be read as an image"):
            read_image(path.read_bytes())


# Pillow warns too. `keras-cmm` does not show its warning.
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_run_goes_on_and_embeds_the_good_images_only(hostile, tiny_model):
    folder, reasons, good = hostile
    images = ImageList.from_folder(folder)
    assert set(images.paths) == {*reasons, *good}
    embedder = ImageEmbedder(tiny_model)
    with pytest.warns(UserWarning, match="left out: ") as caught:
        embeddings, rows = embedder.embed(images.images, on_error="skip")
    kept = [images.paths[row] for row in rows]
    assert sorted(kept) == sorted(good)
    for embedding, path in zip(embeddings, kept, strict=True):
        with Image.open(path) as image:
            expected = embedder.embed([np.asarray(image.convert("RGB"))]).embeddings[0]
        np.testing.assert_allclose(embedding, expected, atol=1e-5)
    left_out = [str(warning.message) for warning in caught]
    for path, word in reasons.items():
        (message,) = [text for text in left_out if f"left out: {image_name(path)}: " in text]
        assert word in message
    with pytest.raises(InputError, match=r"photos/cat/"):
        embedder.embed(images.images)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    """Replaces the read if the tests run as root, who may read everything."""
    path = tmp_path / "forbidden.jpg"
    path.write_bytes(encode("JPEG"))
    path.chmod(0)
    if not os.geteuid():

        def refuse(self):
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr(type(path), "read_bytes", refuse)
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert str(caught.value) == f"{path}: cannot be read (Permission denied)."


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_every_cut_is_noticed_or_harmless(name):
    """A file may lack only what comes after its pixels."""
    whole = encode(name, size=(32, 24))
    expected = np.asarray(read_image(whole))
    refused = 0
    for end in range(len(whole)):
        try:
            pixels = np.asarray(read_image(whole[:end]))
        except InputError:
            refused += 1
            continue
        np.testing.assert_array_equal(pixels, expected)
    assert refused >= len(whole) - 20


@pytest.mark.parametrize("name", ["JPEG", "WEBP", "PNG", "GIF"])
def test_zeros_behind_a_whole_image_are_harmless(name):
    """Some cameras pad their files with zeros to a whole block."""
    whole = encode(name, size=(32, 24))
    expected = np.asarray(read_image(whole))
    np.testing.assert_array_equal(np.asarray(read_image(whole + bytes(4096))), expected)


def test_a_flat_jpeg_is_no_unfinished_one():
    """Its compressed pixels may be zeros."""
    file = io.BytesIO()
    Image.new("RGB", (2000, 2000)).save(file, "JPEG", optimize=True)
    assert bytes(64) in file.getvalue()
    assert np.asarray(read_image(file.getvalue())).max() == 0
