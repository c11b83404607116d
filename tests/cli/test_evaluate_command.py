import csv
import json

import numpy as np
import pytest
from folders import truncate_as_jpeg

from keras_cmm.evaluation import wilson_interval


@pytest.fixture(autouse=True, params=["auto", "keras"])
def engine(request, monkeypatch):
    """Each test runs on ONNX Runtime, which `auto` takes, and on Keras."""
    monkeypatch.setenv("KERAS_CMM_ENGINE", request.param)
    return request.param


@pytest.fixture
def predicted(model_dir):
    """Predicted class ids of images."""
    from keras_cmm import CMMImageClassifier

    classifier = CMMImageClassifier.from_preset(model_dir)
    return lambda paths: classifier.predict(paths).argmax(axis=1)


def test_measures(run, model_dir, photos, predicted):
    # Mislabelled on purpose, so that no measure is 100.
    (photos / "red_fox" / "0.png").rename(photos / "Blue Jay" / "fox.png")
    names = sorted(path.name for path in photos.iterdir())
    paths = sorted(photos.rglob("*.png"), key=str)
    labels = np.array([names.index(path.parent.name) for path in paths])
    hits = predicted(paths) == labels

    result = run("evaluate", model_dir, photos, "--format", "json")
    measures = json.loads(result.stdout)
    assert measures["images"] == 18
    assert measures["skipped"] == 0
    assert measures["classes"] == 3
    assert measures["top1_interval"] == list(wilson_interval(int(hits.sum()), 18))
    assert measures["top1"] == pytest.approx(100 * hits.mean())
    assert "top5" not in measures
    assert list(measures["per_class"]) == names
    for label, name in enumerate(names):
        values = measures["per_class"][name]
        assert values["images"] == (labels == label).sum()
        assert values["top1"] == pytest.approx(100 * hits[labels == label].mean())
        right, total = int(hits[labels == label].sum()), int((labels == label).sum())
        assert values["top1_interval"] == list(wilson_interval(right, total))
    matrix = np.array(measures["confusion_matrix"])
    assert matrix.trace() == hits.sum()
    assert matrix.sum(axis=1).tolist() == np.bincount(labels).tolist()
    f1 = 2 * matrix.diagonal() / (matrix.sum(axis=0) + matrix.sum(axis=1))
    assert measures["macro_f1"] == pytest.approx(100 * f1.mean())

    lines = [line.split() for line in run("evaluate", model_dir, photos).stdout.splitlines()]
    low, high = measures["top1_interval"]
    numbers = [f"{measures['top1']:.1f}", f"{low:.1f}-{high:.1f}", f"{measures['macro_f1']:.1f}"]
    # The model was trained on six of them, of which one was renamed.
    assert ["18", "3", *numbers, "6"] in lines
    low, high = measures["per_class"]["Blue Jay"]["top1_interval"]
    accuracy = f"{measures['per_class']['Blue Jay']['top1']:.1f}"
    assert ["Blue", "Jay", "7", accuracy, f"{low:.1f}-{high:.1f}"] in lines


def test_top_5_of_many_classes():
    from pathlib import Path

    from keras_cmm.data import ImageList
    from keras_cmm_cli.commands.evaluate import measure

    logits = -np.abs(np.arange(7)[None] - np.array([[0.1], [6.1]])).astype("float32")
    names = tuple("abcdefg")
    images = ImageList((Path("1"), Path("2")), np.array([4, 1], "int32"), names, Path())
    measures = measure(logits, images)
    assert measures["top5"] == 50.0
    assert measures["top1"] == 0.0
    assert measures["per_class"]["c"] == {"images": 0, "top1": None, "top1_interval": None}


def test_images_of_the_training_are_told(run, refused, model_dir, shared_photos, tmp_path):
    trained_on = json.loads((model_dir / "keras_cmm.json").read_text())["images"]
    result = run("evaluate", model_dir, shared_photos, "--format", "json")
    assert result.stderr.startswith("Warning: the model was trained on 6 of the 18 images")
    assert json.loads(result.stdout)["trained_on"] == 6
    result = run("evaluate", model_dir, shared_photos, "--held-out", "--format", "json")
    assert "Warning" not in result.stderr
    assert json.loads(result.stdout)["images"] == 12
    for image in trained_on:
        copy = tmp_path / "copies" / image["label"] / f"copy of {image['name'][-5:]}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((shared_photos / image["name"]).read_bytes())
    line = refused("evaluate", model_dir, tmp_path / "copies", "--held-out")
    assert "trained on all of these images" in line


def test_a_model_saved_from_python(run, refused, model_dir, shared_photos, tmp_path):
    from keras_cmm import CMMImageClassifier

    CMMImageClassifier.from_preset(model_dir).save_to_preset(str(tmp_path / "saved"))
    result = run("evaluate", tmp_path / "saved", shared_photos)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "--held-out" in refused("evaluate", tmp_path / "saved", shared_photos, "--held-out")


