import pytest
from PIL import Image

from keras_cmm.report import write_ranks
from keras_cmm_runtime.errors import InputError

SETTING = {"protocol": "embeddings", "backbone": "ViT-B/32", "seed": 1}


def runs(datasets=("dtd", "cars"), methods=("cmm", "gda", "$x_{", "proker"), shots=(1, 16)):
    return [
        SETTING | {"dataset": dataset, "method": method, "shots": number, "top1": 50.0 + place}
        for dataset in datasets
        for number in shots
        for place, method in enumerate(methods)
    ]


def test_the_figure(tmp_path):
    for name, records in (("one", runs(shots=(1,))), ("two", runs())):
        ranks = write_ranks(tmp_path / f"{name}.png", records)
        assert list(ranks[0].ranks) == ["proker", "$x_{", "gda", "cmm"]
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "two.png") as two:
        assert one.format == "PNG"
        assert "keras-cmm figure" in one.info["Description"]
        assert len(one.convert("L").getcolors()) > 10
        # A panel for each number of shots.
        assert two.size[0] == one.size[0]
        assert two.size[1] == pytest.approx(2 * one.size[1], abs=2)


def test_it_says_when_the_sets_are_too_few():
    from keras_cmm.evaluation import rank_methods
    from keras_cmm.report.write_ranks import _caption

    few, some, many = (
        rank_methods(runs([str(number) for number in range(count)], shots=(1,)))[0]
        for count in (2, 9, 30)
    )
    assert "2 data sets are too few to tell any two of 4 methods apart" in _caption(few)
    assert "9 data sets are few" in _caption(some)
    assert "few" not in _caption(many)


def test_shifts_and_transductive_runs_are_not_ranked(tmp_path):
    others = [each | {"method": "em", "transductive": True} for each in runs(methods=("x",))]
    shifted = [each | {"trained_on": "dtd"} for each in runs(("sketch",), shots=(1,))]
    ranks = write_ranks(tmp_path / "ranks.png", [*runs(), *others, *shifted])
    assert {each.datasets for each in ranks} == {("dtd", "cars")}
    assert "em" not in ranks[0].ranks


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (runs(("dtd",)), "Received: 1 data sets and 4 methods"),
        (runs(methods=("cmm", "gda")), "Received: 2 data sets and 2 methods"),
        ([], "Received: 0 data sets"),
        ([*runs(), SETTING | {"backbone": "RN50", "dataset": "dtd"}], "one backbone"),
    ],
)
def test_nothing_to_rank(tmp_path, records, message):
    with pytest.raises(InputError, match=message):
        write_ranks(tmp_path / "ranks.png", records)
    assert list(tmp_path.iterdir()) == []
