import json
import shutil

import numpy as np
import pytest
from folders import files_in

from keras_cmm.data import DemoSet, EmbeddingSet, ImageList
from keras_cmm_cli.outputs import check_new_folder


@pytest.fixture(scope="module")
def demo(run, tmp_path_factory):
    """The demo with few shots; returns click's result and the output folder."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    result = run("demo", "--shots", "1,2", "--output", folder)
    assert result.exit_code == 0, result.output
    return result, folder


def test_what_is_written(demo):
    result, folder = demo
    files = ["embeddings.safetensors", "keras_cmm.json", "model"]
    files += ["pictures", "plots", "report.html", "results.json"]
    assert sorted(path.name for path in folder.iterdir()) == files
    assert sorted(path.name for path in (folder / "plots").iterdir()) == [
        "accuracy.png",
        "class_accuracy.png",
        "confusions.png",
        "modality_gap.png",
    ]
    records = json.loads((folder / "results.json").read_text())
    assert (folder / "model" / "classifier.onnx").is_file()
    assert len(records) == 1 + 3 * 2 * 3
    assert {record["method"] for record in records} == {
        "zero_shot",
        "nearest_mean",
        "tip_adapter_f",
        "cmm",
    }
    assert {record["protocol"] for record in records} == {"demo"}
    assert "CMM, 2 shots: " in result.stdout
    data = EmbeddingSet.read(folder / "embeddings.safetensors")
    assert data.num_classes == len(DemoSet.load().class_names)
    images = ImageList.from_folder(folder / "pictures" / "test")
    assert len(images) == len(data.test_labels)


def test_report_shows_every_section(demo):
    _, folder = demo
    page = (folder / "report.html").read_text()
    for section in ("accuracy", "gallery", "classes", "confusions", "gap", "run"):
        assert f'id="{section}"' in page


def test_the_model_is_the_one_that_was_measured(demo, run):
    """`evaluate` on the exported pictures must print the accuracy that the demo printed."""
    result, folder = demo
    stated = float(result.stdout.split("CMM, 2 shots: top-1 ")[1].split("%")[0])
    evaluated = run(
        "evaluate", folder / "model", folder / "pictures" / "test", "--format", "json", "-q"
    )
    assert evaluated.exit_code == 0, evaluated.output
    assert round(json.loads(evaluated.stdout)["top1"], 1) == pytest.approx(stated, abs=0.11)


def test_the_model_is_that_of_the_record_of_its_shots_and_seed(demo):
    result, folder = demo
    stated = float(result.stdout.split("CMM, 2 shots: top-1 ")[1].split("%")[0])
    records = json.loads((folder / "results.json").read_text())
    run = {"method": "cmm", "shots": 2, "seed": 1}
    (record,) = [each for each in records if run.items() <= each.items()]
    assert stated == pytest.approx(record["top1"], abs=0.06)


def test_predict_names_classes_of_the_demo(demo, run):
    _, folder = demo
    picture = sorted((folder / "pictures" / "test" / "artist").glob("*.png"))[0]
    result = run("predict", folder / "model", picture, "--top-k", 5, "--format", "json", "-q")
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)) == 1


def test_it_learns_from_more_shots(demo):
    """Chance is 1.6%: a broken pipeline cannot pass, whatever the bundled model is worth."""
    _, folder = demo
    records = json.loads((folder / "results.json").read_text())
    cmm = [record["top1"] for record in records if record["method"] == "cmm"]
    assert np.mean(cmm) > 8 * 100 / 64


def test_only_a_demo_is_replaced(demo, refused, tmp_path):
    _, folder = demo
    assert "holds a demo; give --overwrite" in refused("demo", "--output", folder)
    check_new_folder(folder, True, "demo")
    edited = shutil.copytree(folder, tmp_path / "edited")
    (edited / "report.html").write_text("my edits")
    (edited / "pictures" / "train" / "mine.png").write_text("precious")
    line = refused("demo", "--overwrite", "--output", edited)
    assert "holds something else ('pictures/train/mine.png', 'report.html')" in line
    shutil.rmtree(edited)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    line = refused("demo", "--overwrite", "--output", other)
    assert "holds something else ('thesis.txt')" in line
    assert files_in(tmp_path) == ["other", "other/thesis.txt"]
    assert "is a file" in refused("demo", "--output", other / "thesis.txt")
    assert "does not exist" in refused("demo", "--output", tmp_path / "no" / "demo")


@pytest.mark.nightly
def test_no_more_shots_than_there_are_pictures(run, tmp_path):
    result = run("demo", "--shots", "99", "--output", tmp_path / "demo")
    assert "99-shot runs left out" in result.stderr
    assert "fewer than" not in result.stderr
    assert "CMM, 24 shots: " in result.stdout
    run_file = json.loads((tmp_path / "demo" / "model" / "keras_cmm.json").read_text())
    assert run_file["shots"] == 24
