"""Every Python block of README runs, in order, with the names that its prose takes for granted."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    paths = []
    for number in range(6):
        paths.append(f"{number}.png")
        Image.fromarray(rng.integers(0, 256, (70, 64, 3), "uint8")).save(paths[-1])
    return {
        "train_paths": paths,
        "train_labels": ["artist", "cook", "judge"] * 2,
        "test_paths": paths[:2],
        "text_embeddings": rng.normal(size=(3, 16)).astype("float32"),
        "image_embeddings": rng.normal(size=(12, 16)).astype("float32"),
        "labels": np.arange(12) % 3,
        "dim": 16,
    }


def test_there_are_blocks():
    assert len(BLOCKS) == 3


def test_blocks_run(names):
    for number, block in enumerate(BLOCKS):
        exec(compile(block, f"README block {number}", "exec"), names)
