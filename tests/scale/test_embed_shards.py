import functools
import io
import sys

import numpy as np
import pytest
from PIL import Image

from keras_cmm.data import EmbeddingSet
from keras_cmm.scale import embed_shards
from keras_cmm_runtime import InputError
from keras_cmm_runtime.images import ImagePreprocessor
from keras_cmm_runtime.scale import ShardReport


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
