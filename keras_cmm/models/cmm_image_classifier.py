"""The few-shot classifier on images."""

from __future__ import annotations

import inspect
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import keras_hub
import numpy as np
import numpy.typing as npt
from keras import ops

import keras_cmm.clip.backbones.resnet_vision_encoder  # noqa: F401 - a saved classifier may hold one
from keras_cmm.clip import (
    CLIPModel,
    ImageEmbedder,
    TextEmbedder,
    build_prompts,
    load,
    logit_scale,
    make_preprocessor,
    prepare_backbone,
    preset_path,
)
from keras_cmm.errors import InputError
from keras_cmm.models.augmented_batches import AugmentedBatches
from keras_cmm.models.checks import (
    check_class_order,
    checked_class_names,
    checked_sample_weight,
    class_weight_by_id,
    refuse_one_hot,
    refuse_rate_callbacks,
    validation_pair,
)
from keras_cmm.models.cmm_classifier import CMMClassifier, refuse_probabilities
from keras_cmm.models.inputs import ids_of_labels, is_dataset, iterate_images
from keras_cmm.recipes.auto_recipe import AutoRecipe
from keras_cmm.recipes.calibration import calibrated_temperature, held_out_rows
from keras_cmm.recipes.logit_adjustment import count_offsets
from keras_cmm.recipes.shuffled_batches import ShuffledBatches
from keras_cmm.recipes.training_recipe import TrainingRecipe

_DEFAULT_TEMPLATE = "a photo of a {}."


