"""`fit` on what `embed` wrote."""

import hashlib
import json
import types
from dataclasses import replace

import numpy as np
import pytest

from keras_cmm.data import EmbeddingSet
from keras_cmm_cli import fit_on_embeddings


@pytest.fixture(scope="module")
def embedded(request, tmp_path_factory):
    """A file and a folder of embeddings of the same photos."""
    run, photos, preset = (
        request.getfixturevalue(name) for name in ("run", "shared_photos", "tiny_preset")
    )
    folder = tmp_path_factory.mktemp("embedded")
    for name, options in (
        ("file.safetensors", ()),
        ("folder", ("--engine", "local", "--num-workers", 1)),
    ):
        result = run("embed", photos, "--preset", preset, *options, "--output", folder / name)
        assert result.exit_code == 0, result.output
    return folder


@pytest.mark.parametrize("name", ["file.safetensors", "folder"])
def test_it_gives_the_classifier_of_its_images(
    run, embedded, shared_photos, tiny_preset, tmp_path, name
):
    from keras_cmm import AutoRecipe, CMMClassifier, CMMImageClassifier

    output = tmp_path / "model"
    options = ("--preset", tiny_preset, "--seed", 3, "--output", output)
    result = run("fit", embedded / name, *options)
    assert result.exit_code == 0, result.output
    data = EmbeddingSet.read(embedded / name)
    head = CMMClassifier.from_text_embeddings(
        data.text_embeddings, logit_scale=data.logit_scale, dtype="float32"
    )
    order = np.argsort(data.train_labels, kind="stable")
    AutoRecipe().fit(
        head, data.train_embeddings[order], data.train_labels[order], seed=3, verbose=0
    )
    classifier = CMMImageClassifier.from_preset(str(output))
    rows = np.asarray(data.test_embeddings, "float32")
    found = classifier.predict_embeddings(rows)
    expected = head.predict(rows, verbose=0)
    # The rows of a class may stand in another order in the draw.
    np.testing.assert_allclose(found, expected, atol=0.2)
    top1 = 100 * np.mean(found.argmax(axis=1) == data.test_labels)
    record = json.loads((output / "keras_cmm.json").read_text())
    assert record["evaluation"]["top1"] == pytest.approx(top1)
    assert f"top-1 on the test rows {top1:.1f}%" in result.stdout
    assert (output / "classifier.onnx").is_file()
    # A folder knows the files of the images, so that copies in a test are found.
    assert len(record["images"]) == (0 if "." in name else len(data.train_labels))
    files = {
        hashlib.sha256(file.read_bytes()).hexdigest(): file.parent.name
        for file in shared_photos.rglob("*.png")
    }
    assert all(files[image["sha256"]] == image["label"] for image in record["images"])


def test_test_rows_are_read_and_named_in_blocks(monkeypatch):
    monkeypatch.setattr(fit_on_embeddings, "_BLOCK", 6)
    classes, sizes = [0, 2, 1, 1, 2], []

    def predict_embeddings(rows):
        sizes.append(len(rows))
        return rows

    classifier = types.SimpleNamespace(
        class_names=["a", "b", "c"], predict_embeddings=predict_embeddings
    )
    rows = np.eye(3, dtype="float16")[classes]
    assert fit_on_embeddings._predicted(classifier, rows).tolist() == classes
    assert sizes == [2, 2, 1]


def test_the_model_of_the_embeddings_is_the_preset(run, shared_photos, tmp_path):
    file, output = tmp_path / "emoji.safetensors", tmp_path / "model"
    result = run("embed", shared_photos, "--preset", "emoji_clip_tiny", "--output", file)
    assert result.exit_code == 0, result.output
    result = run("fit", file, "--shots", 1, "--no-onnx", "--output", output)
    assert result.exit_code == 0, result.output
    record = json.loads((output / "keras_cmm.json").read_text())
    assert record["preset"] == "emoji_clip_tiny"


def test_a_model_that_is_not_found_is_asked_for(refused, embedded, tmp_path):
    message = refused("fit", embedded / "folder", "--output", tmp_path / "model")
    assert "cannot be loaded by that name; name it or its folder by --preset" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--views", 2), "--views needs images, and"),
        (("--test", "."), "--test needs images, and"),
        (("--preset", "emoji_clip_tiny"), "dimensions, and emoji_clip_tiny 192; give as --preset"),
    ],
)
def test_what_needs_images_is_refused(refused, embedded, tmp_path, options, message):
    output = tmp_path / "model"
    assert message in refused("fit", embedded / "folder", *options, "--output", output)
    assert not output.exists()


def test_embeddings_of_another_model_are_refused(refused, embedded, tiny_preset, tmp_path):
    data = EmbeddingSet.read(embedded / "file.safetensors")
    texts = np.roll(data.text_embeddings, 7, axis=1)
    replace(data, text_embeddings=texts).write(tmp_path / "other.safetensors")
    options = ("--preset", tiny_preset, "--output", tmp_path / "model")
    message = refused("fit", tmp_path / "other.safetensors", *options)
    assert "its class texts are not those of" in message


def test_images_need_a_preset(refused, shared_photos, tmp_path):
    assert "Missing option '--preset'" in refused(
        "fit", shared_photos, "--output", tmp_path / "model"
    )


def test_predict_takes_embeddings_in_parts(run, refused, embedded, model_dir, tmp_path):
    import pyarrow.parquet

    from keras_cmm import CMMImageClassifier

    output = tmp_path / "predicted"
    options = ("--top-k", 2, "--output", output)
    result = run("predict", model_dir, embedded / "folder", *options)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{output}: 18 rows in ")
    source = pyarrow.parquet.read_table(embedded / "folder/shards").to_pylist()
    table = pyarrow.parquet.read_table(output / "shards").to_pylist()
    classifier = CMMImageClassifier.from_preset(str(model_dir))
    rows = np.array([row["embedding"] for row in source], "float32")
    expected = classifier.named(classifier.predict_embeddings(rows), top_k=2)
    for given, found, best in zip(source, table, expected, strict=True):
        assert [found[name] for name in ("id", "label", "digest")] == [
            given[name] for name in ("id", "label", "digest")
        ]
        assert found["classes"] == [name for name, _ in best]
        assert found["scores"] == pytest.approx([chance for _, chance in best], abs=1e-5)
    assert "0 of them made now" in run("predict", model_dir, embedded / "folder", *options).stdout
    message = refused("predict", model_dir, embedded / "folder", "--top-k", 1, "--output", output)
    assert "holds the output of another job, of another top_k" in message
    assert "give --output" in refused("predict", model_dir, embedded / "folder")
    message = refused("predict", model_dir, embedded / "folder", "--strict", *options)
    assert "--strict needs images" in message


def test_embeddings_of_another_encoder_are_not_classified(refused, embedded, model_dir, tmp_path):
    import shutil

    shutil.copytree(embedded / "folder", tmp_path / "other")
    job = json.loads((tmp_path / "other/job.json").read_text())
    job["encoder"]["weights"] = "0" * 64
    (tmp_path / "other/job.json").write_text(json.dumps(job))
    message = refused("predict", model_dir, tmp_path / "other", "--output", tmp_path / "predicted")
    assert "not of the encoder of this classifier" in message
    assert not (tmp_path / "predicted").exists()
