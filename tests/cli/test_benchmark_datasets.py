"""`keras-cmm benchmark --dataset` on miniatures of the real data sets, and `aggregate`."""

import inspect
import json
import shutil
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from coop_miniatures import tiny_jpeg, write_miniature
from tiny_clip import make_tiny_preset

from keras_cmm.clip import PROMPT_TEMPLATES
from keras_cmm.data.benchmarks import get_benchmark

METHODS = "zero_shot,nearest_mean,linear_probe"
QUICK = ("--methods", METHODS, "--shots", "1,2", "--seeds", "1,2")
SHIFTS = ("imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r")


def write_pictures(data_dir, names, images):
    for name in names:
        folder = write_miniature(get_benchmark(name), data_dir, images=images)
        # A picture of its own for each image.
        for number, path in enumerate(sorted(folder.rglob("*.jp*g"))):
            path.write_bytes(tiny_jpeg(number))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_pictures(folder, ["eurosat", "oxford_pets"], images=3)
    return folder


@pytest.fixture
def arguments(data_dir, tiny_preset, tmp_path):
    common = ("--data-dir", data_dir, "--preset", tiny_preset, "--output-dir", tmp_path / "runs")
    return ["benchmark", "--dataset", "eurosat,oxford_pets", *common, *QUICK]


def stamps(folder):
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.json")
    }


def errors(result):
    return [line for line in result.stderr.splitlines() if line.startswith("Error: ")]


