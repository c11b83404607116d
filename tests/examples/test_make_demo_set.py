import importlib
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    return importlib.import_module("make_demo_set")


@pytest.fixture
def pictures(script):
    """Noise, so that no two of the 36 pictures look alike."""
    rng = np.random.default_rng(0)
    return {
        drawing: Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
        for drawing in product(script.STYLES, script.PEOPLE, script.TONES)
    }


def spread(pictures):
    """Wider differences: the thumbnails of noise are all nearly grey."""
    return {
        drawing: picture.resize((4, 4), Image.Resampling.NEAREST).resize(
            (64, 64), Image.Resampling.NEAREST
        )
        for drawing, picture in pictures.items()
    }


def test_split_keeps_people_apart(script, pictures):
    pictures = spread(pictures)
    chosen = set()
    for name in ("cook", "elf", "judge", "pilot", "singer", "teacher"):
        support, test, near = script.split(name, pictures)
        assert (len(support), len(test), near) == (24, 12, [])
        (person,) = {drawing[1] for drawing in test}
        assert person not in {drawing[1] for drawing in support}
        assert script.split(name, pictures) == (support, test, near)
        chosen.add(person)
    assert len(chosen) > 1


def test_split_avoids_a_person_who_looks_like_another(script, pictures):
    pictures = spread(pictures)
    pictures["flat", "man", "dark"] = pictures["modern", "person", "light"]
    for name in ("cook", "elf", "judge", "pilot", "singer", "teacher"):
        _, test, near = script.split(name, pictures)
        assert {drawing[1] for drawing in test} == {"woman"}
        assert near == []


def test_split_leaves_out_what_is_in_the_support_pool(script, pictures):
    pictures = spread(pictures)
    for person in ("person", "woman"):
        pictures["flat", person, "dark"] = pictures["flat", "man", "dark"]
    support, test, near = script.split("cook", pictures)
    assert len(support) == 24
    assert len(test) == 11
    (left_out,) = near
    assert left_out[::2] == ("flat", "dark")
    assert left_out not in test


def test_distances(script):
    rng = np.random.default_rng(0)
    a, b = rng.random((3, 5)), rng.random((4, 5))
    naive = [[np.sqrt(np.mean((x - y) ** 2)) for y in b] for x in a]
    np.testing.assert_allclose(script.distances(a, b), naive, rtol=1e-6)


def test_file_names(script):
    def parts(name):
        return script.DRAWING.fullmatch(name).groups()

    assert parts("woman-in-motorized-wheelchair-medium-dark") == (
        "woman",
        "in-motorized-wheelchair",
        "medium-dark",
    )
    assert parts("artist-default") == (None, "artist", "default")
    assert script.DRAWING.fullmatch("person-fencing") is None
