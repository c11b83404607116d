"""A trained head on random embeddings."""

import numpy as np

from keras_cmm.models import CMMClassifier

RNG = np.random.default_rng(0)
TEXTS = RNG.normal(size=(4, 6)).astype("float32")
IMAGES = RNG.normal(size=(10, 6)).astype("float32")


def make_head(**settings):
    head = CMMClassifier.from_text_embeddings(TEXTS, **settings)
    rng = np.random.default_rng(1)
    head.mapping.kernel.assign(0.3 * rng.normal(size=(6, 6)))
    head.prototypes.embeddings.assign(TEXTS + 0.3 * rng.normal(size=(4, 6)))
    return head
