"""The way through a CUDA GPU, with a CPU in its place: what runs in which order, and what of it."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from store_worker import write_pictures

from keras_cmm import clip
from keras_cmm.clip.encoders import keras_hub_encoder
from keras_cmm.scale.embedding_model import EmbeddingModel

pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch's GPUs")

MIB = 2**20


class Gpu:
    """What torch says of a GPU, and what it was asked to do."""

    def __init__(self, monkeypatch):
        import torch

        self.events = []
        # Bytes of an image, of the weights' copy and of the free memory.
        self.image, self.weights, self.free = MIB, 40 * MIB, 1000 * MIB
        self.most_images = 10**9
        self.peak = self.weights
        self.stream = SimpleNamespace(
            wait_stream=lambda _: self.events.append("wait for the copy"),
            record_event=lambda: SimpleNamespace(
                synchronize=lambda: self.events.append("fetch"),
            ),
        )
        of_cuda = {
            "Stream": lambda device: self.stream,
            "current_stream": lambda device: self.stream,
            "stream": lambda stream: torch.inference_mode(),
            "empty_cache": lambda: self.events.append("empty the cache"),
            "reset_peak_memory_stats": lambda device: setattr(self, "peak", self.weights),
            "memory_allocated": lambda device: self.weights,
            "memory_reserved": lambda device: self.weights + 24 * MIB,
            "max_memory_allocated": lambda device: self.peak,
            "mem_get_info": lambda device: (self.free, 2 * self.free),
        }
        for name, function in of_cuda.items():
            monkeypatch.setattr(torch.cuda, name, function)
        monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: None)
        empty = torch.empty

        def pinned(*args, pin_memory=False, **kwargs):
            tensor = empty(*args, **kwargs)
            if pin_memory:
                self.events.append(f"copy {len(tensor)} of {tensor.dtype}")
            return tensor

        monkeypatch.setattr(torch, "empty", pinned)
        monkeypatch.setattr(keras_hub_encoder, "runs_on_cuda", lambda backbone: True)
        monkeypatch.setattr(clip.KerasHubEncoder, "on_cpu", False)
        encode = keras_hub_encoder.VisionEncoder.__call__
        monkeypatch.setattr(
            keras_hub_encoder.VisionEncoder,
            "__call__",
            lambda encoder, images: encode(encoder, self._taken(images)),
        )

    def _taken(self, images):
        import torch

        if len(images) > self.most_images:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        self.peak = max(self.peak, self.weights + len(images) * self.image)
        self.precision = torch.backends.cudnn.conv.fp32_precision
        return images


@pytest.fixture
def pictures():
    return list(np.random.default_rng(0).integers(0, 256, (10, 40, 33, 3), "uint8"))


@pytest.fixture
def plain(tiny_model, pictures):
    return clip.ImageEmbedder(tiny_model).embed(pictures).embeddings


@pytest.fixture
def gpu(plain, monkeypatch):
    return Gpu(monkeypatch)


def test_a_batch_is_fetched_after_the_next_one_began(tiny_model, pictures, plain, gpu):
    embedder = clip.ImageEmbedder(tiny_model, batch_size=4)
    np.testing.assert_allclose(embedder.embed(pictures).embeddings, plain, atol=1e-6)
    copy = ["copy 4 of torch.uint8", "wait for the copy"]
    last = ["copy 2 of torch.uint8", "wait for the copy"]
    assert gpu.events == [*copy, *copy, "fetch", *last, "fetch", "fetch"]


def test_a_store_gets_the_same(tiny_model, tmp_path, gpu):
    paths = write_pictures(tmp_path / "pictures", 23)
    bare = clip.ImageEmbedder(tiny_model, batch_size=4)
    store = clip.EmbeddingStore(tmp_path / "store", shard_size=64)
    stored = clip.ImageEmbedder(tiny_model, batch_size=4, store=store)
    expected = bare.embed(paths).embeddings
    gpu.events.clear()
    np.testing.assert_allclose(stored.embed(paths).embeddings, expected, atol=1e-6)
    assert gpu.events.index("fetch") == 4  # after two batches
    # Each picture is copied once, though some are there twice.
    copied = sum(int(event.split()[1]) for event in gpu.events if event.startswith("copy"))
    assert copied == len({path.read_bytes() for path in paths}) < len(paths)
    gpu.events.clear()
    np.testing.assert_array_equal(
        stored.embed(paths).embeddings, stored.embed(paths[::-1]).embeddings[::-1]
    )
    assert gpu.events == []


def test_batches_that_are_done_are_kept_when_an_image_cannot_be_read(
    tiny_model, pictures, tmp_path, gpu
):
    embedder = clip.ImageEmbedder(
        tiny_model, batch_size=4, store=clip.EmbeddingStore(tmp_path / "store")
    )
    with pytest.raises(clip.loading.InputError):
        embedder.embed([*pictures[:8], b"no picture"])
    gpu.events.clear()
    embedder.embed(pictures[:8])
    assert gpu.events == []


def test_pixels_are_normalised_to_the_same_bits(tiny_model, gpu):
    encoder = clip.KerasHubEncoder(tiny_model)
    seen = []
    encoder._cuda._encode = lambda images: seen.append(images.numpy()) or images[:, 0, 0]
    pixels = np.arange(256, dtype="uint8").reshape(1, 16, 16, 1).repeat(3, axis=3)
    for given in (pixels, pixels.astype("float64") + 0.25):
        encoder._cuda.begin(given)
        np.testing.assert_array_equal(seen.pop(), encoder.preprocessor.normalize(given))


def test_float32_is_float32(tiny_model, pictures, gpu):
    import torch

    before = torch.backends.cudnn.conv.fp32_precision
    clip.ImageEmbedder(tiny_model).embed(pictures)
    assert gpu.precision == "ieee" != before
    assert torch.backends.cudnn.conv.fp32_precision == before
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(
    ("free", "size"),
    # Half of what is free, and of the 24 MiB that torch holds and does not use.
    [(1000, 256), (488, 256), (487, 128), (40, 32), (0, 8), (-23, 1)],
)
def test_the_batch_size_is_what_fits(tiny_model, gpu, free, size):
    gpu.free = free * MIB
    embedder = clip.ImageEmbedder(tiny_model)
    assert embedder.batch_size == size
    assert EmbeddingModel(embedder.encoder).batch_size == size
    embedder.batch_size = 48
    assert embedder.batch_size == 48


def test_a_batch_that_does_not_fit_is_halved(tiny_model, pictures, plain, gpu):
    gpu.free = 8 * MIB  # a batch size of 16
    embedder = clip.ImageEmbedder(tiny_model)
    assert embedder.batch_size == 16
    gpu.most_images = 3
    gpu.events.clear()
    np.testing.assert_allclose(embedder.embed(pictures).embeddings, plain, atol=1e-6)
    assert gpu.events.count("empty the cache") == 2  # of 10 images, and of 5
    assert embedder.batch_size == 2
    gpu.most_images = 0
    with pytest.raises(RuntimeError, match="out of memory"):
        embedder.embed(pictures)


def test_a_size_of_the_user_is_kept(tiny_model, pictures, gpu):
    gpu.most_images = 3
    with pytest.raises(RuntimeError, match="out of memory"):
        clip.ImageEmbedder(tiny_model, batch_size=4).embed(pictures)


def test_other_devices_choose_nothing(tiny_model):
    embedder = clip.ImageEmbedder(tiny_model)
    assert embedder.batch_size == 32
    assert embedder.encoder.begin_pixels is None
