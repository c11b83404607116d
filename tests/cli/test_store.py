"""The store that the commands share, and `keras-cmm store`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from folders import files_in, truncate_as_jpeg

from keras_cmm_cli.store import default_folder
from keras_cmm_runtime.images import image_reading


@pytest.fixture
def fit(run, shared_photos, tiny_preset, tmp_path):
    def fit(name, *arguments):
        output = tmp_path / name
        result = run(
            "fit", shared_photos, "--preset", tiny_preset, "--shots", 2, "--epochs", 1,
            "--output", output, *arguments,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        return result, output

    return fit


def test_commands_share_one_store(run, fit, shared_photos, tiny_preset, home, tmp_path):
    first, model = fit("first")
    assert "taken from the store" not in first.stderr
    again, _ = fit("again")
    assert "\n6 of 6 embeddings taken from the store.\n" in again.stderr
    predict = ("predict", shared_photos, "--format", "json", "--no-store")
    assert run(predict[0], model, *predict[1:]).stdout == (
        run(predict[0], tmp_path / "again", *predict[1:]).stdout
    )

    result = run("evaluate", model, shared_photos, "--engine", "keras")
    assert "6 of 18 embeddings taken from the store." in result.stderr
    result = run("predict", model, shared_photos, "--engine", "keras")
    assert result.stderr == "18 of 18 embeddings taken from the store.\n"
    assert run("predict", model, shared_photos, "--quiet").stderr == ""
    output = tmp_path / "photos.safetensors"
    result = run("embed", shared_photos, "--preset", tiny_preset, "--output", output)
    assert result.stderr.count("9 of 9 embeddings taken from the store.") == 2
    assert (home / "embeddings").is_dir()

    result = run("store")
    assert result.stdout.startswith(f"{home / 'embeddings'}: 18 embeddings by 1 model, 0.0 MB")
    result = run("store", "--clear")
    assert f"{home / 'embeddings'}: removed 18 embeddings" in result.stdout
    assert "0 embeddings by 0 models" in run("store").stdout


def test_what_the_store_has_is_not_decoded(run, photos, tiny_preset, tmp_path, monkeypatch):
    broken = truncate_as_jpeg(photos / "green tea" / "2.png")
    decoded = []

    def decode(data, name):
        decoded.append(name)
        return read(data, name)

    read = image_reading.decode
    monkeypatch.setattr(image_reading, "decode", decode)
    command = ("fit", photos, "--preset", tiny_preset, "--shots", "all", "--epochs", 1, "--output")
    first = run(*command, tmp_path / "first")
    assert set(decoded) == {str(path) for path in photos.rglob("*.*")}
    decoded.clear()
    again = run(*command, tmp_path / "again")
    assert decoded == [str(broken)]
    warnings = [line for line in again.stderr.splitlines() if line.startswith("Warning: ")]
    assert warnings == [line for line in first.stderr.splitlines() if line.startswith("Warning: ")]
    assert len(warnings) == 1
    assert f"left out: {broken}: " in warnings[0]


def test_without_a_store(fit, home):
    for name in ("first", "again"):
        result, _ = fit(name, "--no-store")
        assert "store" not in result.stderr
    assert files_in(home) == []


def test_a_store_of_ones_own(run, fit, home, tmp_path):
    fit("first", "--store", tmp_path / "mine")
    result, _ = fit("again", "--store", tmp_path / "mine")
    assert "6 of 6 embeddings taken from the store." in result.stderr
    assert "6 embeddings by 1 model" in run("store", "--store", tmp_path / "mine").stdout
    assert files_in(home) == []


def test_refuses_a_store_and_none(refused, shared_photos, tmp_path):
    error = refused(
        "embed", shared_photos, "--preset", "p", "--output", tmp_path / "o", "--no-store",
        "--store", tmp_path,
    )  # fmt: skip
    assert "--store and --no-store exclude each other" in error


def test_a_damaged_store_is_one_line(refused, run, fit, shared_photos, tmp_path):
    _, model = fit("first", "--store", tmp_path / "mine")
    next((tmp_path / "mine").glob("*/manifest.json")).write_text("{")
    assert "manifest.json: is damaged" in refused(
        "predict", model, shared_photos, "--store", tmp_path / "mine"
    )
    assert "manifest.json: is damaged" in refused("store", "--store", tmp_path / "mine")


def test_a_folder_that_cannot_be_used(refused, shared_photos, tiny_preset, tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.touch()
    command = ("embed", shared_photos, "--preset", tiny_preset, "--output", tmp_path / "o")
    advice = "cannot be read (Not a directory); give --store DIR or --no-store."
    assert refused(*command, "--store", file / "store").endswith(advice)
    monkeypatch.setenv("KERAS_CMM_HOME", str(file))
    assert refused(*command).endswith(advice)


def test_the_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_CMM_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "embeddings"
    monkeypatch.delenv("KERAS_CMM_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    if sys.platform == "linux":
        assert default_folder() == tmp_path / "caches" / "keras-cmm" / "embeddings"
    assert default_folder().is_relative_to(Path.home()) or sys.platform == "linux"


def test_killed_while_embedding(run, shared_photos, tiny_preset, tmp_path):
    """The command itself: what it had committed is taken up by the next."""
    script = (
        "import os, signal\n"
        "from keras_cmm_runtime.embeddings import embedding_space as module\n"
        "append = module.EmbeddingSpace.append\n"
        "def append_and_die(*arguments):\n"
        "    append(*arguments)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "module.EmbeddingSpace.append = append_and_die\n"
        "from keras_cmm_cli.main import main\n"
        "main()\n"
    )
    output, store = tmp_path / "photos.safetensors", tmp_path / "store"
    arguments = ["embed", shared_photos, "--preset", tiny_preset, "--output", output]
    killed = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments), "--store", str(store)],
        capture_output=True,
        env=os.environ | {"KERAS_BACKEND": "torch"},
    )
    assert killed.returncode < 0
    assert not output.exists()
    result = run(*arguments, "--store", store)
    assert result.stderr.count("9 of 9 embeddings taken from the store.") == 1
    kept = output.read_bytes()
    assert run(*arguments, "--no-store", "--overwrite").exit_code == 0
    # The notes have the command line; the arrays are the same.
    from keras_cmm.data import EmbeddingSet

    without = EmbeddingSet.read(output)
    (tmp_path / "kept.safetensors").write_bytes(kept)
    with_store = EmbeddingSet.read(tmp_path / "kept.safetensors")
    for name in ("train_embeddings", "test_embeddings"):
        assert getattr(with_store, name).tobytes() == getattr(without, name).tobytes()
