"""RLA: ProLIP's regularized linear adapter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from keras_cmm.methods.cosine_adam import CosineAdam
from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.mapped_images import MappedImages, cross_entropy_gradient
from keras_cmm.methods.step_training import StepTraining

# The authors' value; PyTorch's default is 1e-8.
_EPSILON = 1e-4


@dataclass(eq=False)
class RLA(StepTraining, MappedImages):
    """RLA, ProLIP's regularized linear adapter: `logit_scale * normalize(x @ W) @ T0.T`.

    W starts at the identity I. The loss is the mean cross-entropy plus `||W - I||^2 / shots`, with
    the Frobenius norm. Trained by Adam and a cosine schedule to 0. Nothing is chosen on validation.

    ProLIP itself tunes CLIP's last projection, which embeddings do not hold. Its authors give this
    adapter for that case. Their 300 steps take the whole support set, each another view of its
    images; here they take the same embeddings, in batches. They report rates from 1e-5 to 1e-2;
    1e-3 is our choice among these, by validation rows of DTD and Caltech101.

    Args:
        learning_rate: Initial learning rate.
        steps: Steps of Adam.
        batch_size: Support rows a step, for time.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(2, dtype="float32")
        >>> task = FewShotTask(eye, np.array([0, 1]), eye, logit_scale=100.0, shots=1, seed=1)
        >>> RLA(steps=1).fit(task).predict_logits(eye).argmax(axis=1)
        array([0, 1])

    References:
        Fahes et al., "CLIP's Visual Embedding Projector is a Few-shot Cornucopia",
        arXiv:2410.05270; https://github.com/astra-vision/ProLIP, methods/RegLinearAdapter.py with
        `lambda_funct_1_N`.
    """

    name: ClassVar[str] = "rla"

    learning_rate: float = 1e-3
    steps: int = 300
    batch_size: int = 512

    def _fit(self, task: FewShotTask) -> dict[str, object]:
        identity = np.eye(task.embeddings.shape[1], dtype="float32")
        penalty = 1 / max(task.shots, 1)
        self.map_ = identity.copy()
        self.text_weights_ = task.text_weights
        adam = CosineAdam([self.map_], self.learning_rate, self.steps, _EPSILON)
        for embeddings, labels in self._batches(task, self.steps):
            by_mapped = cross_entropy_gradient(embeddings @ self.map_, labels, self.text_weights_)
            by_map = embeddings.T @ by_mapped
            by_map += np.float32(2 * penalty) * (self.map_ - identity)
            adam.step([by_map])
        return {
            "penalty": penalty,
            "learning_rate": self.learning_rate,
            "steps": self.steps,
            "batch_size": self.batch_size,
            "selection": "fixed",
        }

    def _mapped(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return embeddings @ self.map_
