import functools
import json
import re
import unicodedata

import numpy as np
import pytest
from folders import files_in, truncate_as_jpeg

from keras_cmm.evaluation import wilson_interval
from keras_cmm_cli.run_file import file_hash
from keras_cmm_cli.saved_model import load_classifier
from keras_cmm_runtime import OnnxClassifier


def read_run(folder):
    return json.loads((folder / "keras_cmm.json").read_text())


@pytest.fixture
def refuse(refuse_output):
    return functools.partial(refuse_output, "fit", output="model")


def test_what_is_written(shared_photos, fit, tmp_path):
    result, folder = fit(shared_photos, "--shots", 2, "--seed", 3)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{folder}: 3 classes, 6 training images, 2 epochs, top-1 ")
    listed, note = result.stderr.splitlines()
    assert listed == f"{shared_photos}: 18 images of 3 classes."
    # Of an encoder with random weights.
    assert note.startswith("the class texts count for 0% only, ")
    run = read_run(folder)
    assert [name for name in files_in(folder) if (folder / name).is_file()] == sorted(
        run["digests"]
    )
    assert [path for path in files_in(tmp_path) if not path.startswith("model")] == []
    assert run["class_names"] == ["Blue Jay", "green tea", "red_fox"]
    assert (run["shots"], run["seed"]) == (2, 3)
    assert run["templates"] == ["a photo of a {}."]
    assert run["hyperparameters"]["epochs"] == 2
    assert run["versions"]["keras_cmm"]
    labels = [image["label"] for image in run["images"]]
    assert labels == ["Blue Jay"] * 2 + ["green tea"] * 2 + ["red_fox"] * 2
    for image in run["images"]:
        assert image["sha256"] == file_hash(shared_photos / image["name"])
    card = (folder / "README.md").read_text()
    assert "`Blue Jay`, `green tea`, `red_fox`" in card
    assert run["command"] in card


def test_runs_repeat(shared_photos, fit):
    models = []
    for name, arguments in {
        "first": ("--shots", 2),
        "same": ("--shots", 2),
        "other": ("--shots", 2, "--seed", 2),
    }.items():
        models.append(fit(shared_photos, *arguments, output=name)[1])
    models.append(
        fit(
            shared_photos,
            *("--indices", models[0] / "few_shot_indices.json"),
            output="repeated",
        )[1]
    )
    first, same, other, repeated = (
        (read_run(model)["images"], predictions(model, shared_photos)) for model in models
    )
    for again in (same, repeated):
        assert again[0] == first[0]
        np.testing.assert_array_equal(again[1], first[1])
    assert other[0] != first[0]


def test_a_saved_classifier_as_preset_is_trained_anew(shared_photos, fit):
    _, first = fit(shared_photos, "--shots", 2, output="first")
    result, again = fit(shared_photos, "--shots", 2, "--preset", first, output="again")
    (warning,) = [line for line in result.stderr.splitlines() if line.startswith("Warning: ")]
    assert warning.startswith(f"Warning: {first}: is a trained classifier. Only its CLIP")
    assert "class_names" not in result.stderr
    np.testing.assert_array_equal(
        predictions(again, shared_photos), predictions(first, shared_photos)
    )


def predictions(model, photos):
    from keras_cmm import CMMImageClassifier

    return CMMImageClassifier.from_preset(model).predict([photos / "red_fox" / "0.png"])


def test_csv_gives_what_the_folder_gives(shared_photos, fit, tmp_path):
    lines = [
        f"{path.relative_to(shared_photos)},{path.parent.name}"
        for path in sorted(shared_photos.rglob("*.png"), reverse=True)
    ]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["path,label", *lines]))
    _, by_folder = fit(shared_photos, "--shots", 2, output="folder")
    result, by_csv = fit("--csv", table, shared_photos, "--shots", 2, output="csv")
    assert result.exit_code == 0
    assert read_run(by_csv)["images"] == read_run(by_folder)["images"]


def test_csv_beside_its_images(photos, fit):
    table = photos / "labels.csv"
    table.write_text("path,label\nred_fox/0.png,fox\nBlue Jay/0.png,jay\n")
    result, folder = fit("--csv", table, "--shots", "all")
    assert result.exit_code == 0
    assert read_run(folder)["class_names"] == ["fox", "jay"]


