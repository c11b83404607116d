import csv
import io
import itertools
import json
import os
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from folders import truncate_as_jpeg

from keras_cmm_cli.main import cli


@pytest.fixture(autouse=True, params=["auto", "keras"])
def engine(request, monkeypatch):
    """Each test runs on ONNX Runtime, which `auto` takes, and on Keras."""
    monkeypatch.setenv("KERAS_CMM_ENGINE", request.param)
    return request.param


@pytest.fixture(scope="module")
def classifier(model_dir):
    from keras_cmm import CMMImageClassifier

    return CMMImageClassifier.from_preset(model_dir)


def test_formats_agree_with_the_model(run, model_dir, shared_photos, classifier):
    files = [shared_photos / "red_fox" / "0.png", shared_photos / "green tea" / "1.png"]
    expected = classifier.classify(files, top_k=2)

    result = run("predict", model_dir, *files, "--top-k", 2, "--format", "json")
    assert result.stderr == ""
    content = json.loads(result.stdout)
    assert [entry["image"] for entry in content] == [str(file) for file in files]
    for entry, best in zip(content, expected, strict=True):
        found = [(each["class"], each["probability"]) for each in entry["predictions"]]
        assert [name for name, _ in found] == [name for name, _ in best]
        np.testing.assert_allclose([p for _, p in found], [p for _, p in best], rtol=1e-5)

    result = run("predict", model_dir, *files, "--top-k", 2, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [(row["image"], row["rank"]) for row in rows] == [
        (str(file), rank) for file in files for rank in ("1", "2")
    ]
    assert [row["class"] for row in rows] == [name for best in expected for name, _ in best]
    for row, (_, probability) in zip(rows, itertools.chain(*expected), strict=True):
        assert float(row["probability"]) == pytest.approx(probability, abs=1e-5)

    result = run("predict", model_dir, *files, "--top-k", 1)
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["image", "class", "probability"]
    for file, [(name, probability)] in zip(files, (best[:1] for best in expected), strict=True):
        assert any(
            line.startswith(str(file)) and name in line and f"{100 * probability:.1f}%" in line
            for line in lines
        )


def test_probabilities_of_all_classes(run, model_dir, shared_photos):
    file = shared_photos / "red_fox" / "0.png"
    result = run("predict", model_dir, file, "--top-k", 9, "--format", "json")
    probabilities = [each["probability"] for each in json.loads(result.stdout)[0]["predictions"]]
    assert len(probabilities) == 3
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)


def test_folders_and_files(run, model_dir, photos):
    (photos / "deep").mkdir()
    (photos / "red_fox" / "0.png").rename(photos / "deep" / "0.PNG")
    (photos / "red_fox" / "notes.txt").touch()
    (photos / ".hidden").mkdir()
    (photos / "red_fox" / "1.png").rename(photos / ".hidden" / "1.png")
    result = run("predict", model_dir, photos / "red_fox" / "5.png", photos, "--format", "json")
    images = [entry["image"] for entry in json.loads(result.stdout)]
    folder = sorted(str(path) for path in photos.rglob("[0-9].*") if ".hidden" not in path.parts)
    assert images == [str(photos / "red_fox" / "5.png"), *folder]
    assert len(folder) == 17


def test_a_truncated_image(run, refused, model_dir, photos):
    broken = truncate_as_jpeg(photos / "red_fox" / "2.png")
    result = run("predict", model_dir, photos / "red_fox", "--format", "json")
    assert result.exit_code == 0
    failed = [entry["image"] for entry in json.loads(result.stdout) if "error" in entry]
    assert failed == [str(broken)]
    (warning,) = result.stderr.splitlines()
    assert warning.startswith("Warning: ")
    assert str(broken) in warning
    assert str(broken) in refused("predict", model_dir, photos / "red_fox", "--strict")
    assert "none of the images" in refused("predict", model_dir, broken)


