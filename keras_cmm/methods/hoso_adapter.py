"""HOSO-Adapter: CLIP-Adapter, whose ratio one held-out shot teaches."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from keras_cmm.methods.bottleneck import start_kernels
from keras_cmm.methods.cosine_adam import CosineAdam
from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.mapped_images import MappedImages, cross_entropy_gradient
from keras_cmm.methods.step_training import StepTraining
from keras_cmm.recipes import held_out_rows
from keras_cmm_runtime.utils.check_number import check_number

DEFAULT_RATIO = 0.2

_Rows = npt.NDArray[np.float32]


@dataclass(eq=False)
class HOSOAdapter(StepTraining, MappedImages):
    """HOSO-Adapter: `logit_scale * normalize(r * MLP(x) + (1 - r) * x) @ T0.T`, with r learned.

    One support row of each class is held out. The MLP, that of CLIP-Adapter, is trained by
    cross-entropy on the other rows, the ratio r by cross-entropy on the held-out ones. Neither loss
    moves the other's parameters. A class with a single row keeps it for training. Where no row can
    be held out, as at one shot, r stays where it starts. Validation rows are not used.

    The method is the paper's, which we know by its abstract: its repository holds no code. How it
    is trained is ours: `r = sigmoid(p)` starts at 0.2, as CLIP-Adapter's ratio; a step of p follows
    each step of the MLP; Adam for both, with a cosine schedule to 0.

    Args:
        learning_rate: Initial learning rate of the MLP.
        ratio_learning_rate: That of p.
        steps: Steps of Adam.
        batch_size: Support rows a step, and held-out rows a step.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(4, dtype="float32")
        >>> task = FewShotTask(eye, np.arange(4), eye, logit_scale=100.0, shots=1, seed=1)
        >>> HOSOAdapter(steps=1).fit(task).predict_logits(eye).argmax(axis=1)
        array([0, 1, 2, 3])

    References:
        Vorster et al., "Hold-One-Shot-Out (HOSO) for Validation-Free Few-Shot CLIP Adapters",
        arXiv:2603.04341.
    """

    name: ClassVar[str] = "hoso_adapter"

    learning_rate: float = 1e-3
    ratio_learning_rate: float = 1e-2
    steps: int = 600
    batch_size: int = 256

    def __post_init__(self) -> None:
        """Refuses settings that nothing can be trained with."""
        super().__post_init__()
        check_number("ratio_learning_rate", self.ratio_learning_rate, ">= 0")

    def _fit(self, task: FewShotTask) -> dict[str, object]:
        held_out = held_out_rows(task.labels, task.seed, shots=1)
        trained, judge = _rows_of(task, ~held_out), _rows_of(task, held_out)
        self.text_weights_ = task.text_weights
        self.ratio_ = DEFAULT_RATIO
        first, second = start_kernels(task.embeddings.shape[1], task.seed)
        self.first_weights_ = first.astype("float32")
        self.second_weights_ = second.astype("float32")
        parameter = np.full((), math.log(DEFAULT_RATIO / (1 - DEFAULT_RATIO)), dtype="float32")
        kernels = [self.first_weights_, self.second_weights_]
        adam = CosineAdam(kernels, self.learning_rate, self.steps)
        ratio_adam = CosineAdam([parameter], self.ratio_learning_rate, self.steps)
        judging = self._batches(judge, self.steps) if held_out.any() else None
        for embeddings, labels in self._batches(trained, self.steps):
            adam.step(self._kernel_gradients(embeddings, labels))
            if judging is not None:
                ratio_adam.step([self._parameter_gradient(*next(judging))])
                self.ratio_ = 1 / (1 + math.exp(-parameter))
        count = int(held_out.sum())
        return {
            "ratio": self.ratio_,
            "learning_rate": self.learning_rate,
            "ratio_learning_rate": self.ratio_learning_rate,
            "steps": self.steps,
            "batch_size": self.batch_size,
            "selection": f"few-shot validation: {count} rows held out of the support set"
            if count
            else "fixed: no class has a support row to spare",
        }

    def _mapped(self, embeddings: _Rows) -> _Rows:
        return self._mixed(embeddings)[0]

    def _mixed(self, embeddings: _Rows) -> tuple[_Rows, _Rows, _Rows]:
        """Returns the mapped rows, and the outputs of the two layers."""
        hidden = np.maximum(embeddings @ self.first_weights_, 0)
        adapted = np.maximum(hidden @ self.second_weights_, 0)
        ratio = np.float32(self.ratio_)
        return ratio * adapted + (1 - ratio) * embeddings, hidden, adapted

    def _kernel_gradients(self, embeddings: _Rows, labels: npt.NDArray[np.integer]) -> list[_Rows]:
        mixed, hidden, adapted = self._mixed(embeddings)
        by_mixed = cross_entropy_gradient(mixed, labels, self.text_weights_)
        by_second = np.float32(self.ratio_) * by_mixed * (adapted > 0)
        by_first = (by_second @ self.second_weights_.T) * (hidden > 0)
        return [embeddings.T @ by_first, hidden.T @ by_second]

    def _parameter_gradient(self, embeddings: _Rows, labels: npt.NDArray[np.integer]) -> _Rows:
        mixed, _, adapted = self._mixed(embeddings)
        by_mixed = cross_entropy_gradient(mixed, labels, self.text_weights_)
        by_ratio = np.sum(by_mixed * (adapted - embeddings))
        return np.asarray(by_ratio * self.ratio_ * (1 - self.ratio_), dtype="float32")


def _rows_of(task: FewShotTask, chosen: npt.NDArray[np.bool_]) -> FewShotTask:
    return replace(
        task,
        embeddings=task.embeddings[chosen],
        labels=task.labels[chosen],
        also_embeddings=None,
        val_also_embeddings=None,
    )
