"""The fuzzers, for about a minute."""

import random
from dataclasses import replace

import pytest

from . import targets
from .mutations import MUTATIONS
from .targets import CUT_OR_ZEROS, TARGETS, Target
from .workers import OUTCOMES, fuzz, try_case

SEED = 25
SOUND = bytes(range(100))


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_refused_or_read_right(name):
    if name == "heic":
        pytest.importorskip("pillow_heif")
    target = TARGETS[name]
    result = fuzz(name, SEED, target.cases, seconds=120)
    print(f"seed {SEED}, {name}: {result}")
    failures = [f"case {case}: {outcome}: {words}" for case, outcome, words in result.failures]
    assert not failures, f"seed {SEED}: {len(failures)} failures, such as " + "\n".join(
        failures[:5]
    )
    assert result.counts["tried"] == sum(result.counts[outcome] for outcome in OUTCOMES[1:])
    assert result.counts["refused"]


def fake(read, exact=CUT_OR_ZEROS, seconds=1.0):
    return Target(lambda: [{"a": SOUND}], read, exact, seconds=seconds)


def refuse(folder):
    from keras_cmm_runtime.errors import InputError

    if (folder / "a").read_bytes() != SOUND:
        raise InputError("a: is damaged.")


def fail(folder):
    if (folder / "a").read_bytes() != SOUND:
        raise KeyError("tensor")


def test_each_outcome_is_seen(monkeypatch):
    for read, expected in (
        (refuse, {"refused"}),
        (fail, {"tracebacks"}),
        (lambda folder: None, {"right"}),
        (lambda folder: (folder / "a").read_bytes(), {"other", "wrong"}),
    ):
        monkeypatch.setitem(targets.TARGETS, "fake", fake(read))
        assert {try_case("fake", SEED, case)[0] for case in range(60)} == expected


def test_a_process_that_does_not_answer_is_ended(monkeypatch):
    monkeypatch.setitem(targets.TARGETS, "csv", replace(TARGETS["csv"], seconds=0.0))
    result = fuzz("csv", SEED, 3, seconds=60)
    assert result.counts["hangs"]
    assert result.counts["tried"] == 3


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutations_change_what_they_say(name):
    rng = random.Random(0)
    for size in (1, 2, 5, 100, 3000):
        data = rng.randbytes(size)
        for _ in range(50):
            changed = MUTATIONS[name](rng, data)
            if name == "cut":
                assert data.startswith(changed)
                assert len(changed) < size
            elif name == "insert":
                assert len(changed) > size
            else:
                assert len(changed) == size
            if name == "swap":
                assert sorted(changed) == sorted(data)
