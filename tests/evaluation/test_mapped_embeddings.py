import dataclasses

import numpy as np
import pytest

from keras_cmm import CMMClassifier, InputError
from keras_cmm.evaluation import MappedEmbeddings, measure_modality_gap


@pytest.mark.parametrize("classes", [None, [0, 1, 3]])
def test_classes_of_one_text_are_left_out_before_and_after(classes):
    rng = np.random.default_rng(0)
    texts, prototypes = rng.normal(size=(2, 4, 8)).astype("float32")
    texts[1] = texts[0]
    chosen = slice(None) if classes is None else classes
    labels = np.array([0, 1, 2, 2])
    images = rng.normal(size=(4, 8)).astype("float32")
    images += prototypes[chosen][labels]
    # The closest wrong prototype of each but for that of its own text.
    prototypes[1] = prototypes[0] + 0.1
    head = CMMClassifier.from_text_embeddings(texts)
    head.prototypes.embeddings.assign(prototypes)
    mapped = MappedEmbeddings.from_head(head, images, labels, classes)
    before, after = mapped.modality_gaps()
    groups = [[0, 1]]
    assert before == measure_modality_gap(images, head.text_embeddings[chosen], labels, groups)
    expected = measure_modality_gap(mapped.mapped_images, prototypes[chosen], labels, groups)
    assert after == expected
    assert after != measure_modality_gap(mapped.mapped_images, prototypes[chosen], labels)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": np.zeros(8)}, r"shape \(classes, dim\)"),
        ({"images": np.zeros((5, 7))}, "`images` must have shape"),
        ({"mapped_images": np.zeros((3, 8))}, "`mapped_images` must have shape"),
        ({"prototypes": np.zeros((2, 8))}, "`prototypes` must have shape"),
        ({"labels": np.full(5, 3)}, r"lie in \[0, 3\)"),
    ],
)
def test_bad_embeddings(changes, message):
    images = np.ones((5, 8))
    good = MappedEmbeddings(images, images, np.eye(3, 8), np.zeros(5, int))
    with pytest.raises(InputError, match=message):
        dataclasses.replace(good, **changes)
