import dataclasses
import inspect
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time

import numpy as np
import pytest
from benchmark_data import RECORD_FIELDS
from folders import files_in
from make_embeddings import make_embeddings

from keras_cmm.data import EmbeddingSet, NamedEmbeddings
from keras_cmm.evaluation import interval_of_accuracy
from keras_cmm_cli.benchmark_tables import benchmark_tables
from keras_cmm_cli.commands import benchmark as module
from keras_cmm_cli.runs_folder import read_records

QUICK = ("--methods", "zero_shot,nearest_mean", "--shots", "1,4", "--seeds", "1,2")


def read(path):
    return json.loads(path.read_text())


def write_other(path):
    data = make_embeddings(seed=1)
    object.__setattr__(data, "dataset", "other")
    data.write(path)
    return path


def test_default_methods_are_all_methods():
    from keras_cmm.methods import METHODS

    assert sorted(module.METHODS.split(",")) == sorted(METHODS)


def test_outputs_replace_neither_an_input_nor_each_other(refused, embeddings_file, tmp_path):
    before = embeddings_file.read_bytes()
    for option in ("--output", "--report"):
        line = refused("benchmark", embeddings_file, *QUICK, option, embeddings_file, "--overwrite")
        assert line.endswith(f"is an input; give another name to {option}.")
    assert embeddings_file.read_bytes() == before
    same = tmp_path / "same"
    line = refused("benchmark", embeddings_file, *QUICK, "--output", same, "--report", same)
    assert "--report and --output must not be the same place" in line
    assert files_in(tmp_path) == []


def test_records_and_table(run, embeddings_file, tmp_path):
    output = tmp_path / "results.json"
    result = run("benchmark", embeddings_file, *QUICK, "--output", output)
    assert result.exit_code == 0
    records = read(output)
    assert len(records) == 1 + 2 * 2
    for record in records:
        assert set(record) == RECORD_FIELDS | {"data"}
    assert files_in(tmp_path) == ["results.json"]
    assert result.stderr == f"{output}: 5 records.\n"
    heading, columns, _, zero_shot, nearest_mean, *rest = result.stdout.splitlines()
    assert heading == "generated (random numbers, protocol embeddings)"
    assert columns.split("  ")[0] == "top-1 %"
    assert zero_shot.split() == ["zero_shot", f"{records[0]['top1']:.1f}"]
    cells = []
    for shots in (1, 4):
        values = [record["top1"] for record in records if record["shots"] == shots]
        cells.append(f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}")
    assert [cell.strip() for cell in nearest_mean.split("  ") if cell] == ["nearest_mean", *cells]
    assert rest == [""]


def test_methods_stand_in_the_order_asked_for(run, embeddings_file):
    arguments = ("--methods", "nearest_mean,zero_shot", "--shots", 1, "--seeds", 1)
    lines = run("benchmark", embeddings_file, *arguments).stdout.splitlines()
    assert [line.split()[0] for line in lines[3:5]] == ["nearest_mean", "zero_shot"]


def test_one_run_on_few_images_has_an_interval(run, embeddings_file, tmp_path):
    arguments = ("--methods", "nearest_mean", "--shots", 1, "--seeds", 1)
    result = run("benchmark", embeddings_file, *arguments, "--output", tmp_path / "r.json")
    (record,) = read(tmp_path / "r.json")
    low, high = interval_of_accuracy(record["top1"], record["test_rows"])
    assert f"{record['top1']:.1f} ({low:.1f}-{high:.1f})" in result.stdout
    assert "in brackets: the 95% interval (Wilson)" in result.stdout


def test_average_over_files(run, embeddings_file, tmp_path):
    other = write_other(tmp_path / "other.safetensors")
    result = run("benchmark", embeddings_file, other, *QUICK, "--output", tmp_path / "r.json")
    headings = [line for line in result.stdout.splitlines() if line.endswith(")")]
    assert headings == [
        "generated (random numbers, protocol embeddings)",
        "other (random numbers, protocol embeddings)",
        "average of generated, other (random numbers, protocol embeddings)",
    ]
    zero_shot = [record["top1"] for record in read(tmp_path / "r.json") if not record["shots"]]
    averages = result.stdout.partition("average")[2]
    assert f"zero_shot         {statistics.mean(zero_shot):.1f}" in averages


