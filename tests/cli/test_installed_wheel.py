"""The command as users have it: from a wheel, in processes of its own, outside the checkout."""

import importlib.util
import json
import os
import subprocess
import sys
import time

import pytest
from paths import PROJECT


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Runs Python with the wheel before everything else on its path."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling, which builds the wheel, is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    site = folder / "site"
    build = ["hatchling", "build", "-t", "wheel", "-d", folder]
    install = ["pip", "install", "--no-deps", "--no-index", "-f", folder, "-t", site, "keras-cmm"]
    for command in (build, install):
        subprocess.run(
            [sys.executable, "-m", *map(str, command)], cwd=PROJECT, check=True, capture_output=True
        )

    def run(*arguments):
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(site), "KERAS_BACKEND": "torch"},
            capture_output=True,
            text=True,
            check=True,
        )

    run.script = site / "bin" / "keras-cmm"
    return run


def test_help_is_quick_and_imports_no_keras(installed):
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        text = installed(installed.script, "--help").stdout
        seconds.append(time.perf_counter() - start)
    assert text.startswith("Usage: keras-cmm ")
    assert min(seconds) < 0.5
    imported = installed("-X", "importtime", installed.script, "--help").stderr
    modules = {line.rpartition("|")[2].strip() for line in imported.splitlines()}
    assert "keras_cmm_cli.main" in modules
    assert not modules & {"keras", "keras_cmm", "keras_hub", "tensorflow", "torch", "numpy"}


def test_a_saved_model_predicts_the_same_in_a_new_process(installed, model_dir, shared_photos):
    from keras_cmm_cli.saved_model import load_classifier

    files = [shared_photos / "red_fox" / "0.png", shared_photos / "Blue Jay" / "1.png"]
    expected = load_classifier(model_dir).classify(files)
    options = ("--format", "json", "--engine", "keras")
    result = installed(installed.script, "predict", model_dir, *files, *options)
    assert result.stderr == ""
    found = [
        [(each["class"], each["probability"]) for each in entry["predictions"]]
        for entry in json.loads(result.stdout)
    ]
    assert found == expected
