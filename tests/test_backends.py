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
import os, sys, pytest
options = ["-q", "-o", "addopts=", "-p", "no:cacheprovider"]
marked = ["-m", "backend_neutral", *sys.argv[1:]]
doctests = ["--doctest-modules", "keras_cmm/layers", "keras_cmm/losses"]
code = pytest.main([*options, *marked]) or pytest.main([*options, *doctests])
sys.stdout.flush()
# Threads of TensorFlow may wait for each other for ever when Python ends in the usual way.
os._exit(code)
"""

# Importing the other tests would take half a minute.
MARKED_FILES = sorted(
    str(path)
    for path in (ROOT / "tests").rglob("test_*.py")
    if path != Path(__file__) and "mark.backend_neutral" in path.read_text(encoding="utf-8")
)

# Most of JAX's time goes into compiling small functions anew for each test, which run once.
FAST_COMPILATION = {
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


@pytest.mark.parametrize("backend", OTHERS)
def test_on_backend(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    result = subprocess.run(
        [sys.executable, "-c", RUN, *MARKED_FILES],
        cwd=ROOT,
        env=os.environ
        | FAST_COMPILATION
        | {"KERAS_BACKEND": backend, "JAX_COMPILATION_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    passed = re.findall(r"^(\d+) passed", result.stdout, re.MULTILINE)
    assert len(passed) == 2, output
