"""Every notebook runs from its first cell to its last, with warnings as errors."""

import io
import json
import re
import runpy
import tempfile

import numpy as np
import pytest
import torch
from coop_miniatures import write_miniature
from paths import NOTEBOOKS
from PIL import Image

from keras_cmm.data.benchmarks.registry import BENCHMARKS, get_benchmark

ON_BUNDLED_DATA = ("quickstart", "own_images", "own_functional_model", "ablation")
# Those of the benchmarks come from one template: each kind runs in every run, the others at night.
EACH_KIND = ("dtd", "imagenet", "imagenet_a", "ucf101")
LONG = ("ablation", *(name for name in BENCHMARKS if name not in EACH_KIND))
SHIFTS = ("imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r")
SIZE = 32


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Returns a folder with miniatures of all benchmarks, whose classes differ in colours."""
    data_dir = tmp_path_factory.mktemp("data")
    for benchmark in BENCHMARKS.values():
        write_miniature(benchmark, data_dir)
    imagenet = {}
    for name, benchmark in BENCHMARKS.items():
        for split in benchmark.splits:
            with pytest.warns(UserWarning, match="datasets check"):
                source = benchmark.load(split, protocol="coop", data_dir=data_dir)
            ids = source.labels
            if name in SHIFTS:
                ids = benchmark.imagenet_classes(protocol="coop", data_dir=data_dir)[ids]
            for path, label in zip(source.images, ids.tolist(), strict=True):
                if benchmark.is_imagenet:
                    path.write_bytes(imagenet.setdefault(label, picture(label)))
                else:
                    path.write_bytes(picture(label, noise=1 + len(split)))
    return data_dir


def picture(label, noise=0):
    """Returns the bytes of a JPEG with 4 x 4 fields in the colours of a class."""
    fields = np.random.default_rng(label).integers(0, 256, (4, 4, 3))
    pixels = fields.repeat(SIZE // 4, axis=0).repeat(SIZE // 4, axis=1)
    if noise:
        pixels = pixels + np.random.default_rng([label, noise]).normal(0, 8, pixels.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Keeps to one thread: small tensors are fast, and waiting threads are slow."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def run(monkeypatch, tmp_path):
    def run_notebook(name, **environment):
        monkeypatch.setenv("KERAS_CMM_PRESET", "emoji_clip_tiny")
        for variable, value in environment.items():
            monkeypatch.setenv(variable, str(value))
        # A folder without the project, as on another machine.
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        script = tmp_path / f"{name}.py"
        cells = ["".join(cell["source"]) for cell in cells_of(name) if "outputs" in cell]
        script.write_text("\n\n".join(cells), encoding="utf-8")
        return runpy.run_path(str(script))

    return run_notebook


def cells_of(name):
    return json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]


def test_there_is_one_for_each_benchmark_and_shift():
    expected = {*BENCHMARKS, *ON_BUNDLED_DATA}
    assert expected == {path.stem for path in NOTEBOOKS.glob("*.ipynb")}
    assert len(expected) == 15 + 4


def committed(name):
    """Returns what the cells of a notebook print, as it is stored."""
    outputs = [output for cell in cells_of(name) for output in cell.get("outputs", [])]
    return "".join(line for output in outputs for line in output.get("text", []))


def figures(text):
    return [float(figure) for figure in re.findall(r"\d+(?:\.\d+)?", text)]


def some_at_night(names):
    return [
        pytest.param(name, marks=pytest.mark.nightly) if name in LONG else name for name in names
    ]


@pytest.mark.parametrize("name", some_at_night(ON_BUNDLED_DATA))
def test_on_bundled_data(name, run, capsys):
    seen = run(name)
    # Another processor may name a few pictures differently.
    assert figures(capsys.readouterr().out) == pytest.approx(figures(committed(name)), abs=2)
    if name == "ablation":
        assert seen["accuracy"].keys() == seen["variants"].keys()
        assert seen["accuracy"]["default recipe"][1] > seen["accuracy"]["default recipe"][0]
        assert seen["accuracy"]["default recipe"][0] > seen["zero_shot"]
        return
    assert np.isfinite(seen["history"].history["loss"]).all()
    assert seen["accuracy"] > seen["zero_shot"]
    if name == "quickstart":
        first = [
            [guesses[0][0]] for guesses in seen["model"].classify(seen["demo"].test_images[:3])
        ]
        assert first == [[guesses[0][0]] for guesses in seen["same"]]
    if name == "own_images":
        assert seen["model"].embedder.store.taken > 0


@pytest.mark.filterwarnings(
    "ignore:[a-z0-9_]*, (train|test). has .* so results are not comparable:UserWarning",
    "ignore:[0-9]* of [0-9]* classes have fewer than 16 rows:UserWarning",
)
@pytest.mark.parametrize("name", some_at_night(BENCHMARKS))
def test_benchmark(name, data_dir, run):
    seen = run(name, KERAS_CMM_DATA_DIR=data_dir, KERAS_CMM_PROTOCOL="coop")
    benchmark = get_benchmark(name)
    assert seen["PROTOCOL"] == "coop"
    assert seen.get("shift", seen.get("benchmark")) is benchmark
    assert len(seen["test"]) == benchmark.num_classes
    assert seen["logits"].shape == (benchmark.num_classes, benchmark.num_classes)
    assert np.isfinite(seen["history"].history["loss"]).all()
    # The pictures differ in colours, which their texts do not name.
    assert seen["accuracy"] > seen["zero_shot"]
    assert seen["after"].own_cosine > seen["before"].own_cosine
