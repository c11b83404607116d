"""Times the training of the CMM head against a hand-written torch loop of the same arithmetic.

Both run in this process, on the same data, in turns; the ratio of their shortest times is what
counts, because the seconds depend on the machine and other work on it only adds to them. Run it
with

    KERAS_BACKEND=torch python tests/benchmarks/head_training.py [EMBEDDINGS_FILE]

Without a file it makes embeddings of ImageNet's few-shot size: 1000 classes, 4 shots, 512 wide.
"""

from __future__ import annotations

import math
import sys
import time

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


def train_keras_cmm(images: np.ndarray, labels: np.ndarray, text: np.ndarray) -> float:
    keras.utils.set_random_seed(1)
    model = CMMClassifier.from_text_embeddings(text)
    model.compile(optimizer=RECIPE.optimizer_for(len(images)))
    start = time.perf_counter()
    model.fit(images, labels, batch_size=RECIPE.batch_size, epochs=RECIPE.epochs, verbose=0)
    return time.perf_counter() - start


def train_hand_written(images: np.ndarray, labels: np.ndarray, text: np.ndarray) -> float:
    torch.manual_seed(1)
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
    start = time.perf_counter()
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
    return time.perf_counter() - start


def main(path: str | None = None, rounds: int = 3) -> float:
    if path is None:
        images, labels, text = synthetic_support_set()
    else:
        data = EmbeddingSet.read(path)
        images = data.train_embeddings.astype("float32")
        labels, text = data.train_labels, data.text_embeddings.astype("float32")
    ours, hand_written = [], []
    for _ in range(rounds):
        hand_written.append(train_hand_written(images, labels, text))
        ours.append(train_keras_cmm(images, labels, text))
    ratio = min(ours) / min(hand_written)
    print(
        f"{len(images)} rows, {len(text)} classes, {images.shape[1]} wide, {RECIPE.epochs} epochs, "
        f"{torch.get_num_threads()} threads\n"
        f"keras_cmm {min(ours):.2f} s, hand-written torch {min(hand_written):.2f} s, "
        f"ratio {ratio:.2f} (shortest of {rounds} each), "
        f"peak memory {peak_memory_mib():.0f} MiB"
    )
    return ratio


if __name__ == "__main__":
    main(*sys.argv[1:2])
