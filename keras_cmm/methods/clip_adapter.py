"""CLIP-Adapter: a trained bottleneck on the image embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from keras_cmm.methods.bottleneck import start_kernels
from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.mapped_images import MappedImages
from keras_cmm.methods.selection import best_on_validation, tuning_task
from keras_cmm.methods.support_training import SupportTraining

DEFAULT_RATIO = 0.2

_RATIOS = (0.2, 0.4, 0.6, 0.8)


@dataclass(eq=False)
class CLIPAdapter(SupportTraining, MappedImages):
    """CLIP-Adapter: `logit_scale * normalize(r * MLP(x) + (1 - r) * x) @ T0.T`.

    The MLP is Dense(dim / 4)-ReLU-Dense(dim)-ReLU without biases, trained by cross-entropy, Adam
    and a cosine schedule to 0 (the authors train with SGD). The ratio r is chosen among 0.2, 0.4,
    0.6 and 0.8 by top-1 on few-shot validation; without validation rows it is 0.2, as in the
    authors' code.

    Args:
        learning_rate: Initial learning rate.
        epochs: Passes over the support set.
        batch_size: Support rows a step.
        max_steps: Largest number of steps, for time: a support set of more than 3,072 rows gets
            fewer passes. The authors have no such bound.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(4, dtype="float32")
        >>> task = FewShotTask(eye, np.arange(4), eye, logit_scale=100.0, shots=1, seed=1)
        >>> CLIPAdapter(epochs=1).fit(task).predict_logits(eye).argmax(axis=1)
        array([0, 1, 2, 3])

    References:
        Gao et al., "CLIP-Adapter: Better Vision-Language Models with Feature Adapters",
        arXiv:2110.04544; https://github.com/gaopengcuhk/CLIP-Adapter, clip_adapter.py.
    """

    name: ClassVar[str] = "clip_adapter"

    learning_rate: float = 1e-3
    epochs: int = 100
    batch_size: int = 256
    max_steps: int = 1200

    def _fit(self, task: FewShotTask) -> dict[str, object]:
        tuning, selection = tuning_task(task)
        ratio = DEFAULT_RATIO if tuning is None else best_on_validation(tuning, self._grid_logits)
        model = _AdapterModel(task, ratio)
        epochs = self._train(model, task)
        self.first_weights_, self.second_weights_ = model.get_weights()
        self.ratio_ = ratio
        self.text_weights_ = task.text_weights
        return {
            "ratio": ratio,
            "learning_rate": self.learning_rate,
            "epochs": epochs,
            "batch_size": self.batch_size,
            "selection": selection,
        }

    def _mapped(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        hidden = np.maximum(embeddings @ self.first_weights_, 0)
        adapted = np.maximum(hidden @ self.second_weights_, 0)
        return np.float32(self.ratio_) * adapted + np.float32(1 - self.ratio_) * embeddings

    def _grid_logits(
        self, tuning: FewShotTask, images: npt.NDArray[np.float32]
    ) -> Iterator[tuple[float, npt.NDArray[np.float32]]]:
        for ratio in _RATIOS:
            model = _AdapterModel(tuning, ratio)
            self._train(model, tuning)
            yield ratio, ops.convert_to_numpy(model(images))


class _AdapterModel(keras.Model):
    """Returns CLIP-Adapter's logits. The task's seed draws the weights."""

    def __init__(self, task: FewShotTask, ratio: float) -> None:
        # TensorFlow refuses the automatic name, which starts with "_".
        super().__init__(dtype="float32", name="clip_adapter")
        first, second = start_kernels(task.text_embeddings.shape[1], task.seed)
        self.first = self._add_kernel("first", first)
        self.second = self._add_kernel("second", second)
        self.ratio = ratio
        self.text_weights = task.text_weights.T

    def call(self, inputs: Any) -> Any:
        hidden = ops.relu(ops.matmul(inputs, self.first))
        adapted = ops.relu(ops.matmul(hidden, self.second))
        mixed = self.ratio * adapted + (1 - self.ratio) * inputs
        return ops.matmul(ops.normalize(mixed, axis=-1), self.text_weights)

    def _add_kernel(self, name: str, start: npt.NDArray[np.float64]) -> Any:
        return self.add_weight(
            shape=start.shape,
            initializer=lambda shape, dtype: ops.convert_to_tensor(start, dtype=dtype),
            name=name,
        )
