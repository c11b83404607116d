"""The paths of the studio, without CLIP: what they take, refuse and keep."""

import io
import json

import pytest
from hostile_files import png_of_size
from PIL import Image
from studio_pictures import png

from keras_cmm_studio import Project, StudioSettings

HTML = '<img src=x onerror="alert(1)">'


def upload(client, path, *files):
    return client.post(path, files=[("file", (name, data)) for name, data in files])


@pytest.fixture
def classes(client):
    client.post("/api/classes", json={"names": ["fox", HTML]})
    return client


def test_a_change_is_on_the_disk_when_it_is_answered(classes, project):
    answer = upload(classes, "/api/classes/1/images", ("a.png", png(1)), ("b.txt", b"text"))
    content = answer.json()
    assert len(content["added"]) == 1
    assert content["refused"][0]["name"] == "b.txt"
    record = json.loads((project.folder / "project.json").read_text())
    assert [image["name"] for image in record["images"]] == content["added"]
    assert (project.folder / "images" / "fox" / content["added"][0]).is_file()


def test_the_state_tells_all_that_the_page_shows(classes):
    upload(classes, "/api/unlabelled/images", ("a.png", png(1)))
    state = classes.get("/api/state").json()
    assert [each["name"] for each in state["classes"]] == ["fox", HTML]
    assert state["unlabelled"][0]["original"] == "a.png"
    assert state["undo"] == "added 1 image to the unlabelled"
    assert state["clip"]["state"] == "failed"
    assert "no CLIP in this test" in state["clip"]["message"]


def test_no_path_of_the_machine_is_told(classes, project):
    upload(classes, "/api/classes/1/images", ("a.png", png(1)))
    assert str(project.folder) not in classes.get("/api/state").text


def test_images_are_moved_removed_and_brought_back(classes, project):
    name = upload(classes, "/api/classes/1/images", ("a.png", png(1))).json()["added"][0]
    assert classes.post("/api/images/move", json={"images": [name], "class_id": 2}).is_success
    assert project.state.images[name].class_id == 2
    assert classes.post("/api/images/remove", json={"images": [name]}).is_success
    assert project.state.images == {}
    assert classes.post("/api/undo").json()["redo"] == "removed 1 image"
    assert classes.post("/api/undo").is_success
    assert project.state.images[name].class_id == 1
    assert classes.post("/api/redo").is_success
    assert classes.post("/api/classes/2/rename", json={"name": "hen"}).is_success
    assert classes.post("/api/classes/1/remove").is_success
    assert project.state.class_names == ["hen"]


def test_pictures_are_drawn_anew_before_the_browser_gets_them(classes):
    data = png(1, size=300) + b"<script>alert(1)</script>"
    name = upload(classes, "/api/classes/1/images", ("a.png", data)).json()["added"][0]
    answer = classes.get(f"/api/images/{name}")
    assert answer.headers["content-type"] == "image/png"
    assert b"script" not in answer.content
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.size == (160, 160)


@pytest.mark.parametrize(
    "name",
    [
        "..%2f..%2fproject.json",
        "%2e%2e/project.json",
        "project.json",
        "0" * 32 + ".png",
        "%00",
    ],
)
def test_no_file_but_images_can_be_read(classes, name):
    for path in (f"/api/images/{name}", f"/static/{name}"):
        answer = classes.get(path)
        assert answer.status_code in (404, 422)
        assert "keras-cmm-studio/1" not in answer.text