def test_verbose_and_all_shots(run, embeddings_file):
    arguments = ("--methods", "nearest_mean", "--shots", "32,all", "--seeds", 3, "--verbose")
    result = run("benchmark", embeddings_file, *arguments)
    assert result.stdout.count("32 shots") == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("generated, nearest_mean, shots 32, seed 3: ")


def test_too_many_shots_are_left_out_with_one_warning(run, embeddings_file):
    result = run("benchmark", embeddings_file, *QUICK[:2], "--shots", "1,64", "--seeds", "1,2,3")
    assert result.exit_code == 0
    assert "64 shots" not in result.stdout
    (warning,) = result.stderr.splitlines()
    assert warning.startswith("Warning: generated: 64-shot runs left out")


def test_nothing_left_to_run(refused, embeddings_file, tmp_path):
    output = tmp_path / "results.json"
    arguments = ("--methods", "nearest_mean", "--shots", "64", "--output", output)
    assert "no run is left" in refused("benchmark", embeddings_file, *arguments)
    assert not output.exists()


def test_all_shots_of_data_sets_of_different_sizes(run, embeddings_file, tmp_path):
    data = make_embeddings()
    rows = np.flatnonzero(data.train_labels != 0)
    larger = np.concatenate([rows, np.repeat(np.flatnonzero(data.train_labels == 0), 2)])
    other = tmp_path / "other.safetensors"
    dataclasses.replace(
        data,
        dataset="other",
        train_embeddings=data.train_embeddings[larger],
        train_labels=data.train_labels[larger],
    ).write(other)
    arguments = ("--methods", "nearest_mean", "--shots", "all", "--seed", 1)
    most = int(np.bincount(data.train_labels).max())
    note = f"no average; 'all' is {most} on generated, {2 * most} on other."
    assert note in run("benchmark", embeddings_file, other, *arguments).stderr
    assert "no average" not in run("benchmark", embeddings_file, *arguments).stderr


def test_seed_and_seeds_exclude_each_other(refused, embeddings_file):
    line = refused("benchmark", embeddings_file, "--seed", 1, "--seeds", "1,2")
    assert "--seed and --seeds exclude each other" in line


def test_records_of_other_data_of_the_same_name(run, refused, tmp_path):
    file, output = tmp_path / "data.safetensors", tmp_path / "results.json"
    arguments = ("benchmark", file, *QUICK, "--output-dir", tmp_path / "runs")
    for seed in (1, 2):
        make_embeddings(seed=seed).write(file)
        if seed == 2:
            line = refused(*arguments)
            assert "records of other data of the name 'generated'" in line
            assert "--no-skip-existing" in line
            assert "other data" in refused(*arguments[:-2], "--output", output, "--resume")
        result = run(*arguments, *(["--no-skip-existing"] if seed == 2 else []))
        assert result.exit_code == 0
        run(*arguments[:-2], "--output", output, "--overwrite")
    digest = EmbeddingSet.read(file).digest()
    assert {record["data"] for record in read(output)} == {digest}


@pytest.mark.parametrize("changed", ["text_embeddings", "test_embeddings", "logit_scale"])
def test_records_of_other_texts_tests_or_scale_are_not_taken(run, refused, tmp_path, changed):
    file, runs = tmp_path / "data.safetensors", tmp_path / "runs"
    data = make_embeddings()
    data.write(file)
    arguments = ("benchmark", file, *QUICK[:4], "--output-dir", runs)
    assert run(*arguments, "--seeds", "1").exit_code == 0
    value = getattr(data, changed)
    dataclasses.replace(data, **{changed: value / 2 if isinstance(value, float) else -value}).write(
        file
    )
    assert "other data" in refused(*arguments, "--seeds", "1")
    # Records of other seeds, which would be averaged with those of this run.
    assert "other data" in refused(*arguments[:4], "--shots", 1, "--seeds", "2", *arguments[-2:])
    assert "other data" in refused(*arguments, "--seeds", "2", "--no-skip-existing")
    assert run(*arguments, "--seeds", "1", "--no-skip-existing").exit_code == 0