def test_prompts(shared_photos, fit, tmp_path):
    from keras_cmm.clip import PROMPT_TEMPLATES

    _, folder = fit(
        shared_photos, "--shots", 1, "--template", "imagenet_7", "--template", "a {} drawing."
    )
    templates = [*PROMPT_TEMPLATES["imagenet_7"], "a {} drawing."]
    assert read_run(folder)["templates"] == templates
    sentences = {name: [f"{name} has a colour."] for name in ("red_fox", "Blue Jay", "green tea")}
    path = tmp_path / "descriptions.json"
    path.write_text(json.dumps(sentences))
    _, folder = fit(shared_photos, "--shots", 1, "--descriptions", path, output="described")
    assert read_run(folder)["templates"] is None
    assert read_run(folder)["descriptions"] == sentences


def test_options_reach_the_model(shared_photos, fit):
    result, folder = fit(
        shared_photos, "--shots", 2, "--batch-size", 4, "--dtype", "bfloat16", "-v", epochs=3
    )
    assert read_run(folder)["hyperparameters"]["batch_size"] == 4
    epochs = [line for line in result.stderr.splitlines() if line.startswith("epoch ")]
    assert len(epochs) == 3
    assert epochs[-1].startswith("epoch 3 of 3: accuracy ")
    backbone = load_classifier(folder).backbone
    assert backbone.vision_projection.compute_dtype == "bfloat16"


def test_the_default_is_the_recipe(shared_photos, model_dir):
    from keras_cmm import AutoRecipe

    recipe = AutoRecipe()
    settings = read_run(model_dir)["hyperparameters"]
    assert settings["epochs"] == recipe.epochs_for(6)
    assert settings["batch_size"] == recipe.batch_size
    # Two shots of three classes, 16 dimensions; the rest is the error that training starts at.
    # The texts of a CLIP of random weights tell nothing, so the prototypes take over no share.
    growth = (6 / 100) ** recipe.rate_exponent * (512 / 16) ** 0.5
    error = settings["learning_rate"] / recipe.learning_rate / growth
    assert 0 < error < 1 - 1 / 3
    assert settings["train_temperature"] == recipe.train_temperature


def test_short_classes_are_named(photos, fit):
    for number in range(4):
        (photos / "red_fox" / f"{number}.png").unlink()
    result, folder = fit(photos, "--shots", 4)
    assert "Warning: fewer than 4 images, so all are taken: 'red_fox' (2).\n" in result.stderr
    assert len(read_run(folder)["images"]) == 10


@pytest.mark.parametrize("check", ["--check", "--no-check"])
def test_a_truncated_image_is_replaced_by_another(photos, fit, check):
    _, before = fit(photos, "--shots", 2, output="before")
    drawn = [image["name"] for image in read_run(before)["images"]]
    # Broken under the name that was drawn: a PNG by name, half a JPEG in truth.
    broken = photos / drawn[0]
    truncate_as_jpeg(broken).rename(broken)
    result, folder = fit(photos, "--shots", 2, check)
    assert result.exit_code == 0
    (warning,) = [line for line in result.stderr.splitlines() if line.startswith("Warning: ")]
    assert str(broken) in warning
    again = [image["name"] for image in read_run(folder)["images"]]
    assert again[0] == drawn[1]
    assert again[1] not in drawn
    assert again[2:] == drawn[2:]
    # The saved draw is of the images that were used.
    result, repeated = fit(photos, "--indices", folder / "few_shot_indices.json", output="again")
    assert [image["name"] for image in read_run(repeated)["images"]] == again


def test_a_truncated_image_is_named_though_it_was_not_drawn(photos, fit, refuse):
    _, before = fit(photos, "--shots", 2, output="before")
    drawn = [image["name"] for image in read_run(before)["images"]]
    name = next(f"green tea/{i}.png" for i in range(6) if f"green tea/{i}.png" not in drawn)
    broken = truncate_as_jpeg(photos / name)
    result, folder = fit(photos, "--shots", 2)
    assert result.stderr.count("Warning: ") == 1
    assert str(broken) in result.stderr
    assert [image["name"] for image in read_run(folder)["images"]] == drawn
    result, _ = fit(photos, "--shots", 2, "--no-check", output="unchecked")
    assert "Warning: " not in result.stderr
    assert str(broken) in refuse(photos, "--shots", 2, "--strict", output="strict")


