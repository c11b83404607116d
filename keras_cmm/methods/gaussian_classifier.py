"""Gaussians with one covariance, fitted to a support set: the classifier of GDA and of LDA."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from keras_cmm.methods.few_shot_task import FewShotTask

# A smaller variance is rounding: no class has two rows that differ.
_MIN_VARIANCE = 1e-6


def gaussian_classifier(
    task: FewShotTask,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Returns the linear classifier of Gaussians that share one shrunk covariance.

    With class means `m_c` and the within-class covariance S of N rows of width D, the precision is
    `P = D * inv((N - 1) * S + tr(S) * I)`, the weights are `P @ m_c` and the biases
    `-m_c @ P @ m_c / 2`. Where no class has two rows, there is no covariance and `P = D * I`.

    Args:
        task: Gives the support set, and the texts for classes without support rows.

    Returns:
        Weights `(classes, dim)` and biases `(classes,)`.

    References:
        Wang et al., "A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation", ICLR 2024,
        arXiv:2402.04087.
    """
    embeddings = task.embeddings.astype("float64")
    means = class_means(task)
    centred = embeddings - means[task.labels]
    # The centred rows of a class sum to zero, so this is the covariance times N - 1.
    scatter = centred.T @ centred
    variance = np.trace(scatter) / max(len(centred) - 1, 1)
    dim = scatter.shape[0]
    identity = np.eye(dim)
    if variance < _MIN_VARIANCE:
        precision = dim * identity
    else:
        precision = dim * np.linalg.inv(scatter + variance * identity)
    weights = means @ precision
    bias = -0.5 * np.sum(weights * means, axis=1)
    return weights.astype("float32"), bias.astype("float32")


def class_means(task: FewShotTask) -> npt.NDArray[np.float64]:
    """Returns the mean support row of each class, not scaled to unit length.

    A class without a support row gets its text plus the mean difference between class means and
    texts of the other classes.

    Args:
        task: Gives the support set and the texts.

    Returns:
        Means, shape `(classes, dim)`.
    """
    counts = task.rows_per_class[:, None]
    present = counts[:, 0] > 0
    sums = np.zeros(task.text_embeddings.shape)
    np.add.at(sums, task.labels, task.embeddings.astype("float64"))
    means = sums / np.maximum(counts, 1)
    gap = np.mean(means[present] - task.text_embeddings[present], axis=0)
    return np.where(counts > 0, means, task.text_embeddings + gap)
