"""keras-cmm-runtime, from its wheel, in processes that have what it asks for and nothing else."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution

import pytest
from packaging.requirements import Requirement
from paths import PROJECT


def requirements(name):
    """Yields the names of what a distribution requires here, without its extras."""
    for line in distribution(name).requires or []:
        required = Requirement(line)
        if required.marker is None or required.marker.evaluate({"extra": ""}):
            yield required.name


def link_distribution(name, folder, seen):
    """Links the files of an installed distribution and of what it requires into a folder."""
    if name.lower() in seen:
        return
    seen.add(name.lower())
    tops = {file.parts[0] for file in distribution(name).files or () if file.parts[0] != ".."}
    for top in tops - {"__pycache__"}:
        source = distribution(name).locate_file(top)
        if not (folder / top).exists() and source.exists():
            (folder / top).symlink_to(source)
    for required in requirements(name):
        link_distribution(required, folder, seen)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Runs Python with the wheel and its requirements, and nothing of this environment."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling, which builds the wheel, is not installed")
    folder = tmp_path_factory.mktemp("runtime")
    site, links = folder / "site", folder / "links"
    links.mkdir()
    build = ["hatchling", "build", "-t", "wheel", "-d", folder]
    install = ["pip", "install", "--no-deps", "--no-index", "-f", folder, "-t", site]
    for command, place in (
        (build, PROJECT / "runtime"),
        ([*install, "keras-cmm-runtime"], PROJECT),
    ):
        subprocess.run(
            [sys.executable, "-m", *map(str, command)], cwd=place, check=True, capture_output=True
        )
    (metadata,) = site.glob("keras_cmm_runtime-*.dist-info/METADATA")
    required = [
        re.match(r"Requires-Dist: ([\w.-]+)", line)[1]
        for line in metadata.read_text().splitlines()
        if line.startswith("Requires-Dist: ") and "extra ==" not in line
    ]
    seen = set()
    for name in required:
        link_distribution(name, links, seen)

    def run(*arguments, check=True):
        # -S: without the environment's own packages.
        return subprocess.run(
            [sys.executable, "-S", *map(str, arguments)],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{links}"},
            capture_output=True,
            text=True,
            check=check,
        )

    run.script = site / "bin" / "keras-cmm"
    run.required = sorted(required)
    run.site = site
    return run


def test_what_is_in_it(installed):
    assert installed.required == ["click", "numpy", "onnxruntime", "pillow", "rich"]
    packages = {path.name for path in installed.site.iterdir() if "dist-info" not in path.name}
    assert packages == {"bin", "keras_cmm_cli", "keras_cmm_runtime"}
    assert (installed.site / "keras_cmm_runtime" / "LICENSE").is_file()
    found = installed("-c", "import importlib.util as u; print(u.find_spec('torch'))")
    assert found.stdout == "None\n"


def test_it_predicts_and_evaluates(installed, run, model_dir, shared_photos, tmp_path):
    deployed = tmp_path / "deployed"
    deployed.mkdir()
    for name in ("classifier.onnx", "keras_cmm.json"):
        shutil.copy(model_dir / name, deployed)
    for command in ("predict", "evaluate"):
        options = (shared_photos, "--format", "json")
        result = installed(installed.script, command, deployed, *options)
        assert json.loads(result.stdout) == json.loads(run(command, model_dir, *options).stdout)
    assert "keras-cmm-runtime, version " in installed(installed.script, "--version").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("demo",),
        ("fit", ".", "--preset", "emoji_clip_tiny", "--output", "model"),
        ("store",),
        ("datasets", "list"),
    ],
)
def test_commands_that_need_keras_say_so(installed, arguments):
    result = installed(installed.script, *arguments, check=False)
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: {arguments[0]} needs Keras, which keras-cmm-runtime leaves out")


def test_the_other_engine_needs_keras(installed, model_dir, shared_photos):
    arguments = ("predict", model_dir, shared_photos, "--engine", "keras", "--no-store")
    result = installed(installed.script, *arguments, check=False)
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: this needs Keras")


def test_models_of_the_hub_need_its_package(installed, shared_photos):
    found = installed(installed.script, "predict", "hf://ada/pets", shared_photos, check=False)
    (line,) = found.stderr.splitlines()
    assert line.endswith("install it by `pip install 'keras-cmm-runtime[hub]'`.")
