import errno
import functools
import hashlib
import io
import json
import sys
import tempfile
import types

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from keras_cmm.data import EmbeddingSet
from keras_cmm.scale import embed_shards, predict_embedding_shards
from keras_cmm_runtime import InputError
from keras_cmm_runtime.images import ImagePreprocessor
from keras_cmm_runtime.scale import ShardReport, Storage


class ColourEncoder:
    """Embeds images by their mean colours, and texts by their first letters."""

    dim = 4
    preprocessor = ImagePreprocessor(image_size=8)
    logit_scale = 10.0
    on_cpu = True

    def __init__(self, has_texts=True):
        self.embed_texts = self._embed_texts if has_texts else None

    def embed_pixels(self, pixels):
        rows = np.ones((len(pixels), 4), "float32")
        rows[:, :3] = pixels.mean(axis=(1, 2)) / 255
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def _embed_texts(self, texts, batch_size):
        rows = np.array([[ord(text[-2]), len(text), 1, 2] for text in texts], "float32")
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def digest(self):
        return {"encoder": "colours"}


def write_pictures(folder, split=""):
    for number in range(12):
        path = folder / split / ("cat" if number % 2 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        file = io.BytesIO()
        Image.new("RGB", (8, 8), (20 * number, 10, len(split))).save(file, "PNG")
        path.write_bytes(file.getvalue())


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch):
    """Runs the workers here: the engines have tests of their own."""

    def run(options, shards, make_worker, progress=None):
        report, worker = ShardReport(), make_worker()
        for shard in shards():
            report.add(worker(shard))
        return report

    # The function of that name hides the module.
    module = sys.modules["keras_cmm.scale.embed_shards"]
    monkeypatch.setattr(module, "run_workers", run)


def embed(source, output, **options):
    return embed_shards(str(source), str(output), ColourEncoder, model="colours", **options)


def test_a_set_of_embeddings(tmp_path):
    write_pictures(tmp_path / "images", "train")
    write_pictures(tmp_path / "images", "test")
    (tmp_path / "images" / "train" / "cat" / "bad.png").write_bytes(b"...")
    report = embed(tmp_path / "images", tmp_path / "output", shard_size=5)
    assert (report.rows, report.errors, report.labels) == (25, 1, {"cat": 12, "dog": 12})
    data = EmbeddingSet.read(tmp_path / "output")
    assert data.class_names == ["cat", "dog"]
    assert (data.backbone, data.logit_scale, data.protocol) == ("colours", 10.0, "folders")
    assert len(data.train_labels) == len(data.test_labels) == 12
    assert data.train_embeddings.dtype == np.float16
    # The rows are on the disk.
    assert isinstance(data.train_embeddings, np.memmap)
    encoder = ColourEncoder()
    expected = encoder.embed_texts(["a photo of a cat.", "a photo of a dog."], 2)
    np.testing.assert_allclose(data.text_embeddings, expected, atol=1e-6)
    cats = data.train_embeddings[data.train_labels == 0]
    reds = np.sort(cats[:, 0] / cats[:, 3] * 255)
    np.testing.assert_allclose(reds, [20, 60, 100, 140, 180, 220], atol=0.3)


def test_images_without_splits_are_split_by_their_digests(tmp_path):
    write_pictures(tmp_path / "images")
    copy = tmp_path / "images" / "cat" / "copy.png"
    copy.write_bytes((tmp_path / "images" / "cat" / "1.png").read_bytes())
    embed(tmp_path / "images", tmp_path / "output", test_fraction=0.4)
    data = EmbeddingSet.read(tmp_path / "output")
    assert len(data.train_labels) + len(data.test_labels) == 13
    assert data.protocol == "split 0.4 by digest"
    files = [path.read_bytes() for path in (tmp_path / "images").rglob("*.png")]
    first = [int.from_bytes(hashlib.sha256(file).digest()[:8]) for file in files]
    assert len(data.test_labels) == sum(number < 0.4 * 2**64 for number in first)
    # The picture with the red of 20 is there twice, on one side.
    reds = [rows[:, 0] / rows[:, 3] * 255 for rows in (data.train_embeddings, data.test_embeddings)]
    assert sorted(np.isclose(each, 20, atol=0.3).sum() for each in reds) == [0, 2]


