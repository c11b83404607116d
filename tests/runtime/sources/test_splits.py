import pytest
from labelled_pictures import write_folder, write_tar, write_zip
from refusals import refusal

from keras_cmm.data import ArchiveSource, open_images, open_splits
from keras_cmm_runtime.sources.splits import declared_splits, find_splits

FILES = {
    f"{split}/{name}/1.png": b"..."
    for split, names in (("training_set", "ab"), ("test_set", "a"))
    for name in names
}


def as_csv(root, files, header="path,label,split"):
    write_folder(root, files)
    rows = [f"{name},{name.split('/')[1]},{name.split('/')[0]}" for name in files]
    (root / "list.csv").write_text("\n".join([header, *rows]))
    return root / "list.csv"


@pytest.mark.parametrize(
    "write",
    [
        lambda root: write_folder(root / "photos", FILES),
        lambda root: (
            write_folder(root, {f"photos/photos/{k}": v for k, v in FILES.items()}) / "photos"
        ),
        lambda root: write_zip(root / "photos.zip", FILES),
        lambda root: write_tar(root / "photos.tar", {f"photos/{k}": v for k, v in FILES.items()}),
        lambda root: as_csv(root, FILES),
        lambda root: as_csv(root, FILES, "path,label,what it is for"),
    ],
)
def test_every_kind_of_path(tmp_path, write):
    path = write(tmp_path)
    opened = open_splits(path, ["train", "val", "test"])
    assert {split: images.labels.tolist() for split, images in opened.items()} == {
        "train": [0, 1],
        "test": [0],
    }
    # The classes of train are those of test too.
    assert opened["test"].class_names == ("a", "b")
    assert len(open_images(path, split="test", class_names=["b", "a"])) == 1
    refusal(open_images, path)
    if path.suffix != ".csv":
        keys = open_images(path, split="train").keys()
        assert keys == ["a/1.png", "b/1.png"]


def test_images_without_splits_are_opened_whole(tmp_path):
    write_folder(tmp_path, {"train/1.png": b"", "plane/1.png": b""})
    (images,) = open_splits(tmp_path, ["train"]).values()
    assert images.class_names == ("plane", "train")
    path = write_zip(tmp_path / "photos.zip", {"train/1.png": b"", "plane/1.png": b""})
    assert list(open_splits(path, ["train"])) == [None]
    assert "has no splits" in refusal(ArchiveSource.from_file, path, split="train")


@pytest.mark.parametrize("pack", [write_folder, lambda path, files: write_zip(path, files)])
def test_splits_inside_the_classes(tmp_path, pack):
    files = {f"{name}/{split}/1.png": b"" for name in "ab" for split in ("train", "test")}
    path = pack(tmp_path / "photos.zip", files)
    assert open_images(path, split="train").keys() == ["a/train/1.png", "b/train/1.png"]
    assert "`split` must be one of 'train', 'test'" in refusal(open_images, path)


def test_one_split_alone(tmp_path):
    write_folder(tmp_path, {f"train/{name}/1.png": b"" for name in "ab"})
    assert open_splits(tmp_path, ["train"])["train"].class_names == ("a", "b")
    assert "one of 'train'" in refusal(open_splits, tmp_path, ["test"])


def test_webdataset_of_splits(tmp_path):
    files = {f"{split}/0.{end}": b"cat" for split in ("train", "test") for end in ("png", "cls")}
    files |= {"train/1.png": b"", "train/1.cls": b"dog"}
    path = write_tar(tmp_path / "photos.tar", files)
    opened = open_splits(path, ["train", "test"])
    assert [images.labels.tolist() for images in opened.values()] == [[0, 1], [0]]


def test_rows_of_one_split_are_the_only_ones_that_are_looked_at(tmp_path):
    path = as_csv(tmp_path, FILES)
    with path.open("a") as file:
        file.write("\nnot/there.png,,test_set")
    assert len(open_images(path, split="train")) == 2
    assert "empty path or label" in refusal(open_images, path, split="test", class_names="ab")


def test_columns_that_are_no_splits(tmp_path):
    path = as_csv(tmp_path, FILES, "path,label,note")
    path.write_text(
        path.read_text().replace("test_set\n", "test\n").replace(",test_set", ",blurry")
    )
    with pytest.warns(UserWarning, match="of all rows; ignored: 'note'"):
        assert len(open_images(path)) == 3


def test_rows_of_no_split_and_of_both(tmp_path):
    path = as_csv(tmp_path, FILES)
    name = next(iter(FILES))
    text = path.read_text()
    path.write_text(text + "\nnone/a/1.png,a,")
    with pytest.warns(UserWarning, match=r"1 of 4 rows are in no split"):
        assert len(open_images(path, split="train")) == 2
    path.write_text(text + f"\n{name},a,test_set")
    assert "is in training_set and in test_set; splits must share no image" in refusal(
        open_images, path, split="train"
    )


def test_a_column_of_one_split(tmp_path):
    path = as_csv(tmp_path, {name: b"" for name in FILES if "train" in name})
    assert len(open_images(path, split="train")) == 2
    assert "one of 'training_set'" in refusal(open_images, path, split="test")


def test_several_candidates_are_refused():
    assert find_splits(["Train Images", "val images", "notes"], "x") == {
        "train": "Train Images",
        "val": "val images",
    }
    assert find_splits(["val", "test"], "x") == {"val": "val", "test": "test"}
    assert find_splits(["train", "plane"], "x") == {}
    assert "more than one of a kind" in refusal(find_splits, ["train", "training", "test"], "x")
    names = ["a_train", "a_test", "b_train", "b_test"]
    assert "look like splits" in refusal(find_splits, names, "x")


def test_declared_splits():
    assert declared_splits(["train", "validation"]) == {"train": "train", "val": "validation"}
    assert declared_splits(["fold1"]) == {"fold1": "fold1"}
    assert declared_splits(["val", "dev"]) == {"val": "val", "dev": "dev"}
