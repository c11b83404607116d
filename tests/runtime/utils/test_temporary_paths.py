import subprocess
import sys
from pathlib import Path

import pytest

from keras_cmm_runtime.utils import temporary_in
from keras_cmm_runtime.utils.temporary_paths import remove_abandoned

pytest.importorskip("fcntl")

ABANDONED = (".keras-cmm-1.tmp", ".keras-cmm-2.tmp")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def abandoned(tmp_path):
    (tmp_path / ABANDONED[0]).mkdir()
    (tmp_path / ABANDONED[0] / "weights").touch()
    (tmp_path / ABANDONED[1]).touch()
    return tmp_path


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_what_a_killed_process_left_goes_at_the_next_start(abandoned, make):
    (abandoned / "photo.png").touch()
    with temporary_in(abandoned, make) as path:
        assert names(abandoned) == [path.name, "photo.png"]
    assert names(abandoned) == ["photo.png"]


def test_what_another_process_is_writing_stays(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from keras_cmm_runtime.utils.temporary_paths import *\n"
        "with temporary_in(Path(sys.argv[1]), Path.mkdir) as path:\n"
        "    print(path.name, flush=True); sys.stdin.read(1)\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with other:
        name = other.stdout.readline().strip()
        remove_abandoned(tmp_path)
        assert names(tmp_path) == [name]
        other.kill()
    remove_abandoned(tmp_path)
    assert names(tmp_path) == []


def test_a_link_is_removed_and_not_followed(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "0.png").touch()
    (tmp_path / ABANDONED[0]).symlink_to(tmp_path / "photos")
    remove_abandoned(tmp_path)
    assert (tmp_path / "photos" / "0.png").exists()
