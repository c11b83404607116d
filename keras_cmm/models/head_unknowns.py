"""Judging images by those that a head was not trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from keras_cmm.layers import ClassPrototypes, CrossModalMapping
from keras_cmm.recipes import (
    AutoRecipe,
    TrainingRecipe,
    checked_embeddings,
    checked_support,
    cross_validated_scores,
)
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.unknowns import HeldOutScores, nearest_prototype
from keras_cmm_runtime.utils.check_number import check_int

_BATCH = 256


class HeadUnknowns:
    """The part of `CMMClassifier` that tells unknown images, and makes prediction sets."""

    similarities: Callable[..., Any]
    probabilities: Callable[[Any], Any]
    predict: Callable[..., Any]
    text_prototypes: ClassPrototypes
    # What `is_unknown` and `predict_sets` judge by, or `None`. It is saved with the weights.
    held_out_scores: HeldOutScores | None = None
    # Map `(dim, dim)` and prototypes as they were when training started, or `None`. Saved too.
    start: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None = None

    def likeness(self, embeddings: Any) -> npt.NDArray[np.float32]:
        """Returns how like the classes images are: the cosine to the nearest prototype.

        It is taken with the map and the prototypes that training started from. `AutoRecipe` starts
        at a model of how the images of each class lie. Training then moves both to tell the classes
        from one another, and images of other classes come nearer. A head without a start, and one
        of a map that is no residual `CrossModalMapping`, uses its present map and prototypes.

        Args:
            embeddings: array-like of shape `(images, dim)`.

        Returns:
            float32 `(images,)`, from -1 to 1.

        Raises:
            InputError: if an embedding cannot be used.

        Example:
            >>> import numpy as np
            >>> from keras_cmm import CMMClassifier
            >>> head = CMMClassifier.from_text_embeddings(np.eye(2, 3))
            >>> np.round(head.likeness(np.eye(3)), 3).tolist()
            [1.0, 1.0, 0.0]
        """
        rows = self._rows(embeddings)
        if self.start is not None:
            return nearest_prototype(rows, *self.start)
        nearest = [
            ops.convert_to_numpy(self.similarities(rows[first : first + _BATCH])).max(axis=1)
            for first in range(0, len(rows), _BATCH)
        ]
        return np.concatenate(nearest) if nearest else np.empty(0, "float32")

    def keep_start(self) -> None:
        """Keeps map and prototypes for `likeness`; a recipe calls it before training."""
        model: Any = self
        mapping = model.mapping
        is_plain = isinstance(mapping, CrossModalMapping) and mapping.rank is None
        if not is_plain or not mapping.residual or mapping.use_bias:
            self.start = None
            return
        kernel = ops.convert_to_numpy(ops.cast(mapping.kernel, "float32"))
        prototypes = np.array(ops.convert_to_numpy(model.prototypes.embeddings))
        self.start = (kernel + np.eye(len(kernel), dtype="float32"), prototypes)

    def held_out_scores_of(self, embeddings: Any, labels: Any) -> HeldOutScores:
        """Returns the scores of images that this head was not trained on.

        Args:
            embeddings: `(images, dim)`.
            labels: `(images,)` class ids.
        """
        logits = self.predict(embeddings, batch_size=_BATCH, verbose=0)
        probabilities = ops.convert_to_numpy(self.probabilities(logits))
        own = probabilities[np.arange(len(probabilities)), labels]
        return HeldOutScores(self.likeness(embeddings), own)

    def calibrate_unknowns(
        self,
        x: Any,
        y: Any,
        held_out: bool = False,
        folds: int = 5,
        seed: int = 0,
        recipe: TrainingRecipe | None = None,
    ) -> None:
        """Finds what the classes' own images look like when they are new.

        `is_unknown` and `predict_sets` judge by it. The head itself does not change.

        Args:
            x: `(images, dim)`, embeddings of the support set.
            y: `(images,)` class ids, or one-hot labels.
            held_out: bool. Whether the images were not trained on. They then count as they are, and
                nothing is trained. Otherwise `folds` heads are trained, each without a part of the
                images.
            folds: int >= 2.
            seed: int >= 0. Seed of the folds and of the training.
            recipe: how the heads are trained; `None` for `AutoRecipe()`.

        Raises:
            InputError: if an embedding or a label cannot be used, or no image can be held out.

        Example:
            >>> import numpy as np
            >>> from keras_cmm import CMMClassifier
            >>> head = CMMClassifier.from_text_embeddings(np.eye(2, 3))
            >>> head.calibrate_unknowns([[9, 1, 1], [1, 9, 0]] * 10, [0, 1] * 10, held_out=True)
            >>> head.is_unknown(np.eye(3), reject=0.05)
            array([False, False,  True])
        """
        model: Any = self
        x, y = checked_support(model, x, y)
        check_int("folds", folds, 2)
        check_int("seed", seed, 0)
        if held_out:
            self.held_out_scores = self.held_out_scores_of(x, y)
        else:
            recipe = recipe or AutoRecipe()
            started = model.copy_untrained()
            recipe.prepare(started, x, y)
            started.keep_start()
            self.start = started.start
            self.held_out_scores = cross_validated_scores(recipe, model, x, y, folds, seed)

    def is_unknown(self, embeddings: Any, reject: float = 0.05) -> npt.NDArray[np.bool_]:
        """Returns which images are less like the classes than 1 - `reject` of held-out images.

        Args:
            embeddings: `(images, dim)`.
            reject: float in (0, 1).

        Returns:
            bool `(images,)`.

        Raises:
            InputError: if the head is not calibrated, or on too few images.
        """
        return self._calibrated_scores().is_unknown(self.likeness(embeddings), reject)

    def share_more_alike(self, embeddings: Any) -> npt.NDArray[np.float64]:
        """Returns for each image the part of held-out images that are more like the classes.

        Args:
            embeddings: `(images, dim)`.
        """
        held_out = self._calibrated_scores().likeness
        return 1 - np.searchsorted(held_out, self.likeness(embeddings), "right") / len(held_out)

    def predict_sets(self, embeddings: Any, coverage: float = 0.9) -> npt.NDArray[np.bool_]:
        """Returns for each image the classes that hold its own with probability `coverage`.

        The sets are conformal, see `HeldOutScores`. The probability is over images like the
        held-out ones.

        Args:
            embeddings: `(images, dim)`.
            coverage: float in (0, 1).

        Returns:
            bool `(images, classes)`.

        Raises:
            InputError: if the head is not calibrated, or on too few images.
        """
        scores = self._calibrated_scores()
        rows = self._rows(embeddings)
        logits = self.predict(rows, batch_size=_BATCH, verbose=0)
        return scores.prediction_sets(ops.convert_to_numpy(self.probabilities(logits)), coverage)

    def _rows(self, embeddings: Any) -> npt.NDArray[np.float32]:
        dim = self.text_prototypes.embeddings.shape[1]
        return checked_embeddings(embeddings, "embeddings", dim).astype("float32", copy=False)

    def _calibrated_scores(self) -> HeldOutScores:
        if self.held_out_scores is None:
            raise InputError(
                "the classifier does not know yet how new images of its classes look: call "
                "`calibrate_unknowns(x, y)` with its training images, or with `held_out=True` and "
                "others, and save it; or fit it again. Fitting does so where a class has two "
                "images or more; adding or removing a class undoes it."
            )
        return self.held_out_scores
