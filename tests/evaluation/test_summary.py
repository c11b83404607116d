import pytest

from keras_cmm.evaluation import average_over_datasets, summarize, wilson_interval


def record(dataset, method, shots, seed, top1, **changes):
    return {
        "dataset": dataset,
        "protocol": "embeddings",
        "backbone": "ViT-B/32",
        "method": method,
        "shots": shots,
        "seed": seed,
        "top1": top1,
    } | changes


def test_mean_and_sample_standard_deviation():
    rows = summarize([record("dtd", "cmm", 4, seed, top1) for seed, top1 in [(1, 50), (2, 54)]])
    assert len(rows) == 1
    assert rows[0]["mean"] == 52
    assert rows[0]["std"] == pytest.approx(8**0.5)
    assert rows[0]["seeds"] == 2


def test_one_seed_has_no_deviation():
    assert summarize([record("dtd", "cmm", 4, 1, 50.0)])[0]["std"] == 0.0


@pytest.mark.parametrize("field", ["dataset", "protocol", "backbone", "method", "shots"])
def test_different_settings_stay_apart(field):
    records = [record("dtd", "cmm", 4, 1, 50.0), record("dtd", "cmm", 4, 1, 50.0)]
    records[1][field] = 1 if field == "shots" else "other"
    assert len(summarize(records)) == 2


def test_one_run_on_few_images_has_an_interval():
    few, many = (record("dtd", "cmm", 4, 1, 50.0) | {"test_rows": n} for n in (100, 100_000))
    assert summarize([few])[0]["interval"] == wilson_interval(50, 100)
    assert summarize([many])[0]["interval"] is None
    assert summarize([few, few | {"seed": 2}])[0]["interval"] is None
    assert summarize([record("dtd", "cmm", 4, 1, 50.0)])[0]["interval"] is None  # of old files


def test_average_over_datasets():
    records = [
        record("dtd", "cmm", 4, 1, 50.0),
        record("dtd", "cmm", 4, 2, 54.0),
        record("cars", "cmm", 4, 1, 60.0),
        record("cars", "cmm", 4, 2, 62.0),
    ]
    rows = average_over_datasets(records)
    assert len(rows) == 1
    assert (rows[0]["dataset"], rows[0]["method"], rows[0]["shots"]) == ("average", "cmm", 4)
    assert rows[0]["mean"] == pytest.approx(56.5)
    assert rows[0]["std"] == pytest.approx(4.5**0.5)


def test_no_average_where_a_dataset_has_no_value():
    records = [
        record("dtd", "cmm", 16, 1, 50.0),
        record("dtd", "zero_shot", 0, 0, 40.0),
        record("imagenet", "zero_shot", 0, 0, 60.0),
    ]
    rows = average_over_datasets(records)
    assert [(row["method"], row["mean"]) for row in rows] == [("zero_shot", 50.0)]


def test_protocols_are_not_averaged_together():
    records = [
        record("dtd", "cmm", 4, 1, 50.0),
        record("cars", "cmm", 4, 1, 60.0, protocol="tfds"),
    ]
    assert [row["mean"] for row in average_over_datasets(records)] == [50.0, 60.0]


def test_nothing_gives_nothing():
    assert summarize([]) == []
    assert average_over_datasets([]) == []
