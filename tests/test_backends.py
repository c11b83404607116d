"""The tests marked `backend_neutral` on the backends that this run does not use."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).parent.parent
OTHERS = sorted({"torch", "jax", "tensorflow"} - {keras.backend.backend()})

# One process for both: importing a backend is slow. The project's own options would collect the
# doctests of everything.
RUN = """
import sys, pytest
options = ["-q", "-o", "addopts=", "-p", "no:cacheprovider"]
marked = ["-m", "backend_neutral", "--ignore=tests/test_backends.py", "tests"]
doctests = ["--doctest-modules", "keras_cmm/layers", "keras_cmm/losses"]
sys.exit(pytest.main([*options, *marked]) or pytest.main([*options, *doctests]))
"""


@pytest.mark.parametrize("backend", OTHERS)
def test_on_backend(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    result = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    passed = re.findall(r"^(\d+) passed", result.stdout, re.MULTILINE)
    assert len(passed) == 2, output
