import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_cmm_cli.main import cli
from keras_cmm_cli.options import CommaSeparated, Shots

LIST = CommaSeparated(Shots(), "K,...")


@given(values=st.lists(st.integers(min_value=1) | st.just("all"), min_size=1, unique=True))
def test_lists_are_read_back(values):
    text = " , ".join(map(str, values))
    assert LIST.convert(text, None, None) == values


def test_repeated_values_count_once():
    assert LIST.convert("4,1,4,all,1,all", None, None) == [4, 1, "all"]


@given(text=st.text() | st.text("0123456789,-al. "))
def test_any_text_gives_shots_or_a_refusal(text):
    try:
        values = LIST.convert(text, None, None)
    except click.BadParameter:
        return
    assert values
    assert all(value == "all" or (type(value) is int and value >= 1) for value in values)


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "ALL", "one", "1 2"])
def test_shots_that_are_none(text):
    with pytest.raises(click.BadParameter, match="whole number"):
        Shots().convert(text, None, None)


@pytest.mark.parametrize("seed", [-1, 2**32])
@pytest.mark.parametrize("command", sorted(cli.commands))
def test_seeds_that_are_none(refused, command, seed):
    names = [command, "list"] if command == "datasets" else [command]
    for option in ("--seed", "--seeds") if command == "benchmark" else ("--seed",):
        assert f"{seed} is not in the range" in refused(*names, f"{option}={seed}")


def test_the_last_seed_of_the_demo_must_be_one_too(refused):
    assert "is not in the range" in refused("demo", "--seed", 2**32 - 2)
