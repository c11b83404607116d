import importlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from make_embeddings import make_embeddings


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    return importlib.import_module("study_recipe")


def test_parts_are_neighbouring_classes_with_their_own_rows(script):
    data = make_embeddings()
    parts = script.parts_of(data, 6)  # 20 classes: the last two are left out.
    assert [part.class_names[0] for part in parts] == ["class 0", "class 6", "class 12"]
    for first, part in zip((0, 6, 12), parts, strict=True):
        assert part.num_classes == 6
        np.testing.assert_array_equal(part.text_embeddings, data.text_embeddings[first : first + 6])
        for label in range(6):
            np.testing.assert_array_equal(
                part.train_embeddings[part.train_labels == label],
                data.train_embeddings[data.train_labels == first + label],
            )
    assert script.parts_of(data, None) == [data]
    assert script.parts_of(data, 20) == [data]


def test_no_more_than_ten_parts_from_all_over_the_set(script):
    data = make_embeddings()
    wide = script.replace(
        data,
        text_embeddings=np.tile(data.text_embeddings, (3, 1)),
        class_names=[f"class {number}" for number in range(60)],
        train_labels=np.arange(len(data.train_labels)) % 60,
        test_labels=np.arange(len(data.test_labels)) % 60,
    )
    names = [part.class_names[0] for part in script.parts_of(wide, 2)]
    assert names == [f"class {first}" for first in range(0, 60, 6)]


def test_ablation_of_parts(script, tmp_path):
    file = tmp_path / "generated.safetensors"
    make_embeddings().write(file)
    arguments = ["ablation", str(file), "--shots", "1,2", "--seeds", "1", "--classes", "10"]
    result = CliRunner().invoke(
        script.main,
        [*arguments, "--only", "zero-shot CLIP", "--only", "default recipe"],
        catch_exceptions=False,
    )
    assert result.exit_code == 0
    header, _, zero_shot, default = result.output.splitlines()
    assert header == "| recipe | generated 1/2 | mean |"
    one, two = map(float, default.split(" | ")[1].split(" / "))
    assert one > float(zero_shot.split(" | ")[1].split(" / ")[0])
    assert two > one


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("0.25", "must be DATASET=PART"),
        ("generated=-1", "PART must be 0 or more"),
        ("cars=0.25", "no file of cars. Data sets are: generated"),
    ],
)
def test_view_noise_is_for_named_data_sets(script, tmp_path, given, message):
    file = tmp_path / "generated.safetensors"
    make_embeddings().write(file)
    result = CliRunner().invoke(script.main, ["ablation", str(file), "--view-noise", given])
    assert result.exit_code == 2
    assert message in result.output


def test_label_noise_gives_a_part_other_labels(script):
    labels = np.tile(np.arange(5), 400)
    np.testing.assert_array_equal(script.mislabelled(labels, 5, 1, 0.0), labels)
    noisy = script.mislabelled(labels, 5, 1, 0.2)
    assert (noisy != labels).mean() == pytest.approx(0.2, abs=0.05)
    assert set(noisy) == set(range(5))
    assert (script.mislabelled(labels, 5, 1, 1.0) != labels).all()


def test_label_noise_makes_classifiers_worse(script):
    data = make_embeddings()
    arguments = (script.NearestMean(), 2, range(1, 3), {}, "even")
    assert script.accuracy(data, *arguments, 0.8) < script.accuracy(data, *arguments, 0.0)


def test_view_noise_makes_left_over_rows_harder(script):
    data = script.replace(make_embeddings(), val_embeddings=None, val_labels=None)
    arguments = (script.ZeroShot(), 1, range(1, 3))
    even, other, noisy = (
        script.accuracy(data, *arguments, noise, "even", 0.0)
        for noise in ({}, {"cars": 25.0}, {data.dataset: 25.0})
    )
    assert other == even
    assert noisy < even
