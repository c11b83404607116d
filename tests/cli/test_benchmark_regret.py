"""Regret, ranks and transductive methods on the command line."""

import json

import pytest
from test_aggregate_command import record
from test_benchmark_command import write_other

from keras_cmm.methods.transductive import TRANSDUCTIVE_METHODS
from keras_cmm_cli.commands import benchmark as module
from keras_cmm_cli.runs_folder import RunsFolder

THREE = ("--methods", "zero_shot,nearest_mean,gda", "--shots", "1,2", "--seeds", "1")


@pytest.fixture
def runs(tmp_path):
    folder = RunsFolder(tmp_path / "runs")
    for dataset, best in (("dtd", 70.0), ("eurosat", 80.0)):
        for seed in (1, 2):
            folder.write(record(dataset, "cmm", 4, seed, 75.0 + seed))
            folder.write(record(dataset, "gda", 4, seed, best))
        folder.write(record(dataset, "zero_shot", 0, 0, 50.0))
        folder.write(record(dataset, "em_dirichlet", 4, 1, 99.0, transductive=True))
    return folder.folder


def test_regret(run, runs):
    text = run("aggregate", runs, "--no-published").stdout
    regret = text[text.index("regret: the best peer minus cmm (ViT-B/16, protocol coop)") :]
    rows = [line.split() for line in regret.splitlines()[3:6]]
    assert rows == [
        ["dtd", "4", "-6.5", "-6.0", "-7.0", "gda"],
        ["eurosat", "4", "+3.5", "+4.0", "+3.0", "gda"],
        ["average", "4", "-1.5", "-1.0", "-2.0", "gda"],
    ]
    assert "below 0 cmm leads" in regret
    markdown = run("aggregate", runs, "--no-published", "--format", "markdown").stdout
    assert "| eurosat | 4 | +3.5 | +4.0 +3.0 | gda |" in markdown


def test_transductive_runs_have_tables_of_their_own(run, runs):
    text = run("aggregate", runs, "--no-published").stdout
    heading = "dtd (ViT-B/16, protocol coop, transductive)"
    own = text[text.index(heading) : text.index("eurosat (ViT-B/16, protocol coop, transductive)")]
    assert "em_dirichlet" in own
    assert "gda" not in own
    assert "em_dirichlet" not in text[: text.index(heading)]
    assert "em_dirichlet" not in text[text.index("regret") :]
    lines = run("aggregate", runs, "--format", "csv", "--no-published").stdout.splitlines()
    for line in lines[1:]:
        assert line.startswith("transductive run," if "em_dirichlet" in line else "run,")
    assert sum("average" in line for line in lines) == 4


def test_benchmark_without_cmm_has_no_regret(run, embeddings_file):
    assert "regret" not in run("benchmark", embeddings_file, *THREE).stdout


def test_ranks(run, refused, embeddings_file, tmp_path):
    other = write_other(tmp_path / "other.safetensors")
    figure = tmp_path / "ranks.png"
    result = run("benchmark", embeddings_file, other, *THREE, "--ranks", figure)
    assert result.exit_code == 0
    note = f"{figure}: ranks on 2 data sets, too few to tell methods apart."
    assert note in result.stderr.splitlines()
    assert figure.read_bytes().startswith(b"\x89PNG")
    arguments = ("benchmark", embeddings_file, other, *THREE, "--ranks")
    assert "give --overwrite" in refused(*arguments, figure)
    assert "is an input" in refused(*arguments, other, "--overwrite")
    assert run(*arguments, figure, "--overwrite").exit_code == 0


def test_ranks_of_one_set_are_refused_and_the_table_is_printed(run, embeddings_file, tmp_path):
    result = run("benchmark", embeddings_file, *THREE, "--ranks", tmp_path / "ranks.png")
    assert result.exit_code == 2
    assert "ranks.png: not written. ranks need a number of shots with two data sets" in (
        result.stderr
    )
    assert "nearest_mean" in result.stdout
    assert not (tmp_path / "ranks.png").exists()


def test_ranks_of_a_folder_of_runs(run, refused, runs, tmp_path):
    figure = tmp_path / "ranks.png"
    assert run("aggregate", runs, "--ranks", figure).exit_code == 0
    assert "give --overwrite" in refused("aggregate", runs, "--ranks", figure)
    assert run("aggregate", runs, "--ranks", figure, "--overwrite").exit_code == 0


def test_transductive_methods(run, embeddings_file, tmp_path):
    assert sorted(module.TRANSDUCTIVE) == sorted(TRANSDUCTIVE_METHODS)
    output = tmp_path / "results.json"
    arguments = ("benchmark", embeddings_file, "--transductive", "--shots", 2, "--seeds", 1)
    result = run(*arguments, "--output", output, "--output-dir", tmp_path / "runs")
    assert result.exit_code == 0
    assert "generated (random numbers, protocol embeddings, transductive)" in result.stdout
    records = json.loads(output.read_text())
    assert [each["method"] for each in records] == list(module.TRANSDUCTIVE)
    assert all(each["transductive"] for each in records)
    again = run(*arguments, "--output-dir", tmp_path / "runs")
    assert "2 records are there, 0 runs are missing" in again.stderr
    assert again.stdout == result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "em_dirichlet"], "'em_dirichlet' is transductive; give --transductive"),
        (["--methods", "gda", "--transductive"], "'gda' is not transductive"),
        (["--methods", "x", "--transductive"], "'x' is not among em_dirichlet, text_guided"),
        (["--transductive", "--base-to-new"], "exclude each other"),
        (["--transductive", "--also", "dino"], "no second encoder"),
        (["--transductive", "--ranks", "r.png"], "--ranks shows no --transductive runs"),
        (["--base-to-new", "--ranks", "r.png"], "--ranks shows no --base-to-new runs"),
    ],
)
def test_what_does_not_go_together(refused, embeddings_file, arguments, message):
    assert message in refused("benchmark", embeddings_file, *arguments)