def test_numbers_get_their_names_from_a_file(tmp_path):
    write_pictures(tmp_path / "images")
    (tmp_path / "images" / "cat").rename(tmp_path / "images" / "10")
    (tmp_path / "images" / "dog").rename(tmp_path / "images" / "2")
    names = [f"name {n}" for n in range(11)]
    (tmp_path / "images" / "classnames.txt").write_text("\n".join(names))
    embed(tmp_path / "images", tmp_path / "output")
    assert EmbeddingSet.read(tmp_path / "output").class_names == ["name 2", "name 10"]
    (tmp_path / "images" / "classnames.txt").write_text("\n".join(names[:5]))
    with pytest.raises(InputError, match=r"has a class 10, and classnames\.txt has 5 names"):
        embed(tmp_path / "images", tmp_path / "other")


def test_an_output_belongs_to_one_job(tmp_path):
    write_pictures(tmp_path / "images")
    embed(tmp_path / "images", tmp_path / "output")
    with pytest.raises(InputError, match="the output of another job, of another model"):
        embed_shards(
            str(tmp_path / "images"), str(tmp_path / "output"), ColourEncoder, model="other"
        )
    (tmp_path / "output" / "job.json").write_text("{}")
    with pytest.raises(InputError, match="is not of keras-cmm"):
        embed(tmp_path / "images", tmp_path / "output")


def test_a_run_that_was_broken_off_is_not_read(tmp_path):
    write_pictures(tmp_path / "images")
    embed(tmp_path / "images", tmp_path / "output")
    (tmp_path / "output" / "manifest.json").unlink()
    with pytest.raises(InputError, match="no run has come to its end there"):
        EmbeddingSet.read(tmp_path / "output")


def test_a_manifest_names_no_other_files(tmp_path):
    write_pictures(tmp_path / "images")
    embed(tmp_path / "images", tmp_path / "output")
    path = tmp_path / "output" / "manifest.json"
    path.write_text(path.read_text().replace('"shards": [["', '"shards": [["../'))
    with pytest.raises(InputError, match="lead to other folders"):
        EmbeddingSet.read(tmp_path / "output")


def test_an_encoder_without_texts_makes_no_set(tmp_path):
    write_pictures(tmp_path / "images")
    make = functools.partial(ColourEncoder, has_texts=False)
    embed_shards(str(tmp_path / "images"), str(tmp_path / "output"), make, model="colours")
    with pytest.raises(InputError, match="has no texts"):
        EmbeddingSet.read(tmp_path / "output")


def spoiled(folder, name, **changes):
    path = folder / name
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("manifest.json", {"shards": ...}, "'shards' in job.json or manifest.json is damaged"),
        ("manifest.json", {"shards": [1]}, "the list of parts in manifest.json is damaged"),
        ("manifest.json", {"shards": [["a", 1, 0]] * 2}, "the list of parts in manifest.json is"),
        ("manifest.json", {"shards": [["a", 1, 0]]}, "part a cannot be read"),
        ("manifest.json", {"class_names": ["cat", "dog"]}, "'class_names' in job.json or"),
        ("manifest.json", {"test_fraction": "half"}, "'test_fraction' in job.json or"),
        ("manifest.json", {"texts": "../../texts.npy"}, "lead to other folders"),
        ("manifest.json", {"texts": "job.json"}, r"job\.json: cannot be read"),
        ("manifest.json", {"class_names": {"cat": "x", "dog": "x"}}, "output: `class_names` has"),
        ("job.json", {"dim": 2}, "its embeddings are no float16 of 2 numbers each"),
        ("job.json", {"dim": "4"}, "'dim' in job.json or manifest.json is damaged"),
    ],
)
def test_a_record_that_lies(tmp_path, name, changes, message):
    write_pictures(tmp_path / "images")
    embed(tmp_path / "images", tmp_path / "output")
    spoiled(tmp_path / "output", name, **changes)
    with pytest.raises(InputError, match=message):
        EmbeddingSet.read(tmp_path / "output")


def with_embedding(table, numbers):
    """Returns a table with another embedding in its last row."""
    column = table.column("embedding")
    rows = [*column.to_pylist()[:-1], np.array(numbers, "float16")]
    place = table.schema.get_field_index("embedding")
    return table.set_column(place, "embedding", pyarrow.array(rows, column.type))


