import itertools

import keras
import numpy as np
from refusals import refusal

from keras_cmm.clip import ImageEmbedder
from keras_cmm.models.inputs import iterate_images
from keras_cmm_runtime.utils import items


class Endless:
    """A data set as torch's are: it never raises an `IndexError`."""

    def __getitem__(self, index):
        assert index < 100
        return np.full((3, 4, 3), index, "uint8"), index


class Images(Endless):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return super().__getitem__(index)[0]


class Batches(Endless):
    def __len__(self):
        return 3


def test_the_length_of_a_data_set_counts():
    assert len(list(items(Images()))) == 3
    assert [label for _, label in iterate_images(Batches())] == [0, 1, 2]
    assert [next(items(x)) for x in ([7], iter([7]), itertools.count(7))] == [7, 7, 7]


def test_without_a_length_it_is_refused():
    assert "`__len__`" in refusal(items, Endless())
    assert "`__len__`" in refusal(lambda: list(iterate_images(Endless())))
    assert "Received: int" in refusal(items, 7)


def test_embedding_a_data_set(tiny_model):
    embedder = ImageEmbedder(tiny_model)
    assert embedder.embed(Images()).rows.tolist() == [0, 1, 2]
    assert list(embedder.check(Images())) == [None] * 3


def test_a_pydataset_without_an_end():
    class Forever(keras.utils.PyDataset):
        @property
        def num_batches(self):
            return None

        def __getitem__(self, index):
            raise AssertionError

    assert "never ends" in refusal(lambda: list(iterate_images(Forever())))
