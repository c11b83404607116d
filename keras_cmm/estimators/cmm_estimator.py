"""Cross-Modal Mapping as an estimator of scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from keras_cmm.models import CMMClassifier
from keras_cmm.recipes import AutoRecipe, TrainingRecipe
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.unit_rows import unit_rows


class CMMEstimator(ClassifierMixin, BaseEstimator):
    """`CMMClassifier` on embeddings, for scikit-learn's pipelines and model selection.

    Only the direction of an embedding counts, as for CLIP.

    Args:
        text_embeddings: the texts of the classes, as `{label: embedding}` or as an array
            `(classes, dim)` in the order of the sorted labels. `None` takes the mean image of a
            class for its text, so that any embeddings can be classified.
        recipe: a recipe such as `AutoRecipe()`, or `None` for that one.
        logit_scale: float > 0. CLIP's inverse temperature; 100 for OpenAI's models.
        random_state: int >= 0. The seed of the order of the rows.

    Attributes:
        classes_: the labels, sorted.
        model_: the trained `CMMClassifier`.
        n_features_in_: the width of the embeddings.

    Raises:
        InputError: by `fit`, if a row is all zeros, or a label has no text.

    Example:
        >>> import numpy as np
        >>> from keras_cmm.estimators import CMMEstimator
        >>> from keras_cmm import TrainingRecipe
        >>> texts = {"cat": [1.0, 0.1], "dog": [0.1, 1.0]}
        >>> estimator = CMMEstimator(texts, recipe=TrainingRecipe(epochs=2, min_steps=1))
        >>> estimator.fit([[3.0, 1.0], [1.0, 2.0]], ["cat", "dog"]).predict([[0.2, 0.9]])
        array(['dog'], dtype='<U3')

    References:
        - [Yang et al., Cross-Modal Mapping, arXiv:2412.20110](https://arxiv.org/abs/2412.20110).
        - https://scikit-learn.org/stable/developers/develop.html
    """

    def __init__(
        self,
        text_embeddings: Mapping[Any, Any] | npt.ArrayLike | None = None,
        recipe: TrainingRecipe | None = None,
        logit_scale: float = 100.0,
        random_state: int = 0,
    ) -> None:
        self.text_embeddings = text_embeddings
        self.recipe = recipe
        self.logit_scale = logit_scale
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> CMMEstimator:  # noqa: N803
        """Trains the classifier.

        Args:
            X: embeddings, `(rows, dim)`.
            y: labels, `(rows,)`: numbers or strings.

        Returns:
            The estimator itself.
        """
        X, y = validate_data(self, X, y, dtype=["float32", "float64"])  # noqa: N806
        check_classification_targets(y)
        self.classes_, ids = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"`y` must hold two classes or more. Received: 1 class, {y[0]!r}")
        recipe = self.recipe or AutoRecipe()
        self.model_ = CMMClassifier.from_text_embeddings(
            self._texts(X, ids), logit_scale=self.logit_scale
        )
        recipe.fit(
            self.model_,
            X,
            ids,
            seed=self.random_state,
            compile_arguments={"metrics": None},
            verbose=0,
        )
        return self

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:  # noqa: N803
        """Returns the probabilities of the classes, `(rows, classes)`, in `classes_`' order."""
        check_is_fitted(self, "model_")
        X = validate_data(self, X, dtype=["float32", "float64"], reset=False)  # noqa: N806
        logits = self.model_.predict(X, batch_size=4096, verbose=0)
        probabilities = keras.ops.convert_to_numpy(self.model_.probabilities(logits))
        # The sums of float32 are off by more than some of scikit-learn's metrics allow.
        probabilities = np.asarray(probabilities, "float64")
        return probabilities / probabilities.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> npt.NDArray[Any]:  # noqa: N803
        """Returns the most probable labels, `(rows,)`."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def _texts(self, embeddings: npt.NDArray[Any], ids: npt.NDArray[Any]) -> npt.NDArray[Any]:
        classes = self.classes_
        if self.text_embeddings is None:
            rows = unit_rows(embeddings)
            return np.stack([rows[ids == number].mean(axis=0) for number in range(len(classes))])
        if not isinstance(self.text_embeddings, Mapping):
            return np.asarray(self.text_embeddings)
        missing = [label for label in classes.tolist() if label not in self.text_embeddings]
        if missing:
            raise InputError(
                "`text_embeddings` must hold a text for each label. "
                f"Received: none for {missing[0]!r}"
            )
        return np.stack([np.asarray(self.text_embeddings[label]) for label in classes.tolist()])
