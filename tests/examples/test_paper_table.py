import importlib
import json
import shutil
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest
from click.testing import CliRunner
from coop_miniatures import tiny_jpeg, write_miniature

from keras_cmm.data import BENCHMARKS


@pytest.fixture
def examples(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")


@pytest.fixture
def table(examples):
    return importlib.import_module("paper_table")


@pytest.fixture
def estimate(examples):
    return importlib.import_module("paper_estimate")


def write_pictures(data_dir, name):
    folder = write_miniature(BENCHMARKS[name], data_dir, images=2)
    for number, path in enumerate(sorted(folder.rglob("*.jp*g"))):
        path.write_bytes(tiny_jpeg(number))


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.glob("*/coop/**/*.json")}


def test_the_eleven_data_sets_are_the_default(table):
    assert len(table.DATASETS) == 11
    assert "imagenet" in table.DATASETS
    assert "imagenetv2" not in table.DATASETS


def test_one_command_makes_the_table_and_goes_on(table, tiny_preset, tmp_path):
    data_dir, output = tmp_path / "data", tmp_path / "paper"
    write_pictures(data_dir, "eurosat")
    presets = [tmp_path / "first", tmp_path / "second"]
    for preset in presets:
        shutil.copytree(tiny_preset, preset)

    def invoke():
        arguments = [str(data_dir), "--output", str(output), "--datasets", "eurosat,oxford_pets"]
        arguments += ["--presets", ",".join(map(str, presets)), "--shots", "1,2", "--seeds", "1,2"]
        arguments += ["--methods", "zero_shot,nearest_mean"]
        return CliRunner().invoke(table.main, arguments)

    first = invoke()
    assert first.exit_code == 2
    assert "oxford_pets" in first.stderr
    for preset in presets:
        line = f"{preset}: 1 of 2 data sets are in the average. Missing: oxford_pets."
        assert line in first.stdout
    before = stamps(output)
    assert len(before) == 2 * 5  # Two backbones; zero-shot, and nearest mean at 2 shots x 2 seeds.

    write_pictures(data_dir, "oxford_pets")
    lost = next(path for path in before if path.match("second/*/*/*/nearest_mean/shots_2-seed_2*"))
    lost.unlink()
    second = invoke()
    assert second.exit_code == 0, second.stderr
    after = stamps(output)
    assert len(after) == 2 * 2 * 5
    assert {path for path in before if after[path] != before[path]} == {lost}
    for preset in presets:
        assert f"{preset}: 2 of 2 data sets are in the average.\n" in second.stdout
        runs = [json.loads(path.read_text()) for path in (output / preset.name).rglob("*.json")]
        by_seed = [
            fmean(
                run["top1"]
                for run in runs
                if (run["method"], run["shots"], run["seed"]) == ("nearest_mean", 1, seed)
            )
            for seed in (1, 2)
        ]
        shown = second.stdout.split(f"average of oxford_pets, eurosat ({preset.name},")[-1]
        row = next(line for line in shown.splitlines() if line.startswith("| nearest_mean"))
        assert row.split(" | ")[2] == f"{fmean(by_seed):.1f} ± {stdev(by_seed):.1f}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--datasets", "mnist"], "--datasets must be among imagenet, caltech101"),
        ([], "give DATA_DIR and --output, or --estimate."),
        ([".", "--output", "out", "--presets", "a/b,c/b"], "the last parts of --presets must"),
    ],
)
def test_options_that_cannot_be_used(table, arguments, message):
    result = CliRunner().invoke(table.main, arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_the_images_are_those_for_testing_and_those_that_are_drawn(estimate):
    # 50 images of each of 1,000 classes; 3 draws of 16 and of 4, both from the train images.
    assert estimate.images_of(BENCHMARKS["imagenet"], [1, 16], 3) == 50_000 + 60 * 1000
    # OxfordFlowers has 4,093 images to train on, fewer than 3 x 16 of each of 102 classes.
    assert estimate.images_of(BENCHMARKS["oxford_flowers"], [16], 3) == 2463 + 4093 + 102 * 12
    assert estimate.images_of(BENCHMARKS["dtd"], [1], 2) == 1692 + 47 * 2 + 47 * 2


def test_seconds_are_extended_by_what_they_are_made_of(estimate):
    points = [(10, 1), (10, 16), (50, 4), (100, 1), (100, 16), (200, 8)]
    seconds = [0.1 + 2e-4 * classes * classes * shots for classes, shots in points]
    found = estimate.shares(points, seconds)
    expected = 0.1 + 2e-4 * 1000 * 16_000
    assert found @ estimate.features(1000, 16) == pytest.approx(expected, rel=1e-3)
    solved = [1e-10 * (classes * shots) ** 3 for classes, shots in points]
    found = estimate.shares(points, solved, cubic=True)
    assert found @ estimate.features(1000, 16) == pytest.approx(1e-10 * 16_000**3, rel=1e-3)
    # No time gets shorter with more images, whatever noise was measured.
    assert (estimate.shares(points, seconds[::-1]) >= 0).all()


def test_methods_are_timed(estimate):
    timed = estimate.time_methods(["zero_shot", "nearest_mean"], 16, [(4, 1), (6, 2)])
    assert list(timed) == ["zero_shot", "nearest_mean"]
    assert timed["nearest_mean"].score @ estimate.features(6, 2) > 0


def test_the_hours_are_added_up(estimate, monkeypatch, capsys):
    rates = [("ViT-B/16", 10.0), ("RN50", 20.0), ("read", 5.0)]
    constant = estimate.Seconds(np.array([36.0, 0, 0, 0, 0]), np.zeros(5))
    monkeypatch.setattr(estimate, "time_towers", lambda *_: iter(rates))
    monkeypatch.setattr(estimate, "time_methods", lambda *_: {"gda": constant})
    monkeypatch.setattr(estimate.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    work = estimate.Work([BENCHMARKS["eurosat"]], ["gda"], [1, 2], 5)
    estimate.print_estimate(work, 4, [1000.0, 2.0], 32)
    lines = capsys.readouterr().out.splitlines()
    images = 8100 + 10 * 10 + 10 * 10
    # Two cores did 10 and 20 images a second, so four do 20 and 40. Four cores read 20 a second.
    hours = [images / rate / 3600 for rate in (20, 40, 20, 2)] + [10 * 36 / 3600] * 2
    cells = " | ".join(f"{each:.2f}" for each in hours)
    assert f"| all | {images:,} | {cells} |" in lines
    assert lines[-1] == f"on one GPU with 4 cores: {sum(hours[2:]):.1f} hours"
