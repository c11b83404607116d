import json
from pathlib import Path

import numpy as np
import pytest

from keras_cmm import InputError
from keras_cmm.data import FewShotDraws, ImageList, read_few_shot_indices

LABELS = np.repeat(np.arange(3), 6)
# Other classes have images of the same names, as in Caltech101.
KEYS = [f"{name}/image_{number}.jpg" for name in ("ant", "bee", "cat") for number in range(6)]


def source(rows):
    paths = tuple(Path("images", KEYS[row]) for row in rows)
    return ImageList(paths, LABELS[rows].astype("int32"), ("ant", "bee", "cat"), Path("images"))


def write(path, train, val=(), prefix="./data/insects/images/"):
    def part(rows):
        return {
            "data": [
                {"impath": prefix + KEYS[row], "label": int(LABELS[row]), "classname": "x"}
                for row in rows
            ],
            "indices": [7] * len(rows),  # they mean nothing here
        }

    path.write_text(json.dumps({"train": part(train), "val": part(val)}))
    return path


@pytest.mark.parametrize("prefix", ["./data/insects/images/", "", "C:\\data\\images\\"])
def test_images_are_found_by_the_end_of_their_path(tmp_path, prefix):
    path = write(tmp_path / "shot_1-seed_1.json", [13, 2, 8], prefix=prefix)
    sample = read_few_shot_indices(path, shots=1, seed=1, labels=LABELS, keys=KEYS)
    assert sample.indices.tolist() == [2, 8, 13]
    assert (sample.shots, sample.seed, sample.short, sample.num_rows) == (1, 1, {}, 18)


def test_short_classes_are_named(tmp_path):
    path = write(tmp_path / "shot_2-seed_1.json", [0, 1, 6])
    sample = read_few_shot_indices(path, shots=2, seed=1, labels=LABELS, keys=KEYS)
    assert sample.short == {1: 1, 2: 0}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[", "not JSON"),
        ("[]", "is not a JSON object"),
        ('{"val": {"data": []}}', "no list of images"),
        ('{"train": {"data": [{"impath": "ant/image_0.jpg", "label": "0"}]}}', "no list of images"),
        ('{"train": {"data": [{"impath": "ant/image_9.jpg", "label": 0}]}}', "is not among the 18"),
        ('{"train": {"data": [{"impath": "ant/image_0.jpg", "label": 2}]}}', "has class 2, but 0"),
        (
            '{"train": {"data": [{"impath": "ant/image_0.jpg", "label": 0},'
            '{"impath": "x/ant/image_0.jpg", "label": 0}]}}',
            "twice",
        ),
    ],
)
def test_files_that_cannot_be_used(tmp_path, content, words):
    path = tmp_path / "shot_1-seed_1.json"
    path.write_text(content)
    with pytest.raises(InputError, match=words) as error:
        read_few_shot_indices(path, shots=1, seed=1, labels=LABELS, keys=KEYS)
    assert str(path) in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"shot_1-seed_1\.json: cannot be read"):
        FewShotDraws(source(range(18)), None, tmp_path).support(1, 1)


def test_draws_from_files(tmp_path):
    write(tmp_path / "shot_1-seed_1.json", [0, 6, 12], [3, 9, 15])
    draws = FewShotDraws(source(range(18)), None, tmp_path)
    assert draws.support(1, 1).indices.tolist() == [0, 6, 12]
    # Without a validation split theirs is of train images too, as for ImageNet.
    assert draws.validation(1, 1).indices.tolist() == [3, 9, 15]


@pytest.mark.parametrize("has_val", [True, False])
def test_only_what_is_drawn_is_asked_for(has_val):
    train = source(range(18))
    draws = FewShotDraws(train, source([0, 1, 6, 7, 12, 13]) if has_val else None)
    train_rows, val_rows = draws.rows([(1, 1), (2, 1), (1, 2)])
    wanted = [draws.support(shots, seed).indices for shots, seed in [(2, 1), (1, 2)]]
    if not has_val:
        wanted += [draws.validation(*run).indices for run in [(1, 1), (2, 1), (1, 2)]]
    # One shot of seed 1 is among its two shots.
    assert train_rows.tolist() == sorted(set(np.concatenate(wanted).tolist()))
    assert (len(val_rows) > 0) == has_val
    support = draws.support(2, 1)
    assert not has_val or set(draws.validation(2, 1).indices) <= set(val_rows)
    assert has_val or not set(draws.validation(2, 1).indices) & set(support.indices)
    kept, kept_val = draws.among(2, 1, train_rows, val_rows)
    assert train_rows[kept.indices].tolist() == support.indices.tolist()
    assert kept.num_rows == len(train_rows)
    pool = val_rows if has_val else train_rows
    assert pool[kept_val.indices].tolist() == draws.validation(2, 1).indices.tolist()
    assert kept_val.num_rows == len(pool)


def test_validation_has_four_images_a_class_at_most():
    draws = FewShotDraws(source(range(18)), source(range(18)))
    assert [len(draws.validation(shots, 1).indices) for shots in (1, 2, 5)] == [3, 6, 12]
