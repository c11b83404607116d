"""Times the training of the CMM head against a torch loop that computes the same.

Both run in this process, on the same data, in turns of one epoch, so that other work on the machine
slows both alike. Only the ratio of their times counts, since seconds depend on the machine. Run it
with

    KERAS_BACKEND=torch python tests/benchmarks/head_training.py [EMBEDDINGS_FILE]

Without a file it makes embeddings of ImageNet's few-shot size: 1000 classes, 4 shots, 512 wide.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator

import keras
import numpy as np
import torch
from memory import peak_memory_mib

from keras_cmm import CMMClassifier, TrainingRecipe
from keras_cmm.data import EmbeddingSet

RECIPE = TrainingRecipe()
ALPHA, MARGIN, LOGIT_SCALE = 1.0, 0.1, 100.0


def synthetic_support_set() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    text = rng.standard_normal((1000, 512)).astype("float32")
    labels = np.repeat(np.arange(1000, dtype="int32"), 4)
    images = text[labels] + rng.standard_normal((4000, 512)).astype("float32")
    return images, labels, text


def train_in_turns(images: np.ndarray, labels: np.ndarray, text: np.ndarray) -> tuple[float, float]:
    """Returns the seconds of `CMMClassifier.fit`, with its start and end, and of the loop."""
    keras.utils.set_random_seed(1)
    hand_written = HandWritten(images, labels, text)
    model = CMMClassifier.from_text_embeddings(text)
    model.compile(optimizer=RECIPE.optimizer_for(len(images)))
    start = time.perf_counter()
    model.fit(
        images,
        labels,
        batch_size=RECIPE.batch_size,
        epochs=RECIPE.epochs,
        verbose=0,
        callbacks=[hand_written],
    )
    return time.perf_counter() - start - hand_written.seconds, hand_written.seconds


class HandWritten(keras.callbacks.Callback):
    """Trains its own head for one epoch before each epoch of the model."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, text: np.ndarray) -> None:
        super().__init__()
        self.seconds = 0.0
        self._epochs = hand_written_epochs(images, labels, text)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        start = time.perf_counter()
        next(self._epochs)
        self.seconds += time.perf_counter() - start


def hand_written_epochs(
    images: np.ndarray, labels: np.ndarray, text: np.ndarray
) -> Iterator[torch.Tensor]:
    """Yields the number of hits after each epoch."""
    normalize, relu = torch.nn.functional.normalize, torch.nn.functional.relu
    x, y = torch.from_numpy(images), torch.from_numpy(labels).long()
    frozen = normalize(torch.from_numpy(text), dim=-1)
    kernel = torch.zeros(x.shape[1], x.shape[1], requires_grad=True)
    prototypes = torch.from_numpy(text.copy()).requires_grad_()
    optimizer = torch.optim.AdamW(
        [kernel, prototypes], lr=RECIPE.learning_rate, weight_decay=RECIPE.weight_decay
    )
    steps = RECIPE.epochs * math.ceil(len(x) / RECIPE.batch_size)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(RECIPE.epochs):
        correct = torch.zeros(())
        for rows in torch.randperm(len(x)).split(RECIPE.batch_size):
            batch, target = x[rows], y[rows]
            mapped = normalize(batch + batch @ kernel, dim=-1)
            similarities = mapped @ normalize(prototypes, dim=-1).T
            logits = LOGIT_SCALE * (normalize(batch, dim=-1) @ frozen.T + ALPHA * similarities)
            positive = similarities.gather(1, target[:, None])
            wrong = torch.arange(len(text))[None] != target[:, None]
            negative = similarities.masked_fill(~wrong, -torch.inf).amax(-1)
            triplet = relu(MARGIN - positive[:, 0] + negative).mean()
            loss = torch.nn.functional.cross_entropy(logits, target) + triplet
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            correct += (logits.detach().argmax(-1) == target).sum()
        yield correct


def main(path: str | None = None, rounds: int = 3) -> float:
    if path is None:
        images, labels, text = synthetic_support_set()
    else:
        data = EmbeddingSet.read(path)
        images = data.train_embeddings.astype("float32")
        labels, text = data.train_labels, data.text_embeddings.astype("float32")
    rounds_of_both = [train_in_turns(images, labels, text) for _ in range(rounds)]
    ours, hand_written = np.median(rounds_of_both, axis=0)
    ratio = float(np.median([a / b for a, b in rounds_of_both]))
    print(
        f"{len(images)} rows, {len(text)} classes, {images.shape[1]} wide, {RECIPE.epochs} epochs, "
        f"{torch.get_num_threads()} threads\n"
        f"keras_cmm {ours:.2f} s, hand-written torch {hand_written:.2f} s, ratio {ratio:.2f} "
        f"(medians of {rounds}), peak memory {peak_memory_mib():.0f} MiB"
    )
    return ratio


if __name__ == "__main__":
    main(*sys.argv[1:2])
