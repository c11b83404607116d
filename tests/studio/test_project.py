"""The project on disk: what is written, undone and found again."""

import json

import pytest
from PIL import Image
from studio_pictures import png

from keras_cmm_runtime.errors import InputError
from keras_cmm_studio.project import PROJECT_FILE, Project, fingerprint
from keras_cmm_studio.studio_settings import StudioSettings


def files_of(folder):
    return {
        path.relative_to(folder).as_posix()
        for name in ("images", "unlabelled", "removed")
        for path in (folder / name).rglob("*")
        if path.is_file()
    }


def content_of(project):
    """What a project says it holds: class names, and the class of each image's file."""
    state = project.state
    return state.class_names, {name: image.class_id for name, image in state.images.items()}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "project"


@pytest.fixture
def project(folder):
    with Project(folder) as project:
        project.add_classes(["red fox", "hen"])
        yield project


def test_the_bytes_of_an_image_are_kept_in_the_folder_of_its_class(project, folder):
    data = png(1)
    (name,), refused = project.add_images(1, [("IMG 1.png", data)])
    assert refused == []
    assert (folder / "images" / "red fox" / name).read_bytes() == data == project.read(name)
    assert project.state.images[name].original == "IMG 1.png"
    (other,), _ = project.add_images(None, [("x.png", png(2))])
    assert (folder / "unlabelled" / other).is_file()


def test_all_is_there_again_after_opening(project, folder):
    project.add_images(1, [("a.png", png(1)), ("b.png", png(2))])
    project.add_images(None, [("c.png", png(3))])
    project.rename_class(2, "cock")
    project.set_options(preset="tiny")
    before, print_before = content_of(project), fingerprint(project.state)
    project.close()
    with Project(folder) as again:
        assert content_of(again) == before
        assert fingerprint(again.state) == print_before
        assert again.options == {"preset": "tiny"}
        assert again.undo() == "renamed hen"
        assert again.state.class_names == ["red fox", "hen"]


def test_undo_and_redo_take_each_step_back_and_forth(project, folder):
    (first,), _ = project.add_images(1, [("a.png", png(1))])
    states = [content_of(project)]
    steps = [
        lambda: project.add_images(2, [("b.png", png(2))]),
        lambda: project.move_images([first], 2),
        lambda: project.rename_class(2, "cock"),
        lambda: project.remove_images([first]),
        lambda: project.remove_class(2),
    ]
    files = [files_of(folder)]
    for step in steps:
        step()
        states.append(content_of(project))
        files.append(files_of(folder))
    for number in reversed(range(len(steps))):
        project.undo()
        assert content_of(project) == states[number]
        placed = {path for path in files_of(folder) if not path.startswith("removed/")}
        assert placed == {path for path in files[number] if not path.startswith("removed/")}
    for number in range(len(steps)):
        project.redo()
        assert content_of(project) == states[number + 1]
    assert project.next_redo is None
    with pytest.raises(InputError, match="nothing to redo"):
        project.redo()


def test_a_new_step_forgets_what_was_undone_with_its_files(project, folder):
    project.add_images(1, [("a.png", png(1))])
    project.undo()
    assert len(files_of(folder)) == 1
    project.add_classes(["cow"])
    assert files_of(folder) == set()
    assert project.next_redo is None


def test_steps_before_the_last_ones_are_forgotten(tmp_path):
    with Project(tmp_path / "p", StudioSettings(max_steps=2)) as project:
        project.add_classes(["a", "b"])
        (name,), _ = project.add_images(1, [("a.png", png(1))])
        project.remove_images([name])
        assert len(files_of(tmp_path / "p")) == 1
        project.add_classes(["c"])
        project.add_classes(["d"])
        assert files_of(tmp_path / "p") == set()
        project.undo()
        project.undo()
        with pytest.raises(InputError, match="nothing to undo"):
            project.undo()


def test_what_cannot_be_read_is_refused_and_the_others_are_kept(project):
    names, refused = project.add_images(
        1, [("note.png", b"no picture"), ("cut.png", png(1)[:60]), ("whole.png", png(2))]
    )
    assert len(names) == 1
    assert [each["name"] for each in refused] == ["note.png", "cut.png"]
    assert "no known image format" in refused[0]["reason"]