@pytest.mark.parametrize("name", ["photos.zip", "photos.tar", "photos.csv", "photos.parquet"])
def test_archives_and_lists(refused, model_dir, tmp_path, name):
    (tmp_path / name).touch()
    assert "is an archive or a list" in refused("predict", model_dir, tmp_path / name)


def test_a_folder_without_images(refused, model_dir, tmp_path):
    assert "no images in it" in refused("predict", model_dir, tmp_path)


def test_a_model_directory_that_is_not_ours(refused, shared_photos, tiny_preset, tmp_path):
    assert str(shared_photos) in refused("predict", shared_photos, shared_photos)
    assert "no saved CMM classifier" in refused("predict", tiny_preset, shared_photos)
    assert str(tmp_path) in refused("evaluate", tmp_path, shared_photos)


@pytest.mark.parametrize(
    "name", ["task.json", "config.json", "task.weights.h5", "model.weights.h5"]
)
def test_a_damaged_model(refused, model_dir, shared_photos, tmp_path, name):
    copy = shutil.copytree(model_dir, tmp_path / "copy")
    (copy / name).write_bytes((copy / name).read_bytes()[:100])
    assert str(copy) in refused("predict", copy, shared_photos)


def test_output_to_a_file(run, refused, model_dir, shared_photos, tmp_path):
    printed = run("predict", model_dir, shared_photos, "--format", "csv").stdout
    file = tmp_path / "labels.csv"
    result = run("predict", model_dir, shared_photos, "--output", file)
    assert result.stdout == ""
    assert file.read_text() == printed
    assert "exists; give --overwrite" in refused(
        "predict", model_dir, shared_photos, "--output", file
    )
    assert run("predict", model_dir, shared_photos, "--output", file, "--overwrite").exit_code == 0
    file.write_text("mine")
    assert "was not written by this command" in refused(
        "predict", model_dir, shared_photos, "--output", file, "--overwrite"
    )
    assert "ends in .csv or .json" in refused(
        "predict", model_dir, shared_photos, "--output", tmp_path / "labels"
    )
    as_json = tmp_path / "labels.json"
    assert run("predict", model_dir, shared_photos, "--output", as_json).exit_code == 0
    assert len(json.loads(as_json.read_text())) == 18


def test_an_unreadable_image_has_a_row(run, model_dir, photos):
    broken = truncate_as_jpeg(photos / "red_fox" / "0.png")
    result = run("predict", model_dir, photos, "--format", "json")
    *_, entry = [each for each in json.loads(result.stdout) if "error" in each]
    assert entry["image"] == str(broken)
    assert entry["predictions"] == []
    assert str(broken) in entry["error"]
    rows = list(
        csv.DictReader(run("predict", model_dir, photos, "--format", "csv").stdout.split("\n"))
    )
    (row,) = [row for row in rows if row["error"]]
    assert (row["image"], row["rank"], row["class"]) == (str(broken), "", "")
    assert "cannot be read" in run("predict", model_dir, photos).stdout


@pytest.mark.parametrize("link", [False, True])
def test_images_are_sorted_into_folders(run, refused, model_dir, photos, tmp_path, link):
    shutil.copytree(photos / "red_fox", photos / "foxes again")
    truncate_as_jpeg(photos / "green tea" / "0.png")
    folder = tmp_path / "sorted"
    arguments = ["predict", model_dir, photos, "--top-k", 1, "--sort-into", folder]
    result = run(*arguments, "--format", "json", *(["--link"] if link else []))
    assert result.exit_code == 0, result.stderr
    read = [entry for entry in json.loads(result.stdout) if "error" not in entry]
    assert len(read) == 23
    found = [path for path in folder.rglob("*") if not path.is_dir()]
    assert len(found) == 23
    assert all(path.is_symlink() == link for path in found)
    contents = {(path.parent.name, path.read_bytes()) for path in found}
    for entry in read:
        named = entry["predictions"][0]["class"]
        with open(entry["image"], "rb") as file:  # noqa: PTH123
            assert (named, file.read()) in contents
    assert len(list(photos.rglob("*.png"))) == 23
    assert "new folder" in refused(*arguments)
    assert "--link needs --sort-into" in refused("predict", model_dir, photos, "--link")


