"""The Dockerfile: it cannot be built here, but what it says must fit the project."""

import json
import re
import tomllib

from paths import PROJECT

from keras_cmm_cli.commands.serve import serve


def instruction(name):
    text = (PROJECT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.partition(" ")[2] for line in text.splitlines() if line.startswith(name + " ")]


def test_its_packages_are_pinned_and_hold_all_of_the_extra():
    command = instruction("RUN")[0].partition("&&")[0]
    packages = set(command.partition("constraints.txt")[2].split())
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = {re.match(r"[\w-]+", each)[0] for each in project["optional-dependencies"]["serve"]}
    assert extra < packages
    assert packages - extra == {"click", "numpy", "onnxruntime", "pillow", "rich"}
    pinned = (PROJECT / "constraints.txt").read_text(encoding="utf-8")
    assert all(f"\n{each}==" in pinned for each in packages)


def test_its_command_is_one_of_ours():
    (entry,) = map(json.loads, instruction("ENTRYPOINT"))
    assert entry[:3] == ["keras-cmm", "serve", "/model"]
    known = {option for parameter in serve.params for option in parameter.opts}
    assert entry[3:] == ["--host", "0.0.0.0"]
    assert "--host" in known


def test_it_copies_what_the_ignore_file_lets_in():
    (copied,) = instruction("COPY")
    assert copied.split() == ["constraints.txt", "dist/keras_cmm-*.whl", "/tmp/"]
    ignored = (PROJECT / ".dockerignore").read_text(encoding="utf-8").split()
    assert ignored == ["*", "!constraints.txt", "!dist/*.whl"]
