"""CLIP as the studio uses it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_cmm.clip import (
    CLIPModel,
    EmbeddingStore,
    ImageEmbedder,
    TextEmbedder,
    build_prompts,
    load,
    logit_scale,
    make_preprocessor,
)
from keras_cmm.models import CMMClassifier, saved_class_names
from keras_cmm.models.cmm_image_classifier import CMMImageClassifier, classifier_class
from keras_cmm_runtime.errors import InputError

_DEFAULT_TEMPLATE = "a photo of a {}."
SEED = 1
"""The seed of `keras-cmm fit`."""


class StudioModel:
    """CLIP, loaded once: embeddings of images and class names, and the classifiers on it.

    Args:
        preset: What `keras_cmm.clip.load` takes, or the folder of a saved classifier.
        template: Prompts of the classes, or `None` for those of the saved classifier, else for that
            of `fit`.
        store: The folder of the embeddings.

    Raises:
        InputError: If the preset cannot be loaded.

    Attributes:
        saved: The classifier that the preset is, or `None`.
    """

    def __init__(
        self,
        preset: str,
        template: str | Sequence[str] | None = None,
        store: Path | None = None,
    ) -> None:
        self._template: str | Sequence[str] = template or _DEFAULT_TEMPLATE
        self.saved: CMMImageClassifier | None = None
        is_classifier = "://" not in preset and saved_class_names(preset) is not None
        if is_classifier:
            self.saved = CMMImageClassifier.from_preset(preset)
            if self.saved.also is not None:
                raise InputError(
                    f"{preset}: has a second image encoder, which the studio cannot use; give a "
                    "model without one."
                )
            parts = self.saved.preprocessor
            self._clip = CLIPModel(self.saved.backbone, parts.tokenizer, parts.image_converter)
            self._template = template or self.saved.template or _DEFAULT_TEMPLATE
        else:
            self._clip = load(preset)
        embeddings = None if store is None else EmbeddingStore(store)
        self.embedder = ImageEmbedder(self._clip, batch_size=16, store=embeddings)
        if self.saved is not None:
            self.saved.embedder = self.embedder
        self._texts = TextEmbedder(self._clip)
        self._scale = logit_scale(self._clip.backbone)
        self._known: dict[str, npt.NDArray[np.float32]] = {}

    @property
    def dim(self) -> int:
        """The width of the embeddings."""
        return int(self._clip.backbone.projection_dim)

    def class_texts(self, names: Sequence[str]) -> npt.NDArray[np.float32]:
        """Returns the embeddings of class names, `(classes, dim)`. Each name is embedded once."""
        new = [name for name in names if name not in self._known]
        if new:
            prompts = build_prompts(new, self._template, None)
            rows = self._texts.class_prototypes(prompts)
            self._known.update(zip(new, rows, strict=True))
        return np.stack([self._known[name] for name in names])

    def embed_picture(self, image: Any) -> npt.NDArray[np.float32]:
        """Returns the embedding of one image, `(dim,)`, which is not kept."""
        pixels = self.embedder.preprocessor.pixels(image)
        row: npt.NDArray[np.float32] = self.embedder.embed_pixels(pixels[None])[0]
        return row

    def zero_shot(
        self, embeddings: npt.NDArray[np.float32], names: Sequence[str]
    ) -> npt.NDArray[np.float32]:
        """Returns the probabilities that CLIP gives the class names, `(images, classes)`."""
        logits = self._scale * embeddings @ self.class_texts(names).T
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: npt.NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
        return probabilities

    def new_head(self, names: Sequence[str]) -> CMMClassifier:
        """Returns a head of these classes that was not trained."""
        return CMMClassifier.from_text_embeddings(
            self.class_texts(names), logit_scale=self._scale, dtype="float32"
        )

    def new_classifier(self, names: Sequence[str]) -> CMMImageClassifier:
        """Returns a classifier of these classes that was not trained, as `fit` begins with."""
        backbone = self._clip.backbone
        classifier = classifier_class(backbone)(
            backbone, list(names), make_preprocessor(self._clip), template=self._template
        )
        classifier.embedder = self.embedder
        return classifier


def probabilities_of(
    head: CMMClassifier, embeddings: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Returns the probabilities of the classes, `(images, classes)`."""
    logits = head.predict(embeddings, batch_size=1024, verbose=0)
    return np.asarray(keras.ops.convert_to_numpy(head.probabilities(logits)))


def epoch_callback(progress: Callable[[float], None]) -> keras.callbacks.Callback:
    """Returns a callback that reports the part of a training that is done."""

    def report(epoch: int, logs: Any) -> None:
        progress((epoch + 1) / callback.params["epochs"])

    callback = keras.callbacks.LambdaCallback(on_epoch_end=report)
    return callback
