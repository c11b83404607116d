import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import SHARED
from refusals import refusal

from keras_cmm.data import ImageList, read_coop_split
from keras_cmm_runtime.errors import InputError

SPLITS = SHARED / "splits"

# Classes and images of CoOp's splits, as its paper and DATASETS.md state them.
SIZES = {
    "Caltech101": (100, 4128, 1649, 2465),
    "OxfordPets": (37, 2944, 736, 3669),
    "DescribableTextures": (47, 2820, 1128, 1692),
    "EuroSAT": (10, 13500, 5400, 8100),
}


@pytest.mark.shared
@pytest.mark.parametrize("name", SIZES)
def test_real_split_files(tmp_path, name):
    path = SPLITS / f"split_zhou_{name}.json"
    if not path.is_file():
        pytest.skip(f"needs {path.name} in ../shared/splits")
    names, splits = read_coop_split(path)
    assert (len(names), *(len(splits[split]) for split in ("train", "val", "test"))) == SIZES[name]
    everything = [path for rows in splits.values() for path, _ in rows]
    assert len(set(everything)) == len(everything)
    assert {label for _, label in splits["train"]} == set(range(len(names)))
    for file, _ in splits["test"]:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    images = ImageList.from_coop(path, tmp_path, "test")
    assert (len(images), images.class_names) == (SIZES[name][3], names)
    with pytest.raises(InputError, match=f"more of {SIZES[name][1]}; complete the download"):
        ImageList.from_coop(path, tmp_path, "train")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"train": [], "val": []}', "not a split file"),
        ('{"train": {}, "val": [], "test": []}', "entry 0 of train"),
        ('{"train": [], "val": [], "test": [["a.jpg", "0", "cat"]]}', "entry 0 of test"),
        ('{"train": [], "val": [], "test": [["a.jpg", true, "cat"]]}', "entry 0 of test"),
        ('{"train": [], "val": [], "test": [["a.jpg", -1, "cat"]]}', "entry 0 of test"),
        ('{"train": [], "val": [["a", 0, "x"], ["b", 0]], "test": []}', "entry 1 of val"),
        ('{"train": [["a", 0, "x"]], "val": [["b", 0, "y"]], "test": []}', "two names, 'x', 'y'"),
        ('{"train": [["a", 1, "x"]], "val": [], "test": []}', "not numbered from 0"),
        ('{"train": [], "val": [], "test": []}', "0 classes"),
        ('{"train": [["a", 0, "x"]], "val": [["a", 0, "x"]], "test": []}', "in train and in val"),
        ('{"train": [], "val": [["a", 0, "x"]], "test": [["a", 0, "x"]]}', "in val and in test"),
    ],
)
def test_what_is_no_split_file(tmp_path, content, words):
    path = tmp_path / "split.json"
    path.write_text(content)
    message = refusal(read_coop_split, path)
    assert message.startswith(f"{path}: ")
    assert words in message


def test_a_file_that_is_not_there(tmp_path):
    assert "cannot be read" in refusal(read_coop_split, tmp_path / "none.json")


values = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
rows = st.lists(st.lists(values, max_size=4) | st.tuples(st.text(), st.integers(0, 1), st.text()))
splits = st.fixed_dictionaries({"train": rows, "val": rows | values, "test": rows})


@settings(max_examples=200)
@given(content=st.binary() | splits)
def test_random_files_give_splits_or_input_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / f"random-{os.getpid()}.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    try:
        names, found = read_coop_split(path)
    except InputError:
        return
    for split, listed in found.items():
        assert [[path, label, names[label]] for path, label in listed] == [
            list(row) for row in content[split]
        ]
