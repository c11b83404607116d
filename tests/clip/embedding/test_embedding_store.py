import json
import shutil
from contextlib import nullcontext

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import load_file, save_file
from store_worker import BATCH_SIZE, DIM, StubEmbedder, files_of, write_pictures
from tiny_clip import make_tiny_backbone

from keras_cmm import clip
from keras_cmm.clip import EmbeddingStore, ImageEmbedder
from keras_cmm_runtime.embeddings.embedding_space import KEY_TYPE, EmbeddingSpace
from keras_cmm_runtime.errors import InputError


@pytest.fixture
def pictures(tmp_path):
    return write_pictures(tmp_path / "pictures", 23)


@pytest.fixture
def store(tmp_path):
    return EmbeddingStore(tmp_path / "store", shard_size=5)


def unique(pictures):
    return len({path.read_bytes() for path in pictures})


def test_nothing_is_embedded_twice(pictures, store):
    first = StubEmbedder(store)
    expected = first.embed(pictures)
    assert first.computed == unique(pictures) < len(pictures)
    second = StubEmbedder(EmbeddingStore(store.folder))
    found = second.embed(pictures)
    assert second.computed == 0
    assert second.store.taken == len(pictures)
    np.testing.assert_array_equal(found.embeddings, expected.embeddings)
    np.testing.assert_array_equal(found.rows, expected.rows)


def test_a_store_changes_no_embedding(pictures, store, tiny_model):
    """An empty store does not change the batches."""
    pictures = list({path.read_bytes(): path for path in pictures}.values())
    without = ImageEmbedder(tiny_model, batch_size=4).embed(pictures)
    stored = ImageEmbedder(tiny_model, batch_size=4, store=store).embed(pictures)
    np.testing.assert_array_equal(stored.embeddings, without.embeddings)
    np.testing.assert_array_equal(stored.rows, without.rows)


def test_any_order_and_selection(pictures, store):
    embedder = StubEmbedder(store)
    embeddings = embedder.embed(pictures).embeddings
    rows = np.random.default_rng(0).integers(0, len(pictures), 60)
    found = embedder.embed([pictures[row] for row in rows]).embeddings
    np.testing.assert_array_equal(found, embeddings[rows])


def test_a_file_is_known_by_its_content(pictures, store):
    embedder = StubEmbedder(store)
    embeddings = embedder.embed(pictures).embeddings
    copy = shutil.copy(pictures[0], pictures[0].with_name("copy.png"))
    shutil.copy(pictures[2], pictures[1])
    embedder.computed = 0
    changed = embedder.embed([copy, pictures[1]]).embeddings
    np.testing.assert_array_equal(changed, embeddings[[0, 2]])
    Image.new("RGB", (9, 9), "red").save(pictures[0])
    assert embedder.computed == 0
    embedder.embed([pictures[0]])
    assert embedder.computed == 1


def test_pictures_in_memory(pictures, store):
    """Palette, orientation and shape of a picture all count."""
    pixels = np.arange(8 * 6, dtype="uint8").reshape(8, 6)
    palette = Image.fromarray(pixels).convert("P")
    other_palette = palette.copy()
    other_palette.putpalette([255 - value for value in palette.getpalette()])
    turned = Image.fromarray(pixels).convert("RGB")
    turned.getexif()[0x0112] = 3
    different = [
        palette,
        other_palette,
        turned,
        pixels.reshape(6, 8),
        pixels.reshape(12, 4),
        pictures[0].read_bytes(),
    ]
    embedder = StubEmbedder(store)
    embedder.embed(different)
    assert embedder.computed == len(different)
    same = [
        np.array(palette.convert("RGB")),
        palette.convert("RGB"),
        pixels.reshape(6, 8).astype("float32"),
        pictures[0],
    ]
    embedder.embed(same)
    assert embedder.computed == len(different)


def space_of(model, store, **settings):
    """Returns the names of the folders in the store after a model has used it."""
    embedder = ImageEmbedder(model, store=store)
    vars(embedder.preprocessor).update(settings)
    embedder.embed([np.zeros((8, 8, 3), "uint8")])
    return {path.name for path in store.folder.glob("*/")} - {".lock"}


def test_other_models_use_other_embeddings(tiny_model, tiny_preset, store):
    known = space_of(tiny_model, store)
    assert len(known) == 1
    (contents,) = store.contents()
    assert contents["space"]["backend"] == keras.backend.backend()
    assert space_of(clip.load(tiny_preset), store) == known
    frozen = clip.load(tiny_preset)
    frozen.backbone.trainable = False
    assert space_of(frozen, store) == known

    def adds_one():
        nonlocal known
        before, known = known, {path.name for path in store.folder.glob("*/")} - {".lock"}
        return len(known) == len(before) + 1

    space_of(tiny_model._replace(backbone=make_tiny_backbone(seed=1)), store)
    assert adds_one()
    space_of(clip.load(tiny_preset, dtype="bfloat16"), store)
    assert adds_one()
    space_of(tiny_model, store, interpolation="nearest")
    assert adds_one()
    space_of(tiny_model, store, mean=(0.5, 0.5, 0.5))
    assert adds_one()
    config = tiny_model.backbone.get_config()
    config["vision_encoder"]["config"]["intermediate_activation"] = "gelu"
    other = type(tiny_model.backbone).from_config(config)
    for variable, value in zip(other.weights, tiny_model.backbone.weights, strict=True):
        variable.assign(value)
    space_of(tiny_model._replace(backbone=other), store)
    assert adds_one()