@pytest.mark.parametrize("end", ["\n", "\0", "\r\n"])
def test_paths_on_stdin(model_dir, shared_photos, end):
    paths = [str(shared_photos / "red_fox" / "0.png"), "no such file.png", str(shared_photos)]
    result = CliRunner().invoke(
        cli, ["predict", str(model_dir), "-", "--format", "json"], input=end.join(paths) + end
    )
    assert result.exit_code == 0, result.stderr
    entries = json.loads(result.stdout)
    assert len(entries) == 20
    assert entries[0]["image"] == paths[0]
    assert "no such file.png" in entries[1]["error"]


def test_stdin_without_paths(refused, model_dir):
    assert "stdin holds no path" in refused("predict", model_dir, "-")
    assert "give it once" in refused("predict", model_dir, "-", "-")


def test_urls_are_refused(model_dir):
    result = CliRunner().invoke(cli, ["predict", str(model_dir), "-"], input="https://a/b.jpg\n")
    assert result.exit_code == 2
    assert "download it first" in result.stderr


@pytest.mark.parametrize("engine", ["onnx", "keras"])
def test_unknown_images_and_sets(run, model_dir, shared_photos, tmp_path, engine):
    from keras_cmm_runtime import OnnxClassifier

    photo = min(shared_photos.rglob("*.png"))
    classifier = OnnxClassifier.load(model_dir)
    assert classifier.held_out_scores.best.shape == (3,)  # One image a class.
    arguments = ("predict", model_dir, photo, "--engine", engine, "--format", "json")

    def classes(*options):
        result = run(*arguments, *options)
        assert result.exit_code == 0, result.output
        return [each["class"] for each in json.loads(result.stdout)[0]["predictions"]]

    def expected(named):
        return [name for name, _ in named[0]]

    for rate in (0.25, 0.99):
        assert classes("--reject", rate) == expected(classifier.classify([photo], reject=rate))
    assert classes("--coverage", 0.75) == expected(classifier.predict_sets([photo], 0.75))
    assert classes("--reject", 0.999999, "--sort-into", tmp_path / "sorted") == ["unknown"]
    assert (tmp_path / "sorted" / "unknown" / photo.name).is_file()


def test_rates_that_are_refused(refused, model_dir, shared_photos):
    arguments = ("predict", model_dir, shared_photos)
    for option in ("--reject", "--coverage"):
        assert "is not in the range 0<x<1" in refused(*arguments, option, 1.5)
    assert "--coverage and --top-k exclude" in refused(*arguments, "--coverage", 0.9, "--top-k", 2)
    assert "needs 19 held-out images" in refused(*arguments, "--reject", 0.05)


def test_folds_judge_every_training_image(run, shared_photos, tiny_preset, tmp_path):
    from keras_cmm_runtime import OnnxClassifier

    options = ("--preset", tiny_preset, "--shots", 2, "--epochs", 1, "--folds", 2)
    result = run("fit", shared_photos, *options, "--output", tmp_path / "model")
    assert result.exit_code == 0, result.output
    assert OnnxClassifier.load(tmp_path / "model").held_out_scores.own.shape == (6,)


def test_a_file_name_that_is_not_utf_8(run, model_dir, photos, tmp_path):
    name = os.fsdecode(b"\xff.png")
    (photos / "red_fox" / "0.png").rename(photos / name)
    (photos / "red_fox" / name).write_bytes(b"no picture")
    for output in ("labels.csv", "labels.json"):
        result = run("predict", model_dir, photos, "--output", tmp_path / output)
        assert result.exit_code == 0, result.output
    entries = json.loads((tmp_path / "labels.json").read_text(encoding="utf-8"))
    assert ["error" in entry for entry in entries].count(True) == 1
    assert len(entries) == 19
