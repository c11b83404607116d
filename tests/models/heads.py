"""Heads on random embeddings, and what they compute, written out in numpy."""

import keras
import numpy as np
from keras import ops

from keras_cmm.models import CMMClassifier

CLASSES, DIM, ROWS = 4, 6, 24
RNG = np.random.default_rng(0)
TEXTS = RNG.normal(size=(CLASSES, DIM)).astype("float32")
LABELS = np.arange(ROWS, dtype="int32") % CLASSES
IMAGES = (TEXTS[LABELS] + RNG.normal(size=(ROWS, DIM))).astype("float32")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def trained_weights(model, seed=1):
    """Move the weights away from where they start, so that every one shows."""
    rng = np.random.default_rng(seed)
    model.mapping.kernel.assign(0.3 * rng.normal(size=(DIM, DIM)))
    model.prototypes.embeddings.assign(TEXTS + 0.3 * rng.normal(size=(CLASSES, DIM)))


def make_model(trained=True, **options):
    model = CMMClassifier.from_text_embeddings(TEXTS, **options)
    if trained:
        trained_weights(model)
    return model


def naive_similarities(model, images=IMAGES):
    kernel = ops.convert_to_numpy(model.mapping.trainable_weights[0])
    mapped = unit(images + images @ kernel)
    return mapped @ unit(ops.convert_to_numpy(model.prototypes.embeddings)).T


def naive_logits(model, images=IMAGES):
    frozen = unit(images) @ unit(TEXTS).T
    mapped = model.alpha * naive_similarities(model, images)
    return model.logit_scale * (model.clip_weight * frozen + mapped)


def naive_cross_entropies(logits, labels=LABELS):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return -log_probabilities[np.arange(len(labels)), labels]


def naive_triplets(similarities, labels=LABELS, margin=0.1):
    own = similarities[np.arange(len(labels)), labels]
    others = np.where(np.eye(CLASSES, dtype=bool)[labels], -np.inf, similarities)
    return np.maximum(0, margin - own + others.max(axis=-1))


def naive_contrastives(mapped, scale, labels=LABELS):
    logits = scale * mapped @ mapped.T
    np.fill_diagonal(logits, -np.inf)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    same = (labels[:, None] == labels) & ~np.eye(len(labels), dtype=bool)
    return -np.where(same, log_probabilities, 0).sum(axis=-1) / np.maximum(same.sum(axis=-1), 1)


def evaluate(model, y=LABELS, **arguments):
    # One batch of 16 and one of 8: means must weigh them by their sizes.
    return model.evaluate(IMAGES, y, batch_size=16, return_dict=True, verbose=0, **arguments)


class MeanOutput(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return ops.mean(y_pred, axis=-1)