def test_a_truncated_image_with_all_shots(photos, fit, refuse):
    broken = truncate_as_jpeg(photos / "green tea" / "2.png")
    result, folder = fit(photos, "--shots", "all")
    assert result.stderr.count("Warning: ") == 1
    assert str(broken) in result.stderr
    assert len(read_run(folder)["images"]) == 17
    line = refuse(photos, "--shots", "all", "--strict", output="strict")
    assert str(broken) in line


def test_a_class_of_broken_images(photos, refuse):
    for path in (photos / "green tea").iterdir():
        truncate_as_jpeg(path)
    assert "'green tea' has no image that can be read" in refuse(photos)


def test_classes_without_images_are_zero_shot(photos, fit, refuse, tmp_path):
    for path in (photos / "green tea").iterdir():
        path.unlink()
    names = tmp_path / "names.txt"
    names.write_text("okapi\nred_fox\n\n Blue Jay \ngreen tea\n", encoding="utf-8-sig")
    result, folder = fit(photos, "--class-names", names, "--shots", 2)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{folder}: 4 classes, 4 training images, ")
    assert result.stderr.splitlines()[:3] == [
        f"Warning: {photos}: class folders without images: 'green tea'.",
        f"{photos}: 12 images of 2 classes.",
        "Zero-shot classes, which have no images: 'okapi', 'green tea'.",
    ]
    assert read_run(folder)["class_names"] == ["okapi", "red_fox", "Blue Jay", "green tea"]
    assert predictions(folder, photos).shape[-1] == 4
    # A class of the list whose images are all broken is refused as without the list.
    for path in (photos / "Blue Jay").iterdir():
        truncate_as_jpeg(path)
    line = refuse(photos, "--class-names", names, output="other")
    assert "'Blue Jay' has no image that can be read" in line


def test_class_names_may_encode_accents_in_another_way(fit, photos, tmp_path):
    (photos / "red_fox").rename(photos / unicodedata.normalize("NFD", "Käse"))
    names = tmp_path / "names.txt"
    names.write_text("Käse\nBlue Jay\ngreen tea\n", encoding="utf-8")
    _, folder = fit(photos, "--class-names", names)
    assert read_run(folder)["class_names"] == ["Käse", "Blue Jay", "green tea"]


@pytest.mark.parametrize(("copies", "more"), [(1, ""), (3, " (2 more such pairs)")])
def test_one_picture_of_two_classes_is_named(fit, photos, copies, more):
    for number in range(copies):
        picture = (photos / "Blue Jay" / f"{number}.png").read_bytes()
        (photos / "red_fox" / f"copy{number}.png").write_bytes(picture)
    result, _ = fit(photos, "--shots", "all")
    assert result.exit_code == 0
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Warning: ")]
    # Of several, any: the draw has an order of its own.
    found = re.search(r"/(\d).png of class 'Blue Jay' and red_fox/copy(\d).png of class", line)
    assert found[1] == found[2]
    assert f"are the same picture{more}; keep only those of the right class." in line


@pytest.mark.parametrize("report", ["model", "model/report.html", "../{}/model/report.html"])
def test_a_report_has_a_place_of_its_own(refuse, shared_photos, tmp_path, monkeypatch, report):
    monkeypatch.chdir(tmp_path)
    line = refuse(shared_photos, "--report", report.format(tmp_path.name), output="model")
    assert "--report and --output must not be the same place" in line
    assert not (tmp_path / "model").exists()


def test_a_report_does_not_replace_what_is_read(refuse, photos, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("okapi\nred_fox\nBlue Jay\ngreen tea\n")
    line = refuse(photos, "--class-names", names, "--report", names, "--overwrite")
    assert "names.txt: is an input; give another name to --report." in line
    assert names.read_text().startswith("okapi")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Red_fox\nBlue Jay\ngreen tea\n", "'red_fox' (did you mean 'Red_fox'?); rename"),
        (b"red_fox\nred_fox\n", "names 'red_fox' twice"),
        (b"\nred_fox\n", "lists 1 class names, but a classifier needs two"),
        (b"red_fox\n\xff\xfe\n", "is not UTF-8 text"),
        (b"red_fox\nBlue Jay\n", "classes that are not among the 2 known ones: 'green tea'"),
    ],
)
def test_bad_class_names(refuse, shared_photos, tmp_path, content, message):
    names = tmp_path / "names.txt"
    names.write_bytes(content)
    assert message in refuse(shared_photos, "--class-names", names)


