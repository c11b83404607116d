import json

import pytest

from keras_cmm import InputError
from keras_cmm_runtime.utils import (
    DIGESTS_FILE,
    adding_files,
    check_digests,
    foreign_files,
    read_digests,
    write_digests,
)


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "assets" / "tokenizer").mkdir(parents=True)
    for name in ("config.json", "task.weights.h5", "assets/tokenizer/merges.txt", "README.md"):
        (folder / name).write_text(name)
    write_digests(folder, {"command": "fit"})
    return folder


def test_a_whole_folder_passes(model):
    check_digests(model)
    assert foreign_files(model) == []
    assert json.loads((model / DIGESTS_FILE).read_text())["command"] == "fit"


@pytest.mark.parametrize("name", ["config.json", "task.weights.h5", "assets/tokenizer/merges.txt"])
def test_what_answers_depend_on_must_be_whole(model, name):
    (model / name).write_text(name[:-1] + "?")
    with pytest.raises(InputError, match="has changed since it was written; copy the folder"):
        check_digests(model)
    assert foreign_files(model) == [name]
    (model / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: is missing; copy the folder .* anew"):
        check_digests(model)


def test_a_user_may_edit_the_readme_which_is_then_his(model):
    (model / "README.md").write_text("my edits")
    check_digests(model)
    assert foreign_files(model) == ["README.md"]


def test_an_edited_record_is_the_users(model):
    record = json.loads((model / DIGESTS_FILE).read_text())
    (model / DIGESTS_FILE).write_text(json.dumps(record | {"command": "a secret"}))
    check_digests(model)
    assert foreign_files(model) == [DIGESTS_FILE]


def test_files_links_and_folders_of_a_user_are_found_at_any_depth(model, tmp_path):
    (model / "assets" / "my_notes.txt").write_text("precious")
    (model / "assets" / "photos").mkdir()
    (model / "photos").symlink_to(tmp_path)
    (model / "config.json").unlink()
    (model / "config.json").symlink_to("README.md")
    assert foreign_files(model) == [
        "assets/my_notes.txt",
        "assets/photos/",
        "config.json",
        "photos",
    ]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"digests": [1]}', "[" * 100_000])
def test_without_a_record_no_file_is_ours(model, content):
    (model / DIGESTS_FILE).write_text(content)
    names = ["README.md", "assets/tokenizer/merges.txt", "config.json", DIGESTS_FILE]
    assert foreign_files(model) == [*names, "task.weights.h5"]


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b", ""])
def test_a_record_cannot_name_files_elsewhere(model, name):
    (model / DIGESTS_FILE).write_text(json.dumps({"digests": {name: "0" * 64}}))
    with pytest.raises(InputError, match="has no list of files; it is damaged"):
        check_digests(model)


def test_folders_of_other_programs_and_earlier_versions_pass(model):
    for content in ("{}", '{"format": "keras-cmm-run/1", "files": ["config.json"]}'):
        (model / DIGESTS_FILE).write_text(content)
        assert read_digests(model) is None
        check_digests(model)
    (model / DIGESTS_FILE).unlink()
    check_digests(model)


def add(folder, files):
    with adding_files(folder) as temporary:
        for name, text in files.items():
            (temporary / name).parent.mkdir(exist_ok=True)
            (temporary / name).write_text(text)


def test_added_files_join_those_of_the_user(tmp_path):
    folder = tmp_path / "model"
    add(folder, {"model.weights.json": "1", "model_0.weights.h5": "1", "config.json": "1"})
    (folder / "notes.txt").write_text("mine")
    (folder / "my.weights.h5").write_text("mine")
    add(folder, {"model.weights.h5": "2", "config.json": "2", "assets/merges.txt": "2"})
    check_digests(folder)
    assert foreign_files(folder) == ["my.weights.h5", "notes.txt"]
    # keras-hub would look for shards beside, or prefer one file to them.
    assert not list(folder.glob("model_*")) + list(folder.glob("*.weights.json"))
    assert (folder / "config.json").read_text() == "2"


def test_a_save_that_fails_leaves_the_last_one(tmp_path):
    add(tmp_path, {"config.json": "1"})

    def fail():
        with adding_files(tmp_path) as temporary:
            (temporary / "config.json").write_text("2")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    check_digests(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", DIGESTS_FILE]
