"""What holds for every source; the files of each are made from the same pictures."""

import json
import pickle

import numpy as np
import pytest
from labelled_pictures import (
    NAMES,
    as_cls,
    as_json,
    hf_dataset,
    pictures,
    webdataset,
    write_folder,
    write_tar,
    write_zip,
)

from keras_cmm.data import ArchiveSource, HFSource, ImageList, ImageSource, sample_few_shot
from keras_cmm_runtime.images.image_reading import file_bytes, read_image


def folder(root):
    root.mkdir(exist_ok=True)
    return ImageList.from_folder(write_folder(root / "photos", pictures()))


def csv(root):
    root.mkdir(exist_ok=True)
    keys = folder(root).keys()
    lines = [f"{key},{key.split('/')[0]}" for key in keys]
    (root / "photos" / "labels.csv").write_text("\n".join(["path,label", *lines]))
    return ImageList.from_csv(root / "photos" / "labels.csv")


def parquet(root):
    root.mkdir(exist_ok=True)
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    keys = folder(root).keys()
    columns = {"path": keys, "label": [key.split("/")[0] for key in keys]}
    parquet.write_table(pyarrow.table(columns), root / "photos" / "labels.parquet")
    return ImageList.from_parquet(root / "photos" / "labels.parquet")


def coop(root):
    root.mkdir(exist_ok=True)
    keys = folder(root).keys()
    rows = [[key, NAMES.index(key.split("/")[0]), key.split("/")[0]] for key in keys]
    (root / "split.json").write_text(json.dumps({"train": rows, "val": [], "test": []}))
    return ImageList.from_coop(root / "split.json", root / "photos", "train")


def zip_archive(root):
    root.mkdir(exist_ok=True)
    return ArchiveSource.from_file(write_zip(root / "photos.zip", pictures()))


def tar_archive(root):
    root.mkdir(exist_ok=True)
    members = {f"photos/{key}": data for key, data in pictures().items()}
    return ArchiveSource.from_file(write_tar(root / "photos.tar", members))


def webdataset_of_numbers(root):
    (root / "classnames.txt").write_text("\n".join(NAMES))
    return ArchiveSource.from_file(write_tar(root / "wds.tar", webdataset(pictures(), as_cls)))


def webdataset_of_names(root):
    return ArchiveSource.from_file(write_tar(root / "wds.tar", webdataset(pictures(), as_json)))


def hugging_face(root):
    pytest.importorskip("datasets")
    return HFSource.from_dataset(hf_dataset(pictures()))


SAME_KEYS = [folder, csv, parquet, coop, zip_archive, tar_archive]
ALL = [*SAME_KEYS, webdataset_of_numbers, webdataset_of_names, hugging_face]


@pytest.mark.parametrize("make", ALL)
def test_every_source_gives_the_same_images(tmp_path, make):
    source = make(tmp_path)
    assert isinstance(source, ImageSource)
    files = list(pictures().values())
    assert source.class_names == NAMES
    assert source.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert source.labels.dtype == np.int32
    assert len(source) == len(source.images) == 6
    assert len(set(source.keys())) == 6
    for _ in range(2):  # a source can be gone through again
        rows = list(source)
        assert [key for key, _, _ in rows] == source.keys()
        assert [file_bytes(image) for _, image, _ in rows] == files
        assert [label for _, _, label in rows] == source.labels.tolist()
    np.testing.assert_array_equal(
        np.asarray(read_image(next(iter(source.images)))), np.asarray(read_image(files[0]))
    )


@pytest.mark.parametrize("make", ALL)
def test_take(tmp_path, make):
    source = make(tmp_path)
    taken = source.take(np.array([4, 0, 0]))
    assert isinstance(taken, ImageSource)
    assert taken.keys() == [source.keys()[row] for row in (4, 0, 0)]
    assert taken.labels.tolist() == [1, 0, 0]
    assert taken.class_names == NAMES
    files = list(pictures().values())
    assert [file_bytes(image) for image in taken.images] == [files[row] for row in (4, 0, 0)]
    assert taken.take([2, 0]).keys() == [source.keys()[row] for row in (0, 4)]
    assert len(source.take([])) == 0
    with pytest.raises(IndexError):
        source.take([6])


@pytest.mark.parametrize("make", SAME_KEYS)
def test_the_same_few_shot_sample_is_drawn_from_each(tmp_path, make):
    source, expected = make(tmp_path / "one"), folder(tmp_path / "other")
    draws = [
        images.take(sample_few_shot(images.labels, 1, seed=1, keys=images.keys()).indices).keys()
        for images in (source, expected)
    ]
    assert draws[0] == draws[1]


@pytest.mark.parametrize("make", ALL)
def test_images_can_go_to_other_processes(tmp_path, make):
    for image, data in zip(make(tmp_path).images, pictures().values(), strict=True):
        assert file_bytes(pickle.loads(pickle.dumps(image))) == data
