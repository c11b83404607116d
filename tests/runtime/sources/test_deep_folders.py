"""Folders nested as deep as a system allows are read in seconds, and without recursion."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from refusals import refusal

from keras_cmm.data import find_images, open_images


@pytest.mark.skipif(os.name != "posix", reason="other systems have shorter paths")
@pytest.mark.parametrize("depth", [1500, 2500])
def test_deep_folders(tmp_path, depth):
    before = os.getcwd()  # noqa: PTH109
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        os.chdir(tmp_path / name)
        (tmp_path / name / "1.png").touch()
        for _ in range(depth):
            os.mkdir("d")  # noqa: PTH102, a path of this length cannot be given at once
            os.chdir("d")
        Path("2.png").touch()
    os.chdir(before)
    start = time.monotonic()
    try:
        for read in (open_images, lambda path: find_images([path])):
            if depth == 1500:
                assert len(read(tmp_path)) == 4
            else:
                assert "File name too long" in refusal(read, tmp_path)
        assert time.monotonic() - start < 60
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path)], check=True)  # shutil would recurse