@keras.saving.register_keras_serializable(package="keras_cmm")
class CMMImageClassifier(keras_hub.models.ImageClassifier):
    """Classifies images with a frozen CLIP backbone and a `CMMClassifier` head.

    The prototypes of the classes are made from their names at construction, so a new classifier is
    zero-shot CLIP. `fit` embeds every image once and trains the head on the embeddings; the
    backbone is never trained. Images are preprocessed exactly as CLIP was trained with (PIL,
    bicubic with antialias, centre crop), not by keras-hub's image converter.

    `fit`, `evaluate`, `predict`, `classify` and `embed` take raw images: a list of paths, PIL
    images or arrays of any sizes; an array `(images, height, width, channels)` with values in
    [0, 255]; a `tf.data.Dataset`, a torch `DataLoader` or another iterable of `(images, labels)`.
    Labels are class ids, class names or one-hot. A direct call, `model(pixels)`, takes preprocessed
    pixels (`model.embedder.preprocessor`).

    With `model.embedder.store = keras_cmm.clip.EmbeddingStore("folder")` embeddings are kept on
    disk, so that no image is embedded twice: not by a second `fit`, nor by another classifier on
    the same backbone, nor in another process. The store is no part of a saved classifier.

    Args:
        backbone: a `keras_hub.models.CLIPBackbone`. It is frozen.
        class_names: two or more different names. Their number is the number of classes.
        preprocessor: a `keras_hub.models.CLIPPreprocessor`, for its tokenizer and the settings of
            its image converter.
        template: prompt template, several, or a key of `keras_cmm.clip.PROMPT_TEMPLATES`; `None`
            to prompt with descriptions only.
        descriptions: `{class name: [sentence, ...]}` of more prompts, or `None`.
        head: a `CMMClassifier` with settings of your own, or `None` for one with the backbone's
            logit scale, which the first `fit` starts and trains by `AutoRecipe`. One of your own
            keeps its settings (but for `temperature` and `train_offsets`, see `fit`) and is
            trained by `TrainingRecipe`; an unbuilt one gets the class texts as prototypes, a built
            one keeps those it has.
        **kwargs: `name` and `compile`, as of `keras_hub.models.ImageClassifier`.

    Raises:
        InputError: if class names, templates or descriptions cannot be used.
        ValueError: if `head` does not fit.

    Example:
        >>> import keras_cmm  # doctest: +SKIP
        >>> model = keras_cmm.CMMImageClassifier.from_preset(  # doctest: +SKIP
        ...     "clip_vit_base_patch16", class_names=["cat", "dog"]
        ... )
        >>> model.fit(["cat.jpg", "dog.jpg"], ["cat", "dog"])  # doctest: +SKIP
        >>> model.classify(["new.jpg"], top_k=1)  # doctest: +SKIP
        [[('dog', 0.98)]]

    References:
        - [Yang et al., Cross-Modal Mapping, arXiv:2412.20110](https://arxiv.org/abs/2412.20110).
        - [Radford et al., CLIP, arXiv:2103.00020](https://arxiv.org/abs/2103.00020).
    """

    backbone_cls = keras_hub.models.CLIPBackbone
    preprocessor_cls = keras_hub.models.CLIPPreprocessor

    def __init__(
        self,
        backbone: Any,
        class_names: Sequence[str],
        preprocessor: Any = None,
        template: str | Sequence[str] | None = _DEFAULT_TEMPLATE,
        descriptions: Mapping[str, Sequence[str]] | None = None,
        head: CMMClassifier | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(backbone, self.backbone_cls):
            raise ValueError(
                f"`backbone` must be a {self.backbone_cls.__name__}; for another kind that "
                "`keras_cmm.clip.load` reads, use `CMMImageClassifier.from_preset`. "
                f"Received: a {type(backbone).__name__}"
            )
        class_names = checked_class_names(class_names)
        compile_now = kwargs.pop("compile", True)
        backbone = prepare_backbone(backbone)
        backbone.trainable = False

        # === Layers ===
        self.backbone = backbone
        self.preprocessor = preprocessor
        # A head that was left to us starts in closed form, once it sees a support set.
        self._head_was_given = head is not None
        self._starts_from_support = head is None
        if head is None:
            head = CMMClassifier(
                len(class_names), logit_scale=logit_scale(backbone), dtype="float32", name="head"
            )
        if head.num_classes != len(class_names):
            raise ValueError(
                f"`head` must have one class for each of the {len(class_names)} `class_names`. "
                f"Received: a head of {head.num_classes} classes"
            )
        self.head = head
        if not head.built:
            prompts = build_prompts(class_names, template, descriptions)
            text_embedder = TextEmbedder(self._clip_model())
            head.assign_text_embeddings(text_embedder.class_prototypes(prompts))
        # The mapping sees unit vectors here as it does in `fit`, on which a bias depends.
        self.unit_normalization = keras.layers.UnitNormalization(
            dtype="float32", name="unit_normalization"
        )

        # === Functional Model ===
        inputs = keras.Input(shape=backbone.vision_encoder.image_shape, name="images")
        embeddings = self.unit_normalization(backbone.get_vision_embeddings(inputs))
        # The base class's constructor would add a head of its own.
        super(keras_hub.models.ImageClassifier, self).__init__(
            inputs=inputs, outputs=head(embeddings), compile=False, **kwargs
        )

        # === Config ===
        self.class_names = class_names
        self.num_classes = len(class_names)
        self.template = template
        self.descriptions = descriptions
        self._embedder: ImageEmbedder | None = None
        self._compile_arguments: SimpleNamespace | None = None
        self._head_is_compiled = False
        self._optimizer_is_spent = False
        if compile_now:
            self.compile()

    @classmethod
    def from_preset(
        cls,
        preset: str | os.PathLike[str],
        class_names: Sequence[str] | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> CMMImageClassifier:
        """Makes a classifier on a CLIP preset or checkpoint, or loads one that was saved.

        Args:
            preset: what `keras_cmm.clip.load` takes, or a folder that `save_to_preset` wrote.
            class_names: the classes of a new classifier on the preset's backbone. `None` loads the
                saved classifier of the preset.
            dtype: dtype or dtype policy of the backbone; the head computes in float32.
            **kwargs: the other arguments of the constructor, for a new classifier.

        Returns:
            The classifier.

        Raises:
            InputError: if the preset cannot be loaded, or `class_names` is left out and the preset
                is not of a saved classifier.

        Warns:
            UserWarning: if a saved classifier of just these classes is left aside for a new one.
        """
        if "num_classes" in kwargs:
            raise ValueError(
                "`num_classes` follows from `class_names`; give the names of the classes instead. "
                f"Received: num_classes={kwargs['num_classes']}"
            )
        if class_names is not None:
            class_names = checked_class_names(class_names)
            if saved_class_names(preset_path(preset)) == class_names:
                warnings.warn(
                    f"{os.fspath(preset)}: makes a new classifier of the saved one's classes, "
                    "which knows no image; leave out `class_names` to load the saved one.",
                    stacklevel=2,
                )
            model = load(preset, dtype=dtype)
            kind = _class_for(model.backbone, cls)
            return kind(model.backbone, class_names, make_preprocessor(model), **kwargs)
        if kwargs:
            raise ValueError(
                "a saved classifier takes no other arguments; give `class_names` for a new one. "
                f"Received: {', '.join(kwargs)}"
            )
        path = preset_path(preset)
        if "://" not in path and saved_class_names(path) is None:
            raise InputError(
                f"{os.fspath(preset)}: is no saved CMM classifier; give the folder of one, or make "
                "one on this preset, by `class_names` or by `keras-cmm fit --preset`."
            )
        loaded: CMMImageClassifier = super().from_preset(
            path, **({} if dtype is None else {"dtype": dtype})
        )
        return loaded

    @property
    def trainable(self) -> bool:
        """Whether the head is trained; the backbone never is."""
        return bool(keras.Model.trainable.fget(self))

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.Model.trainable.fset(self, value)
        if hasattr(self, "backbone"):
            self.backbone.trainable = False

    @property
    def embedder(self) -> ImageEmbedder:
        """The `ImageEmbedder` of the backbone, whose `store` and `batch_size` may be set."""
        if self._embedder is None:
            self._embedder = ImageEmbedder(self._clip_model())
        return self._embedder

    @property
    def text_embeddings(self) -> npt.NDArray[np.float32]:
        """The class prototypes made from text, `(classes, dim)`."""
        return self.head.text_embeddings

    def compile(
        self,
        optimizer: Any = "auto",
        loss: Any = "auto",
        *,
        metrics: Any = "auto",
        **kwargs: Any,
    ) -> None:
        """Configures training of the head, whose `optimizer` and `metrics` these become.

        Args:
            optimizer: a Keras optimizer, or `"auto"` for the recipe's: AdamW whose learning rate
                falls along a cosine over the epochs of `fit`.
            loss: a loss of `(class ids, logits)`, or `"auto"` for cross-entropy. Labels reach it
                as class ids, however they were given to `fit`. A name of a loss, such as
                `"sparse_categorical_crossentropy"`, means one of probabilities.
            metrics: metrics of `(class ids, logits)`, or `"auto"` for accuracy (top-1). Of Keras'
                own, these are `"accuracy"` and the sparse ones.
            **kwargs: the other arguments of `keras.Model.compile`.

        Raises:
            ValueError: if the loss or a metric is of probabilities or of one-hot labels.
        """
        weighted = kwargs.get("weighted_metrics")
        for argument, given in (
            ("loss", loss),
            ("metrics", metrics),
            ("weighted_metrics", weighted),
        ):
            refuse_probabilities(argument, given)
            refuse_one_hot(argument, given)
        # The head is compiled when it is needed, and the arguments lie where saving does not look:
        # an optimizer that a new classifier has would be missed in the files of a saved one.
        self._compile_arguments = SimpleNamespace(
            optimizer=optimizer, loss=loss, metrics=metrics, **kwargs
        )
        self._head_is_compiled = False

    def get_compile_config(self) -> dict[str, Any] | None:
        """Returns the arguments of `compile`, serialized."""
        if self._compile_arguments is None:
            return None
        arguments = vars(self._compile_arguments)
        config: dict[str, Any] = keras.saving.serialize_keras_object(arguments)
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles with what `get_compile_config` returned."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def embed(self, x: Any) -> npt.NDArray[np.float32]:
        """Embeds images.

        Args:
            x: images, see the class.

        Returns:
            float32 array of shape `(images, dim)`, rows of unit length.
        """
        return self._embed(x)[0]

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int | None = None,
        validation_data: Any = None,
        augmentation: Callable[[Any], Any] | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Trains the head on images.

        Every image is embedded once, unless there is an augmentation; with a store in
        `embedder.store`, once and for all. Samples are shuffled every epoch, in an order that
        depends on `seed` alone.

        The first call starts a head that was left to us by `AutoRecipe`, which also trains on one
        text row a class (they count in the history's accuracy; its losses are of softened logits,
        see `CMMClassifier.train_temperature`). It sets map and prototypes, frozen ones too; to keep
        them where they are, give a `head`. Later calls, after loading too, go on from there, on
        old images or new ones: at a rate that is lower by what the head has learnt of them, so that
        fitting the same images again changes it little. A head of your own is trained by
        `TrainingRecipe`. `recipe_` is the one that was used last, with its learning rate.

        Classes with few images, or none, are not passed over for those with many: training adjusts
        the logits to the total weight of each class's samples, see `CMMClassifier.train_offsets`.

        Every call with `validation_data` (or `validation_split`) then fits the head's temperature
        on it. Without, the first call fits it on rows held out of a second head, which is trained
        alike but for callbacks, where a class has two images or more; later ones and those with
        an augmentation leave it as it is.

        Args:
            x: images, see the class.
            y: labels, where `x` does not bring its own.
            batch_size: int. Samples a step. `None` takes that of the recipe.
            epochs: int. `None` takes those of the recipe.
            validation_data: `(images, labels)`, or a data set as `x`.
            augmentation: a Keras layer or function on float32 pixels in [0, 255], shape
                `(batch, image_size, image_size, 3)`. With it, every epoch passes the images, newly
                augmented, through the backbone: tens of times slower.
            seed: int. Seed of the order of the samples.
            **kwargs: the other arguments of `keras.Model.fit`, such as `callbacks`, `verbose`,
                `class_weight` (by class id or name) and `sample_weight`. Callbacks see the head as
                their model; what `ModelCheckpoint` saves is to be given as `head`. A sample of
                weight 0 is left out; where the head starts depends on no other weight.

        Returns:
            Keras's `History`, with `loss`, `cross_entropy`, `triplet`, `contrastive` and the
            metrics.

        Raises:
            InputError: if an image, a label or a weight cannot be used.
            ValueError: if a number is out of range.
        """
        # Before images are embedded in vain.
        self._recipe(batch_size, epochs, dict(kwargs))
        y = self._checked_labels(x, y)
        self._check_arguments(kwargs, seed, None if is_dataset(x) else len(y))
        if augmentation is not None and kwargs.pop("validation_split", 0.0):
            raise ValueError(
                "`validation_split` cannot be used with `augmentation`; give `validation_data`."
            )
        if validation_data is not None:
            validation_data = self._embed_labelled(*validation_pair(validation_data))
        if augmentation is None:
            embeddings, labels = self._embed_labelled(x, y)
            return self.fit_embeddings(
                embeddings, labels, batch_size, epochs, validation_data, seed=seed, **kwargs
            )
        recipe = self._recipe(batch_size, epochs, kwargs)
        images = list(iterate_images(x, y))
        labels = self._class_ids([label for _, label in images])
        weights = checked_sample_weight(kwargs.pop("sample_weight", None), len(labels))
        if weights is not None:
            images = [image for image, weight in zip(images, weights, strict=True) if weight]
            labels, weights = labels[weights != 0], weights[weights != 0]
        learning_rate = recipe.learning_rate
        if not self._head_was_given:
            embeddings = self.embedder.embed([image for image, _ in images]).embeddings
            learning_rate = self._prepared(recipe, embeddings, labels, None)[-1]
        batches = AugmentedBatches(
            self.embedder,
            augmentation,
            np.stack([self.embedder.preprocessor.pixels(image) for image, _ in images]),
            labels,
            recipe.batch_size,
            seed,
            weights,
            recipe.max_steps,
        )
        return self._fit_head(
            batches, labels, weights, recipe, learning_rate, validation_data, seed, **kwargs
        )

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
            seed: int. Seed of the order of the samples.
            **kwargs: the other arguments of `keras.Model.fit`.

        Returns:
            Keras's `History`.

        Raises:
            InputError: if an embedding, a label or a weight cannot be used, or there is not one
                label for each embedding.
            ValueError: if a number is out of range.
        """
        recipe = self._recipe(batch_size, epochs, kwargs)
        embeddings, labels = self._checked_rows(embeddings, y)
        self._check_arguments(kwargs, seed, len(labels))
        weights = checked_sample_weight(kwargs.pop("sample_weight", None), len(labels))
        rows = np.random.default_rng(seed).permutation(len(labels))
        if weights is not None:
            rows = rows[weights[rows] != 0]
        split = kwargs.pop("validation_split", 0.0)
        if validation_data is not None:
            if not isinstance(validation_data, tuple | list):
                raise InputError(
                    "`validation_data` must be a tuple (embeddings, labels). "
                    f"Received: a {type(validation_data).__name__}"
                )
            validation_data = self._checked_rows(*validation_pair(validation_data))
        elif split:
            held_out = int(len(rows) * split)
            # Drawn: at the end, where Keras takes it, class-sorted data has its last classes.
            validation_data = (embeddings[rows[:held_out]], labels[rows[:held_out]])
            rows = rows[held_out:]
        embeddings, labels = embeddings[rows], labels[rows]
        weights = None if weights is None else weights[rows]
        if self._starts_from_support and validation_data is None:
            # Before training, so that callbacks save it with the head.
            self.head.temperature = self._held_out_temperature(
                recipe, embeddings, labels, weights, seed, kwargs.get("class_weight")
            )
        embeddings, labels, weights, learning_rate = self._prepared(
            recipe, embeddings, labels, weights
        )
        batches = ShuffledBatches(
            embeddings, labels, recipe.batch_size, seed, weights, recipe.max_steps
        )
        return self._fit_head(
            batches, labels, weights, recipe, learning_rate, validation_data, seed, **kwargs
        )

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, **kwargs: Any
    ) -> dict[str, float]:
        """Measures loss and metrics on images.

        Args:
            x: images, see the class.
            y: labels, where `x` does not bring its own.
            batch_size: int. Samples a step of the head.
            **kwargs: the other arguments of `keras.Model.evaluate`.

        Returns:
            The loss and the metrics by name.
        """
        self._compile_head()
        embeddings, labels = self._embed_labelled(x, y)
        kwargs.setdefault("return_dict", True)
        batch_size = batch_size or TrainingRecipe().batch_size
        return self.head.evaluate(embeddings, labels, batch_size=batch_size, **kwargs)

    def predict(
        self, x: Any, batch_size: int | None = None, **kwargs: Any
    ) -> npt.NDArray[np.float32]:
        """Returns the fused logits of images.

        Args:
            x: images, see the class.
            batch_size: int. Samples a step of the head.
            **kwargs: the other arguments of `keras.Model.predict`.

        Returns:
            float32 array of shape `(images, classes)`, for `head.probabilities`.
        """
        return self.predict_embeddings(self.embed(x), batch_size=batch_size, **kwargs)

    def predict_embeddings(
        self, embeddings: npt.NDArray[np.floating], batch_size: int | None = None, **kwargs: Any
    ) -> npt.NDArray[np.float32]:
        """Returns the fused logits of embeddings that `embed` returned.

        Args:
            embeddings: `(images, dim)`, rows of unit length.
            batch_size: int. Samples a step of the head.
            **kwargs: the other arguments of `keras.Model.predict`.

        Returns:
            float32 array of shape `(images, classes)`.
        """
        if not len(embeddings):
            return np.empty((0, self.num_classes), dtype="float32")
        kwargs.setdefault("verbose", 0)
        batch_size = batch_size or TrainingRecipe().batch_size
        return np.asarray(self.head.predict(embeddings, batch_size=batch_size, **kwargs))

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int | str, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Trains the head by one step, from where it is.

        `AutoRecipe` starts from a whole support set, so this does without a start, and so does a
        `fit` that comes after.

        Args:
            x: images, see the class.
            y: labels, where `x` does not bring its own.
            sample_weight: weights of the images, or `None`.
            class_weight: weights by class id or name, or `None`.
            return_dict: whether to name what is returned.

        Returns:
            The loss and the metrics, a list or a dict.

        Raises:
            InputError: if an image, a label or a weight cannot be used.
        """
        weight_by_id = class_weight_by_id(class_weight, self.class_names, sample_weight)
        embeddings, labels = self._embed_labelled(x, y)
        weights = checked_sample_weight(sample_weight, len(labels))
        # An optimizer of our own that was used by `fit` has come to the end of its learning rates.
        self._head_is_compiled &= not self._optimizer_is_spent
        self._optimizer_is_spent = False
        self._compile_head()
        result = self.head.train_on_batch(embeddings, labels, weights, weight_by_id, return_dict)
        self._starts_from_support = False
        return result

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Measures loss and metrics on images in one step.

        Args:
            x: images, see the class.
            y: labels, where `x` does not bring its own.
            sample_weight: weights of the images, or `None`.
            return_dict: whether to name what is returned.

        Returns:
            The loss and the metrics, a list or a dict.
        """
        self._compile_head()
        embeddings, labels = self._embed_labelled(x, y)
        weights = checked_sample_weight(sample_weight, len(labels))
        return self.head.test_on_batch(embeddings, labels, weights, return_dict)

    def predict_on_batch(self, x: Any) -> npt.NDArray[np.float32]:
        """Returns the fused logits of images, as `predict` does."""
        return self.predict(x)

    def classify(self, x: Any, top_k: int = 5) -> list[list[tuple[str, float]]]:
        """Names the most probable classes of images.

        Args:
            x: images, see the class.
            top_k: int, at least 1. How many classes.

        Returns:
            For each image its `(class name, probability)` pairs, the most probable first.

        Raises:
            ValueError: if `top_k` is below 1.
        """
        return self.classify_embeddings(self.embed(x), top_k)

    def classify_embeddings(
        self, embeddings: npt.NDArray[np.floating], top_k: int = 5
    ) -> list[list[tuple[str, float]]]:
        """Names the most probable classes of embeddings that `embed` returned.

        Args:
            embeddings: `(images, dim)`, rows of unit length.
            top_k: int, at least 1. How many classes.

        Returns:
            As `classify`.
        """
        if top_k < 1:
            raise ValueError(f"`top_k` must be an int >= 1. Received: {top_k=}")
        probabilities = ops.convert_to_numpy(
            self.head.probabilities(self.predict_embeddings(embeddings))
        )
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
        return [
            [(self.class_names[column], float(row[column])) for column in columns]
            for row, columns in zip(probabilities, order, strict=True)
        ]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments; the prototypes are saved as weights of the head."""
        # Not the base class's: it has arguments that this one has not.
        config = super(keras_hub.models.ImageClassifier, self).get_config()
        head = keras.saving.serialize_keras_object(self.head)
        head.pop("compile_config", None)
        config.update(
            {
                "class_names": list(self.class_names),
                "template": self.template,
                "descriptions": self.descriptions,
                "head": head,
                "head_was_given": self._head_was_given,
                "starts_from_support": self._starts_from_support,
            }
        )
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> CMMImageClassifier:
        """Builds a classifier from what `get_config` returned."""
        config = dict(config)
        starts_from_support = config.pop("starts_from_support", False)
        head_was_given = config.pop("head_was_given", not starts_from_support)
        for name in ("backbone", "preprocessor", "head"):
            if isinstance(config.get(name), dict):
                config[name] = keras.saving.deserialize_keras_object(config[name])
        # Presets leave out how a model was built. A built head waits for its saved prototypes; an
        # unbuilt one would ask for class texts, before the tokenizer has its vocabulary.
        if config.get("head") is not None and not config["head"].built:
            config["head"].build((None, prepare_backbone(config["backbone"]).projection_dim))
        model = cls(**config)
        model._head_was_given = head_was_given
        # Saved before its first `fit`, it is still to be started.
        model._starts_from_support = starts_from_support
        return model

    def save_own_variables(self, store: Any) -> None:
        """Saves whether the first `fit` is still to come."""
        super().save_own_variables(store)
        store["starts_from_support"] = np.asarray(self._starts_from_support)

    def load_own_variables(self, store: Any) -> None:
        """Restores what `save_own_variables` saved."""
        weights = {name: store[name] for name in store.keys()}  # noqa: SIM118, a store of Keras
        # With the weights of a trained head, `fit` goes on from there.
        self._starts_from_support = bool(np.asarray(weights.pop("starts_from_support")))
        super().load_own_variables(weights)

    def _clip_model(self) -> CLIPModel:
        if self.preprocessor is None:
            raise ValueError(
                "the classifier has no `preprocessor`, so it can read neither texts nor images; "
                "construct it with a `keras_hub.models.CLIPPreprocessor`."
            )
        return CLIPModel(
            self.backbone, self.preprocessor.tokenizer, self.preprocessor.image_converter
        )

    def _class_ids(self, labels: Any) -> npt.NDArray[np.int64]:
        ids = ids_of_labels(labels, self.class_names)
        if not len(ids):
            raise InputError("there must be at least one labelled image. Received: none")
        return ids

    def _checked_rows(
        self, embeddings: Any, labels: Any
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Returns embeddings and the class id of each, or refuses them."""
        embeddings = np.asarray(ops.convert_to_numpy(embeddings), dtype="float32")
        dim = self.head.text_prototypes.embeddings.shape[1]
        if embeddings.ndim != 2 or embeddings.shape[1] != dim:
            raise InputError(
                f"embeddings must have shape (images, {dim}), as `embed` returns them. "
                f"Received: an array of shape {embeddings.shape}"
            )
        if not np.isfinite(embeddings).all():
            raise InputError("embeddings must be finite numbers. Received: some are not")
        ids = self._class_ids(labels)
        if len(embeddings) != len(ids):
            raise InputError(
                "there must be one label for each embedding. "
                f"Received: {len(embeddings)} embeddings and {len(ids)} labels"
            )
        return embeddings, ids

    def _check_arguments(self, arguments: dict[str, Any], seed: int, samples: int | None) -> None:
        """Checks the arguments of `fit`; `samples` is `None` where not known yet."""
        inspect.signature(keras.Model.fit).bind_partial(None, **arguments)
        if not arguments.pop("shuffle", True):
            raise ValueError("samples are always shuffled, by `seed`. Received: shuffle=False")
        if self._arguments_for_the_head(None)["optimizer"] == "auto":
            refuse_rate_callbacks(arguments.get("callbacks"))
        sample_weight = arguments.get("sample_weight")
        arguments["class_weight"] = class_weight_by_id(
            arguments.get("class_weight"), self.class_names, sample_weight
        )
        if not isinstance(seed, int | np.integer) or seed < 0:
            raise ValueError(f"`seed` must be an int >= 0. Received: {seed=}")
        split = arguments.get("validation_split", 0.0)
        if not 0 <= split < 1:
            raise ValueError(f"`validation_split` must be a float >= 0 and < 1. Received: {split}")
        if samples is None:
            return
        weights = checked_sample_weight(sample_weight, samples)
        if weights is not None:
            samples = int(np.count_nonzero(weights))
        if split and not int(samples * split):
            raise ValueError(
                "`validation_split` must hold out one sample or more, or be 0. "
                f"Received: {split}, with {samples} samples"
            )

    def _checked_labels(self, x: Any, y: Any) -> Any:
        """Returns `y` as class ids, or `None` where `x` brings its own."""
        check_class_order(x, self.class_names)
        if is_dataset(x):
            return y
        if y is None:
            raise InputError("`y` must hold the labels of the images. Received: None")
        return self._class_ids(y)

    def _embed(self, x: Any, y: Any = None) -> tuple[npt.NDArray[np.float32], list[Any]]:
        labels: list[Any] = []

        def images() -> Any:
            for image, label in iterate_images(x, y):
                labels.append(label)
                yield image

        return self.embedder.embed(images()).embeddings, labels

    def _embed_labelled(
        self, x: Any, y: Any
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        embeddings, labels = self._embed(x, self._checked_labels(x, y))
        if any(label is None for label in labels):
            raise InputError("the data set must yield (images, labels). Received: images alone")
        return embeddings, self._class_ids(labels)

    def _fit_head(
        self,
        batches: ShuffledBatches,
        labels: npt.NDArray[np.int64],
        weights: npt.NDArray[Any] | None,
        recipe: TrainingRecipe,
        learning_rate: float,
        validation_data: Any,
        seed: int,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        self.recipe_ = replace(recipe, learning_rate=learning_rate)
        epochs = recipe.epochs_for(len(labels))
        # An optimizer that was left to us is made anew for the number of epochs.
        epochs_left = max(1, epochs - kwargs.get("initial_epoch", 0))
        self._compile_head(self.recipe_.optimizer_for(len(labels), epochs_left))
        self._optimizer_is_spent = self._arguments_for_the_head(None)["optimizer"] == "auto"
        self.head.train_offsets = self._offsets(labels, weights, kwargs.get("class_weight"))
        history = self.head.fit(
            batches, epochs=epochs, validation_data=validation_data, shuffle=False, **kwargs
        )
        # Only now: a `fit` that was broken off is made anew.
        self._starts_from_support = False
        if validation_data is not None:
            rows, row_labels = validation_data
            self.head.temperature = calibrated_temperature(self.head, rows, row_labels, seed)
        return history

    def _offsets(
        self,
        labels: npt.NDArray[np.int64],
        weights: npt.NDArray[Any] | None,
        class_weight: dict[int, float] | None,
    ) -> npt.NDArray[np.float64]:
        total = np.ones(len(labels)) if weights is None else np.asarray(weights, dtype="float64")
        if class_weight is not None:
            total = total * np.array([class_weight.get(int(label), 1.0) for label in labels])
        return count_offsets(labels, self.num_classes, AutoRecipe().logit_adjustment, total)

    def _recipe(
        self, batch_size: int | None, epochs: int | None, arguments: dict[str, Any]
    ) -> TrainingRecipe:
        recipe = TrainingRecipe() if self._head_was_given else AutoRecipe()
        if batch_size is not None:
            recipe = replace(recipe, batch_size=batch_size)
        # As many as are asked for, and not more because they are few steps.
        if epochs is not None:
            recipe = replace(recipe, epochs=epochs, min_steps=1, max_steps=None)
        # Not left to Keras: the learning rate falls along all the steps.
        steps = arguments.pop("steps_per_epoch", None)
        return recipe if steps is None else replace(recipe, max_steps=steps)

    def _prepared(
        self,
        recipe: TrainingRecipe,
        embeddings: npt.NDArray[np.float32],
        labels: npt.NDArray[np.int64],
        weights: npt.NDArray[Any] | None,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any] | None, float]:
        """Starts the head if it is to be started; returns as `_started` what to train it on."""
        if self._head_was_given or self._starts_from_support:
            return _started(recipe, self.head, embeddings, labels, weights)
        new_head = self._new_head()
        rows, labels, weights, learning_rate = _started(
            recipe, new_head, embeddings, labels, weights
        )
        # The rate is in proportion to the loss at the start, of which the head has learnt a part.
        left = _training_loss(self.head, rows, labels) / _training_loss(new_head, rows, labels)
        return rows, labels, weights, min(1.0, left) * learning_rate

    def _new_head(self) -> CMMClassifier:
        head = CMMClassifier.from_config(self.head.get_config())
        head.assign_text_embeddings(self.head.text_embeddings)
        return head

    def _held_out_temperature(
        self,
        recipe: TrainingRecipe,
        embeddings: npt.NDArray[np.float32],
        labels: npt.NDArray[np.int64],
        weights: npt.NDArray[Any] | None,
        seed: int,
        class_weight: dict[int, float] | None,
    ) -> float:
        """Fits the temperature of a second head on rows that it was not trained on."""
        held_out = held_out_rows(labels, seed)
        if not held_out.any():
            return 1.0
        head = self._new_head()
        rows, targets, row_weights, learning_rate = _started(
            recipe,
            head,
            embeddings[~held_out],
            labels[~held_out],
            None if weights is None else weights[~held_out],
        )
        epochs = recipe.epochs_for(len(targets))
        optimizer = replace(recipe, learning_rate=learning_rate).optimizer_for(len(targets), epochs)
        arguments = self._arguments_for_the_head(optimizer)
        if arguments["optimizer"] is not optimizer:
            # An optimizer of the user's own is bound to the head that it trains.
            given = keras.optimizers.get(arguments["optimizer"])
            arguments["optimizer"] = type(given).from_config(given.get_config())
        head.compile(**{**arguments, "metrics": None, "weighted_metrics": None})
        batches = ShuffledBatches(
            rows, targets, recipe.batch_size, seed, row_weights, recipe.max_steps
        )
        head.train_offsets = self._offsets(targets, row_weights, class_weight)
        head.fit(batches, epochs=epochs, shuffle=False, verbose=0, class_weight=class_weight)
        return calibrated_temperature(head, embeddings[held_out], labels[held_out], seed)

    def _arguments_for_the_head(self, auto_optimizer: keras.Optimizer | None) -> dict[str, Any]:
        if self._compile_arguments is None:
            raise ValueError("the classifier must be compiled first: call `compile()`.")
        arguments = dict(vars(self._compile_arguments))
        given = arguments["optimizer"]
        if auto_optimizer is not None and isinstance(given, str) and given == "auto":
            arguments["optimizer"] = auto_optimizer
        return arguments

    def _compile_head(self, auto_optimizer: keras.Optimizer | None = None) -> None:
        arguments = self._arguments_for_the_head(auto_optimizer)
        if arguments["optimizer"] is not auto_optimizer and self._head_is_compiled:
            return
        self.head.compile(**arguments)
        self._head_is_compiled = True


# keras-hub finds the class of a saved classifier by that of its backbone.
@keras.saving.register_keras_serializable(package="keras_cmm")
class _SigLIPCMMImageClassifier(CMMImageClassifier):
    """A `CMMImageClassifier` on SigLIP."""

    backbone_cls = keras_hub.models.SigLIPBackbone
    preprocessor_cls = keras_hub.models.SigLIPPreprocessor


@keras.saving.register_keras_serializable(package="keras_cmm")
class _MetaCLIP2CMMImageClassifier(CMMImageClassifier):
    """A `CMMImageClassifier` on MetaCLIP 2."""

    backbone_cls = keras_hub.models.MetaCLIP2Backbone
    preprocessor_cls = keras_hub.models.MetaCLIP2CausalLMPreprocessor


def _class_for(backbone: Any, cls: type[CMMImageClassifier]) -> type[CMMImageClassifier]:
    kinds = (cls, _SigLIPCMMImageClassifier, _MetaCLIP2CMMImageClassifier)
    return next(kind for kind in kinds if isinstance(backbone, kind.backbone_cls))


def saved_class_names(folder: str) -> tuple[str, ...] | None:
    """Returns the class names of a saved classifier.

    Args:
        folder: what may be one, as of `keras_cmm.clip.preset_path`.

    Returns:
        Its class names, or `None` for any other folder or a handle.

    Raises:
        InputError: if the folder says that it is one and cannot be read.

    Example:
        >>> from keras_cmm.clip import preset_path
        >>> saved_class_names(preset_path("emoji_clip_tiny")) is None
        True
    """
    path = Path(folder, "task.json")
    if not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        task = json.loads(text)
        return tuple(task["config"]["class_names"]) if CMMImageClassifier.__name__ in text else None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: is damaged ({error}); copy the folder anew, or fit the classifier again."
        ) from error


def _started(
    recipe: TrainingRecipe,
    head: CMMClassifier,
    embeddings: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    weights: npt.NDArray[Any] | None,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any] | None, float]:
    """Starts a head; returns rows, class ids, weights (1 for the texts) and the learning rate."""
    embeddings, labels, learning_rate = recipe.start(head, embeddings, labels)
    if weights is not None:
        texts = np.ones(len(labels) - len(weights), dtype=weights.dtype)
        weights = np.concatenate([weights, texts])
    return embeddings, labels, weights, learning_rate


def _training_loss(
    head: CMMClassifier, embeddings: npt.NDArray[Any], labels: npt.NDArray[Any]
) -> float:
    """Returns the mean cross-entropy of softened logits; of at most 1,000 rows, drawn."""
    some = np.random.default_rng(0).permutation(len(labels))[:1000]
    logits = head.predict(embeddings[some], batch_size=256, verbose=0) / head.train_temperature
    losses = keras.losses.sparse_categorical_crossentropy(labels[some], logits, from_logits=True)
    return max(float(ops.mean(losses)), 1e-12)
