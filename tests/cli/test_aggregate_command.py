import csv
import json
import statistics

import pytest

from keras_cmm.evaluation import PUBLISHED_RESULTS
from keras_cmm.methods import METHODS
from keras_cmm.methods.transductive import TRANSDUCTIVE_METHODS
from keras_cmm_cli.runs_folder import RunsFolder, read_records
from keras_cmm_runtime.records import METHOD_NAMES

SETTING = {"protocol": "coop", "backbone": "ViT-B/16"}


def record(dataset, method, shots, seed, top1, **other):
    named = {"dataset": dataset, "method": method, "shots": shots, "seed": seed, "top1": top1}
    return SETTING | named | other


RECORDS = [
    *(record("dtd", "cmm", 16, seed, top1) for seed, top1 in ((1, 70.0), (2, 71.0), (3, 73.5))),
    *(record("eurosat", "cmm", 16, seed, top1) for seed, top1 in ((1, 85.0), (2, 87.0), (3, 88.0))),
    *(record("dtd", "cmm", 1, seed, 50.0 + seed) for seed in (1, 2, 3)),
    record("dtd", "zero_shot", 0, 0, 44.0),
    record("eurosat", "zero_shot", 0, 0, 48.0),
    record("dtd", "tip_adapter", 16, 1, 65.0),
]


@pytest.fixture
def runs(tmp_path):
    folder = RunsFolder(tmp_path / "runs")
    for each in RECORDS:
        folder.write(each)
    return folder.folder


def table_of(text, heading):
    """The lines of one table, as lists of cells."""
    lines = text.splitlines()
    start = next(row for row, line in enumerate(lines) if line.startswith(heading))
    body = lines[start + 3 : start + 3 + 3]
    rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in body]
    return {cells[0]: cells[1:] for cells in rows}


def test_the_table(run, runs):
    result = run("aggregate", runs)
    assert result.exit_code == 0
    assert result.stderr == ""
    dtd = table_of(result.stdout, "dtd (ViT-B/16, protocol coop)")
    values = [70.0, 71.0, 73.5]
    at_16 = f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"
    assert dtd["cmm"] == ["52.0 ± 1.0", at_16]
    assert dtd["zero_shot"] == ["44.0"]
    # One seed of three, and nothing at one shot.
    assert dtd["tip_adapter"] == ["-", "65.0 (1 of 3 seeds)"]
    average = table_of(result.stdout, "average of dtd, eurosat (")
    averages = [77.5, 79.0, 80.75]
    expected = f"{statistics.mean(averages):.1f} ± {statistics.stdev(averages):.1f}"
    # Eurosat has no run at one shot.
    assert average["cmm"] == ["-", expected]
    assert average["tip_adapter"] == ["-", "-"]
    assert "-: not run, or not on all data sets" in result.stdout


@pytest.mark.parametrize("style", ["table", "markdown", "latex"])
def test_published_results_are_marked(run, runs, style):
    text = run("aggregate", runs, "--format", style).stdout
    published = text[text.index("published by others, not run here") :]
    for result in PUBLISHED_RESULTS:
        (line,) = [
            each for each in published.splitlines() if f"{result.method} (published)" in each
        ]
        for value in (result.rn50, result.vit_b16):
            assert value is None or f"{value:.1f}" in line
        assert result.source in line
        assert result.protocol in line
    assert "published" not in run("aggregate", runs, "--format", style, "--no-published").stdout


def test_markdown(run, runs):
    lines = run("aggregate", runs, "--format", "markdown", "--no-published").stdout.splitlines()
    start = lines.index("**dtd (ViT-B/16, protocol coop)**")
    assert lines[start + 2] == "| top-1 % | 0 shots | 1 shot | 16 shots |"
    assert lines[start + 3] == "| --- | ---: | ---: | ---: |"
    assert "| zero_shot | 44.0 |  |  |" in lines