def test_a_model_that_changes_meanwhile(tiny_preset, store):
    model = clip.load(tiny_preset)
    embedder = ImageEmbedder(model, store=store)
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), "uint8")
    before = embedder.embed([image]).embeddings
    projection = model.backbone.vision_projection.weights[0]
    projection.assign(np.random.default_rng(1).normal(size=projection.shape))
    after = embedder.embed([image]).embeddings
    assert store.taken == 0
    assert not np.allclose(before, after, atol=1e-3)
    np.testing.assert_array_equal(after, ImageEmbedder(model).embed([image]).embeddings)


@pytest.mark.parametrize("on_error", ["skip", "raise"])
def test_images_that_cannot_be_read(pictures, store, on_error):
    bad = pictures[0].with_name("bad.png")
    bad.write_bytes(pictures[0].read_bytes()[:60])
    images = [*pictures[:7], bad, pictures[7]]
    embedder = StubEmbedder(store)
    if on_error == "raise":
        with pytest.raises(InputError, match=r"bad\.png: cannot be read as an image"):
            embedder.embed(images)
        # The batch that was full before the bad image is kept.
        again = StubEmbedder(store)
        again.embed(pictures[:7])
        assert again.computed == 7 - BATCH_SIZE
    else:
        for taken in (0, 8):
            with pytest.warns(UserWarning, match=r"left out: .*bad\.png"):
                embeddings, rows = embedder.embed(images, on_error="skip")
            assert rows.tolist() == [*range(7), 8]
            assert store.taken == taken
        np.testing.assert_array_equal(embeddings, embedder.embed(pictures[:8]).embeddings)


def test_ctrl_c_keeps_the_batches_that_are_done(pictures, store):
    def interrupt(done, total):
        if done >= 2 * BATCH_SIZE:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        StubEmbedder(store).embed(pictures, progress=interrupt)
    assert [content["rows"] for content in store.contents()] == [2 * BATCH_SIZE]


def test_parts(pictures, store):
    for _ in range(2):
        parts = list(StubEmbedder(store).embed_parts(pictures))
        assert np.concatenate([part.rows for part in parts]).tolist() == list(range(23))
        assert max(len(part.rows) for part in parts) <= 5
        assert all(len(part.rows) == len(part.embeddings) for part in parts)


def test_progress_with_a_store(pictures, store):
    calls = []
    for _ in range(2):
        StubEmbedder(store).embed(pictures[:10], progress=lambda *call: calls.append(call))
    assert calls == 2 * [(4, 10), (8, 10), (10, 10)]


def test_many_runs_of_one_image_make_few_files(store):
    for number in range(12):
        StubEmbedder(store).embed([np.full((9, 9, 3), number + 1, "uint8")])
    assert len(list(store.folder.glob("*/*.safetensors"))) == 3


def test_shards_keep_their_size(pictures, store):
    StubEmbedder(store).embed(pictures[:8])
    StubEmbedder(EmbeddingStore(store.folder, shard_size=99)).embed(pictures)
    assert len(list(store.folder.glob("*/*.safetensors"))) == -(-unique(pictures) // 5)


@pytest.mark.parametrize("shard_size", [0, 1.5, None])
def test_refuses_shard_sizes(tmp_path, shard_size):
    with pytest.raises(ValueError, match=r"`shard_size` must be an int >= 1\. Received: "):
        EmbeddingStore(tmp_path, shard_size=shard_size)


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def flip(path):
    """Changes one bit of the last embedding."""
    content = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    ends = json.loads(content[8:header])["embeddings"]["data_offsets"]
    content[header + ends[1] - 3] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, lambda path: path.unlink()])
def test_a_damaged_shard_is_named(pictures, store, damage):
    StubEmbedder(store).embed(pictures)
    shard = next(iter(store.folder.glob("*/000001.safetensors")))
    damage(shard)
    embedder = StubEmbedder(EmbeddingStore(store.folder))
    with pytest.raises(InputError, match=r"000001\.safetensors: is damaged .*; remove the folder"):
        embedder.embed(pictures)
    shutil.rmtree(shard.parent)
    assert len(StubEmbedder(EmbeddingStore(store.folder)).embed(pictures).rows) == len(pictures)


def test_keys_that_are_exchanged(pictures, store):
    StubEmbedder(store).embed(pictures)
    shard = next(iter(store.folder.glob("*/000001.safetensors")))
    tensors = load_file(shard)
    tensors["keys"][[0, 1]] = tensors["keys"][[1, 0]]
    save_file(tensors, shard)
    with pytest.raises(InputError, match="its checksums do not fit"):
        StubEmbedder(EmbeddingStore(store.folder)).embed(pictures)


