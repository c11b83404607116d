import io
import sys

import numpy as np
import pytest
from labelled_pictures import NAMES, hf_dataset, pictures, write_folder
from PIL import Image
from refusals import refusal

from keras_cmm.data import HFSource
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images.image_reading import read_image

datasets = pytest.importorskip("datasets")


def from_rows(images, labels, **kinds):
    features = datasets.Features({"image": datasets.Image(), **kinds})
    columns = {"image": images, **dict.fromkeys(set(kinds), labels)}
    return datasets.Dataset.from_dict(columns, features=features)


def test_images_are_read_as_hugging_face_reads_them():
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (9, 8, 3), "uint8")) for _ in range(2)]
    dataset = from_rows(images, [1, 0], label=datasets.ClassLabel(names=["cat", "dog"]))
    for row, image in enumerate(HFSource.from_dataset(dataset).images):
        expected = np.asarray(dataset[row]["image"].convert("RGB"))
        np.testing.assert_array_equal(np.asarray(read_image(image)), expected)


def test_images_that_are_paths(tmp_path):
    folder = write_folder(tmp_path, pictures())
    paths = [str(folder / key) for key in pictures()]
    dataset = from_rows(paths, [0, 0, 0, 1, 1, 1], label=datasets.ClassLabel(names=list(NAMES)))
    images = HFSource.from_dataset(dataset).images
    assert [image.read_bytes() for image in images] == list(pictures().values())
    (folder / "green tea" / "0.jpg").unlink()
    with pytest.raises(InputError, match=r"dataset\[0\]: cannot be read"):
        read_image(images[0])


def test_a_selection_and_a_shuffled_data_set():
    dataset = hf_dataset(pictures()).shuffle(seed=3).select([5, 1, 0])
    source = HFSource.from_dataset(dataset)
    assert source.labels.tolist() == dataset["label"][:]
    expected = [np.asarray(image.convert("RGB")) for image in dataset["image"]]
    for image, pixels in zip(source.images, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(read_image(image)), pixels)


def test_the_format_of_the_data_set_does_not_matter():
    source = HFSource.from_dataset(hf_dataset(pictures()).with_format("numpy"))
    assert [image.read_bytes() for image in source.images] == list(pictures().values())


def test_labels_that_are_texts_and_the_classes_of_a_model():
    images = [Image.new("RGB", (4, 4))] * 3
    dataset = from_rows(images, ["dog", "cat", "dog"], species=datasets.Value("string"))
    source = HFSource.from_dataset(dataset, label="species")
    assert (source.class_names, source.labels.tolist()) == (("cat", "dog"), [1, 0, 1])
    source = HFSource.from_dataset(dataset, label="species", class_names=["emu", "dog", "cat"])
    assert source.labels.tolist() == [1, 2, 1]
    source = HFSource.from_dataset(hf_dataset(pictures()), class_names=NAMES[::-1])
    assert source.labels.tolist() == [1, 1, 1, 0, 0, 0]


def test_several_columns_need_a_name():
    images = [Image.new("RGB", (4, 4))] * 2
    names = datasets.ClassLabel(names=["cat", "dog"])
    dataset = from_rows(images, [0, 1], fine=names, coarse=names)
    assert "2 columns of the type ClassLabel; name one as `label`" in refusal(
        HFSource.from_dataset, dataset
    )
    assert HFSource.from_dataset(dataset, label="fine").labels.tolist() == [0, 1]
    assert "no column 'kind' (it has 'image', " in refusal(
        HFSource.from_dataset, dataset, label="kind"
    )
    assert "0 columns of the type Image" in refusal(
        HFSource.from_dataset, dataset.remove_columns("image"), label="fine"
    )


def test_refusals():
    images = [Image.new("RGB", (4, 4)), None]
    names = datasets.ClassLabel(names=["cat", "dog"])
    assert "-1 to 1 (a test set" in refusal(
        HFSource.from_dataset, from_rows(images, [-1, 1], label=names)
    )
    numbers = from_rows(images, [0.5, 1.0], label=datasets.Value("float32"))
    assert "ClassLabel, text or integer" in refusal(HFSource.from_dataset, numbers, label="label")
    dataset = from_rows(images, [0, 1], label=names)
    with pytest.raises(InputError, match=r"row 1 of the data set has no image"):
        read_image(HFSource.from_dataset(dataset).images[1])
    splits = datasets.DatasetDict(train=dataset, test=dataset)
    assert "DatasetDict: 'train', 'test'" in refusal(HFSource.from_dataset, splits)
    assert "Received: IterableDataset" in refusal(
        HFSource.from_dataset, dataset.to_iterable_dataset()
    )


def test_parquet(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "train.parquet"
    hf_dataset(pictures()).to_parquet(str(path))
    source = HFSource.from_parquet(path)
    assert source.class_names == NAMES
    assert [image.read_bytes() for image in source.images] == list(pictures().values())
    path.write_bytes(path.read_bytes()[:500])
    assert refusal(HFSource.from_parquet, path).startswith(f"{path}: cannot be read as Parquet")
    assert "cannot be read" in refusal(HFSource.from_parquet, tmp_path / "none.parquet")


def test_a_damaged_image_is_named():
    picture = io.BytesIO()
    Image.new("RGB", (50, 50)).save(picture, "PNG")
    images = [{"bytes": picture.getvalue()[:60], "path": None}] * 2
    dataset = from_rows(images, [0, 1], label=datasets.ClassLabel(names=["cat", "dog"]))
    with pytest.raises(InputError, match=r"dataset\[1\]: cannot be read as an image"):
        read_image(HFSource.from_dataset(dataset).images[1])


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "pip install 'keras-cmm[hf]'" in refusal(HFSource.from_parquet, "train.parquet")
