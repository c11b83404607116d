"""What the studio computes, on the bundled CLIP."""

import io
import json
import time
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner
from demo_pictures import CLASSES, write_demo_pictures, write_other_picture
from starlette.testclient import TestClient
from studio_pictures import png

from keras_cmm_cli.main import cli
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.metrics import wilson_interval
from keras_cmm_studio import Engine, Project, create_app

SECONDS = 240


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_demo_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return write_other_picture(tmp_path_factory.mktemp("other") / "other.png")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from keras_cmm_studio import StudioModel

    store = tmp_path_factory.mktemp("store") / "embeddings"
    return StudioModel("emoji_clip_tiny", ["an emoji of a {}."], store)


def files(paths):
    return [(path.name, path.read_bytes()) for path in paths]


def until(engine, condition):
    deadline = time.monotonic() + SECONDS
    while not condition(status := engine.status()):
        assert time.monotonic() < deadline, status
        time.sleep(0.05)
    return status


def is_idle(status):
    embedded = status["embedded"]
    return (
        status["clip"]["state"] == "ready"
        and embedded["done"] + len(embedded["unread"]) == embedded["total"]
        and status["training"]["state"] in ("idle", "done", "failed")
        and status["saving"]["state"] in ("idle", "done", "failed")
    )


def write_model(place, trained):
    from keras_cmm_cli.commands.studio import write_trained

    write_trained(place, trained)


@pytest.fixture(scope="module")
def studio(tmp_path_factory, pictures, model):
    """A trained project: three classes of four pictures, one of them in the wrong class."""
    with Project(tmp_path_factory.mktemp("studio") / "project") as project:
        project.add_classes([*CLASSES, "florist"])
        for number, name in enumerate(CLASSES):
            project.add_images(number + 1, files(pictures["train"][name]))
        wrong = files(pictures["test"]["artist"][1:])
        ((project.wrong,), _) = project.add_images(2, wrong)
        project.add_images(None, files([pictures["test"][name][0] for name in CLASSES]))
        engine = Engine(project, lambda: model, "emoji_clip_tiny", write_model)
        engine.start()
        until(engine, is_idle)
        engine.before = {
            "answer": engine.classify(*files(pictures["test"]["cook"])[0], 3),
            "suggestions": engine.suggestions(2),
        }
        engine.ask("train")
        engine.after = until(engine, is_idle)
        yield engine
        engine.stop()


def test_names_alone_give_answers_at_once(studio):
    answer = studio.before["answer"]
    assert not answer["is_trained"]
    assert answer["is_unknown"] is None
    names = [each["class"] for each in answer["predictions"]]
    assert len(names) == 3
    assert set(names) <= {*CLASSES, "florist"}
    values = [each["probability"] for each in answer["predictions"]]
    assert values == sorted(values, reverse=True)
    assert 0 < sum(values) <= 1 + 1e-6


def test_training_is_that_of_fit(studio, model, pictures):
    from keras_cmm.data import sample_few_shot

    classifier = model.new_classifier([*CLASSES, "florist"])
    state = studio.project.state
    rows = [(label, image.name) for label in range(3) for image in state.images_of(label + 1)]
    labels = np.array([label for label, _ in rows])
    keys = [f"{CLASSES[label]}/{name}" for label, name in rows]
    drawn = sample_few_shot(labels, "all", seed=1, keys=keys).indices
    images = [studio.project.read(rows[row][1]) for row in drawn]
    embeddings = model.embedder.embed(images).embeddings
    classifier.fit_embeddings(embeddings, labels[drawn], seed=1, verbose=0)
    picture = pictures["test"]["cook"][0]
    expected = classifier.classify([picture], top_k=4)[0]
    found = studio.classify(*files([picture])[0], 4)
    assert found["is_trained"]
    answers = {each["class"]: each["probability"] for each in found["predictions"]}
    assert answers == pytest.approx(dict(expected), abs=1e-5)


def test_it_names_pictures_that_it_was_not_trained_on(studio, pictures):
    for name in CLASSES:
        answer = studio.classify(*files(pictures["test"][name])[0], 1)
        assert answer["predictions"][0]["class"] == name


def test_a_picture_that_it_is_not_sure_of_is_none_of_these(studio, pictures, other):
    # 13 images are fewer than the 19 that 5 % take.
    assert studio.after["trained"]["reject"] == {"rate": 1 / 14, "held_out": 13}
    noise = studio.classify("noise.png", png(1, 72), 3)
    found = studio.classify(*files([other])[0], 3)
    assert noise["is_unknown"] is found["is_unknown"] is True
    assert len(found["predictions"]) == 3
    for name in CLASSES:
        assert studio.classify(*files(pictures["test"][name])[0], 3)["is_unknown"] is False


def test_the_page_is_told_that_it_is_none_of_these(studio, other):
    # Outside a `with`, the client does not start the engine again.
    client = TestClient(create_app(studio), base_url="http://localhost")
    client.headers["x-keras-cmm-studio"] = "1"
    assert client.get("/api/state").json()["trained"]["reject"]["held_out"] == 13
    answer = client.post("/api/try", files=[("file", ("other.png", other.read_bytes()))])
    assert answer.json() == studio.classify(*files([other])[0], 5)
    assert answer.json()["is_unknown"] is True


def test_the_test_tells_accuracy_interval_and_confusions(studio):
    test = studio.after["test"]
    assert (test["tested"], test["not_tested"], test["folds"]) == (13, 0, 5)
    assert test["accuracy"] == pytest.approx(100 * test["right"] / 13)
    assert (test["low"], test["high"]) == wilson_interval(test["right"], 13)
    wrong = sum(each["count"] for each in test["confusions"])
    assert wrong == test["tested"] - test["right"]
    assert {"label": 2, "prediction": 1, "count": 1} in test["confusions"]


