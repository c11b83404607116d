"""CLIP-Adapter: a trained bottleneck on the image embeddings."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from keras_cmm.methods.checks import check_fitted, check_support
from keras_cmm.methods.few_shot_method import FewShotMethod
from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.selection import tuning_task
from keras_cmm.methods.training import train_on_support

DEFAULT_RATIO = 0.2

_RATIOS = (0.2, 0.4, 0.6, 0.8)


class CLIPAdapter(FewShotMethod):
    """CLIP-Adapter: `logit_scale * normalize(r * MLP(x) + (1 - r) * x) @ T0.T`.

    The MLP is Dense(dim / 4)-ReLU-Dense(dim)-ReLU without biases, trained by cross-entropy, Adam
    and a cosine schedule to 0 (the authors train with SGD). The ratio r is chosen by top-1 accuracy
    on few-shot validation among 0.2, 0.4, 0.6 and 0.8; where there is none it is 0.2, as in the
    authors' code.

    Args:
        learning_rate: Initial learning rate.
        epochs: Passes over the support set.
        batch_size: Support rows a step.
        max_steps: Bounds the passes over a support set of more than 3,072 rows, for time; the
            authors have no bound.

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

    def __init__(
        self,
        learning_rate: float = 1e-3,
        epochs: int = 100,
        batch_size: int = 256,
        max_steps: int = 1200,
    ) -> None:
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.max_steps = max_steps

    def fit(self, task: FewShotTask) -> Self:
        """Choose the ratio and train the adapter.

        Args:
            task: The support set, class texts and validation rows.

        Returns:
            The method itself, fitted.

        Raises:
            InputError: If the support set is empty.
        """
        check_support(self, task)
        tuning, selection = tuning_task(task)
        ratio = DEFAULT_RATIO if tuning is None else self._search_ratio(tuning)
        model, epochs = self._train(task, ratio)
        self.first_weights_, self.second_weights_ = model.get_weights()
        self.ratio_ = ratio
        self.text_weights_ = np.float32(task.logit_scale) * task.text_embeddings
        self.hyperparameters_ = {
            "ratio": ratio,
            "learning_rate": self.learning_rate,
            "epochs": epochs,
            "batch_size": self.batch_size,
            "selection": selection,
        }
        return self

    def predict_logits(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Score every class.

        Args:
            embeddings: Unit-length float32 image embeddings, shape `(batch, dim)`.

        Returns:
            float32 logits, shape `(batch, classes)`.

        Raises:
            InputError: If the method is not fitted yet.
        """
        check_fitted(self)
        hidden = np.maximum(embeddings @ self.first_weights_, 0)
        adapted = np.maximum(hidden @ self.second_weights_, 0)
        mixed = np.float32(self.ratio_) * adapted + np.float32(1 - self.ratio_) * embeddings
        mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
        return mixed @ self.text_weights_.T

    def _train(self, task: FewShotTask, ratio: float) -> tuple[_AdapterModel, int]:
        model = _AdapterModel(task, ratio)
        epochs = train_on_support(
            model,
            task,
            keras.optimizers.Adam,
            epochs=self.epochs,
            batch_size=self.batch_size,
            max_steps=self.max_steps,
            learning_rate=self.learning_rate,
        )
        return model, epochs

    def _search_ratio(self, tuning: FewShotTask) -> float:
        """Return the smallest ratio with the highest top-1 accuracy on validation."""
        assert tuning.val_embeddings is not None
        hits = []
        for ratio in _RATIOS:
            model, _ = self._train(tuning, ratio)
            logits = ops.convert_to_numpy(model(tuning.val_embeddings))
            hits.append(np.count_nonzero(logits.argmax(axis=1) == tuning.val_labels))
        return _RATIOS[int(np.argmax(hits))]


class _AdapterModel(keras.Model):
    """CLIP-Adapter's logits; its weights start as the seed of the task says."""

    def __init__(self, task: FewShotTask, ratio: float) -> None:
        # The name is given because TensorFlow refuses an automatic one that starts with "_".
        super().__init__(dtype="float32", name="clip_adapter")
        dim = task.text_embeddings.shape[1]
        bottleneck = max(1, dim // 4)
        generator = np.random.default_rng(task.seed)
        self.first = self._add_kernel("first", (dim, bottleneck), generator)
        self.second = self._add_kernel("second", (bottleneck, dim), generator)
        self.ratio = ratio
        self.text_weights = np.float32(task.logit_scale) * task.text_embeddings.T

    def call(self, inputs: Any) -> Any:
        hidden = ops.relu(ops.matmul(inputs, self.first))
        adapted = ops.relu(ops.matmul(hidden, self.second))
        mixed = self.ratio * adapted + (1 - self.ratio) * inputs
        return ops.matmul(ops.normalize(mixed, axis=-1), self.text_weights)

    def _add_kernel(self, name: str, shape: tuple[int, int], generator: np.random.Generator) -> Any:
        # PyTorch's default for a linear layer, which the authors take; by NumPy, so that it is the
        # same on every backend.
        limit = 1 / np.sqrt(shape[0])
        start = generator.uniform(-limit, limit, size=shape)
        return self.add_weight(
            shape=shape,
            initializer=lambda shape, dtype: ops.convert_to_tensor(start, dtype=dtype),
            name=name,
        )
