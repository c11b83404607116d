import csv
import hashlib
import io
import json
import shutil

import numpy as np
import pytest
from folders import truncate_as_jpeg, write_photos
from PIL import Image


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def faulty(tmp_path):
    """Three classes of twelve pictures, with a copy, a near copy, a wrong and a broken one."""
    folder = write_photos(tmp_path / "faulty", images=12)
    shutil.copy(folder / "red_fox" / "0.png", folder / "Blue Jay" / "copy.png")
    with Image.open(folder / "green tea" / "11.png") as picture:
        picture.resize((96, 96)).save(folder / "green tea" / "larger.png")
    wrong = np.random.default_rng(9).normal((40, 60, 220), 30, (44, 48, 3)).clip(0, 255)
    Image.fromarray(wrong.astype("uint8")).save(folder / "red_fox" / "wrong.png")
    truncate_as_jpeg(folder / "red_fox" / "5.png")
    return folder


def test_everything_is_found_and_nothing_changed(run, refused, faulty, tmp_path):
    before = contents(faulty)
    page, output = tmp_path / "audit.html", tmp_path / "audit.csv"
    options = ("--preset", "emoji_clip_tiny", "--report", page, "--output", output)
    arguments = ("audit", faulty, *options)
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert contents(faulty) == before
    rows = list(csv.DictReader(io.StringIO(output.read_text())))
    by_kind = {}
    for row in rows:
        by_kind.setdefault(row["kind"], []).append(row)
    (copy,) = by_kind["exact_duplicate"]
    assert {copy["image"], copy["other_image"]} == {"Blue Jay/copy.png", "red_fox/0.png"}
    assert copy["reason"] == "the same file, in two classes"
    (broken,) = by_kind["damaged"]
    assert (broken["image"], broken["class"]) == ("red_fox/5.jpg", "red_fox")
    assert "5.jpg" in broken["reason"]
    near = [{row["image"], row["other_image"]} for row in by_kind["near_duplicate"]]
    assert {"green tea/11.png", "green tea/larger.png"} in near
    assert all(row["image"] != copy["image"] for row in by_kind["near_duplicate"])
    wrong = {row["image"]: row["other_class"] for row in by_kind["wrong_label"]}
    assert wrong["red_fox/wrong.png"] == "Blue Jay"
    assert "left out" not in result.stderr
    counts = dict(part.split(" ") for part in result.stdout.strip().split(", "))
    assert counts == {kind: str(len(some)) for kind, some in by_kind.items()}
    text = page.read_text(encoding="utf-8")
    assert text.count("<img") >= 4
    assert "red_fox/wrong.png" in text

    assert "give --overwrite" in refused(*arguments)
    assert run(*arguments, "--overwrite", "-q").exit_code == 0
    page.write_text("mine")
    assert "not written by this command" in refused(*arguments, "--overwrite")


def test_without_clip_files_alone_are_compared(run, faulty):
    result = run("audit", faulty, "--format", "json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["findings"]
    assert [each["kind"] for each in found] == ["exact_duplicate", "damaged"]
    assert "only damaged images and exact copies" in result.stderr


def test_a_model_and_splits(run, model_dir, shared_photos, tmp_path):
    for split in ("train", "test"):
        shutil.copytree(shared_photos, tmp_path / "splits" / split)
    (tmp_path / "splits" / "test" / "red_fox" / "0.png").unlink()
    result = run("audit", tmp_path / "splits", "--model", model_dir, "--format", "json", "-q")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["findings"]
    copies = [each for each in found if each["kind"] == "exact_duplicate"]
    assert len(copies) == 17
    assert {(each["other_split"], each["split"]) for each in copies} == {("train", "test")}
    assert {each["reason"] for each in copies} == {"the same file, in train and test"}


def test_a_table_and_clean_images(run, faulty, shared_photos):
    result = run("audit", faulty, "-q")
    assert result.stdout.splitlines()[0] == "exact_duplicate 1, damaged 1"
    assert "the same file, in two classes" in result.stdout
    result = run("audit", shared_photos, "-q")
    assert result.stdout == "Nothing was found.\n"


def test_mistakes(refused, shared_photos, model_dir, tiny_preset, tmp_path):
    both = ("--preset", tiny_preset, "--model", model_dir)
    assert "exclude each other" in refused("audit", shared_photos, *both)
    assert "--template needs --preset" in refused("audit", shared_photos, "--template", "a {}")
    assert "Missing argument" in refused("audit")
    named = ("--output", tmp_path / "found.txt")
    assert "ends in .csv or .json" in refused("audit", shared_photos, *named)
    (tmp_path / "one" / "class").mkdir(parents=True)
    shutil.copy(shared_photos / "red_fox" / "0.png", tmp_path / "one" / "class")
    assert "one class only" in refused("audit", tmp_path / "one")