def test_a_part_that_is_not_whole(tmp_path):
    write_pictures(tmp_path / "images")
    embed(tmp_path / "images", tmp_path / "output")
    part = min((tmp_path / "output" / "shards").iterdir())
    data, table = part.read_bytes(), pyarrow.parquet.read_table(part)
    for content, message in (
        (table.slice(0, 3), "has 3 rows, and manifest.json says 6"),
        (table.drop_columns(["digest"]), "has no column digest"),
        (with_embedding(table, [0.0, np.nan, 0.0, 1.0]), "an embedding has NaN"),
        (data[:-20], "is damaged"),
    ):
        if isinstance(content, bytes):
            part.write_bytes(content)
        else:
            pyarrow.parquet.write_table(content, part)
        with pytest.raises(InputError, match=message):
            EmbeddingSet.read(tmp_path / "output")
        if "column" in message or "NaN" in message:
            continue  # Its counts are right, so it counts as made.
        # The same command makes it again.
        assert embed(tmp_path / "images", tmp_path / "output").new == 1
        assert part.read_bytes() == data


def test_what_is_left_out_is_told(tmp_path):
    write_pictures(tmp_path / "images")
    files = [f"{name}/{n}.png" for n, name in enumerate(["dog", "cat"] * 6)]
    lines = [f"{file},{file[:3]},{'test' if n < 4 else 'train'}" for n, file in enumerate(files)]
    lines[0], lines[1] = f"{files[0]},,train", f"{files[1]},cat,extra"
    lines[2] = f"{files[11]},cat,test"
    (tmp_path / "images" / "list.csv").write_text("\n".join(["path,label,split", *lines]))
    embed(tmp_path / "images" / "list.csv", tmp_path / "output")
    spoiled(tmp_path / "output", "manifest.json", failed={"a": "cut off"})
    with pytest.warns(UserWarning, match="rows have|lacks|copies") as warned:
        data = EmbeddingSet.read(tmp_path / "output")
    assert [str(each.message).partition(": ")[2] for each in warned] == [
        "lacks the images of 1 parts, which failed; run the command that made it again.",
        "1 of 12 rows have no label; left out.",
        "1 of 12 rows have a split that is none of train, val and test; left out.",
        "1 of 2 test images are copies of training images, so accuracies are too high.",
    ]
    assert (len(data.train_labels), len(data.test_labels)) == (8, 2)


def test_splits_without_a_test_are_not_used(tmp_path):
    write_pictures(tmp_path / "images", "train")
    write_pictures(tmp_path / "images", "val")
    embed(tmp_path / "images", tmp_path / "output")
    with pytest.warns(UserWarning, match="has the splits 'train', 'val', and not both"):
        data = EmbeddingSet.read(tmp_path / "output")
    assert data.protocol == "split 0.5 by digest"


@pytest.mark.parametrize(
    ("name", "value"), [("batch_size", 0), ("shard_size", 0), ("test_fraction", 1.5)]
)
def test_arguments_out_of_range(tmp_path, name, value):
    write_pictures(tmp_path / "images")
    with pytest.raises(InputError, match=f"`{name}` must be"):
        embed(tmp_path / "images", tmp_path / "output", **{name: value})


