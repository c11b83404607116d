"""The few-shot classifier on images as an estimator of scikit-learn."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from keras_cmm import clip
from keras_cmm.models.cmm_image_classifier import CMMImageClassifier, classifier_class
from keras_cmm_runtime.errors import InputError


class CMMImageEstimator(ClassifierMixin, BaseEstimator):
    """`CMMImageClassifier`, for scikit-learn's model selection, such as `cross_val_score`.

    The labels are the class names, which CLIP reads. The backbone is loaded once for all copies of
    an estimator. Give a `store` for `cross_val_score`: then no image is embedded twice.

    Args:
        preset: what `keras_cmm.clip.load` takes.
        template: prompt template, or several.
        store: folder of an `EmbeddingStore`, or `None`. It keeps the embeddings, for other
            processes too.
        random_state: int >= 0. The seed of the order of the images.

    Attributes:
        classes_: the class names, sorted.
        model_: the trained `CMMImageClassifier`.

    Raises:
        InputError: by `fit`, if an image or a label cannot be used.

    Example:
        >>> from sklearn.model_selection import cross_val_score  # doctest: +SKIP
        >>> from keras_cmm.estimators import CMMImageEstimator  # doctest: +SKIP
        >>> estimator = CMMImageEstimator("clip_vit_base_patch16")  # doctest: +SKIP
        >>> cross_val_score(estimator, paths, class_names, cv=5)  # doctest: +SKIP
        array([0.95, 0.9 , 1.  , 0.95, 0.95])

    References:
        - [Yang et al., Cross-Modal Mapping, arXiv:2412.20110](https://arxiv.org/abs/2412.20110).
        - https://scikit-learn.org/stable/developers/develop.html
    """

    def __init__(
        self,
        preset: str | os.PathLike[str],
        template: str | Sequence[str] = "a photo of a {}.",
        store: str | os.PathLike[str] | None = None,
        random_state: int = 0,
    ) -> None:
        self.preset = preset
        self.template = template
        self.store = store
        self.random_state = random_state

    def fit(self, X: Sequence[Any], y: Sequence[str]) -> CMMImageEstimator:  # noqa: N803
        """Trains a classifier.

        Args:
            X: images: paths, PIL images or arrays.
            y: class names, one an image.

        Returns:
            The estimator itself.
        """
        names = np.asarray(y)
        if names.dtype.kind not in "UO" or not all(isinstance(name, str) for name in names):
            raise InputError(
                "`y` must hold class names, which CLIP reads, such as 'cat'. "
                f"Received: {names.ravel()[:1].tolist()}"
            )
        self.classes_ = np.unique(names)
        model = _loaded(os.fspath(self.preset))
        self.model_: CMMImageClassifier = classifier_class(model.backbone)(
            model.backbone,
            self.classes_.tolist(),
            clip.make_preprocessor(model),
            template=self.template,
        )
        if self.store is not None:
            self.model_.embedder.store = clip.EmbeddingStore(self.store)
        self.model_.fit(list(X), names.tolist(), seed=self.random_state, verbose=0)
        return self

    def predict_proba(self, X: Sequence[Any]) -> npt.NDArray[np.float32]:  # noqa: N803
        """Returns the probabilities of the classes, `(images, classes)`, in `classes_`' order."""
        check_is_fitted(self, "model_")
        logits = self.model_.predict(list(X))
        return np.asarray(keras.ops.convert_to_numpy(self.model_.head.probabilities(logits)))

    def predict(self, X: Sequence[Any]) -> npt.NDArray[Any]:  # noqa: N803
        """Returns the most probable class names, `(images,)`."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


@functools.lru_cache(maxsize=2)
def _loaded(preset: str) -> clip.CLIPModel:
    return clip.load(preset)
