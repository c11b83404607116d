"""Training the head of a classifier on images."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_cmm.clip import CLIPModel, ImageEmbedder, JointEmbedder, check_finite_weights
from keras_cmm.models.augmented_batches import AugmentedBatches
from keras_cmm.models.checks import (
    check_fit_arguments,
    class_weight_by_id,
    validation_pair,
)
from keras_cmm.models.class_order import check_class_order, warn_of_numbers
from keras_cmm.models.cmm_classifier import CMMClassifier
from keras_cmm.models.counted import Counted
from keras_cmm.models.image_explanations import ImageExplanations
from keras_cmm.models.inputs import is_dataset, is_hugging_face, iterate_images
from keras_cmm.models.second_encoder import SecondEncoder, refuse_second_encoder
from keras_cmm.recipes import AutoRecipe, TrainingRecipe, checked_sample_weight, checked_support
from keras_cmm.utils.labels import ids_of_labels
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.check_number import check_int


class HeadTraining(ImageExplanations):
    """The part of `CMMImageClassifier` that trains and evaluates its head.

    Images are embedded here, labels are brought to class ids, and the recipe does the rest.
    """

    class_names: tuple[str, ...]
    head: CMMClassifier
    also: SecondEncoder | None
    _clip_model: Callable[[], CLIPModel]
    recipe_: TrainingRecipe
    _head_was_given: bool
    _compile_arguments: SimpleNamespace | None
    _head_is_compiled: bool
    _optimizer_is_spent: bool

    @functools.cached_property
    def embedder(self) -> ImageEmbedder:
        """The embedder of the encoders, whose `store` and `batch_size` may be set."""
        first = ImageEmbedder(self._clip_model())
        if self.also is None:
            return first
        return JointEmbedder(first, ImageEmbedder(self.also.clip_model))

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int | None = None,
        validation_data: Any = None,
        augmentation: Callable[[Any], Any] | None = None,
        seed: int = 0,
        views: int = 0,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Trains the head on images.

        Every image is embedded once, and with a store in `embedder.store` only in the first `fit`.
        Samples are shuffled every epoch, in an order that depends on `seed` alone.

        The first call starts the head in closed form, see `AutoRecipe`. Later calls go on from
        there, also after loading and on new images. `AutoRecipe` also trains on one text per class:
        these rows count in the history's accuracy, and the history's losses are of softened logits.
        A head of your own is trained by `TrainingRecipe` from where it is. `recipe_` is the recipe
        of the last call, with its learning rate.

        A call with `validation_data` or `validation_split` fits the head's temperature on it.
        Without, the first call fits it on images that a second head is trained without, where a
        class has two images or more. Other calls leave the temperature as it is.

        Args:
            x: images, see the class.
            y: labels, where `x` does not bring its own.
            batch_size: int or `None`. Samples per step. `None` takes the recipe's.
            epochs: int or `None`. `None` takes the recipe's.
            validation_data: `(images, labels)`, or a data set as `x`.
            augmentation: a Keras layer or function on float32 pixels in [0, 255], shape
                `(batch, image_size, image_size, 3)`, or `None`. With it, the backbone sees newly
                augmented images every epoch, which is tens of times slower.
            seed: int >= 0. Seed of the order of the samples.
            views: int >= 0. So many augmented views of each image, crops that are mirrored or not,
                are embedded once beside it, and it counts by the mean of its embeddings. See
                `keras_cmm_runtime.images.ImageView`.
            **kwargs: the other arguments of `keras.Model.fit`, such as `callbacks`, `verbose`,
                `class_weight` (by class id or name) and `sample_weight`. Callbacks see the head as
                their model. A sample of weight 0 is left out. Weights do not move the start.

        Returns:
            Keras's `History`, with `loss`, `cross_entropy`, `triplet`, `contrastive` and the
            metrics.

        Raises:
            InputError: if an image, a label or a weight cannot be used.
            ValueError: if a number is out of range.
        """
        # Mistakes are told before any image is embedded.
        recipe = self._recipe(batch_size, epochs, kwargs)
        y = self._checked_labels(x, y)
        samples = None if is_dataset(x) else len(y)
        is_auto = self._has_default_optimizer()
        check_fit_arguments(kwargs, self.class_names, seed, samples, is_auto)
        check_int("views", views, 0)
        if augmentation is not None and views:
            raise ValueError(
                "`views` cannot be used with `augmentation`, which makes new ones every epoch; "
                f"give one of them. Received: views={views}"
            )
        if augmentation is not None:
            refuse_second_encoder(self, "cannot be trained with `augmentation`; leave one out")
        if augmentation is not None and kwargs.pop("validation_split", 0.0):
            raise ValueError(
                "`validation_split` cannot be used with `augmentation`; give `validation_data`."
            )
        if validation_data is not None:
            validation_data = self._embed_labelled(*validation_pair(validation_data))
        if augmentation is None:
            embeddings, labels = self._embed_labelled(x, y, views)
            history = self._fit_head(recipe, embeddings, labels, validation_data, seed, kwargs)
            self._name_support(x)
            return history
        pairs = list(iterate_images(x, y))
        labels = self._class_ids([label for _, label in pairs])
        weights = checked_sample_weight(kwargs.pop("sample_weight", None), len(labels))
        used = np.arange(len(labels)) if weights is None else np.flatnonzero(weights)
        images = [pairs[row][0] for row in used]
        kwargs["sample_weight"] = None if weights is None else weights[used]
        pixels = np.stack([self.embedder.preprocessor.pixels(image) for image in images])

        def make_batches(labels: npt.NDArray[Any], weights: Any) -> AugmentedBatches:
            return AugmentedBatches(
                self.embedder,
                augmentation,
                pixels,
                labels,
                recipe.batch_size,
                seed,
                weights,
                recipe.max_steps,
            )

        embeddings = self.embedder.embed(images).embeddings
        kwargs["make_batches"] = make_batches
        return self._fit_head(recipe, embeddings, labels[used], validation_data, seed, kwargs)

    def fit_embeddings(
        self,
        embeddings: npt.NDArray[np.floating],
        y: Any,
        batch_size: int | None = None,
        epochs: int | None = None,
        validation_data: tuple[Any, Any] | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Trains the head on embeddings that `embed` returned, as `fit` does on images.

        Args:
            embeddings: `(images, dim)`.
            y: labels.
            batch_size: int or `None`, as in `fit`.
            epochs: int or `None`, as in `fit`.
            validation_data: `(embeddings, labels)` or `None`.
            seed: int >= 0. Seed of the order of the samples.
            **kwargs: as in `fit`.

        Returns:
            Keras's `History`.
        """
        recipe = self._recipe(batch_size, epochs, kwargs)
        embeddings, labels = self._checked_rows(embeddings, y)
        is_auto = self._has_default_optimizer()
        check_fit_arguments(kwargs, self.class_names, seed, len(labels), is_auto)
        if validation_data is not None:
            if not isinstance(validation_data, tuple | list):
                raise InputError(
                    "`validation_data` must be a tuple (embeddings, labels). "
                    f"Received: a {type(validation_data).__name__}"
                )
            validation_data = self._checked_rows(*validation_pair(validation_data))
        return self._fit_head(recipe, embeddings, labels, validation_data, seed, kwargs)

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        *,
        views: int = 0,
        **kwargs: Any,
    ) -> dict[str, float]:
        """Returns the loss and the metrics on images, by name.

        Args:
            x: images, see the class.
            y: labels, where `x` does not bring its own.
            batch_size: int. Samples per step of the head.
            views: int >= 0, as in `predict`.
            **kwargs: the other arguments of `keras.Model.evaluate`.

        Raises:
            InputError: if a weight is no finite number, so that the classifier cannot answer.
        """
        check_finite_weights(self, "the classifier")
        self._compile_head()
        embeddings, labels = self._embed_labelled(x, y, views)
        kwargs.setdefault("return_dict", True)
        batch_size = batch_size or TrainingRecipe().batch_size
        return self.head.evaluate(embeddings, labels, batch_size=batch_size, **kwargs)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int | str, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Trains the head by one step, from where it is.

        The head is not started in closed form, which needs a whole support set. Neither is it by a
        `fit` that comes after.

        Args:
            x: images, see the class.
            y: labels, where `x` does not bring its own.
            sample_weight: weights of the images, or `None`.
            class_weight: weights by class id or name, or `None`.
            return_dict: bool. Return a dict.

        Returns:
            The loss and the metrics, a list or a dict.
        """
        weight_by_id = class_weight_by_id(class_weight, self.class_names, sample_weight)
        embeddings, labels = self._embed_labelled(x, y)
        weights = checked_sample_weight(sample_weight, len(labels))
        # The recipe's optimizer is at the end of its schedule after a `fit`.
        self._head_is_compiled &= not self._optimizer_is_spent
        self._optimizer_is_spent = False
        self._compile_head()
        return self.head.train_on_batch(embeddings, labels, weights, weight_by_id, return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Returns loss and metrics on images, in one step; see `train_on_batch`."""
        self._compile_head()
        embeddings, labels = self._embed_labelled(x, y)
        weights = checked_sample_weight(sample_weight, len(labels))
        return self.head.test_on_batch(embeddings, labels, weights, return_dict)

    def _recipe(
        self, batch_size: int | None, epochs: int | None, arguments: dict[str, Any]
    ) -> TrainingRecipe:
        recipe = TrainingRecipe() if self._head_was_given else AutoRecipe()
        if batch_size is not None:
            recipe = replace(recipe, batch_size=batch_size)
        # As many epochs as are asked for, even if they make few steps.
        if epochs is not None:
            recipe = replace(recipe, epochs=epochs, min_steps=1, max_steps=None)
        # Not left to Keras: the learning rate falls along all the steps.
        steps = arguments.pop("steps_per_epoch", None)
        return recipe if steps is None else replace(recipe, max_steps=steps)

    def _fit_head(
        self,
        recipe: TrainingRecipe,
        embeddings: npt.NDArray[np.float32],
        labels: npt.NDArray[np.int64],
        validation_data: Any,
        seed: int,
        arguments: dict[str, Any],
    ) -> keras.callbacks.History:
        weights = checked_sample_weight(arguments.pop("sample_weight", None), len(labels))
        kept = np.arange(len(labels))
        if split := arguments.pop("validation_split", 0.0):
            # Drawn: at the end, where Keras splits, sorted data has its last classes.
            rows = np.random.default_rng(seed).permutation(len(labels))
            rows = rows if weights is None else rows[weights[rows] != 0]
            held_out = int(len(rows) * split)
            if validation_data is None:
                validation_data = (embeddings[rows[:held_out]], labels[rows[:held_out]])
                rows = rows[held_out:]
            embeddings, labels = embeddings[rows], labels[rows]
            weights = None if weights is None else weights[rows]
            kept = rows
        history = recipe.fit(
            self.head,
            embeddings,
            labels,
            weights,
            validation_data,
            seed=seed,
            compile_arguments=self._arguments_for_the_head(),
            **arguments,
        )
        self.recipe_ = replace(recipe, learning_rate=history.params["learning_rate"])
        self._head_is_compiled = True
        self._optimizer_is_spent = self._has_default_optimizer()
        self._keep_support(embeddings, labels, kept, weights)
        return history

    def _embed(self, x: Any, y: Any, views: int = 0) -> tuple[npt.NDArray[np.float32], list[Any]]:
        labels: list[Any] = []

        def images() -> Any:
            for image, label in iterate_images(x, y):
                labels.append(label)
                yield image

        # The embedder chooses its engine by the number of images, where that is known.
        counts_images = not is_dataset(x) or is_hugging_face(x)
        given = Counted(images(), len(x)) if counts_images and hasattr(x, "__len__") else images()
        return self.embedder.embed(given, views=views).embeddings, labels

    def _embed_labelled(
        self, x: Any, y: Any, views: int = 0
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        embeddings, labels = self._embed(x, self._checked_labels(x, y), views)
        if any(label is None for label in labels):
            raise InputError("the data set must yield (images, labels). Received: images alone")
        return embeddings, self._class_ids(labels)

    def _checked_rows(
        self, embeddings: Any, labels: Any
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        warn_of_numbers(labels, self.class_names)
        return checked_support(self.head, embeddings, self._class_ids(labels))

    def _checked_labels(self, x: Any, y: Any) -> Any:
        """Returns `y` as class ids, or `None` where `x` brings its own."""
        if is_hugging_face(x):
            return y  # it yields class names, whatever their order
        is_named = check_class_order(x, self.class_names)
        if is_dataset(x):
            if not is_named:
                warn_of_numbers(None, self.class_names)
            return y
        if y is None:
            raise InputError("`y` must hold the labels of the images. Received: None")
        warn_of_numbers(y, self.class_names)
        return self._class_ids(y)

    def _class_ids(self, labels: Any) -> npt.NDArray[np.int64]:
        ids = ids_of_labels(labels, self.class_names)
        if not len(ids):
            raise InputError("there must be at least one labelled image. Received: none")
        return ids

    def _compile_head(self) -> None:
        if not self._head_is_compiled:
            self.head.compile(**self._arguments_for_the_head())
            self._head_is_compiled = True

    def _arguments_for_the_head(self) -> dict[str, Any]:
        if self._compile_arguments is None:
            raise ValueError("the classifier must be compiled first: call `compile()`.")
        return dict(vars(self._compile_arguments))

    def _has_default_optimizer(self) -> bool:
        optimizer = self._arguments_for_the_head()["optimizer"]
        return isinstance(optimizer, str) and optimizer == "auto"