def test_uneven_classes_are_warned_of_once_a_draw(run, tmp_path):
    file = tmp_path / "data.safetensors"
    data = make_embeddings()
    kept = np.delete(np.arange(len(data.train_labels)), np.flatnonzero(data.train_labels == 1)[1:])
    dataclasses.replace(
        data, train_embeddings=data.train_embeddings[kept], train_labels=data.train_labels[kept]
    ).write(file)
    result = run(
        "benchmark", file, "--methods", "nearest_mean,gda", "--shots", 2, "--seeds", "1", "-q"
    )
    (warning,) = result.stderr.splitlines()
    assert warning.startswith(f"Warning: {file}: 1 of ")
    assert "class 1 (1)" in warning


def test_records_of_another_version_are_taken_with_a_warning(run, embeddings_file, tmp_path):
    output = tmp_path / "results.json"
    arguments = ("benchmark", embeddings_file, *QUICK, "--output", output)
    run(*arguments)
    records = read(output)
    records[1]["versions"] |= {"keras_cmm": "0.0.1", "backend": "jax"}
    del records[2]["versions"]
    output.write_text(json.dumps(records))
    result = run(*arguments, "--resume", "--quiet")
    assert result.exit_code == 0
    (warning,) = result.stderr.splitlines()
    assert warning.startswith("Warning: ")
    assert "keras_cmm 0.0.1 and " in warning
    assert "backend jax and torch" in warning
    assert read(output) == records


def test_resumed_records_are_in_the_folder_of_runs_too(run, embeddings_file, tmp_path):
    output, runs = tmp_path / "results.json", tmp_path / "runs"
    arguments = ("benchmark", embeddings_file, *QUICK, "--output", output)
    whole = run(*arguments)
    records = read(output)
    output.write_text(json.dumps(records[:3]))
    result = run(*arguments, "--resume", "--output-dir", runs)
    assert f"{runs}: 5 runs" in result.stderr
    assert sorted(map(identity, read_records(runs)[0])) == sorted(map(identity, records))
    assert run("aggregate", runs, "--no-published").stdout == whole.stdout


def test_an_output_that_exists(run, refused, embeddings_file, tmp_path):
    output = tmp_path / "results.json"
    run("benchmark", embeddings_file, *QUICK, "--output", output)
    records = output.read_bytes()
    line = refused("benchmark", embeddings_file, *QUICK, "--output", output)
    assert "--resume" in line
    assert "--overwrite" in line
    assert output.read_bytes() == records
    run("benchmark", embeddings_file, *QUICK[:2], "--shots", 2, "--output", output, "--overwrite")
    assert {record["shots"] for record in read(output)} == {0, 2}


def test_resume_runs_what_is_missing(run, embeddings_file, tmp_path):
    output = tmp_path / "results.json"
    arguments = ("benchmark", embeddings_file, *QUICK, "--output", output)
    whole = run(*arguments)
    records = read(output)
    kept = [records[0], records[3]]
    output.write_text(json.dumps(kept))
    resumed = run(*arguments, "--resume")
    assert resumed.stdout == whole.stdout
    again = read(output)
    assert again[:2] == kept
    assert sorted(map(identity, again)) == sorted(map(identity, records))
    # Nothing is left to do, and records of other runs are kept but not shown.
    more = run(
        "benchmark", embeddings_file, *QUICK[:4], "--seeds", "1", *arguments[-2:], "--resume"
    )
    assert read(output) == again
    assert "±" not in more.stdout


def identity(record):
    return record["method"], record["shots"], record["seed"], record["top1"]


@pytest.mark.parametrize("text", ["{}", "[1]", '[{"dataset": "dtd"}]', '{"a": {}}', "null"])
def test_resume_from_something_else(refused, embeddings_file, tmp_path, text):
    output = tmp_path / "results.json"
    output.write_text(text)
    if text == "{}":
        output.write_text('{"results": []}')
    before = output.read_bytes()
    line = refused("benchmark", embeddings_file, *QUICK, "--output", output, "--resume")
    assert "not a list of benchmark records" in line
    assert output.read_bytes() == before


def test_outputs_that_cannot_be(refused, embeddings_file, tmp_path):
    arguments = ("benchmark", embeddings_file, *QUICK, "--output")
    assert "is a folder" in refused(*arguments, tmp_path)
    assert "does not exist" in refused(*arguments, tmp_path / "none" / "results.json")
    assert "exclude" in refused(*arguments, tmp_path / "r.json", "--resume", "--overwrite")
    assert files_in(tmp_path) == []