def test_the_wrong_label_is_found_until_it_is_mended(studio):
    first = studio.after["test"]["suspicious"][0]
    assert (first["image"], first["class_id"], first["prediction"]) == (studio.project.wrong, 2, 1)
    studio.project.move_images([studio.project.wrong], 1)
    try:
        status = studio.status()
        assert studio.project.wrong not in [each["image"] for each in status["test"]["suspicious"]]
        assert not status["trained"]["is_current"]
    finally:
        studio.project.undo()
    assert studio.status()["trained"]["is_current"]


def test_unlabelled_images_are_suggested(studio):
    before, after = studio.before["suggestions"], studio.suggestions(3)
    assert (before["rule"], after["rule"]) == ("class", "cover")
    assert len(before["images"]) == 2
    unlabelled = {image.name for image in studio.project.state.images_of(None)}
    assert {each["image"] for each in after["images"]} == unlabelled


def test_an_explanation_has_a_heat_map_and_near_images(studio, pictures):
    found = studio.explain(*files(pictures["test"]["cook"])[0], "cook")
    assert found["heat_map"].startswith("data:image/png;base64,")
    assert found["class"] == "cook"
    assert found["nearest"][0]["image"] in studio.project.state.images
    with pytest.raises(InputError, match="class_name"):
        studio.explain(*files(pictures["test"]["cook"])[0], "nurse")


def test_an_image_that_cannot_be_read_is_told(studio):
    with pytest.raises(InputError, match=r"note\.txt: cannot be read"):
        studio.classify("note.txt", b"text", 3)


def test_the_saved_model_answers_the_same(studio, pictures, other):
    from keras_cmm import CMMImageClassifier
    from keras_cmm_runtime import OnnxClassifier

    studio.ask("save")
    status = until(studio, is_idle)
    assert status["saving"]["state"] == "done", status["saving"]
    assert status["trained"]["is_saved"]
    folder = studio.project.folder / "model"
    picture = pictures["test"]["firefighter"][1]
    found = studio.classify(*files([picture])[0], 4)["predictions"]
    for classifier in (CMMImageClassifier.from_preset(folder), OnnxClassifier.load(folder)):
        saved = classifier.classify([picture], top_k=4)[0]
        assert [name for name, _ in saved] == [each["class"] for each in found]
        assert [each for _, each in saved] == pytest.approx(
            [each["probability"] for each in found], abs=1e-4
        )
        # It holds how sure it is of new images, as the page does.
        rejected = classifier.classify([picture, other], top_k=1, reject=1 / 14)
        assert [each[0][0] for each in rejected] == ["firefighter", "unknown"]
    arguments = ["predict", folder, picture, other, "--reject", "0.072", "--format", "json"]
    result = CliRunner().invoke(cli, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    named = [each["predictions"][0]["class"] for each in json.loads(result.stdout)]
    assert named == ["firefighter", "unknown"]
    # A second save replaces it.
    studio.ask("save")
    assert until(studio, is_idle)["saving"]["state"] == "done"
    # Outside a `with`, the client does not start the engine again.
    client = TestClient(create_app(studio), base_url="http://localhost")
    answer = client.get("/api/model.zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert "model/classifier.onnx" in archive.namelist()
        assert archive.testzip() is None
    onnx = client.get("/api/classifier.onnx")
    assert onnx.content == (folder / "classifier.onnx").read_bytes()


def test_a_saved_model_is_opened_as_it_was(studio, pictures, other, tmp_path):
    from keras_cmm_studio import StudioModel

    if not (studio.project.folder / "model").is_dir():
        studio.ask("save")
        until(studio, is_idle)
    path = str(studio.project.folder / "model")
    with Project(tmp_path / "project") as project:
        project.add_classes([*CLASSES, "florist"])
        engine = Engine(project, lambda: StudioModel(path), path, write_model)
        engine.start()
        try:
            status = until(engine, is_idle)
            assert status["trained"]["class_names"] == [*CLASSES, "florist"]
            assert status["trained"]["reject"] == {"rate": 1 / 14, "held_out": 13}
            assert engine.classify(*files([other])[0], 4)["is_unknown"] is True
            picture = files(pictures["test"]["cook"])[0]
            answer = engine.classify(*picture, 4)
            assert answer["is_trained"]
            assert [each["probability"] for each in answer["predictions"]] == pytest.approx(
                [each["probability"] for each in studio.classify(*picture, 4)["predictions"]],
                abs=1e-4,
            )
            with pytest.raises(InputError, match="no images to train on"):
                engine.ask("train")
            with pytest.raises(InputError, match="train first"):
                engine.ask("save")
        finally:
            engine.stop()


def test_a_trained_project_is_trained_again_when_it_is_opened(studio, model, pictures):
    assert studio.project.options["trained"]
    again = Engine(studio.project, lambda: model, "emoji_clip_tiny", write_model)
    again.start()
    try:
        status = until(again, lambda status: status["trained"] is not None)
        assert status["trained"]["is_current"]
        picture = files(pictures["test"]["artist"])[0]
        first, second = (each.classify(*picture, 4)["predictions"] for each in (studio, again))
        assert [each["class"] for each in first] == [each["class"] for each in second]
        assert [each["probability"] for each in first] == pytest.approx(
            [each["probability"] for each in second], abs=1e-5
        )
    finally:
        again.stop()
