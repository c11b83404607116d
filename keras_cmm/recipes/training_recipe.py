"""The plain recipe, and the one trainer of CMM heads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from keras_cmm.recipes.calibration import calibrate_head, held_out_rows, is_more_probable
from keras_cmm.recipes.closed_form_start import rows_of_all_classes
from keras_cmm.recipes.head import Head
from keras_cmm.recipes.shuffled_batches import ShuffledBatches
from keras_cmm.recipes.support_set import checked_sample_weight, checked_support
from keras_cmm.utils.lazy_rows import LazyRows
from keras_cmm_runtime.utils.check_number import check_int, check_number

# Bounds time: one mean needs no more rows.
_MAX_REMEMBERED_ROWS = 2000


class TrainingSet(NamedTuple):
    """What a head is trained on.

    Args:
        embeddings: `(rows, dim)`, an array or `LazyRows`: the images, and after them the texts that
            a recipe adds.
        labels: `(rows,)` class ids.
        sample_weight: `(rows,)` or `None`.
        learning_rate: float. The peak learning rate.
        doubtful: int. Images of weight 0 that the recipe takes for mislabelled.
        text_trust: float in [0, 1]. How much the class texts count for.
    """

    embeddings: npt.NDArray[np.floating[Any]] | LazyRows
    labels: npt.NDArray[np.int64]
    sample_weight: npt.NDArray[Any] | None
    learning_rate: float
    doubtful: int = 0
    text_trust: float = 1.0

    def used(self) -> TrainingSet:
        """Returns the set without the rows of weight 0."""
        if self.sample_weight is None or (self.sample_weight != 0).all():
            return self
        used = self.sample_weight != 0
        return self._replace(
            embeddings=self.embeddings[used],
            labels=self.labels[used],
            sample_weight=self.sample_weight[used],
        )

    def without_texts(self, num_images: int) -> TrainingSet:
        """Returns the set of the first `num_images` rows."""
        weights = None if self.sample_weight is None else self.sample_weight[:num_images]
        return self._replace(
            embeddings=self.embeddings[:num_images],
            labels=self.labels[:num_images],
            sample_weight=weights,
        )


@dataclass(frozen=True)
class TrainingRecipe:
    """The plain CMM recipe: AdamW with a cosine schedule over a number of epochs.

    The paper publishes none of these values. They are this project's own.

    Args:
        learning_rate: float >= 0. The peak learning rate, which falls to 0 along a cosine.
        weight_decay: float >= 0. AdamW's decoupled weight decay.
        epochs: int >= 1. Passes over the support set.
        min_steps: int >= 0. A small support set gets more epochs, until it has this many steps.
        batch_size: int >= 1. Samples per step.
        max_steps: int >= 1 or `None`. An epoch ends after this many steps. The next epoch draws a
            new order.

    Example:
        >>> import numpy as np
        >>> from keras_cmm import CMMClassifier, TrainingRecipe
        >>> head = CMMClassifier.from_text_embeddings(np.eye(3, 8))
        >>> history = TrainingRecipe(epochs=2, min_steps=1).fit(head, np.eye(3, 8, 1), [0, 1, 2],
        ...                                                     verbose=0)
        >>> len(history.history["loss"])
        2
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    epochs: int = 30
    min_steps: int = 100
    batch_size: int = 256
    max_steps: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("min_steps", 0), ("max_steps", 1)):
            value = getattr(self, name)
            if name == "max_steps" and value is None:
                continue
            check_int(name, value, least)
        for name in ("learning_rate", "weight_decay"):
            check_number(name, getattr(self, name), ">= 0")

    def epochs_for(self, num_samples: int) -> int:
        """Returns the number of epochs for `num_samples` rows."""
        return max(self.epochs, math.ceil(self.min_steps / self.steps_per_epoch(num_samples)))

    def steps_per_epoch(self, num_samples: int) -> int:
        """Returns the number of steps in one epoch on `num_samples` rows."""
        steps = max(1, math.ceil(num_samples / self.batch_size))
        return steps if self.max_steps is None else min(steps, self.max_steps)

    def optimizer_for(self, num_samples: int, epochs: int | None = None) -> keras.Optimizer:
        """Returns AdamW with a cosine that ends with the last of `epochs` epochs.

        Args:
            num_samples: int. Rows to train on.
            epochs: int or `None`. `None` takes `epochs_for(num_samples)`.
        """
        epochs = epochs or self.epochs_for(num_samples)
        schedule = keras.optimizers.schedules.CosineDecay(
            self.learning_rate, decay_steps=epochs * self.steps_per_epoch(num_samples)
        )
        return keras.optimizers.AdamW(schedule, weight_decay=self.weight_decay)

    def fit(
        self,
        head: Head,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        validation_data: tuple[Any, Any] | None = None,
        callbacks: Any = None,
        seed: int = 0,
        *,
        class_weight: Mapping[int, float] | None = None,
        compile_arguments: Mapping[str, Any] | None = None,
        make_batches: Callable[..., keras.utils.PyDataset] | None = None,
        calibrate: bool = True,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Starts, trains and calibrates a head.

        The first call starts the head and fits its temperature: on `validation_data`, or without it
        on rows that a second head is trained without. A class needs two images to give such a row.
        The same rows choose among the recipe's `candidates`. Later calls go on from there, and
        change the temperature only with `validation_data`.

        Args:
            head: a `CMMClassifier` with class texts.
            x: image embeddings, array-like of shape `(images, dim)`. An array of any precision that
                is mapped from a file is read a block or a batch at a time, and need not fit in
                memory.
            y: class ids, array-like of shape `(images,)`, or one-hot labels.
            sample_weight: `(images,)` or `None`. An image of weight 0 is left out.
            validation_data: `(embeddings, class ids)` or `None`.
            callbacks: Keras callbacks, or `None`.
            seed: int. The seed of the order of the rows and of the rows that are held out.
            class_weight: weights by class id, or `None`.
            compile_arguments: arguments of `head.compile`, or `None` for its defaults. Its
                optimizer `"auto"` is the recipe's: AdamW whose learning rate falls along a cosine.
            make_batches: a function of `(labels, sample_weight)` that returns batches to train on
                instead of `x`, such as newly augmented images, or `None`.
            calibrate: bool. Fit the temperature, which changes probabilities alone. Without it and
                without `validation_data` no row is held out, so `candidates` are not compared.
            **kwargs: other arguments of `keras.Model.fit`, such as `verbose`.

        Returns:
            Keras's `History`. Its `params["learning_rate"]` is the peak learning rate,
            `params["doubtful"]` the number of images that were not trained on because the recipe
            takes them for mislabelled, and `params["text_trust"]` how much the class texts count
            for, from 0 to 1.

        Raises:
            InputError: if `x`, `y` or a weight cannot be used.
        """
        x, y = checked_support(head, x, y)
        x = LazyRows.of(x)
        sample_weight = checked_sample_weight(sample_weight, len(y))
        if validation_data is not None:
            val_x, val_y = checked_support(head, *validation_data)
            validation_data = val_x.astype("float32", copy=False), val_y
        if sample_weight is not None and not sample_weight.all():
            used = sample_weight != 0
            x, y, sample_weight = x[used], y[used], sample_weight[used]
        arguments = {} if compile_arguments is None else dict(compile_arguments)
        recipe = self
        may_hold_out = calibrate and make_batches is None
        if not head.is_trained and (may_hold_out or validation_data is not None):
            # Before training, so that callbacks save the temperature with the head.
            recipe = self._judge_by_second_heads(
                head, x, y, sample_weight, class_weight, validation_data, seed, arguments
            )
        rows = recipe.prepare(head, x, y, sample_weight, class_weight)
        batches = None
        if make_batches is not None:
            rows = rows.without_texts(len(y))
            batches = make_batches(rows.labels, rows.sample_weight)
        kwargs.update(validation_data=validation_data, callbacks=callbacks)
        history = self._train(head, rows, seed, arguments, batches, **kwargs)
        head.remember_images(np.asarray(x[rows_of_all_classes(y, _MAX_REMEMBERED_ROWS)]))
        if calibrate and validation_data is not None:
            calibrate_head(head, head, *validation_data, seed)
        return history

    def prepare(
        self,
        head: Head,
        embeddings: npt.NDArray[np.floating[Any]] | LazyRows,
        labels: npt.NDArray[np.int64],
        sample_weight: npt.NDArray[Any] | None = None,
        class_weight: Mapping[int, float] | None = None,
    ) -> TrainingSet:
        """Puts a head where training starts; the plain recipe leaves it as it is.

        Args:
            head: a built classifier.
            embeddings: `(images, dim)`, the support set: an array, or what `fit` made of it.
            labels: `(images,)` class ids.
            sample_weight: `(images,)` or `None`.
            class_weight: weights by class id, or `None`.

        Returns:
            What to train the head on.
        """
        weights = row_weights(labels, sample_weight, class_weight)
        return TrainingSet(embeddings, labels, weights, self.learning_rate)

    def _train(
        self,
        head: Head,
        rows: TrainingSet,
        seed: int,
        compile_arguments: dict[str, Any],
        batches: keras.utils.PyDataset | None = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        if batches is None:
            rows = rows.used()
        count = len(rows.labels)
        epochs = self.epochs_for(count)
        if compile_arguments.get("optimizer", "auto") == "auto":
            # The learning rate falls along the epochs that are run.
            epochs_left = max(1, epochs - kwargs.get("initial_epoch", 0))
            recipe = replace(self, learning_rate=rows.learning_rate)
            optimizer = recipe.optimizer_for(count, epochs_left)
            compile_arguments = {**compile_arguments, "optimizer": optimizer}
        head.compile(**compile_arguments)
        if batches is None:
            batches = ShuffledBatches(
                rows.embeddings,
                rows.labels,
                self.batch_size,
                seed,
                rows.sample_weight,
                self.max_steps,
            )
        history = head.fit(batches, epochs=epochs, shuffle=False, **kwargs)
        for name in ("learning_rate", "doubtful", "text_trust"):
            history.params[name] = getattr(rows, name)
        return history

    def candidates(
        self, head: Head, embeddings: LazyRows, labels: npt.NDArray[np.int64]
    ) -> Sequence[TrainingRecipe]:
        """Returns the recipes that held-out images choose from: the first, or a better next one.

        They choose only where they are of all classes.

        The arguments are those of `prepare`, with a head that is not trained yet.
        """
        return [self]

    def _judge_by_second_heads(
        self,
        head: Head,
        embeddings: LazyRows,
        labels: npt.NDArray[np.int64],
        sample_weight: npt.NDArray[Any] | None,
        class_weight: Mapping[int, float] | None,
        validation_data: tuple[npt.NDArray[Any] | LazyRows, npt.NDArray[np.int64]] | None,
        seed: int,
        compile_arguments: dict[str, Any],
    ) -> TrainingRecipe:
        """Chooses among `candidates` by second heads and rows that these are trained without.

        Without `validation_data` rows of the support set are held out, and they calibrate the head.
        """
        calibrates = validation_data is None
        if validation_data is None:
            held_out = held_out_rows(labels, seed)
            if not held_out.any():
                head.temperature, head.held_out_scores = 1.0, None
                return self
            validation_data = embeddings[held_out], labels[held_out]
            embeddings, labels = embeddings[~held_out], labels[~held_out]
            sample_weight = None if sample_weight is None else sample_weight[~held_out]
        first, *others = self.candidates(head, embeddings, labels)
        if len(np.unique(validation_data[1])) < head.num_classes:
            # A recipe could win by what it takes from the classes that no row is of.
            others = []
        if not others and not calibrates:
            return first

        def train(recipe: TrainingRecipe) -> Head:
            second = head.copy_untrained()
            second.set_weights(head.get_weights())
            rows = recipe.prepare(second, embeddings, labels, sample_weight, class_weight)
            recipe._train(second, rows, seed, _of_second(compile_arguments), verbose=0)
            return second

        best, judge = first, train(first)
        for recipe in others:
            second = train(recipe)
            if not is_more_probable(second, judge, *validation_data, seed):
                break
            best, judge = recipe, second
        if calibrates:
            calibrate_head(head, judge, *validation_data, seed)
        return best


def _of_second(compile_arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments to compile a second head with, which reports nothing."""
    arguments = {**compile_arguments, "metrics": None, "weighted_metrics": None}
    optimizer = arguments.get("optimizer", "auto")
    if not isinstance(optimizer, str):
        # An optimizer is bound to the head that it trains.
        optimizer = keras.optimizers.get(optimizer)
        arguments["optimizer"] = type(optimizer).from_config(optimizer.get_config())
    return arguments


def row_weights(
    labels: npt.NDArray[np.int64],
    sample_weight: npt.NDArray[Any] | None,
    class_weight: Mapping[int, float] | None,
) -> npt.NDArray[Any] | None:
    """Returns the weight of each row, or `None` where all weigh 1.

    Args:
        labels: `(rows,)` class ids: the images, and texts after them.
        sample_weight: `(images,)` or `None`. A text weighs 1.
        class_weight: weights by class id, or `None`. They multiply those of images and texts.
    """
    if sample_weight is None and class_weight is None:
        return None
    weights = np.ones(len(labels))
    if sample_weight is not None:
        weights[: len(sample_weight)] = sample_weight
    if class_weight is not None:
        weights *= [class_weight.get(int(label), 1.0) for label in labels]
    return weights