@pytest.mark.parametrize(
    "name",
    ["../../up.png", "/etc/passwd", "..\\..\\up.png", HTML + ".png", "a\x00b.png", "x" * 300],
)
def test_the_name_of_an_upload_is_data(classes, project, tmp_path, name):
    content = upload(classes, "/api/classes/1/images", (name, png(1))).json()
    assert len(content["added"]) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"project"}
    original = project.state.images[content["added"][0]].original
    assert "/" not in original
    assert len(original) < 100


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "SVG"),
        (b"<!doctype html><script>alert(1)</script>", "web page"),
        (png(1)[:50], ""),
        (png_of_size(50_000, 50_000), "pixels"),
        (b"GIF89a" + bytes(50), ""),
    ],
)
def test_hostile_files_are_refused_with_a_reason_and_the_others_kept(classes, data, reason):
    content = upload(
        classes, "/api/classes/1/images", ("bad.png", data), ("good.png", png(5))
    ).json()
    assert len(content["added"]) == 1
    assert reason in content["refused"][0]["reason"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/classes", {}, 400),
        ("/api/classes", {"names": []}, 400),
        ("/api/classes", {"names": [1]}, 400),
        ("/api/classes", {"names": ["fox"]}, 422),
        ("/api/classes/9/rename", {"name": "x"}, 422),
        ("/api/classes/1/rename", {"name": ["x"]}, 400),
        ("/api/classes/9/remove", {}, 422),
        ("/api/classes/../remove", {}, 404),
        ("/api/images/move", {"images": ["../x"], "class_id": 1}, 422),
        ("/api/images/move", {"images": ["a"], "class_id": "../x"}, 400),
        ("/api/images/move", {"images": ["a"], "class_id": True}, 400),
        ("/api/images/remove", {"images": "a"}, 400),
        ("/api/redo", {}, 422),
        ("/api/train", {}, 422),
        ("/api/save", {}, 422),
        ("/api/nothing", {}, 404),
    ],
)
def test_what_cannot_be_done_is_one_error_and_changes_nothing(classes, project, path, body, status):
    before = project.revision
    answer = classes.post(path, json=body)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert project.revision == before


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 100_000, b"\xff"])
def test_what_is_no_json_object_is_refused(classes, body):
    assert classes.post("/api/classes", content=body).status_code == 400


def test_what_is_no_form_of_files_is_refused(classes):
    path = "/api/classes/1/images"
    kinds = {"content-type": "multipart/form-data; boundary=x"}
    assert classes.post(path, content=png(1)).status_code == 415
    assert classes.post(path, content=b"--x", headers=kinds).status_code == 400
    assert classes.post(path, content=b"--x--\r\n", headers=kinds).status_code == 400
    gzip = kinds | {"content-encoding": "gzip"}
    assert classes.post(path, content=b"x", headers=gzip).status_code == 415


class TestLimits:
    @pytest.fixture
    def project(self, tmp_path):
        settings = StudioSettings(
            max_body_bytes=5000, max_images_a_request=2, max_images_a_class=3, max_pixels=1000
        )
        with Project(tmp_path / "project", settings) as project:
            yield project

    def test_of_bytes(self, classes):
        answer = upload(classes, "/api/classes/1/images", ("a.png", bytes(6000)))
        assert answer.status_code == 413

        def endless():
            for _ in range(100):
                yield bytes(1000)

        kinds = {"content-type": "multipart/form-data; boundary=x"}
        answer = classes.post("/api/classes/1/images", content=endless(), headers=kinds)
        assert answer.status_code == 413

    def test_of_images_a_request(self, classes, project):
        files = [(f"{k}.png", png(k)) for k in range(3)]
        assert upload(classes, "/api/classes/1/images", *files).status_code == 413
        assert project.state.images == {}

    def test_of_images_a_class(self, classes):
        for start in (0, 2):
            files = [(f"{k}.png", png(k)) for k in (start, start + 1)]
            content = upload(classes, "/api/classes/1/images", *files).json()
        assert len(content["added"]) == 1
        assert "3 images at most" in content["refused"][0]["reason"]

    def test_of_pixels(self, classes):
        content = upload(classes, "/api/classes/1/images", ("a.png", png(1, size=32))).json()
        assert "pixels" in content["refused"][0]["reason"]


def test_there_is_nothing_to_download_before_it_is_saved(client):
    assert client.get("/api/model.zip").status_code == 404
    assert client.get("/api/classifier.onnx").status_code == 404
