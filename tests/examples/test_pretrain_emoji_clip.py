"""The script that made `emoji_clip_tiny`, on pictures of noise and without its packages."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from paths import EXAMPLES

pytest.importorskip("tokenizers")


@pytest.fixture(autouse=True)
def _on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)


@pytest.fixture
def run(tmp_path):
    from pretrain_emoji_clip.commands import main

    def run_command(*arguments):
        threads = torch.get_num_threads()
        result = CliRunner().invoke(main, ["--dir", str(tmp_path), *map(str, arguments)])
        torch.set_num_threads(threads)
        assert result.exit_code == 0, result.output
        return result.output

    return run_command


@pytest.mark.parametrize("command", ["download", "render", "train", "export", "evaluate"])
def test_help(command, run):
    assert command in run("--help")
    assert f"Usage: main {command}" in run(command, "--help")


@pytest.mark.parametrize(
    ("hexcode", "role"),
    [
        ("1F468-1F3FD-200D-1F373", "1F9D1-200D-1F373"),  # a man of a skin tone who cooks
        ("1F3C4-1F3FB-200D-2640-FE0F", "1F3C4"),  # a woman who surfs
        ("1F468-200D-1F469-200D-1F466", "1F46A"),  # a family
        ("1F469-200D-2764-FE0F-200D-1F468", "1F491"),  # a couple with a heart
    ],
)
def test_pictures_of_one_concept_have_one_code(hexcode, role):
    from pretrain_emoji_clip.names import role_of

    assert role_of(hexcode) == role


def test_names_lose_their_gender():
    from pretrain_emoji_clip.names import without_gender

    assert without_gender("woman surfing") == ["surfing", "person surfing"]
    assert without_gender("man artist") == ["artist"]
    assert without_gender("artist") == []


def write_pictures(folder):
    """Writes what `render` would: 2 pictures of each of 12 concepts."""
    from pretrain_emoji_clip.names import Role
    from pretrain_emoji_clip.rendering import Record

    roles = [
        Role(f"role {number}", people=number < 6, names=[f"name {number}"], tags=["thing", "emoji"])
        for number in range(12)
    ]
    records = [
        Record(vendor, role.code, tone="dark") for role in roles for vendor in ("noto", "fxemoji")
    ]
    pixels = np.random.default_rng(0).integers(0, 256, (len(records), 64, 64, 4), dtype=np.uint8)
    np.save(folder / "pictures.npy", pixels)
    data = {"records": list(map(asdict, records)), "roles": list(map(asdict, roles))}
    (folder / "pictures.json").write_text(json.dumps(data))


def test_training_resumes_and_its_preset_loads(run, tmp_path):
    from keras_hub.models import CLIPBackbone

    write_pictures(tmp_path)
    small = ["batch=8", "depth=1", "text_depth=1", "merges=20"]
    log = run("train", "--steps", 1, *[word for one in small for word in ("--set", one)])
    assert "start at step 0: 20 pictures, 12 concepts (6 of people), 4 for validation" in log
    assert "stopped at step 1 of 1; zero-shot top-1/top-5: all" in log
    log = run("train", "--resume", "--steps", 2)
    assert "resume at step 1" in log
    assert "stopped at step 2 of 2" in log
    run("export", "--preset", tmp_path / "preset")
    backbone = CLIPBackbone.from_preset(str(tmp_path / "preset"))
    weights = torch.load(tmp_path / "emoji_clip_tiny.pt", weights_only=False)["ema"]
    for variable in backbone.trainable_variables:
        expected = weights[variable.path].half().float()
        torch.testing.assert_close(variable.value.detach(), expected)