def test_a_store_of_an_earlier_version_is_not_used(pictures, store):
    StubEmbedder(store).embed(pictures)
    manifest = next(iter(store.folder.glob("*/manifest.json")))
    manifest.write_text(manifest.read_text().replace("embedding-store/2", "embedding-store/1"))
    again = EmbeddingStore(store.folder)
    assert again.contents() == []
    again.clear()
    assert not manifest.exists()


@pytest.mark.parametrize("content", ["", "[]", '{"format": "other"}', "{"])
def test_a_damaged_manifest_is_named(pictures, store, content):
    StubEmbedder(store).embed(pictures)
    next(iter(store.folder.glob("*/manifest.json"))).write_text(content)
    with pytest.raises(InputError, match=r"manifest\.json: is damaged"):
        StubEmbedder(EmbeddingStore(store.folder)).embed(pictures)


@pytest.mark.parametrize(
    "change",
    [
        {"shard_size": 0},
        {"shard_size": -1},
        {"shard_size": True},
        {"shard_size": "8"},
        {"rows": -1},
        {"rows": 1.5},
        {"dim": 0},
        {"space": None},
    ],
)
def test_a_number_of_a_manifest_that_cannot_be(pictures, store, change):
    StubEmbedder(store).embed(pictures)
    path = next(iter(store.folder.glob("*/manifest.json")))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    again = EmbeddingStore(store.folder)
    for ask in (lambda: StubEmbedder(again).embed(pictures), again.contents):
        with pytest.raises(
            InputError, match=rf"manifest\.json: is damaged \(`{next(iter(change))}`"
        ):
            ask()


def test_a_manifest_that_promises_too_much(pictures, store):
    StubEmbedder(store).embed(pictures)
    path = next(iter(store.folder.glob("*/manifest.json")))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rows": unique(pictures) + 1}))
    with pytest.raises(InputError, match=r"safetensors: is damaged"):
        StubEmbedder(EmbeddingStore(store.folder)).embed(pictures)


def test_a_store_that_is_a_file(pictures, tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "store"):
        with pytest.raises(InputError, match=r"file"):
            StubEmbedder(EmbeddingStore(folder)).embed(pictures)
    assert (tmp_path / "file").read_text() == "mine"


def test_contents_and_clear(pictures, store):
    assert store.contents() == []
    store.clear()
    assert not store.folder.exists()
    StubEmbedder(store).embed(pictures)
    (contents,) = store.contents()
    assert contents["dim"] == DIM
    assert contents["rows"] == unique(pictures)
    assert contents["bytes"] >= unique(pictures) * DIM * 4
    assert contents["space"]["preprocessing"]["image_size"] == 8
    (store.folder / "mine").mkdir()
    (store.folder / "mine" / "photo.safetensors").touch()
    store.clear()
    assert set(files_of(store.folder)) == {".lock", "mine/photo.safetensors"}
    assert store.contents() == []
    embedder = StubEmbedder(store)
    embedder.embed(pictures)
    assert embedder.computed == unique(pictures)


def test_a_store_that_is_emptied_while_it_is_in_use(pictures, store):
    """No image gets the embedding of another, even if the rows were written again."""
    StubEmbedder(store).embed(pictures)
    parts = StubEmbedder(store).embed_parts(pictures)
    next(parts)
    other = EmbeddingStore(store.folder)
    other.clear()
    StubEmbedder(EmbeddingStore(store.folder, shard_size=5)).embed(pictures[::-1])
    with pytest.raises(InputError, match="was emptied while it was in use; run again"):
        list(parts)


@settings(max_examples=30)
@given(
    runs=st.lists(
        st.lists(
            st.binary(min_size=2, max_size=2).map(lambda end: b"k" * 13 + end + b"\0"),
            min_size=1,
            max_size=9,
            unique=True,
        ),
        max_size=8,
    ),
    shard_size=st.integers(1, 7),
)
def test_a_space_is_a_dictionary(runs, shard_size, tmp_path_factory):
    folder = tmp_path_factory.mktemp("space")
    expected = {}
    space = EmbeddingSpace(folder / "space", {}, 2, shard_size, nullcontext)
    for number, keys in enumerate(runs):
        values = np.array([[number, row] for row in range(len(keys))], "float32")
        space.append(np.array(keys, KEY_TYPE), values)
        for key, value in zip(keys, values, strict=True):
            expected.setdefault(key, value)
    reopened = EmbeddingSpace(folder / "space", {}, 2, shard_size, nullcontext)
    reopened.refresh()
    for opened in (space, reopened):
        keys = np.array([*expected, b"k" * 13 + b"~~", b"absent"], KEY_TYPE)
        rows = opened.find(keys)
        absent = [key not in expected for key in [*expected, b"k" * 13 + b"~~\0", b"absent"]]
        assert (rows < 0).tolist() == absent
        found = opened.read(keys[rows >= 0], rows[rows >= 0])
        np.testing.assert_array_equal(
            found, np.array([*expected.values()], "float32").reshape(-1, 2)
        )
    assert len(list(folder.rglob("*.safetensors"))) == -(-len(expected) // shard_size)
