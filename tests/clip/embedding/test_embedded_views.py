import numpy as np
import pytest
from PIL import Image
from tiny_clip import DIM

from keras_cmm.clip import EmbeddingStore, ImageEmbedder, JointEmbedder
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images import ImageView


@pytest.fixture
def embedder(tiny_model):
    return ImageEmbedder(tiny_model, batch_size=4)


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), "uint8")).save(path)
    return paths


def mean_embedding(embedder, image, views):
    rows = embedder.embed([image, *[ImageView(image, 1 + number) for number in range(views)]])
    mean = rows.embeddings.mean(axis=0)
    return mean / np.linalg.norm(mean)


def test_an_image_gets_the_mean_of_its_views(embedder, files):
    embedded = embedder.embed(files, views=2)
    assert embedded.rows.tolist() == [0, 1, 2, 3, 4]
    expected = [mean_embedding(embedder, file, 2) for file in files]
    np.testing.assert_allclose(embedded.embeddings, expected, atol=1e-5)
    assert np.abs(embedded.embeddings - embedder.embed(files).embeddings).max() > 1e-3


def test_streams_of_images(embedder, files):
    np.testing.assert_allclose(
        embedder.embed(iter(files), views=1).embeddings,
        embedder.embed(files, views=1).embeddings,
        atol=1e-5,
    )
    assert embedder.embed([], views=1).embeddings.shape == (0, DIM)


def test_a_store_keeps_each_view(embedder, files, tmp_path):
    embedder.store = EmbeddingStore(tmp_path / "store")
    first = embedder.embed(files, views=2)
    assert embedder.store.taken == 0
    (content,) = embedder.store.contents()
    assert content["rows"] == 15
    renamed = [path.rename(path.with_name(f"{path.name}.other")) for path in files]
    np.testing.assert_array_equal(embedder.embed(renamed, views=2).embeddings, first.embeddings)
    assert embedder.store.taken == 15
    embedder.embed(renamed)
    assert embedder.store.taken == 20
    embedder.embed(renamed, views=3)  # Five views are new.
    assert embedder.store.taken == 35
    (content,) = embedder.store.contents()
    assert content["rows"] == 20


def test_a_bad_image_is_skipped_once(embedder, files):
    files[1].write_bytes(files[1].read_bytes()[:100])
    with pytest.warns(UserWarning, match=r"left out: .*1\.png") as caught:
        embedded = embedder.embed(files, on_error="skip", views=2)
    assert len([each for each in caught if each.category is UserWarning]) == 1
    assert embedded.rows.tolist() == [0, 2, 3, 4]
    np.testing.assert_allclose(
        embedded.embeddings[1], mean_embedding(embedder, files[2], 2), atol=1e-5
    )
    with pytest.raises(InputError, match=r"1\.png"):
        embedder.embed(files, views=2)


def test_progress_counts_images(embedder, files):
    calls = []
    embedder.embed(files, progress=lambda *call: calls.append(call), views=3)
    assert calls == sorted(calls)
    assert calls[-1] == (5, 5)
    assert len(calls) > 2


@pytest.mark.parametrize("views", [-1, 1.0, None, True])
def test_the_number_of_views_is_checked(embedder, views):
    with pytest.raises(InputError, match="`views` must be an int >= 0"):
        embedder.embed(["cat.jpg"], views=views)


def test_each_of_two_encoders_has_its_own_mean(tiny_model, embedder, files):
    joint = JointEmbedder(embedder, ImageEmbedder(tiny_model))
    rows = joint.embed(files, views=2).embeddings
    one = embedder.embed(files, views=2).embeddings
    np.testing.assert_allclose(rows, np.concatenate([one, one], axis=1), atol=1e-5)
