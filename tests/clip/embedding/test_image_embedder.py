import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from tiny_clip import DIM

from keras_cmm.clip import ImageEmbedder
from keras_cmm_runtime.errors import InputError


@pytest.fixture
def embedder(tiny_model):
    return ImageEmbedder(tiny_model, batch_size=3)


def images(count, seed=0):
    rng = np.random.default_rng(seed)
    return [
        rng.integers(0, 256, (int(rng.integers(30, 60)), int(rng.integers(30, 60)), 3), "uint8")
        for _ in range(count)
    ]


def test_embeddings_are_the_backbones_on_clips_pixels(embedder):
    x = images(7)
    pixels = np.stack([embedder.preprocessor(image) for image in x])
    vectors = keras.ops.convert_to_numpy(
        embedder.encoder.clip_model.backbone.get_vision_embeddings(
            keras.ops.convert_to_tensor(pixels)
        )
    )
    expected = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    embeddings, rows = embedder.embed(x)
    assert embeddings.dtype == np.float32
    assert rows.tolist() == list(range(7))
    np.testing.assert_allclose(embeddings, expected, atol=1e-5)


def test_order_is_kept_over_many_batches(embedder):
    x = images(40)
    one_by_one = np.concatenate([embedder.embed([image]).embeddings for image in x])
    np.testing.assert_allclose(embedder.embed(iter(x)).embeddings, one_by_one, atol=1e-5)


def test_no_images(embedder):
    embeddings, rows = embedder.embed([])
    assert embeddings.shape == (0, DIM)
    assert rows.shape == (0,)


def test_bad_images_are_skipped_by_name_or_refused(embedder, tmp_path):
    good = images(5)
    for number, image in enumerate(good):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    (tmp_path / "bad.png").write_bytes((tmp_path / "0.png").read_bytes()[:200])
    paths = [tmp_path / name for name in ("0.png", "bad.png", "1.png", "2.png", "3.png", "4.png")]
    with pytest.warns(UserWarning, match=r"left out: .*bad\.png") as caught:
        embeddings, rows = embedder.embed(paths, on_error="skip")
    assert len([w for w in caught if w.category is UserWarning]) == 1
    assert rows.tolist() == [0, 2, 3, 4, 5]
    np.testing.assert_allclose(embeddings, embedder.embed(good).embeddings, atol=1e-6)
    with pytest.raises(InputError, match=r"bad\.png"):
        embedder.embed(paths)
    with pytest.raises(ValueError, match="on_error='ignore'"):
        embedder.embed(paths, on_error="ignore")


def test_progress_counts_to_the_end(embedder):
    calls = []
    embedder.embed(images(7), progress=lambda *call: calls.append(call))
    assert calls == [(3, 7), (6, 7), (7, 7)]


def test_images_are_not_all_held_at_once(embedder):
    """Only a few batches are read ahead of the encoder, so memory does not grow with the data."""
    read = 0

    def stream():
        nonlocal read
        for image in images(1) * 60:
            read += 1
            yield image

    ahead = []
    embedder.embed(stream(), progress=lambda done, total: ahead.append(read - done))
    assert read == 60
    assert max(ahead) <= 4 * embedder.batch_size


@pytest.mark.parametrize("on_cpu", [True, False])
def test_images_are_read_beside_the_encoder_unless_it_needs_the_same_cores(
    embedder, monkeypatch, on_cpu
):
    monkeypatch.setattr(type(embedder.encoder), "on_cpu", on_cpu)
    reading, read_beside = threading.Semaphore(0), []
    pixels, embed_pixels = embedder.preprocessor.pixels, embedder.embed_pixels

    def read(image):
        time.sleep(0.01)
        reading.release()
        return pixels(image)

    def embed(batch):
        while reading.acquire(blocking=False):  # Images that were read before the encoder began.
            pass
        read_beside.append(reading.acquire(timeout=0.2))
        return embed_pixels(batch)

    x = images(16)
    expected = embedder.embed(x).embeddings
    monkeypatch.setattr(embedder.preprocessor, "pixels", read)
    monkeypatch.setattr(embedder, "embed_pixels", embed)
    np.testing.assert_array_equal(embedder.embed(x).embeddings, expected)
    assert any(read_beside) is not on_cpu


def test_half_precision_is_close(tiny_preset, embedder):
    from keras_cmm import clip

    x = images(4)
    half = ImageEmbedder(clip.load(tiny_preset, dtype="bfloat16")).embed(x).embeddings
    assert half.dtype == np.float32
    cosines = (half * embedder.embed(x).embeddings).sum(axis=1)
    assert cosines.min() > 0.999


def test_no_gradients_are_recorded(embedder, monkeypatch):
    torch = pytest.importorskip("torch")
    if keras.backend.backend() != "torch":
        pytest.skip("only torch records gradients outside training")
    seen = []
    encode = embedder.encoder._encode_images

    def spy(pixels):
        seen.append(torch.is_grad_enabled())
        return encode(pixels)

    monkeypatch.setattr(embedder.encoder, "_encode_images", spy)
    embedder.embed(images(2))
    assert seen == [False]


def test_a_store_is_checked_when_it_is_set(tiny_model):
    with pytest.raises(ValueError, match=r"such as `EmbeddingStore\(folder\)`. Received: 'folder'"):
        ImageEmbedder(tiny_model).store = "folder"


@pytest.mark.parametrize("batch_size", [0, -1, 2.0])
def test_batch_size_is_checked_whenever_it_is_set(tiny_model, batch_size):
    with pytest.raises(ValueError, match=f"must be an int >= 1. Received: batch_size={batch_size}"):
        ImageEmbedder(tiny_model, batch_size=batch_size)
    embedder = ImageEmbedder(tiny_model, batch_size=2)
    with pytest.raises(ValueError, match="`batch_size` must be an int >= 1"):
        embedder.batch_size = batch_size
    assert len(embedder.embed(images(3)).rows) == 3
    embedder.batch_size = np.int64(3)
    assert type(embedder.batch_size) is int


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((40, 50, 3), "uint8"),
        np.zeros((40, 50), "uint8"),
        Image.new("RGB", (50, 40)),
        "cat.png",
        Path("cat.png"),
        b"GIF89a",
    ],
    ids=lambda image: type(image).__name__,
)
def test_one_image_is_no_batch(embedder, image):
    for take in (embedder.embed, lambda one: next(embedder.check(one))):
        with pytest.raises(InputError, match=r"`\[image\]` for one. Received: a single image"):
            take(image)


def test_a_batch_of_one_size_is_an_array(embedder):
    batch = np.zeros((4, 40, 50, 3), "uint8")
    assert embedder.embed(batch).rows.tolist() == [0, 1, 2, 3]


def test_an_image_too_narrow_to_resize_is_found_when_images_are_checked(embedder, tmp_path):
    path = tmp_path / "narrow.png"
    Image.new("L", (1, 200_000)).save(path)
    (problem,) = embedder.check([path])
    assert f"{path}: is too narrow, 1 x 200000 pixels" in str(problem)