def test_latex(run, runs):
    text = run("aggregate", runs, "--format", "latex", "--no-published").stdout
    assert r"zero\_shot & 44.0 &  &  \\" in text
    assert r"52.0 $\pm$ 1.0" in text
    assert text.count(r"\begin{tabular}{lrrr}") == 3
    assert text.count(r"\begin{tabular}{lrrrl}") == 1  # the regret
    assert text.count(r"\end{tabular}") == 4
    assert r"top-1 \% &" in text


def test_csv(run, runs):
    rows = list(csv.DictReader(run("aggregate", runs, "--format", "csv").stdout.splitlines()))
    (cell,) = [
        row for row in rows
        if (row["dataset"], row["method"], row["shots"]) == ("average", "cmm", "16")
    ]  # fmt: skip
    assert float(cell["mean"]) == pytest.approx(statistics.mean([77.5, 79.0, 80.75]))
    assert float(cell["std"]) == pytest.approx(statistics.stdev([77.5, 79.0, 80.75]))
    published = [row for row in rows if row["kind"] == "published"]
    given = [value for result in PUBLISHED_RESULTS for value in result[1:3] if value is not None]
    assert [float(row["mean"]) for row in published] == given
    assert all(row["source"] and row["protocol"] for row in published)


def test_published_figures_are_those_that_are_known():
    """Section 3 of the notes on the method, once more."""
    known = {
        "zero-shot CLIP": (58.9, 65.4),
        "linear probe": (None, 78.4),
        "Tip-Adapter": (70.3, 76.4),
        "Tip-Adapter-F": (75.8, 81.2),
        "CLIP-Adapter": (74.4, 79.9),
        "LP++": (None, 80.3),
        "GDA": (76.1, 81.7),
        "APE-T": (77.3, None),
        "ProKeR": (None, 82.0),
        "TOGA": (None, 82.3),
        "CLIP-LoRA": (None, 82.9),
        "MPS-Tuning": (None, 86.9),
    }
    assert {each.method: (each.rn50, each.vit_b16) for each in PUBLISHED_RESULTS} == known


@pytest.mark.parametrize(
    ("field", "value"), [("protocol", "tfds"), ("protocol", "embeddings"), ("backbone", "RN50")]
)
@pytest.mark.parametrize("style", ["table", "csv"])
def test_mixtures_are_refused(run, runs, refused, field, value, style):
    RunsFolder(runs).write(RECORDS[0] | {field: value})
    line = refused("aggregate", runs, "--format", style)
    assert f"2 {field}s" in line
    assert value in line
    assert "give the folder of one of them" in line
    (one,) = runs.glob("coop" if field == "protocol" else "coop/ViT*")
    assert run("aggregate", one).exit_code == 0


def test_given_and_own_draws_are_not_mixed(refused, runs):
    RunsFolder(runs).write(RECORDS[0] | {"indices": True})
    assert "with --indices and without" in refused("aggregate", runs)


def test_other_data_of_the_same_name_is_refused(run, refused, tmp_path):
    folder = RunsFolder(tmp_path)
    for seed, data in ((1, "aaaa"), (2, "bbbb")):
        folder.write(record("dtd", "cmm", 16, seed, 70.0, data=data))
    line = refused("aggregate", tmp_path)
    for word in ("'dtd'", "aaaa", "bbbb", "folders of their own"):
        assert word in line
    # Each data set has a digest of its own; earlier records have none.
    folder.write(record("dtd", "cmm", 16, 2, 70.0, data="aaaa"))
    folder.write(record("dtd", "cmm", 16, 3, 70.0))
    folder.write(record("eurosat", "cmm", 16, 1, 70.0, data="cccc"))
    assert run("aggregate", tmp_path).exit_code == 0


def test_versions_and_backends_that_are_mixed(run, runs):
    for seed, backend in ((1, "torch"), (2, "jax")):
        versions = {"keras_cmm": "0.1.0", "backend": backend}
        RunsFolder(runs).write(record("dtd", "cmm", 16, seed, 70.0, versions=versions))
    result = run("aggregate", runs, "--quiet")
    assert result.exit_code == 0
    (warning,) = result.stderr.splitlines()
    assert warning.startswith(f"Warning: {runs}: records of backend jax and torch stand")
    assert "keras_cmm" not in warning