def test_a_temporary_disk_that_is_full(tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    write_pictures(tmp_path / "images")
    embed(tmp_path / "images", tmp_path / "output")
    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(InputError, match=r"has no room for the rows .*TMPDIR"):
        EmbeddingSet.read(tmp_path / "output")


def test_an_output_is_not_its_source(tmp_path):
    write_pictures(tmp_path / "images")
    with pytest.raises(InputError, match="is the source; give another folder"):
        embed(f"{tmp_path}/images/", tmp_path / "images")
    assert not (tmp_path / "images" / "job.json").exists()


@pytest.mark.parametrize("factor", [1e6, np.nan])
def test_embeddings_that_float16_cannot_hold(tmp_path, monkeypatch, factor):
    write_pictures(tmp_path / "images")
    embed_pixels = ColourEncoder.embed_pixels
    monkeypatch.setattr(
        ColourEncoder, "embed_pixels", lambda self, pixels: factor * embed_pixels(self, pixels)
    )
    report = embed(tmp_path / "images", tmp_path / "output")
    assert {*report.failed.values()} == {
        "the model gives embeddings with NaN, or with numbers too large for float16."
    }


def test_a_store_of_another_kind(tmp_path):
    write_pictures(tmp_path)
    source = Storage("memory://photos")
    for path in tmp_path.rglob("*.png"):
        source.write(path.relative_to(tmp_path).as_posix(), path.read_bytes())
    embed("memory://photos", "memory://embedded")
    with pytest.raises(InputError, match=r"memory://photos: no run of .* has written there"):
        EmbeddingSet.read("memory://photos")
    found = EmbeddingSet.read("memory://embedded")
    embed(tmp_path, tmp_path / "output")
    assert found.digest() == EmbeddingSet.read(tmp_path / "output").digest()


class StubClassifier:
    """Takes the first two numbers of an embedding for logits."""

    class_names = ("cat", "dog")
    head = types.SimpleNamespace(get_weights=lambda: [np.ones(3)], also_dim=0)
    embedder = types.SimpleNamespace(encoder=ColourEncoder())

    def predict_embeddings(self, embeddings):
        return embeddings[:, :2]

    def named(self, logits, **rates):
        return [[(self.class_names[row.argmax()], float(row.max()))] for row in logits]


def test_embeddings_are_classified_without_those_that_are_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["keras_cmm.scale.predict_embedding_shards"], "_BLOCK", 2)
    write_pictures(tmp_path / "images")
    (tmp_path / "images" / "bad").mkdir()
    (tmp_path / "images" / "bad" / "0.png").write_bytes(b"...")
    embed(tmp_path / "images", tmp_path / "embedded", shard_size=5)
    spoiled(tmp_path / "embedded", "manifest.json", failed={"a": "cut off"})
    output = tmp_path / "predicted"
    for new in (5, 1):
        with pytest.warns(UserWarning, match="lacks the images of 1 parts, which failed"):
            report = predict_embedding_shards(
                StubClassifier(), str(tmp_path / "embedded"), str(output)
            )
        assert (report.rows, report.errors, report.new) == (13, 1, new)
        # The file of another part is damaged, which the second run finds.
        part = max((output / "shards").iterdir())
        part.write_bytes(part.read_bytes()[: -7 if new == 5 else None])
    rows = pyarrow.parquet.read_table(output / "shards").to_pylist()
    source = pyarrow.parquet.read_table(tmp_path / "embedded" / "shards").to_pylist()
    for found, given in zip(rows, source, strict=True):
        best = given["embedding"] and ["cat", "dog"][int(np.argmax(given["embedding"][:2]))]
        assert (found["id"], found["classes"]) == (given["id"], best and [best])


def test_damaged_embeddings_are_not_classified(tmp_path):
    write_pictures(tmp_path / "images")
    embed(tmp_path / "images", tmp_path / "embedded")
    part = min((tmp_path / "embedded" / "shards").iterdir())
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(InputError, match="is damaged"):
        predict_embedding_shards(StubClassifier(), str(tmp_path / "embedded"), f"{tmp_path}/out")


def test_predictions_are_of_one_classifier_and_its_encoder(tmp_path):
    write_pictures(tmp_path / "images")
    embed(tmp_path / "images", tmp_path / "embedded")
    source, output = str(tmp_path / "embedded"), str(tmp_path / "predicted")
    predict_embedding_shards(StubClassifier(), source, output)
    rows = pyarrow.parquet.read_table(f"{output}/shards").to_pylist()
    given = pyarrow.parquet.read_table(f"{source}/shards").to_pylist()
    assert [row["scores"] for row in rows] == [[max(row["embedding"][:2])] for row in given]
    other = StubClassifier()
    other.head = types.SimpleNamespace(get_weights=lambda: [np.zeros(3)], also_dim=0)
    with pytest.raises(InputError, match="the output of another job, of another model"):
        predict_embedding_shards(other, source, output)
    with pytest.raises(InputError, match="the output of another job, of another top_k"):
        predict_embedding_shards(StubClassifier(), source, output, top_k=1)
    with pytest.raises(InputError, match="holds no embeddings"):
        predict_embedding_shards(other, output, f"{tmp_path}/other")
    other.head.also_dim = 3
    with pytest.raises(InputError, match="this classifier has two"):
        predict_embedding_shards(other, source, f"{tmp_path}/other")
    other.head.also_dim = 0
    other.embedder = types.SimpleNamespace(encoder=types.SimpleNamespace(dim=5))
    with pytest.raises(InputError, match="not of the encoder of this classifier"):
        predict_embedding_shards(other, source, f"{tmp_path}/other")