def test_a_killed_benchmark_does_only_what_is_missing(run, arguments, tmp_path):
    runs = tmp_path / "runs"
    # It stands still at the linear probe of the second data set, in the middle of all runs.
    code = inspect.cleandoc("""
        import time
        from keras_cmm_cli import main
        from keras_cmm.methods import METHODS
        fit = METHODS["linear_probe"].fit
        def stop(self, task):
            return time.sleep(600) if task.num_classes == 37 else fit(self, task)
        METHODS["linear_probe"].fit = stop
        main.main()
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while len(stamps(runs)) < 9 + 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    process.kill()
    process.wait()
    before = stamps(runs)
    # All of eurosat, and of pets zero-shot and the first nearest mean.
    assert len(before) == 9 + 2

    result = run(*arguments, "-v")
    assert result.exit_code == 0, result.stderr
    after = stamps(runs)
    assert before.items() <= after.items()
    assert len(after) == 2 * 9
    done = [line for line in result.stderr.splitlines() if ", shots " in line]
    assert len(done) == 18 - 11
    assert all(line.startswith("oxford_pets, ") for line in done)
    assert "11 records are there, 7 runs are missing." in result.stderr
    # The killed process had embedded all of it.
    assert result.stderr.count("embeddings taken from the store") == 3

    again = run(*arguments)
    assert stamps(runs) == after
    assert again.stdout == result.stdout
    # Nothing is missing, so nothing is embedded.
    assert "oxford_pets, test: 111 images.\n" in result.stderr
    assert "images.\n" not in again.stderr
    record = json.loads((runs / next(iter(after))).read_text())
    assert record["protocol"] == "coop"
    assert not list(runs.rglob("*.tmp"))


def test_runs_can_be_done_anew(run, arguments, tmp_path):
    arguments = [*arguments[:-6], "--methods", "zero_shot"]
    run(*arguments)
    before = stamps(tmp_path / "runs")
    assert len(before) == 2
    run(*arguments, "--no-skip-existing")
    after = stamps(tmp_path / "runs")
    assert before.keys() == after.keys()
    assert all(before[name] < after[name] for name in before)


def test_only_what_is_drawn_is_embedded(run, arguments, tmp_path):
    arguments[2] = "eurosat"
    result = run(*arguments[:-6], "--methods", "nearest_mean", "--shots", 1, "--seeds", 1)
    assert "eurosat, train: 10 images.\n" in result.stderr
    assert "eurosat, val: 10 images.\n" in result.stderr
    assert "eurosat, test: 30 images.\n" in result.stderr


def test_a_data_set_that_is_missing_stops_no_other(run, arguments):
    arguments[2] = "dtd,eurosat"
    result = run(*arguments)
    assert result.exit_code == 2
    assert "dtd" in errors(result)[0]
    assert len(errors(result)) == 1
    assert "eurosat (" in result.stdout


def test_an_image_that_cannot_be_read_stops_no_other_data_set(run, arguments, data_dir, tmp_path):
    copy = shutil.copytree(data_dir, tmp_path / "copy")
    test = json.loads((copy / "eurosat" / get_benchmark("eurosat").coop_split_file).read_text())
    broken = copy / "eurosat" / get_benchmark("eurosat").coop_images / test["test"][0][0]
    broken.write_bytes(b"")
    result = run(*[copy if each == data_dir else each for each in arguments])
    assert result.exit_code == 2
    (line,) = errors(result)
    assert broken.name in line
    assert "oxford_pets (" in result.stdout


def test_commands_that_cannot_be(refused, arguments, data_dir, embeddings_file, tmp_path):
    assert "not both" in refused(*arguments, embeddings_file)
    assert "Missing argument" in refused("benchmark")
    assert "needs --data-dir and --preset" in refused("benchmark", "--dataset", "dtd")
    assert "are for --dataset" in refused("benchmark", embeddings_file, "--preset", "x")
    arguments[2] = "eurosta"
    assert "did you mean 'eurosat'" in refused(*arguments)
    arguments[2] = "eurosat"
    (tmp_path / "runs").touch()
    assert "is a file" in refused(*arguments)


def test_records_of_other_images_weights_or_prompts_are_not_taken(
    run, refused, arguments, data_dir, tiny_preset, tmp_path, monkeypatch
):
    arguments[2] = "eurosat"
    arguments = [*arguments[:-6], "--methods", "nearest_mean", "--shots", 1, "--seeds"]
    assert run(*arguments, 1).exit_code == 0

    fewer = tmp_path / "fewer"
    write_pictures(fewer, ["eurosat"], images=2)
    preset = make_tiny_preset(tmp_path / "other" / tiny_preset.name, seed=1)
    for given, other in ((data_dir, fewer), (tiny_preset, preset)):
        changed = [other if each == given else each for each in arguments]
        for seed in (1, 2):
            assert "records of other data of the name 'eurosat'" in refused(*changed, seed)
    monkeypatch.setitem(PROMPT_TEMPLATES, "eurosat", ("{}",))
    assert "records of other data of the name 'eurosat'" in refused(*arguments, 1)
    monkeypatch.undo()
    assert run(*arguments, "1,2").exit_code == 0


def test_indices_of_other_projects(run, refused, arguments, data_dir, tmp_path):
    benchmark = get_benchmark("eurosat")
    splits = json.loads((data_dir / "eurosat" / benchmark.coop_split_file).read_text())
    folder = tmp_path / "indices" / "eurosat"
    folder.mkdir(parents=True)
    # Of the three images of a class the last one, which not every draw of ours takes.
    parts = {
        part: {
            "data": [
                {"impath": f"./data/eurosat/2750/{path}", "label": label, "classname": name}
                for path, label, name in splits[part][2::3]
            ]
        }
        for part in ("train", "val")
    }
    (folder / "shot_1-seed_1.json").write_text(json.dumps(parts))
    arguments[2] = "eurosat"
    arguments = [*arguments[:-6], "--methods", "zero_shot,nearest_mean", "--shots", 1]
    given = ("--indices", tmp_path / "indices", "--seeds", 1)
    assert run(*arguments, *given).exit_code == 0
    runs = tmp_path / "runs"
    (path,) = runs.rglob("shots_1-seed_1-indices.json")
    assert json.loads(path.read_text())["indices"] is True

    # The same, with no choice but these images.
    other = tmp_path / "other"
    shutil.copytree(data_dir / "eurosat", other / "eurosat")
    splits = splits | {part: splits[part][2::3] for part in ("train", "val")}
    (other / "eurosat" / benchmark.coop_split_file).write_text(json.dumps(splits))
    alone = [other if each == data_dir else each for each in arguments]
    alone[alone.index(runs)] = tmp_path / "alone"
    assert run(*alone, "--seeds", 1).exit_code == 0
    (expected,) = (tmp_path / "alone").rglob("nearest_mean/*.json")
    assert json.loads(path.read_text())["top1"] == json.loads(expected.read_text())["top1"]

    table = run("aggregate", runs, "--no-published")
    assert "protocol coop, given indices)" in table.stdout

    # Other draws of the same name.
    parts["train"]["data"] = parts["train"]["data"][:-1]
    (folder / "shot_1-seed_1.json").write_text(json.dumps(parts))
    line = refused(*arguments, *given)
    assert "there are records of other --indices of 'eurosat'" in line
    # A draw that is missing takes none of the others with it.
    fresh = [tmp_path / "fresh" if each == runs else each for each in arguments]
    result = run(*fresh, "--indices", tmp_path / "indices", "--seeds", "2,1")
    assert result.exit_code == 2
    (line,) = errors(result)
    assert "eurosat: 1-shot, seed 2 left out." in line
    assert "shot_1-seed_2.json: cannot be read" in line
    assert len(list((tmp_path / "fresh").rglob("nearest_mean/*.json"))) == 1
    run(*arguments, "--seeds", 1)
    mixed = run("aggregate", runs)
    assert mixed.exit_code == 2
    assert "with --indices and without" in errors(mixed)[0]


def test_shifts_are_scored_by_the_heads_of_imagenet(run, tiny_preset, tmp_path):
    write_pictures(tmp_path, ["imagenet", *SHIFTS], images=1)
    runs = tmp_path / "runs"
    arguments = ["--data-dir", tmp_path, "--preset", tiny_preset, "--output-dir", runs]
    arguments += ["--methods", "zero_shot,nearest_mean", "--shots", 1, "--seeds", 1]
    result = run("benchmark", "--dataset", ",".join(SHIFTS), *arguments)
    assert result.exit_code == 0, result.stderr
    assert "imagenet is run too" in result.stderr
    records = [json.loads(path.read_text()) for path in runs.rglob("*.json")]
    assert len(records) == 5 * 2
    assert {record.get("trained_on") for record in records} == {None, "imagenet"}
    headings = [line.split(" (")[0] for line in result.stdout.splitlines() if "protocol" in line]
    assert headings == ["imagenet", *SHIFTS, f"average of shifts {', '.join(SHIFTS)}"]

    # By hand, from the embeddings themselves.
    from keras_cmm import clip

    model = clip.load(tiny_preset)
    shift = get_benchmark("imagenet_a")
    where = {"protocol": "coop", "data_dir": tmp_path}
    with warnings.catch_warnings(action="ignore"):  # there are few images
        images = shift.load("test", **where)
        names = get_benchmark("imagenet").load("test", **where).class_names
    classes = shift.imagenet_classes(**where)
    prompts = clip.build_prompts(
        names, template=clip.PROMPT_TEMPLATES[get_benchmark("imagenet").prompt_template]
    )
    texts = clip.TextEmbedder(model).class_prototypes(prompts)[classes]
    scores = clip.ImageEmbedder(model).embed(images.images).embeddings @ texts.T
    expected = 100 * np.mean(scores.argmax(axis=1) == images.labels)
    (record,) = [each for each in records if (each["dataset"], each["shots"]) == ("imagenet_a", 0)]
    assert record["top1"] == pytest.approx(expected)


def test_base_to_new(run, arguments, tmp_path):
    result = run(*arguments[:-6], "--base-to-new", "--methods", "cmm_plain,nearest_mean,zero_shot",
                 "--shots", 1, "--seeds", 1)  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "Warning: nearest_mean: left out" in result.stderr
    names = {path.name for path in (tmp_path / "runs").rglob("*.json")}
    assert names == {"shots_0-seed_0-base_to_new.json", "shots_1-seed_1-base_to_new.json"}
    records = [json.loads(path.read_text()) for path in (tmp_path / "runs").rglob("*.json")]
    assert len(records) == 2 * 2
    table = run("aggregate", tmp_path / "runs", "--format", "csv", "--no-published").stdout
    rows = [line.split(",") for line in table.splitlines() if line.startswith("run,average")]
    mine = [each for each in records if each["method"] == "cmm_plain"]
    base, new = (np.mean([each[f"{half}_top1"] for each in mine]) for half in ("base", "new"))
    values = {row[-5]: float(row[-4]) for row in rows if "cmm_plain" in row}
    assert values["base"] == pytest.approx(base)
    assert values["new"] == pytest.approx(new)
    both = 2 * base * new / (base + new) if base and new else 0
    assert values["harmonic_mean"] == pytest.approx(both)
