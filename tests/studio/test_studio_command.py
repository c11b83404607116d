"""`keras-cmm studio` as users run it."""

import json
import random
import signal

import pytest
from studio_kill_trials import check, trial
from studio_pictures import png
from studio_process import StudioProcess

from keras_cmm_cli.main import cli


def write_pictures(folder):
    for number in range(4):
        path = folder / ("hen", "red fox")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    (folder / "hen" / "broken.png").write_bytes(b"no picture")
    return folder


def test_a_killed_process_loses_nothing_that_was_answered(tmp_path):
    rng = random.Random(1)
    for number, seconds in enumerate((0.5, 2.0)):
        expected, revision, answered = trial(tmp_path / "project", rng, number, seconds)
        check(tmp_path / "project", expected, revision)
    assert answered


def test_a_folder_of_images_is_copied_and_left_as_it_is(tmp_path):
    folder = write_pictures(tmp_path / "pictures")
    before = {path: path.read_bytes() for path in folder.rglob("*.png")}
    with StudioProcess(folder, "--project", tmp_path / "project") as studio:
        warning = next(line for line in studio.lines if "Warning" in line)
        assert "1 image is left out" in warning
        state = studio.state()
        assert [each["name"] for each in state["classes"]] == ["hen", "red fox"]
        assert [len(each["images"]) for each in state["classes"]] == [2, 2]
        assert studio.address.startswith("http://127.0.0.1:")
        assert "token" not in studio.address
        state = studio.state()
        studio.client.post(f"api/classes/{state['classes'][0]['id']}/rename", json={"name": "cock"})
        studio.process.send_signal(signal.SIGTERM)
        assert studio.process.wait(60) == 0
    assert before == {path: path.read_bytes() for path in folder.rglob("*.png")}
    # The same command goes on with what was done.
    with StudioProcess(folder, "--project", tmp_path / "project", preset=None) as studio:
        assert [each["name"] for each in studio.state()["classes"]] == ["cock", "red fox"]
        assert studio.state()["preset"] == "emoji_clip_tiny"


def test_another_address_asks_for_a_token(tmp_path):
    with StudioProcess("--project", tmp_path / "p", "--host", "0.0.0.0") as studio:
        assert studio.client.get("api/state").status_code == 403
        token = studio.address.partition("?token=")[2]
        assert len(token) > 30
        headers = {"authorization": f"Bearer {token}"}
        assert studio.client.get("api/state", headers=headers).status_code == 200


def test_a_saved_model_gives_a_project_its_classes(tmp_path):
    # What tells a saved classifier; test_engine.py opens a whole one.
    task = {"class_name": "CMMImageClassifier", "config": {"class_names": ["cook", "artist"]}}
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "task.json").write_text(json.dumps(task))
    with StudioProcess(tmp_path / "model", "--project", tmp_path / "p", preset=None) as studio:
        state = studio.state()
        assert [each["name"] for each in state["classes"]] == ["cook", "artist"]
        assert state["preset"] == str(tmp_path / "model")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "does not exist"),
        (["--port", "70000"], "70000"),
        (["--template", "no place"], "must hold {}"),
        (["--project", "thesis"], "holds something else"),
    ],
)
def test_mistakes_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").touch()
    with pytest.raises(SystemExit) as error:
        cli.main(["studio", *arguments])
    assert error.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]


def test_another_project_is_not_replaced(tmp_path, capsys):
    from keras_cmm_studio import Project

    with Project(tmp_path / "p") as project:
        project.add_classes(["mine"])
    folder = write_pictures(tmp_path / "pictures")
    with pytest.raises(SystemExit):
        cli.main(["studio", str(folder), "--project", str(tmp_path / "p")])
    assert "is another project" in capsys.readouterr().err
    with Project(tmp_path / "p") as project:
        assert project.state.class_names == ["mine"]
