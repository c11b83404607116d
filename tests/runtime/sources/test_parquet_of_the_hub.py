"""Parquet files as Hugging Face's hub has them, with and without its notes on the columns."""

import pytest
from labelled_pictures import NAMES, hf_dataset, pictures
from refusals import refusal

from keras_cmm.data import HFSource, open_images, open_splits

datasets = pytest.importorskip("datasets")
pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

LABELS = [0, 0, 0, 1, 1, 1]
TEXTS = [NAMES[label] for label in LABELS]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


def structs():
    return [{"bytes": data, "path": None} for data in pictures().values()]


def write(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table(columns), path)
    return path


def check(images):
    assert images.class_names == NAMES
    assert images.labels.tolist() == LABELS
    assert [image.read_bytes() for image in images.images] == list(pictures().values())


def test_texts_and_plain_structs(tmp_path):
    check(open_images(write(tmp_path / "a.parquet", image=structs(), label=TEXTS)))
    check(open_images(write(tmp_path / "b.parquet", img=list(pictures().values()), labels=TEXTS)))


def test_numbers_with_the_names_in_the_metadata(tmp_path):
    hf_dataset(pictures()).to_parquet(str(tmp_path / "a.parquet"))
    check(open_images(tmp_path / "a.parquet"))


def test_numbers_without_names(tmp_path):
    path = write(tmp_path / "a.parquet", image=structs(), label=LABELS)
    assert "its classes are numbers; put their names into classnames.txt beside" in refusal(
        open_images, path
    )
    with pytest.warns(UserWarning, match=f"0 is {NAMES[0]!r}, 1 is {NAMES[1]!r}; put their"):
        check(open_images(path, class_names=NAMES))
    (tmp_path / "classnames.txt").write_text("\n".join(NAMES))
    check(open_images(path))
    # The model's order is not that of the numbers.
    assert open_images(path, class_names=NAMES[::-1]).labels.tolist() == [1, 1, 1, 0, 0, 0]


def test_numbers_that_are_names_are_not_counted(tmp_path):
    path = write(tmp_path / "a.parquet", image=structs(), label=[0, 1, 2, 10, 10, 0])
    images = open_images(path, class_names=["0", "1", "10", "2"])
    assert images.labels.tolist() == [0, 1, 3, 2, 2, 0]


def test_two_columns_of_labels(tmp_path):
    fine = datasets.ClassLabel(names=["a", "b"])
    dataset = hf_dataset(pictures()).add_column("coarse", LABELS).cast_column("coarse", fine)
    dataset.to_parquet(str(tmp_path / "a.parquet"))
    message = refusal(open_images, tmp_path / "a.parquet")
    assert "has 2 columns of the type ClassLabel; name one as `label`" in message
    assert "--label-column" in message
    check(open_images(tmp_path / "a.parquet", label="label"))
    path = write(tmp_path / "b.parquet", image=structs(), label=TEXTS, category=TEXTS)
    assert "name one as `label`" in refusal(open_images, path)
    check(open_images(path, label="category"))


def test_columns_that_are_named(tmp_path):
    path = write(tmp_path / "a.parquet", photo=structs(), thumb=structs(), what=TEXTS)
    assert "name one as `image`, on the command line as --image-column" in refusal(
        open_images, path, label="what"
    )
    check(open_images(path, image="photo", label="what"))
    assert "column 'what' must be of images" in refusal(
        HFSource.from_parquet, path, image="what", label="what"
    )
    for name, data in pictures().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    listed = write(tmp_path / "list.parquet", photo=list(pictures()), what=TEXTS)
    check(open_images(listed, image="photo", label="what"))


@pytest.mark.parametrize("place", [".", "data"])
def test_several_files_in_one_folder(tmp_path, place):
    half = {"image": structs()[:3], "label": TEXTS[:3]}
    rest = {"image": structs()[3:], "label": TEXTS[3:]}
    folder = tmp_path / "hub" / place
    write(folder / "train-00000-of-00002.parquet", **half)
    (tmp_path / "hub" / "README.md").write_text("...")
    assert "is one of 2 files, but some of them are missing" in refusal(
        open_splits, tmp_path / "hub", ["train"]
    )
    write(folder / "train-00001-of-00002.parquet", **rest)
    check(open_splits(tmp_path / "hub", ["train"])["train"])
    write(folder / "validation-00000-of-00001.parquet", **rest)
    opened = open_splits(tmp_path / "hub", ["train", "val"])
    check(opened["train"])
    assert opened["val"].labels.tolist() == [1, 1, 1]
    assert "must be one of 'train', 'validation'" in refusal(open_images, tmp_path / "hub")


def test_files_without_splits(tmp_path):
    write(tmp_path / "hub" / "0000.parquet", image=structs()[:3], label=TEXTS[:3])
    write(tmp_path / "hub" / "0001.parquet", image=structs()[3:], label=TEXTS[3:])
    check(open_images(tmp_path / "hub"))


def test_labels_with_gaps(tmp_path):
    path = write(tmp_path / "a.parquet", image=structs(), label=[*TEXTS[:5], None])
    assert "text or integer, without gaps" in refusal(open_images, path)
    dataset = hf_dataset(pictures()).map(lambda row: {"label": row["label"] or None})
    assert "-1 to 1" in refusal(HFSource.from_dataset, dataset)
