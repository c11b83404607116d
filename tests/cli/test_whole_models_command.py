"""Commands on models, outputs and names that must not cost an answer or a file."""

import json
import shutil

import h5py
import numpy as np
import pytest
from folders import files_in

from keras_cmm.data import EmbeddingSet
from keras_cmm_cli.main import main


@pytest.fixture
def model(model_dir, tmp_path):
    return shutil.copytree(model_dir, tmp_path / "model")


def without_head(model):
    (model / "task.weights.h5").unlink()
    return r"task.weights.h5: is missing; copy the folder"


def without_head_and_record(model):
    (model / "keras_cmm.json").unlink()
    without_head(model)
    return "has no task.weights.h5"


def with_nan(model):
    (model / "keras_cmm.json").unlink()
    with h5py.File(model / "task.weights.h5", "r+") as file:
        head = file["layers/cmm_classifier/layers/cross_modal_mapping/vars/0"]
        head[0, 0] = np.nan
    return "are not all finite numbers"


def with_nested_record(model):
    (model / "keras_cmm.json").write_text("[" * 100_000)
    return "keras_cmm.json: is not JSON"


def with_nested_config(model):
    (model / "keras_cmm.json").unlink()
    (model / "config.json").write_text("[" * 100_000)
    return "the saved classifier cannot be loaded"


def with_unknown_dtype(model):
    record = json.loads((model / "keras_cmm.json").read_text())
    record["hyperparameters"]["dtype"] = "float3"
    (model / "keras_cmm.json").write_text(json.dumps(record))
    return "has the unknown dtype 'float3'"


@pytest.mark.parametrize(
    "damage",
    [
        without_head,
        without_head_and_record,
        with_nan,
        with_nested_record,
        with_nested_config,
        with_unknown_dtype,
    ],
)
def test_a_model_that_is_not_whole_does_not_answer(model, refused, shared_photos, damage):
    message = damage(model)
    # classifier.onnx needs none of these files; see tests/cli/test_model_engine.py.
    keras = ("--engine", "keras")
    assert message in refused("predict", model, min(shared_photos.rglob("*.png")), *keras)
    assert message in refused("evaluate", model, shared_photos, *keras)


def test_an_edited_card_is_no_damage_and_is_kept(model, run, refused, shared_photos, tiny_preset):
    (model / "README.md").write_text("my edits")
    (model / "assets" / "my_notes.txt").write_text("precious")
    assert run("predict", model, min(shared_photos.rglob("*.png"))).exit_code == 0
    before = files_in(model)
    line = refused(
        *("fit", shared_photos, "--preset", tiny_preset, "--output", model, "--overwrite")
    )
    assert "'README.md', 'assets/my_notes.txt'" in line
    assert files_in(model) == before
    assert (model / "README.md").read_text() == "my edits"


@pytest.mark.parametrize("command", ["fit", "embed"])
def test_no_output_replaces_a_photo(command, photos, refused, tiny_preset, tmp_path):
    photo = photos / "red_fox" / "0.png"
    before = photo.read_bytes()
    outputs = ("--report", photo, "--output", tmp_path / "out")
    outputs = outputs if command == "fit" else ("--output", photo)
    line = refused(command, photos, "--preset", tiny_preset, "--overwrite", *outputs)
    assert "0.png: was not written by this command; give the name of another file." in line
    assert photo.read_bytes() == before


def test_no_output_of_benchmark_replaces_a_photo(photos, refused, embeddings_file, tmp_path):
    photo = photos / "red_fox" / "0.png"
    before = photo.read_bytes()
    command = ("benchmark", embeddings_file, "--methods", "zero_shot", "--shots", 1)
    assert "was not written" in refused(*command, "--report", photo, "--overwrite")
    assert "not a list of benchmark records" in refused(*command, "--output", photo, "--overwrite")
    assert photo.read_bytes() == before


def test_a_file_of_a_runs_folder_that_is_no_record_stays(run, embeddings_file, tmp_path):
    command = ("benchmark", embeddings_file, "--methods", "zero_shot", "--shots", 1)
    command += ("--output-dir", tmp_path)
    assert run(*command).exit_code == 0
    (record,) = tmp_path.rglob("*.json")
    record.write_text("my notes")
    result = run(*command)
    assert result.exit_code == 2
    assert "is no record of a run; move it away" in result.stderr
    assert record.read_text() == "my notes"


@pytest.mark.parametrize("command", ["fit", "convert"])
def test_a_model_is_a_folder_and_no_h5(command, refused, shared_photos, tiny_preset, tmp_path):
    output = tmp_path / "model.h5"
    arguments = {
        "fit": ("fit", shared_photos, "--preset", tiny_preset, "--output", output),
        "convert": ("convert", tiny_preset, output),
    }
    assert "give a name without .h5" in refused(*arguments[command])
    assert files_in(tmp_path) == []


def test_names_that_are_not_utf_8(photos, tiny_preset, tmp_path, monkeypatch):
    folder = tmp_path / "photos_\udce9"
    photos.rename(folder)
    (folder / "red_fox" / "0.png").rename(folder / "red_fox" / "\udcff.png")
    preset = shutil.copytree(tiny_preset, tmp_path / "preset_\udce9")
    common = ("--preset", preset, "--no-store", "--output")
    fit = ("fit", folder, "--shots", "all", "--epochs", 1, *common, tmp_path / "model_\udce9")
    embed = ("embed", folder, *common, tmp_path / "out_\udce9.safetensors")
    report = ("--overwrite", "--report", tmp_path / "report.html")
    photo = folder / "red_fox" / "\udcff.png"
    predict = ("predict", tmp_path / "model_\udce9", photo, "--no-store")
    monkeypatch.setattr("signal.signal", lambda *_: None)
    for command in (fit, (*fit, *report), embed, predict):
        monkeypatch.setattr("sys.argv", ["keras-cmm", *map(str, command)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
    card = (tmp_path / "model_\udce9" / "README.md").read_text()
    assert "photos_\\udce9" in card
    data = EmbeddingSet.read(tmp_path / "out_\udce9.safetensors")
    assert (data.dataset, data.backbone) == ("photos_\\udce9", "preset_\\udce9")