def test_an_empty_folder(refuse, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "there are no images in it" in refuse(tmp_path / "empty")


def test_one_class_only(refuse, tmp_path, photos):
    for name in ("red_fox", "green tea"):
        (photos / name).rename(tmp_path / name)
    assert "one class only, 'Blue Jay'" in refuse(photos)


def test_an_unknown_preset(refuse, shared_photos, tmp_path):
    assert "'no_such_preset'" in refuse(shared_photos, preset="no_such_preset")
    (tmp_path / "no_preset").mkdir()
    assert "no_preset" in refuse(shared_photos, preset=tmp_path / "no_preset")


def test_a_label_file_with_other_columns(refuse, photos):
    (photos / "labels.csv").write_text("file,class\nred_fox/0.png,fox\n")
    assert "'file', 'class'; expected path and label" in refuse("--csv", photos / "labels.csv")


def test_bad_prompts(refuse, shared_photos, tmp_path):
    assert "'a photo'" in refuse(shared_photos, "--template", "a photo")
    path = tmp_path / "descriptions.json"
    path.write_text('{"red_fox": ["A fox."]}')
    assert "'Blue Jay'" in refuse(shared_photos, "--descriptions", path)


def test_indices_stand_in_the_place_of_shots(refuse, photos, model_dir):
    line = refuse(photos, "--indices", model_dir / "few_shot_indices.json", "--shots", 2)
    assert "--indices and --shots exclude each other" in line
    line = refuse(photos, "--indices", model_dir / "few_shot_indices.json", "--check")
    assert "--indices and --check exclude each other" in line


def test_indices_of_other_images(refuse, photos, model_dir):
    (photos / "red_fox" / "0.png").unlink()
    assert "other images" in refuse(photos, "--indices", model_dir / "few_shot_indices.json")


def test_outputs_that_cannot_be(refuse, shared_photos, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.tex").touch()
    assert "'thesis.tex'" in refuse(shared_photos)
    assert "'thesis.tex'" in refuse(shared_photos, "--overwrite")
    assert "does not exist" in refuse(shared_photos, output="none/model")


def test_overwriting_a_model(fit, refuse, shared_photos):
    _, folder = fit(shared_photos, "--shots", 1)
    assert "--overwrite" in refuse(shared_photos)
    result, _ = fit(shared_photos, "--shots", 2, "--overwrite")
    assert result.exit_code == 0
    assert read_run(folder)["shots"] == 2


def test_a_failed_save_leaves_nothing(refuse, shared_photos, monkeypatch):
    from keras_cmm import CMMImageClassifier

    def fail(self, folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CMMImageClassifier, "save_to_preset", fail)
    assert "No space left on device" in refuse(shared_photos, "--shots", 1, "--epochs", 1)


def test_report_on_the_images_that_were_not_drawn(shared_photos, fit, tmp_path):
    result, _ = fit(shared_photos, "--shots", 2, "--report", tmp_path / "report.html")
    assert result.exit_code == 0
    page = (tmp_path / "report.html").read_text()
    assert "Tested on 12 images not trained on." in page
    assert "green tea" in page


def test_all_images_are_the_default(shared_photos, fit):
    result, folder = fit(shared_photos)
    assert "3 classes, 18 training images" in result.stdout
    assert read_run(folder)["shots"] == "all"


def test_accuracies_have_an_interval(shared_photos, fit, tmp_path):
    result, _ = fit(shared_photos, "--shots", 2, "--report", tmp_path / "report.html")
    pattern = r"training images ([\d.]+)% \(95% interval ([\d.]+)-([\d.]+)%\) of 3 classes"
    found = re.search(pattern, result.stdout)
    right = round(float(found[1]) * 6 / 100)
    assert [float(end) for end in found.groups()[1:]] == pytest.approx(
        wilson_interval(right, 6), abs=0.051
    )
    assert re.search(r"Test: top-1 .*95% interval .* on 12 images .* 3 of 3 classes", result.stderr)
    assert "95% interval" in (tmp_path / "report.html").read_text()


def test_copies_of_training_images_are_no_test(photos, fit, tmp_path):
    """Each drawn picture lies in the folder once more, under another name."""
    _, before = fit(photos, "--shots", 2, output="before")
    for image in read_run(before)["images"]:
        path = photos / image["name"]
        path.with_name(f"again {path.name}").write_bytes(path.read_bytes())
    result, folder = fit(photos, "--shots", 2, "--report", tmp_path / "report.html", output="after")
    drawn = {image["sha256"] for image in read_run(folder)["images"]}
    tested = [path for path in photos.rglob("*.png") if file_hash(path) not in drawn]
    copies = 24 - 6 - len(tested)
    assert copies > 0
    assert f"left out {copies} of the 18 test images, which " in result.stderr
    page = (tmp_path / "report.html").read_text()
    assert f"Tested on {len(tested)} images not trained on." in page
    assert f"Left out: {copies} cop" in page


def test_only_copies_are_left_to_test_on(photos, fit, tmp_path):
    for path in photos.rglob("*.png"):
        path.write_bytes((photos / path.parent.name / "0.png").read_bytes())
    result, _ = fit(photos, "--shots", 1, "--report", tmp_path / "report.html")
    assert result.exit_code == 0
    assert "copies of training images, so there is none" in (tmp_path / "report.html").read_text()


def test_report_where_only_damaged_images_are_left(photos, fit, tmp_path):
    (photos / "red_fox" / "damaged.jpg").write_text("no picture")
    result, _ = fit(photos, "--shots", "all", "--no-check", "--report", tmp_path / "report.html")
    assert result.exit_code == 0
    assert result.stderr.count("damaged.jpg") == 1
    assert "there is none to test on" in (tmp_path / "report.html").read_text()


def test_report_without_test_images(shared_photos, fit, tmp_path):
    result, _ = fit(shared_photos, "--report", tmp_path / "report.html")
    assert result.exit_code == 0
    assert "Warning: all images are trained on, so --report has none to test" in result.stderr
    assert "there is none to test on" in (tmp_path / "report.html").read_text()


def test_a_report_is_not_replaced_unasked(shared_photos, refuse, tmp_path):
    report = tmp_path / "report.html"
    report.write_text("mine")
    assert "exists; give --overwrite" in refuse(shared_photos, "--report", report)
    assert report.read_text() == "mine"


def test_a_class_folder_whose_name_is_not_utf_8(photos, refuse):
    (photos / "red_fox").rename(photos / "caf\udce9")
    line = refuse(photos)
    assert line == f"Error: {photos}: the class name 'caf\\udce9' is not UTF-8; rename it."


def test_descriptions_in_the_other_unicode_form(photos, fit, tmp_path):
    name = unicodedata.normalize("NFD", "r\u00eanard")
    (photos / "red_fox").rename(photos / name)
    content = {path.name: [f"A {path.name}."] for path in photos.iterdir()}
    content[unicodedata.normalize("NFC", name)] = content.pop(name)
    file = tmp_path / "descriptions.json"
    file.write_text(json.dumps(content))
    result, _ = fit(photos, "--shots", 1, "--descriptions", file, epochs=1)
    assert result.exit_code == 0, result.output


def test_an_onnx_file_is_written(shared_photos, fit):
    result, folder = fit(shared_photos, "--shots", 2)
    image = shared_photos / "red_fox" / "0.png"
    exported = OnnxClassifier.load(folder)
    assert exported.class_names == ["Blue Jay", "green tea", "red_fox"]
    assert read_run(folder)["digests"]["classifier.onnx"] == exported.digest
    expected = load_classifier(folder).predict([image])
    np.testing.assert_allclose(exported.predict([image]), expected, atol=1e-3)
    result, folder = fit(shared_photos, "--shots", 2, "--no-onnx", output="without")
    assert result.exit_code == 0
    assert not (folder / "classifier.onnx").exists()


def test_a_classifier_that_cannot_be_exported_is_kept(shared_photos, fit, monkeypatch):
    from keras_cmm import CMMImageClassifier
    from keras_cmm_runtime import InputError

    def export(*arguments, **options):
        raise InputError("no graph.")

    monkeypatch.setattr(CMMImageClassifier, "export", export)
    result, folder = fit(shared_photos, "--shots", 2)
    assert "Warning: no classifier.onnx is written: no graph." in result.stderr
    assert load_classifier(folder).class_names


def test_saving_anew_removes_the_onnx_file(shared_photos, fit):
    _, folder = fit(shared_photos, "--shots", 2)
    classifier = load_classifier(folder)
    classifier.save_to_preset(folder)
    assert not (folder / "classifier.onnx").exists()
