import math

import numpy as np
import pytest
from test_summary import record

from keras_cmm.evaluation import find_regrets, rank_methods


def runs(dataset, shots, **by_method):
    """Records of each method, one a seed from 1 on."""
    return [
        record(dataset, method, shots, seed, top1)
        for method, values in by_method.items()
        for seed, top1 in enumerate(values, start=1)
    ]


def test_the_best_peer_is_that_of_the_mean_and_of_each_seed():
    records = runs("dtd", 4, cmm=[60.0, 62.0], gda=[61.0, 58.0], clap=[59.0, 61.5])
    (regret,) = find_regrets(records)
    assert (regret.dataset, regret.shots, regret.peer) == ("dtd", 4, "clap")
    assert regret.mean == pytest.approx(60.25 - 61.0)
    assert regret.by_seed == pytest.approx({1: 1.0, 2: -0.5})


def test_another_recipe_of_cmm_is_no_peer():
    records = runs("dtd", 4, cmm=[60.0], cmm_plain=[90.0])
    assert find_regrets(records) == []
    (regret,) = find_regrets([*records, *runs("dtd", 4, gda=[50.0])])
    assert (regret.peer, regret.mean) == ("gda", -10.0)


def test_a_peer_without_one_of_the_seeds_is_left_out():
    records = runs("dtd", 4, cmm=[60.0, 60.0], gda=[99.0], clap=[50.0, 50.0, 99.0])
    (regret,) = find_regrets(records)
    assert (regret.peer, regret.mean, regret.by_seed) == ("clap", -10.0, {1: -10.0, 2: -10.0})


def test_zero_shot_is_a_peer_at_every_number_of_shots():
    records = [
        *runs("dtd", 1, cmm=[60.0]),
        *runs("dtd", 4, cmm=[70.0]),
        record("dtd", "zero_shot", 0, 0, 65.0),
    ]
    assert [(each.shots, each.peer, each.mean) for each in find_regrets(records)] == [
        (1, "zero_shot", 5.0),
        (4, "zero_shot", -5.0),
    ]


def test_the_average_has_one_peer_and_the_seeds_of_all():
    records = [
        *runs("dtd", 4, cmm=[60.0, 62.0], gda=[64.0, 64.0], clap=[59.0, 59.0]),
        *runs("cars", 4, cmm=[70.0], gda=[60.0], clap=[72.0]),
    ]
    dtd, cars, average = find_regrets(records)
    assert (dtd.peer, cars.peer) == ("gda", "clap")
    assert average.dataset == "average"
    # In the seed that both have, CLAP has 65.5, GDA 62 and CMM 65.
    assert (average.peer, average.mean) == ("clap", 0.5)
    assert average.by_seed == {1: 0.5}


def test_the_average_is_over_the_sets_that_have_the_shots():
    records = [
        *runs("dtd", 16, cmm=[60.0], gda=[61.0]),
        *runs("cars", 16, cmm=[60.0], gda=[63.0]),
        *runs("imagenet", 1, cmm=[60.0], gda=[50.0]),
    ]
    assert [(each.dataset, each.shots, each.mean) for each in find_regrets(records)][-1] == (
        "average",
        16,
        2.0,
    )


def test_nothing_to_compare():
    assert find_regrets([]) == []
    assert find_regrets(runs("dtd", 4, gda=[60.0])) == []


def test_mean_ranks_share_ties():
    records = [
        *runs("dtd", 4, cmm=[60.0, 62.0], gda=[61.0, 61.0], clap=[50.0, 50.0]),
        *runs("cars", 4, cmm=[70.0], gda=[60.0], clap=[65.0]),
    ]
    (ranks,) = rank_methods(records)
    assert ranks.ranks == {"cmm": (1.5 + 1) / 2, "gda": (1.5 + 3) / 2, "clap": (3 + 2) / 2}
    assert list(ranks.ranks) == ["cmm", "gda", "clap"]
    assert ranks.datasets == ("dtd", "cars")
    assert not ranks.can_differ
    assert ranks.groups == [["cmm", "gda", "clap"]]


@pytest.mark.parametrize(("count", "quantile"), [(3, 2.343), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_is_that_of_demsars_table(count, quantile):
    """Table 5(a) of Demsar, JMLR 2006, has these values of q for the level of 5 %."""
    records = [
        each
        for dataset in "abcdef"
        for each in runs(dataset, 1, **{f"m{i}": [50.0 + i] for i in range(count)})
    ]
    (ranks,) = rank_methods(records)
    expected = quantile * math.sqrt(count * (count + 1) / (6 * 6))
    assert ranks.critical_difference == pytest.approx(expected, rel=1e-3)
    assert ranks.p_value < 0.01


def test_many_sets_tell_methods_apart():
    rng = np.random.default_rng(0)
    records = [
        each
        for number in range(40)
        for each in runs(
            str(number),
            4,
            first=[60 + rng.normal()],
            second=[60 + rng.normal()],
            last=[50 + rng.normal()],
        )
    ]
    (ranks,) = rank_methods(records)
    assert ranks.can_differ
    assert list(ranks.ranks)[-1] == "last"
    (group,) = ranks.groups
    assert sorted(group) == ["first", "second"]


def test_methods_that_are_all_equal():
    (ranks,) = rank_methods(
        [*runs("a", 4, x=[1.0], y=[1.0], z=[1.0]), *runs("b", 4, x=[2.0], y=[2.0], z=[2.0])]
    )
    assert set(ranks.ranks.values()) == {2.0}
    assert ranks.p_value == 1.0


def test_ranks_need_two_sets_and_three_methods():
    assert rank_methods(runs("dtd", 4, a=[1.0], b=[2.0], c=[3.0])) == []
    two = [*runs("dtd", 4, a=[1.0], b=[2.0], c=[3.0]), *runs("cars", 4, a=[1.0], b=[2.0])]
    assert rank_methods(two) == []
    zero_shot = [record(name, "zero_shot", 0, 0, 5.0) for name in ("dtd", "cars")]
    (ranks,) = rank_methods([*two, *zero_shot])
    assert list(ranks.ranks) == ["zero_shot", "b", "a"]
