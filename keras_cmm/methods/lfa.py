"""LFA: a linear map from images to texts, in closed form and then refined."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from keras_cmm.methods.cosine_adam import CosineAdam
from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.mapped_images import MappedImages, gradient_before_scaling, split_lengths
from keras_cmm.methods.selection import best_on_validation, tuning_task
from keras_cmm.methods.step_training import StepTraining

DEFAULT_BETA = 0.9
DEFAULT_STEPS = 200

# From CLIP on: of values that are equally good, the one nearest to CLIP is taken.
_BETAS = tuple(round(1 - i / 10, 1) for i in range(11))
_STEPS = (0, 50, 200, 800)

_NEIGHBOURS = 3
_MARGIN_SCALE = 4.0

# Singular values below this part of the largest are rounding.
_RANK_TOLERANCE = 1e-5
# Two rows may be the same: their distance has no gradient.
_LEAST_DISTANCE = 1e-6

_Rows = npt.NDArray[np.float32]


@dataclass(eq=False)
class LFA(StepTraining, MappedImages):
    """LFA, Linear Feature Alignment: `logit_scale * normalize(x @ W) @ T0.T`.

    W starts in closed form. With the singular value decomposition `U S V.T` of `X.T @ T0[y]`, the
    orthogonal map nearest to least squares is `U @ V.T`, and the start is
    `(1 - beta) * U @ V.T + beta * I`. Adam with weight decay then minimises the re-ranking loss:
    the mean, over rows and their 3 nearest texts t_j, of
    `max(0, d(z, t_y) + (1 - t_j @ t_y) / 4 - d(z, t_j))`, where z is the mapped row at unit length
    and d the Euclidean distance.

    beta is chosen from 0 to 1 by top-1 on few-shot validation, and then the number of steps among
    0, 50, 200 and 800; without validation rows they are 0.9 and 200. The authors choose beta by
    cross-validation on the support set, and give a number of steps, 30 to 2,000, for each data set.

    Also ours: U and V have the columns of the singular values that are not 0, because the others
    are not unique; texts of classes without support rows are no neighbours, because training could
    only push images away from them; batches, for time; and no noise, dropout or crops.

    Args:
        learning_rate: Initial learning rate.
        weight_decay: Decoupled weight decay.
        batch_size: Support rows a step.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(2, dtype="float32")
        >>> task = FewShotTask(eye, np.array([0, 1]), eye, logit_scale=100.0, shots=1, seed=1)
        >>> LFA().fit(task).predict_logits(eye).argmax(axis=1)
        array([0, 1])

    References:
        Ouali et al., "Black Box Few-Shot Adaptation for Vision-Language models", ICCV 2023,
        arXiv:2304.01752; https://github.com/saic-fi/LFA, feature_alignment.py.
    """

    name: ClassVar[str] = "lfa"

    learning_rate: float = 5e-4
    weight_decay: float = 5e-4
    batch_size: int = 256

    def _fit(self, task: FewShotTask) -> dict[str, object]:
        tuning, selection = tuning_task(task)
        beta, steps = DEFAULT_BETA, DEFAULT_STEPS
        if tuning is not None:
            beta = best_on_validation(tuning, _closed_form_logits)
            steps = best_on_validation(tuning, self._refined_logits(beta))
        self.map_ = self._refined(task, beta, steps)
        self.text_weights_ = task.text_weights
        return {
            "beta": beta,
            "steps": steps,
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "batch_size": self.batch_size,
            "selection": selection,
        }

    def _mapped(self, embeddings: _Rows) -> _Rows:
        return embeddings @ self.map_

    def _refined_logits(
        self, beta: float
    ) -> Callable[[FewShotTask, _Rows], Iterator[tuple[int, _Rows]]]:
        def grid_logits(tuning: FewShotTask, images: _Rows) -> Iterator[tuple[int, _Rows]]:
            for steps in _STEPS:
                yield steps, _cosines(images @ self._refined(tuning, beta, steps), tuning)

        return grid_logits

    def _refined(self, task: FewShotTask, beta: float, steps: int) -> _Rows:
        """Returns the map after so many steps, shape `(dim, dim)`."""
        mapping = _blended(_procrustes(task), beta)
        present = np.flatnonzero(task.rows_per_class)
        texts = task.text_embeddings[present]
        adam = CosineAdam([mapping], self.learning_rate, steps, weight_decay=self.weight_decay)
        for embeddings, labels in self._batches(task, steps):
            own = np.searchsorted(present, labels)
            adam.step([embeddings.T @ _ranking_gradient(embeddings @ mapping, own, texts)])
        return mapping


def _closed_form_logits(tuning: FewShotTask, images: _Rows) -> Iterator[tuple[float, _Rows]]:
    orthogonal = _procrustes(tuning)
    for beta in _BETAS:
        yield beta, _cosines(images @ _blended(orthogonal, beta), tuning)


def _cosines(mapped: _Rows, task: FewShotTask) -> _Rows:
    return np.asarray(split_lengths(mapped)[0] @ task.text_embeddings.T)


def _procrustes(task: FewShotTask) -> _Rows:
    """Returns `U @ V.T` of the decomposition of images times their own texts."""
    images = task.embeddings.astype("float64")
    product = images.T @ task.text_embeddings[task.labels].astype("float64")
    left, values, right = np.linalg.svd(product)
    rank = int(np.count_nonzero(values > _RANK_TOLERANCE * values[0]))
    return np.asarray(left[:, :rank] @ right[:rank], dtype="float32")


def _blended(orthogonal: _Rows, beta: float) -> _Rows:
    identity = np.eye(len(orthogonal), dtype="float32")
    blended = np.float32(1 - beta) * orthogonal + np.float32(beta) * identity
    return np.asarray(blended, dtype="float32")


def _ranking_gradient(mapped: _Rows, labels: npt.NDArray[np.integer], texts: _Rows) -> _Rows:
    """Returns the gradient of the mean re-ranking loss by mapped rows, shape `(batch, dim)`."""
    units, lengths = split_lengths(mapped)
    rows = np.arange(len(labels))
    distances = np.sqrt(np.maximum(2 - 2 * (units @ texts.T), _LEAST_DISTANCE**2))
    count = min(_NEIGHBOURS, len(texts))
    nearest = np.argpartition(distances, count - 1, axis=1)[:, :count]
    own_distances = distances[rows, labels][:, None]
    near_distances = np.take_along_axis(distances, nearest, axis=1)
    margins = (1 - np.sum(texts[nearest] * texts[labels][:, None], axis=2)) / _MARGIN_SCALE
    is_active = own_distances + margins - near_distances > 0
    is_active &= nearest != labels[:, None]
    # The derivative of the distance of unit rows by their cosine is -1 / distance.
    by_cosine = np.zeros_like(distances)
    np.put_along_axis(by_cosine, nearest, is_active / near_distances, axis=1)
    by_cosine[rows, labels] -= is_active.sum(axis=1) / own_distances[:, 0]
    by_cosine *= np.float32(1 / nearest.size)
    by_units = np.asarray(by_cosine @ texts, dtype="float32")
    return gradient_before_scaling(by_units, units, lengths)
