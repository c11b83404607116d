"""A small made-up data set for the benchmark's tests, and the fields of its records."""

import numpy as np

from keras_cmm.data import EmbeddingSet

CLASSES, DIM = 4, 8
RECORD_FIELDS = {
    "dataset",
    "protocol",
    "backbone",
    "method",
    "shots",
    "seed",
    "top1",
    "num_classes",
    "support_rows",
    "test_rows",
    "ece",
    "fit_seconds",
    "predict_seconds",
    "hyperparameters",
    "versions",
}
# What CMM's records have besides.
OF_CMM = {
    "ece_calibrated",
    "own_cosine",
    "hardest_wrong_cosine",
    "mapped_own_cosine",
    "mapped_hardest_wrong_cosine",
}


def make_data(train_rows=(8, 8, 8, 8), val_rows=0, scale=3.0, **changes):
    """Returns a set whose rows are of length `scale`, so that normalisation shows."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLASSES, DIM))

    def draw(labels):
        rows = centres[labels] + 0.5 * rng.normal(size=(len(labels), DIM))
        return (scale * rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("float16")

    train_labels = rng.permutation(np.repeat(np.arange(CLASSES), train_rows)).astype("int32")
    test_labels = np.tile(np.arange(CLASSES, dtype="int32"), 20)
    val_labels = np.tile(np.arange(CLASSES, dtype="int32"), val_rows)
    fields = {
        "train_embeddings": draw(train_labels),
        "train_labels": train_labels,
        "test_embeddings": draw(test_labels),
        "test_labels": test_labels,
        "text_embeddings": draw(np.arange(CLASSES)),
        "val_embeddings": draw(val_labels) if val_rows else None,
        "val_labels": val_labels if val_rows else None,
        "class_names": [str(label) for label in range(CLASSES)],
        "dataset": "generated",
        "backbone": "none",
    }
    return EmbeddingSet(**fields | changes)
