"""Writes a small embeddings file: `python tests/make_embeddings.py FILE [--seed N]`.

No pictures are behind it: the rows are random numbers with the geometry of CLIP's. Images and texts
lie in two narrow cones with a gap between them. What tells classes apart has few dimensions, others
in images than in texts, and images vary in these and in dimensions that mean nothing. Cosines and
the accuracies of zero-shot and nearest-mean are about those of CLIP ViT-B/32 on DTD, Caltech101 and
Stanford Cars, on average.
"""

import argparse

import numpy as np

from keras_cmm.data import EmbeddingSet

CLASSES, DIM, CONCEPT_DIM, STYLE_DIM = 20, 64, 16, 8
TRAIN_ROWS, TEST_ROWS = 32, 20


def make_embeddings(seed: int = 0) -> EmbeddingSet:
    """Returns a set of 20 classes, 64 wide, with 32 train and 20 test rows a class."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        """Random vectors, about 1 long."""
        return rng.normal(size=shape) / np.sqrt(shape[-1])

    # Five families of four classes, as breeds or models of cars are.
    concepts = unit(0.5 * np.repeat(draw(5, CONCEPT_DIM), 4, axis=0) + draw(CLASSES, CONCEPT_DIM))
    axes = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0].T
    image_axis, other_axis, axes = axes[0], axes[1], axes[2:]
    text_axis = 0.3 * image_axis + np.sqrt(0.91) * other_axis
    image_space, other_space, rest = np.split(axes, [CONCEPT_DIM, 2 * CONCEPT_DIM])
    text_space = 0.5 * image_space + np.sqrt(0.75) * other_space
    style_space = rest[:STYLE_DIM]

    def draw_images(rows_a_class: int) -> tuple[np.ndarray, np.ndarray]:
        labels = rng.permutation(np.repeat(np.arange(CLASSES), rows_a_class))
        views = 0.5 * concepts[labels] + 0.6 * draw(len(labels), CONCEPT_DIM)
        styles = 0.35 * draw(len(labels), STYLE_DIM)
        noise = 0.3 * draw(len(labels), DIM)
        rows = 1.1 * image_axis + views @ image_space + styles @ style_space + noise
        return unit(rows), labels.astype("int32")

    train_embeddings, train_labels = draw_images(TRAIN_ROWS)
    test_embeddings, test_labels = draw_images(TEST_ROWS)
    names = unit(concepts + 0.6 * draw(CLASSES, CONCEPT_DIM))
    return EmbeddingSet(
        train_embeddings=train_embeddings,
        train_labels=train_labels,
        test_embeddings=test_embeddings,
        test_labels=test_labels,
        text_embeddings=unit(0.85 * text_axis + 0.5 * names @ text_space),
        class_names=[f"class {number}" for number in range(CLASSES)],
        dataset="generated",
        backbone="random numbers",
        notes="Made by tests/make_embeddings.py; there are no pictures behind it.",
    )


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("float32")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    make_embeddings(arguments.seed).write(arguments.file)
    print(f"{arguments.file}: {CLASSES} classes, {TRAIN_ROWS} train and {TEST_ROWS} test rows each")