def test_a_record_that_lies_there_twice_counts_once(run, refused, runs):
    table = run("aggregate", runs).stdout
    copy = runs / "results.json"
    copy.write_text(json.dumps(RECORDS))
    assert run("aggregate", runs).stdout == table
    changed = RECORDS[0] | {"top1": 12.0}
    copy.write_text(json.dumps([changed]))
    line = refused("aggregate", runs)
    assert str(copy) in line
    assert str(RunsFolder(runs).path(changed)) in line
    assert "different results of one run (dtd, coop, ViT-B/16, cmm, 16, 1)" in line


def test_classes_that_had_fewer_images_are_noted(run, runs):
    short = {"num_classes": 47, "support_rows": 700}
    RunsFolder(runs).write(record("dtd", "cmm", 16, 1, 70.0, **short))
    full = {"num_classes": 10, "support_rows": 160}
    RunsFolder(runs).write(record("eurosat", "cmm", 16, 1, 85.0, **full))
    halves = {"base_to_new": True, "base_top1": 70.0, "new_top1": 60.0}
    RunsFolder(runs).write(record("dtd", "cmm", 16, 1, None, **halves, **short))
    lines = run("aggregate", runs, "--no-published").stdout.splitlines()
    note = "some classes have fewer training images: dtd 16-shot (700 of 752 images)"
    # Of dtd, of the average and of base-to-new.
    assert lines.count(note) == 3
    assert sum("fewer training images" in line for line in lines) == 3


def test_shifts_have_an_average_of_their_own(run, tmp_path):
    folder = RunsFolder(tmp_path)
    folder.write(record("imagenet", "cmm", 16, 1, 70.0))
    folder.write(record("imagenet_a", "cmm", 16, 1, 50.0, trained_on="imagenet"))
    folder.write(record("imagenet_r", "cmm", 16, 1, 61.0, trained_on="imagenet"))
    text = run("aggregate", tmp_path, "--no-published").stdout
    assert "average of shifts imagenet_a, imagenet_r" in text
    assert text.count("average") == 1
    assert "55.5" in text


def test_a_file_that_is_no_run(run, runs):
    (runs / "notes.json").write_text('{"top1": 99}')
    result = run("aggregate", runs)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {runs / 'notes.json'}: holds no record")
    assert "dtd (" in result.stdout


def test_an_empty_folder(refused, tmp_path):
    assert "has no runs" in refused("aggregate", tmp_path)


def test_a_file_of_benchmark_output(run, tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(RECORDS))
    assert "dtd (ViT-B/16" in run("aggregate", tmp_path / "results.json").stdout


@pytest.mark.parametrize("name", ["..", "a/b", "", ".hidden", "ViT-B/16", "50%", "ä b"])
def test_any_name_has_a_file_of_its_own(tmp_path, name):
    folder = RunsFolder(tmp_path / "runs")
    for dataset in (name, "other"):
        folder.write(record(dataset, "cmm", 1, 1, 50.0))
    assert all(path.is_relative_to(tmp_path / "runs") for path in tmp_path.rglob("*.json"))
    records, others = read_records(tmp_path)
    assert {each["dataset"] for each in records} == {name, "other"}
    assert others == []
    assert folder.records_of(name, **SETTING) == [record(name, "cmm", 1, 1, 50.0)]


def test_a_damaged_run_is_run_again(tmp_path):
    folder = RunsFolder(tmp_path)
    folder.write(RECORDS[0])
    assert folder.records_of("dtd", **SETTING) == [RECORDS[0]]
    folder.path(RECORDS[0]).write_text('{"dataset": "dtd"')
    assert folder.records_of("dtd", **SETTING) == []


def test_all_methods_have_a_place():
    assert (*METHODS, *TRANSDUCTIVE_METHODS) == METHOD_NAMES