def test_a_bad_file_among_good_ones(run, embeddings_file, tmp_path):
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(embeddings_file.read_bytes()[:1000])
    copy = tmp_path / "copy.safetensors"
    shutil.copy(embeddings_file, copy)
    output = tmp_path / "results.json"
    result = run(
        "benchmark", bad, embeddings_file, tmp_path / "none", copy, *QUICK, "--output", output
    )
    assert result.exit_code == 2
    assert len(read(output)) == 5
    assert "nearest_mean" in result.stdout
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert [word in line for word, line in zip(("bad", "none", "copy"), errors, strict=True)]
    assert "told apart" in errors[2]


def test_a_name_too_long_for_a_file(run, tmp_path):
    runs = tmp_path / "runs"
    names = ["\N{CJK UNIFIED IDEOGRAPH-6570}" * length for length in (40, 41)]
    for name in names:
        dataclasses.replace(make_embeddings(), dataset=name).write(tmp_path / f"{len(name)}")
    files = [tmp_path / f"{len(name)}" for name in names]
    for _ in range(2):
        result = run("benchmark", *files, *QUICK, "--output-dir", runs)
        assert result.exit_code == 0
    assert "0 runs are missing" in result.stderr
    assert {read(path)["dataset"] for path in runs.rglob("*.json")} == set(names)


def test_bad_files_only(run, tmp_path):
    result = run("benchmark", tmp_path / "none", *QUICK, "--output", tmp_path / "results.json")
    assert result.exit_code == 2
    assert result.stderr.count("Error: ") == 1
    assert result.stdout == ""
    assert files_in(tmp_path) == []


def test_a_run_that_fails_loses_nothing(run, embeddings_file, tmp_path, monkeypatch):
    from keras_cmm import InputError
    from keras_cmm.methods import METHODS

    class Failing(METHODS["nearest_mean"]):
        def fit(self, task):
            if task.seed == 1 and len(task.labels) > 20:
                raise InputError("this data will not do.")
            return super().fit(task)

    monkeypatch.setitem(METHODS, "nearest_mean", Failing)
    other = write_other(tmp_path / "other.safetensors")
    output = tmp_path / "results.json"
    result = run("benchmark", embeddings_file, other, *QUICK, "--output", output)
    assert result.exit_code == 2
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    refused = "nearest_mean, 4-shot, seed 1 left out. this data will not do."
    assert errors == [f"Error: {file}: {refused}" for file in (embeddings_file, other)]
    # What comes after it is run too.
    runs = [("zero_shot", 0, 0), ("nearest_mean", 1, 1), ("nearest_mean", 1, 2),
            ("nearest_mean", 4, 2)]  # fmt: skip
    records = read(output)
    assert [identity(record)[:3] for record in records] == 2 * runs
    assert [record["dataset"] for record in records] == 4 * ["generated"] + 4 * ["other"]
    assert "average of generated, other" in result.stdout


def test_train_rows_of_one_class(run, tmp_path):
    data = make_embeddings()
    rows = data.train_labels == 3
    file = tmp_path / "one.safetensors"
    one_class = {"train_embeddings": data.train_embeddings[rows],
                 "train_labels": data.train_labels[rows]}  # fmt: skip
    dataclasses.replace(data, **one_class).write(file)
    methods = ("--methods", "linear_probe,nearest_mean,gda", "--shots", "1,2", "--seeds", "1")
    result = run("benchmark", file, *methods, "--output", tmp_path / "r.json")
    assert result.exit_code == 2
    assert len(read(tmp_path / "r.json")) == 4
    assert "nearest_mean" in result.stdout
    assert "gda" in result.stdout
    # No class but one has an image.
    note = "some classes have fewer training images: generated 1-shot (1 of 20 images), "
    assert note + "generated 2-shot (2 of 40 images)" in result.stdout.splitlines()


def test_classes_that_all_share_one_text(run, tmp_path):
    data = make_embeddings()
    same = dataclasses.replace(data, text_embeddings=np.ones_like(data.text_embeddings))
    same.write(tmp_path / "same.safetensors")
    output = tmp_path / "results.json"
    result = run("benchmark", tmp_path / "same.safetensors", "--methods", "cmm", "--shots", 1,
                 "--seeds", 1, "--output", output, "--report", tmp_path / "r.html")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    (record,) = read(output)
    assert "own_cosine" in record
    assert "hardest_wrong_cosine" not in record
    assert run("aggregate", output).exit_code == 0