def test_csv_and_a_class_without_images(run, model_dir, photos):
    table = photos / "labels.csv"
    table.write_text("path,label\nred_fox/0.png,red_fox\nred_fox/1.png,green tea\n")
    result = run("evaluate", model_dir, "--csv", table, "--format", "json")
    per_class = json.loads(result.stdout)["per_class"]
    assert per_class["Blue Jay"] == {"images": 0, "top1": None, "top1_interval": None}
    assert per_class["green tea"]["images"] == 1
    lines = run("evaluate", model_dir, "--csv", table).stdout.splitlines()
    assert ["Blue", "Jay", "0"] in [line.split() for line in lines]
    assert ["2", "2", "of", "3"] in [line.split()[:4] for line in lines]


def test_a_truncated_image(run, refused, model_dir, photos):
    broken = truncate_as_jpeg(photos / "red_fox" / "2.png")
    result = run("evaluate", model_dir, photos, "--format", "json")
    assert json.loads(result.stdout)["skipped"] == 1
    assert str(broken) in result.stderr
    assert str(broken) in refused("evaluate", model_dir, photos, "--strict")


def test_other_classes(refused, model_dir, photos):
    (photos / "red_fox").rename(photos / "wolf")
    assert "'wolf'" in refused("evaluate", model_dir, photos)


def test_only_broken_images(refused, model_dir, photos):
    for path in photos.rglob("*.png"):
        truncate_as_jpeg(path)
    assert "none of the 18 images can be read" in refused("evaluate", model_dir, photos)


def mislabelled(photos):
    """Moves a picture to another class; returns its name, and the class that it shows."""
    (photos / "red_fox" / "0.png").rename(photos / "Blue Jay" / "fox.png")
    return "Blue Jay/fox.png"


def test_files(run, model_dir, photos, predicted, tmp_path):
    moved = mislabelled(photos)
    report, wrong = tmp_path / "report.html", tmp_path / "wrong.csv"
    table, drawing = tmp_path / "confusions.csv", tmp_path / "confusions.png"
    options = ["--report", report, "--mistakes", wrong]
    result = run("evaluate", model_dir, photos, "--format", "json", *options, "--confusions", table)
    assert result.exit_code == 0, result.stderr
    matrix = json.loads(result.stdout)["confusion_matrix"]
    names = sorted(path.name for path in photos.iterdir())
    paths = sorted(photos.rglob("*.png"), key=str)
    guesses = [names[column] for column in predicted(paths).tolist()]
    expected = {
        (path.relative_to(photos).as_posix(), path.parent.name, guess)
        for path, guess in zip(paths, guesses, strict=True)
        if guess != path.parent.name
    }
    assert moved in {name for name, _, _ in expected}
    rows = list(csv.DictReader(wrong.read_text().splitlines()))
    assert {(row["image"], row["class"], row["predicted"]) for row in rows} == expected
    probabilities = [float(row["probability"]) for row in rows]
    assert probabilities == sorted(probabilities, reverse=True)
    first, *others = csv.reader(table.read_text().splitlines())
    assert first == ["class \\ predicted", *names]
    assert others == [[name, *map(str, row)] for name, row in zip(names, matrix, strict=True)]
    page = report.read_text()
    assert "on 18 images" in page
    assert page.index("Named wrong") < page.index("Named right")

    result = run("evaluate", model_dir, photos, "--confusions", drawing, "-q")
    assert drawing.read_bytes().startswith(b"\x89PNG")
    again = run("evaluate", model_dir, photos, "--confusions", drawing, *options, "--overwrite")
    assert again.exit_code == 0, again.stderr
    first, *classes = csv.reader(
        run("evaluate", model_dir, photos, "--format", "csv").stdout.splitlines()
    )
    assert first == ["class", "images", "top1", "top1_low", "top1_high"]
    assert [(row[0], row[1]) for row in classes] == [
        ("Blue Jay", "7"),
        ("green tea", "6"),
        ("red_fox", "5"),
    ]


def test_files_are_checked_before_the_work(refused, model_dir, shared_photos, tmp_path):
    mine = tmp_path / "mine.csv"
    mine.write_text("image,comment\n")
    for option in ("--mistakes", "--confusions", "--report"):
        line = refused("evaluate", model_dir, shared_photos, option, mine, "--overwrite")
        assert "was not written by this command" in line
    assert mine.read_text() == "image,comment\n"
    line = refused("evaluate", model_dir, shared_photos, "--confusions", tmp_path / "a.txt")
    assert "ends in .csv or .png" in line
    line = refused("evaluate", model_dir, shared_photos, "--mistakes", mine, "--confusions", mine)
    assert "--mistakes" in line
