import csv
import io
import json
import shutil

import pytest
from folders import COLOURS, truncate_as_jpeg

from keras_cmm_cli.commands.suggest import STRATEGIES


def images_of(result):
    assert result.exit_code == 0, result.output
    return [entry["image"] for entry in json.loads(result.stdout)]


def test_class_names_alone_choose(run, shared_photos, tiny_preset, tmp_path):
    options = ("--preset", tiny_preset, "-n", 5)
    names = ",".join(COLOURS)
    result = run("suggest", shared_photos, *options, "--classes", names, "--format", "json")
    images = images_of(result)
    assert len(set(images)) == 5
    assert {entry["class"] for entry in json.loads(result.stdout)} <= set(COLOURS)

    listed = tmp_path / "names.txt"
    listed.write_text("\n".join(COLOURS))
    table = run("suggest", shared_photos, *options, "--classes", listed)
    assert table.exit_code == 0, table.output
    assert table.stdout.splitlines()[0].split() == [
        *("image", "to", "label", "seems", "to", "be", "probability")
    ]
    assert [line.split()[0] for line in table.stdout.splitlines()[2:]][:1] == [images[0].split()[0]]
    lines = run("suggest", shared_photos, *options, "--classes", listed, "--format", "csv").stdout
    assert [row["image"] for row in csv.DictReader(io.StringIO(lines))] == images


def test_a_model_leaves_out_its_training_images(run, model_dir, shared_photos):
    result = run("suggest", shared_photos, "--model", model_dir, "-n", 100, "--format", "json")
    images = images_of(result)
    record = json.loads((model_dir / "keras_cmm.json").read_text())
    trained = {str(shared_photos / image["name"]) for image in record["images"]}
    assert len(trained) == 6
    assert sorted(images) == sorted(
        str(path) for path in shared_photos.rglob("*.png") if str(path) not in trained
    )
    assert "Left out: 6 images that the model was trained on." in result.stderr


def test_the_python_function_says_the_same(run, model_dir, shared_photos):
    from keras_cmm import CMMImageClassifier
    from keras_cmm.labelling import STRATEGIES as KNOWN
    from keras_cmm.labelling import suggestions

    assert tuple(KNOWN) == STRATEGIES
    model = CMMImageClassifier.from_preset(model_dir)
    paths = sorted((shared_photos / "green tea").glob("*.png"))
    command = run(
        *("suggest", *paths, "--model", model_dir, "-n", 2, "--strategy", "margin", "-q"),
        *("--format", "json"),
    )
    record = json.loads((model_dir / "keras_cmm.json").read_text())
    trained = {
        image["name"].rpartition("/")[2]
        for image in record["images"]
        if image["label"] == "green tea"
    }
    new = [path for path in paths if path.name not in trained]
    found = suggestions(model, model.embed(new), 2, strategy="margin")
    content = json.loads(command.stdout)
    assert [entry["image"] for entry in content] == [str(new[each.row]) for each in found]
    assert [entry["class"] for entry in content] == [each.class_name for each in found]
    assert [entry["probability"] for entry in content] == pytest.approx(
        [each.probability for each in found], rel=1e-4
    )


def test_output_and_damaged_images(run, refused, model_dir, photos, tmp_path):
    shutil.rmtree(photos / "red_fox")
    broken = truncate_as_jpeg(photos / "Blue Jay" / "5.png")
    output = tmp_path / "next.csv"
    arguments = ("suggest", photos, "--model", model_dir, "--output", output, "-n", 3)
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert f"left out: {broken}" in result.stderr
    assert f"{output}: 3 images." in result.stderr
    rows = list(csv.DictReader(io.StringIO(output.read_text())))
    assert len(rows) == 3
    assert str(broken) not in {row["image"] for row in rows}
    assert "give --overwrite" in refused(*arguments)
    assert run(*arguments, "--overwrite", "-q").exit_code == 0
    output.write_text("mine")
    assert "not written by this command" in refused(*arguments, "--overwrite")


def test_mistakes(refused, model_dir, shared_photos, tiny_preset, tmp_path):
    def error(*arguments):
        return refused("suggest", shared_photos, *arguments)

    assert "give --model, or --preset and --classes" in error()
    assert "give --model, or --preset and --classes" in error("--preset", tiny_preset)
    assert "--model and --classes exclude" in error("--model", model_dir, "--classes", "a,b")
    assert "--model and --template exclude" in error("--model", model_dir, "--template", "a {}")
    assert "two names or more" in error("--preset", tiny_preset, "--classes", "ant")
    assert "ends in .csv or .json" in error(
        "--preset", tiny_preset, "--classes", "a,b", "--output", tmp_path / "next.txt"
    )
    photo = shared_photos / "red_fox" / "0.png"
    assert "is an input" in error("--model", model_dir, photo, "--output", photo)
    record = json.loads((model_dir / "keras_cmm.json").read_text())
    trained = shared_photos / record["images"][0]["name"]
    assert "trained on all of these" in refused("suggest", trained, "--model", model_dir)
