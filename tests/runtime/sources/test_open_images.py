import json

import pytest
from labelled_pictures import NAMES, hf_dataset, pictures, write_folder, write_tar, write_zip
from refusals import refusal

from keras_cmm.data import find_images, open_images, read_class_names


def write_csv(root):
    lines = [f"photos/{key},{key.split('/')[0]}" for key in pictures()]
    (root / "labels.csv").write_text("\n".join(["path,label", *lines]))
    return root / "labels.csv"


def write_parquet_list(root):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {
        "path": [f"photos/{key}" for key in pictures()],
        "label": [key.split("/")[0] for key in pictures()],
    }
    parquet.write_table(pyarrow.table(columns), root / "list.parquet")
    return root / "list.parquet"


def write_parquet_of_images(root):
    hf_dataset(pictures()).to_parquet(str(root / "train.parquet"))
    return root / "train.parquet"


def save_to_disk(root):
    hf_dataset(pictures()).save_to_disk(root / "saved")
    return root / "saved"


@pytest.mark.parametrize(
    "write",
    [
        lambda root: root / "photos",
        lambda root: write_zip(root / "photos.ZIP", pictures()),
        lambda root: write_tar(root / "photos.tar", pictures()),
        write_csv,
        write_parquet_list,
        write_parquet_of_images,
        save_to_disk,
    ],
)
def test_every_kind_of_path(tmp_path, monkeypatch, write):
    pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    write_folder(tmp_path / "photos", pictures())
    path = write(tmp_path)
    images = open_images(str(path))
    assert images.class_names == NAMES
    assert [image.read_bytes() for image in images.images] == list(pictures().values())
    other_order = open_images(path, class_names=NAMES[::-1])
    assert other_order.labels.tolist() == [1, 1, 1, 0, 0, 0]


def test_a_list_with_a_folder_of_its_own(tmp_path):
    write_folder(tmp_path / "elsewhere" / "photos", pictures())
    path = write_csv(tmp_path).rename(tmp_path / "labels.txt")
    images = open_images(path, root=tmp_path / "elsewhere")
    assert images.keys() == [f"photos/{key}" for key in pictures()]


def test_a_list_with_tabs(tmp_path):
    write_folder(tmp_path / "photos", pictures())
    path = write_csv(tmp_path)
    (tmp_path / "labels.tsv").write_text(path.read_text().replace(",", "\t"))
    assert open_images(tmp_path / "labels.tsv").class_names == NAMES


def test_splits(tmp_path):
    datasets = pytest.importorskip("datasets")
    few, more = dict(list(pictures().items())[1:5]), pictures()
    for split, files in (("train", more), ("test", few)):
        write_folder(tmp_path / "folders" / split, files)
    saved = datasets.DatasetDict(train=hf_dataset(more), test=hf_dataset(few))
    saved.save_to_disk(tmp_path / "saved")
    write_folder(tmp_path, more)
    rows = [[key, NAMES.index(key.split("/")[0]), key.split("/")[0]] for key in more]
    split_file = tmp_path / "split.json"
    split_file.write_text(json.dumps({"train": rows[:2], "val": [], "test": rows[2:]}))
    for path, sizes in (
        (tmp_path / "folders", (6, 4)),
        (tmp_path / "saved", (6, 4)),
        (split_file, (2, 4)),
    ):
        assert tuple(len(open_images(path, split=split)) for split in ("train", "test")) == sizes
        assert "`split` must" in refusal(open_images, path, split="none")
    assert "`split` must be" in refusal(open_images, split_file)
    assert "`split` must be one of 'train', 'test'" in refusal(open_images, tmp_path / "saved")
    assert "look like splits" in refusal(open_images, tmp_path / "folders")
    archive = write_zip(tmp_path / "photos.zip", more)
    assert "has no splits; leave out `split`" in refusal(open_images, archive, split="train")


def test_what_is_none_of_these(tmp_path):
    assert "no such file or folder" in refusal(open_images, tmp_path / "none")
    for name, message in (
        ("photo.jpg", "give a folder of images, or a .zip"),
        ("photos.tar.gz", "is compressed; uncompress it first"),
    ):
        (tmp_path / name).touch()
        assert message in refusal(open_images, tmp_path / name)
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "state.json").write_text("{}")
    assert "cannot be read as a data set" in refusal(open_images, tmp_path / "saved")


def make_folders(root, *names):
    write_folder(root, {f"{name}/1.png": b"" for name in names})


@pytest.mark.parametrize(
    ("train", "other"),
    [
        ("training_set", "test_set"),
        ("seg_train", "seg_test"),
        ("Train Images", "Validation Images"),
        ("train2017", "val2017"),
        ("trainset", "testset"),
        ("train", "dev"),
    ],
)
def test_splits_are_no_classes(tmp_path, train, other):
    make_folders(tmp_path, train, other, "sample")
    message = refusal(open_images, tmp_path)
    assert message.endswith(f"look like splits, not classes; give {tmp_path / train}.")
    assert "look like splits" in refusal(open_images, tmp_path, class_names=["cat", "dog"])


@pytest.mark.parametrize(
    "names",
    [
        ("plane", "train", "truck"),
        ("model train", "steam train", "train"),
        ("bus", "test tube", "train station"),
        ("constraint", "latest"),
    ],
)
def test_classes_with_a_word_of_splits(tmp_path, names):
    make_folders(tmp_path, *names)
    assert open_images(tmp_path).class_names == names


def test_a_comment_in_a_list_of_classes_is_a_name_that_is_warned_of(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("# my classes\ncat\ndog #2\n")
    with pytest.warns(UserWarning, match=r"'# my classes' is taken as .* with # \(1\); rem"):
        assert read_class_names(path) == ["# my classes", "cat", "dog #2"]


def test_found_images_are_those_of_the_class_folders(tmp_path):
    names = [f"{name}/1{end}" for name in "ab" for end in (".jpg", ".png", ".TIFF", ".txt", "")]
    write_folder(tmp_path, dict.fromkeys(names, b""))
    found = find_images([str(tmp_path)])
    assert set(found) == set(open_images(tmp_path).paths)
    assert len(found) == 2 * 3


def test_warnings_name_the_line_of_the_caller(tmp_path):
    make_folders(tmp_path, "cat", "dog")
    (tmp_path / "cat" / "2.jxl").touch()
    for read in (open_images, lambda path: find_images([path])):
        with pytest.warns(UserWarning, match=r"1 \.jxl") as caught:
            read(tmp_path)
        assert [warning.filename for warning in caught] == [__file__]
