import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from make_embeddings import make_embeddings

KINDS = ["noise", "others", "projection", "components"]


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    return importlib.import_module("study_weak_texts")


def zero_shot(study, data, texts):
    rows = study.unit(data.test_embeddings)
    return 100 * ((rows @ texts.T).argmax(axis=1) == data.test_labels).mean()


@pytest.mark.parametrize("kind", KINDS)
def test_zero_shot_falls_from_the_own_texts_to_chance(study, kind):
    data = make_embeddings()
    texts = [study.weakened(data.text_embeddings, kind, strength) for strength in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(texts[0], study.unit(data.text_embeddings), atol=1e-6)
    for each in texts:
        np.testing.assert_allclose(np.linalg.norm(each, axis=1), 1.0, atol=1e-5)
    own, weak, none = (zero_shot(study, data, each) for each in texts)
    assert own > weak + 3
    assert weak > none - 3  # Projected, both are near chance.
    assert none < 15  # of 20 classes: chance is 5


def test_subspaces_have_as_many_dimensions_as_the_strength_leaves(study):
    rng = np.random.default_rng(0)
    # Small deviations, which unit length leaves nearly as they are.
    texts = study.unit(study.unit(np.ones((1, 32))) + 1e-3 * rng.normal(size=(16, 32)))
    for kind, most in (("projection", 32), ("components", 16)):
        weak = study.weakened(texts, kind, 0.5).astype("float64")
        values = np.linalg.svd(weak - weak.mean(axis=0), compute_uv=False)
        kept = round(most**0.5)
        assert values[kept - 1] > 20 * values[kept]


def test_no_class_is_mixed_with_itself(study):
    for seed in range(5):
        others = study.shift_of_each(7, np.random.default_rng(seed))
        assert sorted(others) == list(range(7))
        assert (others != np.arange(7)).all()


def record(method, shots, top1, strength=0.5, seed=1):
    return {
        "dataset": "bugs",
        "kind": "noise",
        "strength": strength,
        "method": method,
        "shots": shots,
        "seed": seed,
        "top1": top1,
    }


def test_the_lead_is_over_the_best_other_method_on_average(study, capsys):
    records = [
        record("zero_shot", 0, 30.0, seed=0),
        *(record("cmm", 1, top1, seed=seed) for seed, top1 in ((1, 50.0), (2, 52.0))),
        *(record("gda", 1, top1, seed=seed) for seed, top1 in ((1, 55.0), (2, 51.0))),
        *(record("proker", 1, top1, seed=seed) for seed, top1 in ((1, 52.0), (2, 52.0))),
    ]
    study.print_table(records, [1])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "| bugs | noise | 0.5 | 30.0 | 51.0 (-2.0, gda) |"
    assert lines[-1] == "| least | | | | -2.0 |"


def test_the_figure_has_cmm_the_best_other_method_and_zero_shot(study, monkeypatch, tmp_path):
    records = [
        *(record("zero_shot", 0, top1, strength, 0) for strength, top1 in ((0.0, 40.0), (1, 5.0))),
        *(record("cmm", 1, top1, strength) for strength, top1 in ((0.0, 50.0), (1, 30.0))),
        *(record("gda", 1, top1, strength) for strength, top1 in ((0.0, 45.0), (1, 31.0))),
        *(record("proker", 1, top1, strength) for strength, top1 in ((0.0, 48.0), (1, 29.0))),
    ]
    from matplotlib.axes import Axes

    drawn = {}
    monkeypatch.setattr(
        Axes, "plot", lambda self, x, y, *style, label, **_: drawn.update({label: (x, y)})
    )
    monkeypatch.setattr(Axes, "legend", lambda *_, **__: None)
    study.draw(records, [1], tmp_path / "weak.png")
    assert drawn == {
        "CMM": ((0.0, 1), (50.0, 30.0)),
        "best of the others": ((0.0, 1), (48.0, 31.0)),
        "zero-shot": ((0.0, 1), (40.0, 5.0)),
    }
    assert (tmp_path / "weak.png").read_bytes().startswith(b"\x89PNG")


def test_an_interrupted_study_goes_on(study, monkeypatch, tmp_path):
    data, output = tmp_path / "generated.safetensors", tmp_path / "weak.jsonl"
    make_embeddings().write(data)
    arguments = [str(data), "--output", str(output), "--kinds", "noise", "--strengths", "0.5"]
    arguments += ["--peers", "nearest_mean", "--shots", "1", "--seeds", "1"]

    def invoke(*more):
        result = CliRunner().invoke(study.main, [*arguments, *more], catch_exceptions=False)
        assert result.exit_code == 0
        return result.stdout

    first = invoke()
    lines = output.read_text().splitlines()
    assert len(lines) == 6  # Own and weaker texts, each with zero-shot, CMM and one peer.
    output.write_text("\n".join(lines[:-1]) + "\n")
    done = []
    own_score = study.score
    monkeypatch.setattr(study, "score", lambda *of: done.append(of[2]) or own_score(*of))
    figure = tmp_path / "weak.svg"
    assert invoke("--figure", str(figure)) == first
    assert done == ["nearest_mean"]
    assert "<svg" in figure.read_text()
    assert json.loads(output.read_text().splitlines()[-1])["method"] == "nearest_mean"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--kinds", "rain", "must be among noise, others, projection, components. Got: rain"),
        ("--peers", "luck", "must be among cmm, cmm_plain"),
        ("--shots", "one", "must be numbers, as 1,4,16. Got: one"),
        ("--strengths", "2", "--strengths must be numbers from 0 to 1"),
    ],
)
def test_options_that_cannot_be_used(study, tmp_path, option, value, message):
    data = tmp_path / "generated.safetensors"
    make_embeddings().write(data)
    arguments = [str(data), "--output", str(tmp_path / "weak.jsonl"), option, value]
    result = CliRunner().invoke(study.main, arguments)
    assert result.exit_code == 2
    assert message in result.output