def test_an_interruption_loses_nothing(run, embeddings_file, tmp_path):
    output = tmp_path / "results.json"
    # The second method sleeps, so that the signal meets a run that is under way. Whoever runs the
    # tests in a shell's background ignores the signal, and so would the process.
    code = inspect.cleandoc("""
        import signal, sys, time
        from keras_cmm_cli import main
        from keras_cmm.methods import METHODS
        METHODS["linear_probe"].fit = lambda self, task: time.sleep(600)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        main.main()
    """)
    arguments = ["benchmark", embeddings_file, "--methods", "nearest_mean,linear_probe"]
    arguments += ["--shots", "1,2", "--seeds", "1", "--output", output]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"KERAS_BACKEND": "torch"},
    )
    deadline = time.monotonic() + 120
    while not (output.exists() and read(output)) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert stderr.splitlines()[-1] == "Interrupted."
    assert f"{output}: 1 record; go on with --resume.\n" in stderr
    assert len(read(output)) == 1
    assert files_in(tmp_path) == ["results.json"]
    assert run(*arguments, "--resume").exit_code == 0
    assert [(r["method"], r["shots"]) for r in read(output)] == [
        ("nearest_mean", 1),
        ("linear_probe", 1),
        ("nearest_mean", 2),
        ("linear_probe", 2),
    ]


def test_tables_of_different_backbones_are_not_averaged():
    record = {"protocol": "p", "method": "cmm", "shots": 1, "seed": 1}
    records = [
        record | {"dataset": "a", "backbone": "x", "top1": 10.0},
        record | {"dataset": "a", "backbone": "y", "top1": 20.0},
    ]
    headings = [table.heading for table in benchmark_tables(records)]
    assert headings == ["a (x, protocol p)", "a (y, protocol p)"]


def test_report(run, refused, embeddings_file, tmp_path):
    report = tmp_path / "report.html"
    assert run("benchmark", embeddings_file, *QUICK, "--report", report).exit_code == 0
    page = report.read_text()
    assert "Nearest mean" in page
    assert "keras-cmm" in page
    assert "exists" in refused("benchmark", embeddings_file, *QUICK, "--report", report)
    assert report.read_text() == page


def test_an_empty_output_file_is_as_good_as_none(run, embeddings_file, tmp_path):
    output = tmp_path / "results.json"
    output.touch()  # as `mktemp` makes it
    assert run("benchmark", embeddings_file, *QUICK, "--output", output).exit_code == 0
    assert len(read(output)) == 5


def test_a_second_encoder_of_the_files(run, refused, tmp_path):
    data = make_embeddings()
    # As many dimensions as classes: a linear map can tell them all apart.
    centres = np.random.default_rng(0).normal(size=(data.num_classes, data.num_classes))
    further = NamedEmbeddings(centres[data.train_labels], centres[data.test_labels])
    path, output = tmp_path / "two.safetensors", tmp_path / "results.json"
    dataclasses.replace(data, also={"eye": further}).write(path)
    options = ("--methods", "cmm,zero_shot", "--shots", "2", "--seeds", "1", "--output", output)
    alone = run("benchmark", path, *options)
    assert alone.exit_code == 0
    both = run("benchmark", path, *options, "--resume", "--also", "eye")
    assert both.exit_code == 0
    records = read(output)
    backbones = [record["backbone"] for record in records if record["method"] == "cmm"]
    assert backbones == ["random numbers", "random numbers + eye"]
    top_1 = {each["backbone"]: each["top1"] for each in records if each["method"] == "cmm"}
    assert top_1["random numbers + eye"] > top_1["random numbers"]
    assert "generated (random numbers + eye, protocol embeddings)" in both.stdout
    line = refused("benchmark", path, *QUICK, "--also", "nose")
    assert line.startswith(f"Error: {path}: has no embeddings by a further encoder of the name")
    assert line.endswith("it has: eye.")
    line = refused(
        "benchmark", "--dataset", "dtd", "--data-dir", tmp_path, "--preset", "x", "--also", "eye"
    )
    assert "--also is for embeddings files." in line
