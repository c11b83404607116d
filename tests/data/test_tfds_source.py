import io
import sys

import numpy as np
import pytest
from PIL import Image

from keras_cmm.data import ImageSource, TFDSSource
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images.image_reading import file_bytes, read_image

tfds = pytest.importorskip("tensorflow_datasets")


class Blocks(tfds.core.GeneratorBasedBuilder):
    """Three classes of one-colour JPEGs of several sizes, with a feature that cannot be decoded."""

    VERSION = tfds.core.Version("1.0.0")
    NAMES = ("red", "green", "blue")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "picture": tfds.features.Image(encoding_format="jpeg"),
                    "kind": tfds.features.ClassLabel(names=self.NAMES),
                    "damaged": tfds.features.Image(shape=(None, None, 1)),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(12), "test": self._generate_examples(3)}

    def _generate_examples(self, count):
        for number in range(count):
            yield (
                number,
                {
                    "picture": io.BytesIO(block(number)),
                    "kind": number % 3,
                    "damaged": io.BytesIO(b"..."),
                },
            )


def block(number):
    file = io.BytesIO()
    Image.new("RGB", (20 + number, 30), Blocks.NAMES[number % 3]).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    builder = Blocks(data_dir=tmp_path_factory.mktemp("tfds"))
    builder.download_and_prepare()
    return builder


@pytest.fixture(scope="module")
def source(builder):
    return TFDSSource(builder, "train", image="picture", label="kind")


def test_bytes_arrive_as_they_were_stored(source):
    assert isinstance(source, ImageSource)
    assert source.class_names == Blocks.NAMES
    assert source.labels.dtype == np.int32
    assert len(source) == len(source.images) == len(set(source.keys())) == 12
    for _ in range(2):
        rows = list(source)
        assert [key for key, _, _ in rows] == source.keys()
        assert [label for _, _, label in rows] == source.labels.tolist()
        for _, image, label in rows:
            number = read_image(image).width - 20
            assert (file_bytes(image), label) == (block(number), number % 3)
    widths = sorted(read_image(image).width for image in source.images)
    assert widths == list(range(20, 32))


def test_take(source):
    images = [file_bytes(image) for image in source.images]
    taken = source.take([7, 2, 2, 11, 7])
    assert [file_bytes(image) for image in taken.images] == [
        images[row] for row in (7, 2, 2, 11, 7)
    ]
    assert taken.keys() == [source.keys()[row] for row in (7, 2, 2, 11, 7)]
    assert taken.labels.tolist() == source.labels[[7, 2, 2, 11, 7]].tolist()
    assert [file_bytes(image) for _, image, _ in taken.take([3, 0])] == [images[11], images[7]]
    assert len(source) == 12
    assert list(source.take([]).images) == []
    with pytest.raises(IndexError):
        source.take([12])


def test_the_classes_of_a_model(builder):
    names = ["blue", "green", "red"]
    source = TFDSSource(builder, "test", image="picture", label="kind", class_names=names)
    assert source.class_names == tuple(names)
    for _, image, label in source:
        assert names[label] == Blocks.NAMES[read_image(image).width - 20]
    with pytest.raises(InputError, match="'blue', 'green'"):
        TFDSSource(builder, "test", image="picture", label="kind", class_names=["red"])


def test_parts_of_a_split(builder, source):
    first, rest = (
        TFDSSource(builder, split, image="picture", label="kind")
        for split in ("train[:25%]", "train[25%:]")
    )
    assert (len(first), len(rest)) == (3, 9)
    assert first.keys() + rest.keys() == source.keys()


def test_refusals(builder, tmp_path, monkeypatch):
    with pytest.raises(
        InputError, match=r"blocks/1\.0\.0: has no Image 'image' \(it has .*'picture'"
    ):
        TFDSSource(builder, "train")
    with pytest.raises(InputError, match="has no Image 'kind'"):
        TFDSSource(builder, "train", image="kind", label="kind")
    with pytest.raises(InputError, match="split valid: cannot be read"):
        TFDSSource(builder, "valid", image="picture", label="kind")
    with pytest.raises(InputError, match="no_such_set"):
        TFDSSource("no_such_set", "train", data_dir=tmp_path)
    with pytest.raises(InputError, match=r"mnist.*train.*prepare") as caught:
        TFDSSource("mnist", "train", data_dir=tmp_path)
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(InputError, match=r"pip install 'keras-cmm\[tfds\]'"):
        TFDSSource("mnist", "train")


# JPEG and PNG, and features beside the image that the mock cannot make.
@pytest.mark.parametrize("name", ["dtd", "eurosat/rgb", "oxford_iiit_pet", "imagenet_v2"])
def test_benchmarks_as_tfds_mocks_them(name, tmp_path):
    with tfds.testing.mock_data(num_examples=6):
        source = TFDSSource(name, "train", data_dir=tmp_path)
        assert len(source) == 6
        rows = list(source)
        assert [label for _, _, label in rows] == source.labels.tolist()
        assert max(source.labels) < len(source.class_names)
        for _, image, _ in rows:
            assert read_image(image).mode == "RGB"
        images = [file_bytes(image) for _, image, _ in rows]
        assert [file_bytes(image) for image in source.take([4, 1]).images] == [images[4], images[1]]
