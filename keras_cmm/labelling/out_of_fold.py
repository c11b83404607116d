"""Probabilities that images get from classifiers that were made without them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

Embeddings = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]
Predict = Callable[[Embeddings, Labels, Embeddings], npt.NDArray[np.floating]]
"""Makes a classifier of embeddings and labels; returns the probabilities of other embeddings."""

_MOST_FOLDS = 5


def stratified_folds(labels: Labels, seed: int) -> Iterator[tuple[Labels, Labels]]:
    """Yields the images to train on and those to test on, for each of five folds or fewer.

    Each class is spread over the folds evenly, so that none is without images in training. The only
    image of a class is always trained on.

    Args:
        labels: `(images,)` class ids.
        seed: Seed of the order within the classes.

    Example:
        >>> folds = stratified_folds(np.array([0, 0, 1, 1, 2]), seed=0)
        >>> [(len(train), len(test)) for train, test in folds]
        [(3, 2), (3, 2)]
    """
    fold_of = np.full(len(labels), -1)
    random = np.random.default_rng(seed)
    for label in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == label))
        if len(rows) > 1:
            fold_of[rows] = np.arange(len(rows)) % _MOST_FOLDS
    for fold in range(fold_of.max(initial=-1) + 1):
        yield np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)


def out_of_fold(
    embeddings: Embeddings,
    labels: Labels,
    num_classes: int,
    predict: Predict,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> npt.NDArray[np.float32]:
    """Returns for each image the probabilities of a classifier that was made without it.

    Args:
        embeddings: `(images, dim)`.
        labels: `(images,)` class ids.
        num_classes: How many classes there are. Those without images are answers too.
        predict: Makes a classifier of the first two, and returns the probabilities of the third,
            such as `closed_form_predict(...)`.
        seed: Seed of the folds.
        progress: Called with the number of folds that are done, and of all.

    Returns:
        `(images, num_classes)`, NaN for the only image of a class: without it, its class has none.

    Example:
        >>> rows, labels = np.repeat(np.eye(2), 2, axis=0), np.array([0, 0, 1, 1])
        >>> out_of_fold(rows, labels, 2, lambda x, y, asked: asked).tolist()
        [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    """
    probabilities = np.full((len(labels), num_classes), np.nan, dtype="float32")
    folds = list(stratified_folds(labels, seed))
    for number, (train, test) in enumerate(folds):
        probabilities[test] = predict(embeddings[train], labels[train], embeddings[test])
        if progress is not None:
            progress(number + 1, len(folds))
    return probabilities


def closed_form_predict(
    text_embeddings: npt.NDArray[np.floating], logit_scale: float = 100.0
) -> Predict:
    """Returns a `Predict` by the closed-form start of CMM, which takes no training.

    Args:
        text_embeddings: `(classes, dim)`, the class texts.
        logit_scale: float > 0. CLIP's inverse temperature.
    """
    # They import Keras, which the studio does in a thread of its own.
    from keras import ops

    from keras_cmm.models import CMMClassifier
    from keras_cmm.recipes import AutoRecipe

    def predict(x: Embeddings, y: Labels, asked: Embeddings) -> npt.NDArray[np.floating]:
        head = CMMClassifier.from_text_embeddings(
            text_embeddings, logit_scale=logit_scale, dtype="float32"
        )
        AutoRecipe().prepare(head, np.asarray(x, "float32"), y)
        logits = head.predict(np.asarray(asked, "float32"), batch_size=1024, verbose=0)
        return np.asarray(ops.convert_to_numpy(head.probabilities(logits)))

    return predict
