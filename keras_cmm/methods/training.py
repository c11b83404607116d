"""How the peers that are trained by Keras are trained."""

from __future__ import annotations

from collections.abc import Callable

import keras

from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.recipes import ShuffledBatches


def train_on_support(
    model: keras.Model,
    task: FewShotTask,
    optimizer: Callable[..., keras.Optimizer],
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    max_steps: int | None = None,
) -> int:
    """Train by cross-entropy on the support set, with a cosine schedule to 0.

    Args:
        model: Gives logits `(batch, classes)` for embeddings `(batch, dim)`.
        task: The support set and the seed of the order of its rows.
        optimizer: Makes an optimizer of the learning-rate schedule.
        epochs: Passes over the support set.
        batch_size: Support rows a step.
        learning_rate: Initial learning rate.
        max_steps: A support set so large that `epochs` passes make more steps gets fewer epochs.

    Returns:
        The number of epochs trained.
    """
    batches = ShuffledBatches(task.embeddings, task.labels, batch_size, task.seed)
    if max_steps is not None:
        epochs = max(1, min(epochs, max_steps // len(batches)))
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate, decay_steps=epochs * len(batches)
    )
    model.compile(
        optimizer=optimizer(schedule),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    model.fit(batches, epochs=epochs, shuffle=False, verbose=0)
    return epochs
