"""A mixture of Gaussians that texts and neighbours guide, after TransCLIP."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.row_batches import row_batches
from keras_cmm.methods.transductive.transductive_method import TransductiveMethod

DEFAULT_TEXT_WEIGHT = 1.0

_TEXT_WEIGHTS = (0.5, 1.0, 2.0, 4.0, 8.0)
_NEIGHBOURS = 3
_ITERATIONS, _INNER_STEPS = 10, 5

# Images that are all the same have no variance.
_LEAST_VARIANCE = 1e-6

_Rows = npt.NDArray[np.float32]


class TextGuidedMixture(TransductiveMethod):
    """Gaussians with one diagonal covariance, guided by the texts and by neighbours.

    Each test image has probabilities z of the classes, which start at zero-shot CLIP's. In turns,
    the Gaussians are fitted to the support rows and to the test images, weighted by z; and z is the
    softmax of `w * logit_scale * x @ T0.T + log N(x; m_c, S) + sum_j max(0, x @ x_j) * z_j`, where
    the sum is over the image's 3 nearest test images. The logits are what the softmax is taken of.

    These are the three terms of TransCLIP's objective: a Gaussian mixture, a Laplacian of
    affinities, and the divergence from CLIP's probabilities, whose weight is w. We wrote it from
    the paper's abstract and from what is said of it elsewhere, and did not look at its code, which
    is AGPL. So it is no TransCLIP: the constants and the order of the steps are ours, and a support
    row counts as a test image. w is chosen among 0.5, 1, 2, 4 and 8 by top-1 on few-shot
    validation: the validation rows then stand among the test images, without their classes. Without
    validation rows it is 1.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(4, dtype="float32")
        >>> task = FewShotTask(eye, np.arange(4), eye, logit_scale=100.0, shots=1, seed=1)
        >>> TextGuidedMixture().predict_logits(task, eye).argmax(axis=1)
        array([0, 1, 2, 3])

    References:
        After Zanella et al., "Boosting Vision-Language Models with Transduction", NeurIPS 2024,
        arXiv:2406.01837.
    """

    name: ClassVar[str] = "text_guided_mixture"

    def _predict(self, task: FewShotTask, embeddings: _Rows) -> tuple[_Rows, dict[str, object]]:
        weight, selection = DEFAULT_TEXT_WEIGHT, "fixed: no validation rows"
        if task.has_validation:
            weight = _best_weight(task, embeddings)
            assert task.val_labels is not None
            selection = f"few-shot validation: {len(task.val_labels)} rows, {task.val_source}"
        logits = _mixture_logits(task, embeddings, _Neighbours(embeddings), weight)
        return logits, {
            "text_weight": weight,
            "neighbours": _NEIGHBOURS,
            "iterations": _ITERATIONS,
            "inner_steps": _INNER_STEPS,
            "selection": selection,
        }


class _Neighbours:
    """The nearest other images of each image, and how near they are."""

    def __init__(self, images: _Rows) -> None:
        count = min(_NEIGHBOURS, len(images) - 1)
        self._places = np.zeros((len(images), count), dtype=np.int64)
        self._affinities = np.zeros((len(images), count), dtype="float32")
        for rows in row_batches(len(images), len(images)) if count else ():
            cosines = images[rows] @ images.T
            own = np.arange(len(images))[rows]
            cosines[np.arange(len(own)), own] = -np.inf
            places = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
            self._places[rows] = places
            self._affinities[rows] = np.take_along_axis(cosines, places, axis=1)
        np.maximum(self._affinities, 0, out=self._affinities)

    def sums(self, assigned: _Rows) -> _Rows:
        """Returns the sum of the neighbours' probabilities, weighted by affinity."""
        total = np.zeros_like(assigned)
        for places, affinities in zip(self._places.T, self._affinities.T, strict=True):
            total += affinities[:, None] * assigned[places]
        return total


def _best_weight(task: FewShotTask, embeddings: _Rows) -> float:
    assert task.val_embeddings is not None
    together = np.concatenate([embeddings, task.val_embeddings])
    neighbours = _Neighbours(together)
    hits = {}
    for weight in _TEXT_WEIGHTS:
        logits = _mixture_logits(task, together, neighbours, weight)[len(embeddings) :]
        hits[weight] = int(np.count_nonzero(logits.argmax(axis=1) == task.val_labels))
    return max(hits, key=hits.__getitem__)


def _mixture_logits(
    task: FewShotTask, images: _Rows, neighbours: _Neighbours, text_weight: float
) -> _Rows:
    from scipy.special import softmax

    text_logits = images @ task.text_weights.T
    counts = task.rows_per_class
    known = np.zeros(task.text_embeddings.shape)
    np.add.at(known, task.labels, task.embeddings)
    squares = np.square(task.embeddings).sum(axis=0) + np.square(images).sum(axis=0)
    assigned = softmax(text_logits, axis=1)
    logits = text_logits
    for _ in range(_ITERATIONS):
        weights = counts + assigned.sum(axis=0)
        means = (known + assigned.T @ images) / weights[:, None]
        # The mean square less the square of the mean, over all classes.
        variances = (squares - weights @ np.square(means)) / weights.sum()
        scaled = (means / np.maximum(variances, _LEAST_VARIANCE)).astype("float32")
        constants = -0.5 * np.sum(scaled * means, axis=1)
        gaussian_logits = images @ scaled.T + constants.astype("float32")
        unary = np.float32(text_weight) * text_logits + gaussian_logits
        for _ in range(_INNER_STEPS):
            logits = unary + neighbours.sums(assigned)
            assigned = softmax(logits, axis=1)
    return np.asarray(logits, dtype="float32")