def test_the_same_picture_has_one_class(project):
    project.add_images(1, [("a.png", png(1)), ("again.png", png(1))])
    names, refused = project.add_images(2, [("b.png", png(1))])
    assert names == []
    assert "in the class red fox already" in refused[0]["reason"]


def test_limits_of_images_and_classes(tmp_path):
    settings = StudioSettings(max_images_a_class=2, max_classes=2)
    with Project(tmp_path / "p", settings) as project:
        project.add_classes(["a", "b"])
        names, refused = project.add_images(1, [(f"{k}.png", png(k)) for k in range(3)])
        assert (len(names), len(refused)) == (2, 1)
        (other,), _ = project.add_images(2, [("x.png", png(7))])
        with pytest.raises(InputError, match="2 images at most"):
            project.move_images([other], 1)
        with pytest.raises(InputError, match="2 classes at most"):
            project.add_classes(["c"])


def test_pixels_are_limited(project, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    names, refused = project.add_images(1, [("large.png", png(1))])
    assert names == []
    assert "pixels" in refused[0]["reason"]


@pytest.mark.parametrize(
    "name", ["../../up", "/etc/passwd", "..", ".", "con", "a\\b", "<b>x</b>", "x" * 90, "C:fox"]
)
def test_a_class_name_is_data_and_never_a_path(tmp_path, name):
    with Project(tmp_path / "p") as project:
        project.add_classes(["a", name])
        (added,), _ = project.add_images(2, [("a.png", png(1))])
        assert project.state.class_names == ["a", name]
        assert (tmp_path / "p" / "images" / "class-2" / added).is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (" ", "blank"),
        ("x" * 101, "100 characters"),
        ("a\x00b", "can be shown"),
        ("Red  FOX", "already"),
    ],
)
def test_names_that_no_class_can_have(project, name, reason):
    before = content_of(project)
    with pytest.raises(InputError, match=reason):
        project.add_classes([name])
    assert content_of(project) == before


def test_files_are_brought_back_to_where_the_record_says(project, folder):
    (name,), _ = project.add_images(1, [("a.png", png(1))])
    project.move_images([name], 2)
    project.close()
    # As if killed between the record and the move, and with an upload that was not answered.
    (folder / "images" / "red fox").mkdir()
    (folder / "images" / "hen" / name).rename(folder / "images" / "red fox" / name)
    other = "0" * 32 + ".png"
    (folder / "images" / "red fox" / other).write_bytes(b"x")
    with Project(folder):
        assert files_of(folder) == {f"images/hen/{name}", f"removed/{other}"}


def test_images_that_a_user_deleted_leave_their_class(project, folder):
    (name,), _ = project.add_images(1, [("a.png", png(1))])
    project.close()
    (folder / "images" / "red fox" / name).unlink()
    with pytest.warns(UserWarning, match="gone from its folder"):
        again = Project(folder)
    with again:
        assert again.state.images == {}


def test_one_process_at_a_time(project, folder):
    with pytest.raises(InputError, match="open in another"):
        Project(folder)


def test_folders_of_others_are_refused(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(InputError, match="holds something else"):
        Project(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("classes"),
        lambda content: content["classes"][0].update(folder="../../up"),
        lambda content: content["images"][0].update(name="../../up"),
        lambda content: content["images"][0].update(class_id=9),
        lambda content: content.update(undo=[{"what": 1}]),
    ],
)
def test_a_damaged_record_is_told_and_left_as_it_is(project, folder, change):
    project.add_images(1, [("a.png", png(1))])
    project.close()
    content = json.loads((folder / PROJECT_FILE).read_text())
    change(content)
    (folder / PROJECT_FILE).write_text(json.dumps(content))
    with pytest.raises(InputError, match="is damaged"):
        Project(folder)
    assert json.loads((folder / PROJECT_FILE).read_text()) == content


def test_a_change_that_cannot_be_written_is_not_made(project, monkeypatch):
    def fail(path):
        raise OSError(28, "No space left on device")

    before = content_of(project)
    monkeypatch.setattr("keras_cmm_studio.project.replacing_durably", fail)
    with pytest.raises(InputError, match="No space left"):
        project.add_classes(["cow"])
    assert content_of(project) == before
