"""The few-shot classifier on images."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import keras_hub
import numpy as np
import numpy.typing as npt

import keras_cmm.clip.backbones.resnet_vision_encoder  # noqa: F401 - a saved classifier may hold one
from keras_cmm.clip import (
    CLIPModel,
    TextEmbedder,
    build_prompts,
    check_finite_weights,
    load,
    logit_scale,
    make_preprocessor,
    prepare_backbone,
    preset_path,
)
from keras_cmm.clip.backbones.image_backbone import (
    ImageBackbone,  # noqa: F401 - a saved classifier may have one as its second encoder
)
from keras_cmm.clip.inputs import mend_clip_tokenizer
from keras_cmm.clip.libraries import TorchBackbone, TorchPreprocessor
from keras_cmm.models.checks import checked_class_names, refuse_one_hot, refuse_probabilities
from keras_cmm.models.class_growth import ClassGrowth
from keras_cmm.models.classifier_files import ClassifierFiles
from keras_cmm.models.cmm_classifier import CMMClassifier
from keras_cmm.models.head_training import HeadTraining
from keras_cmm.models.image_answers import ImageAnswers
from keras_cmm.models.inputs import is_one_picture
from keras_cmm.models.saved_class_names import saved_class_names
from keras_cmm.models.second_encoder import second_encoder
from keras_cmm.recipes import TrainingRecipe
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils import adding_files, check_digests

_DEFAULT_TEMPLATE = "a photo of a {}."

# Here too, since Keras itself may load the tokenizer, from a saved classifier.
mend_clip_tokenizer()


@keras.saving.register_keras_serializable(package="keras_cmm")
class CMMImageClassifier(
    HeadTraining, ImageAnswers, ClassGrowth, ClassifierFiles, keras_hub.models.ImageClassifier
):
    """Classifies images with a frozen CLIP backbone and a `CMMClassifier` head.

    A new classifier is zero-shot CLIP: its class prototypes are made from the class names. `fit`
    embeds every image once and trains the head on the embeddings. The backbone is never trained.
    Images are preprocessed exactly as CLIP was trained with (PIL, bicubic with antialias, centre
    crop), not by keras-hub's image converter.

    `fit`, `evaluate`, `predict`, `classify` and `embed` take raw images: a list of paths, PIL
    images or arrays of any sizes; an array `(images, height, width, channels)` with values in
    [0, 255]; a `tf.data.Dataset`, a torch `DataLoader` or another iterable of `(images, labels)`; a
    `datasets.Dataset` of Hugging Face, whose labels count by their names.
    Labels are class ids, class names or one-hot. A direct call, `model(pixels)`, takes preprocessed
    pixels (`model.embedder.preprocessor`).

    `model.embedder.store = keras_cmm.clip.EmbeddingStore("folder")` keeps embeddings on disk. Then
    no image is embedded twice: not by a second `fit`, not by another classifier on the same
    backbone, and not in another process. The store is not saved with the classifier.

    Args:
        backbone: a `keras_hub.models.CLIPBackbone`. It is frozen.
        class_names: two or more different names. Their number is the number of classes.
        preprocessor: a `keras_hub.models.CLIPPreprocessor`, for its tokenizer and the settings of
            its image converter.
        template: prompt template, several, or a key of `keras_cmm.clip.PROMPT_TEMPLATES`; `None`
            to prompt with descriptions only.
        descriptions: `{class name: [sentence, ...]}` of more prompts, or `None`.
        head: a `CMMClassifier` with settings of your own, or `None` for one with the backbone's
            logit scale, which `fit` trains by `AutoRecipe`. A head of your own keeps its settings
            and is trained by `TrainingRecipe`. An unbuilt one gets the class texts as prototypes, a
            built one keeps its prototypes.
        also: a second image encoder, as `keras_cmm.clip.load` returns it, or `None`. It is frozen
            too. `fit` finds from the images how much it counts beside CLIP, see
            `keras_cmm.recipes.second_tower`. `embed` then returns both embeddings in one row, and a
            direct call takes a dict of `images` and `also_images`, each preprocessed for its
            encoder.
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
        also: CLIPModel | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        if args:
            raise TypeError(f"{type(self).__name__} takes 7 positional arguments or less.")
        if isinstance(backbone, keras.KerasTensor | dict):
            self._copy_config(class_names, **kwargs)
            return
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
        self.also = second_encoder(also)
        also_dim = 0 if self.also is None else self.also.dim
        self.preprocessor = preprocessor
        self._head_was_given = head is not None
        if head is None:
            head = CMMClassifier(
                len(class_names),
                logit_scale=logit_scale(backbone),
                also_dim=also_dim,
                dtype="float32",
                name="head",
            )
        if head.num_classes != len(class_names):
            raise ValueError(
                f"`head` must have one class for each of the {len(class_names)} `class_names`. "
                f"Received: a head of {head.num_classes} classes"
            )
        if head.also_dim != also_dim:
            raise ValueError(
                f"`head` must have `also_dim={also_dim}`, the width of the second encoder. "
                f"Received: a head of also_dim={head.also_dim}"
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
        if self.also is not None:
            also_inputs = keras.Input(shape=self.also.image_shape, name="also_images")
            inputs = {"images": inputs, "also_images": also_inputs}
        # The base class's constructor would add a head of its own.
        super(keras_hub.models.ImageClassifier, self).__init__(
            inputs=inputs, outputs=self._logits(inputs), compile=False, **kwargs
        )

        # === Config ===
        self.class_names = class_names
        self.num_classes = len(class_names)
        self.template = template
        self.descriptions = descriptions
        self._compile_arguments: SimpleNamespace | None = None
        self._head_is_compiled = False
        self._optimizer_is_spent = False
        self._head_was_loaded = False
        if compile_now:
            self.compile()

    def _logits(self, pixels: Any) -> Any:
        images = pixels if self.also is None else pixels["images"]
        rows = self.unit_normalization(self.backbone.get_vision_embeddings(images))
        if self.also is not None:
            rows = keras.ops.concatenate([rows, self.also(pixels["also_images"])], axis=-1)
        return self.head(rows)

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
            **kwargs: the other arguments of the constructor, for a new classifier. `also` may be
                what `keras_cmm.clip.load` takes.

        Returns:
            The classifier.

        Raises:
            InputError: if the preset cannot be loaded, if a file of it is missing, has changed or
                holds what is no number, or if `class_names` is left out and the preset is not of a
                saved classifier.

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
            if model.tokenizer is None:
                raise InputError(
                    f"{os.fspath(preset)}: has no text tower; give it as the second tower beside a "
                    "CLIP."
                )
            if isinstance(kwargs.get("also"), str | os.PathLike):
                kwargs["also"] = load(kwargs["also"], dtype=dtype)
            kind = cls._class_for(model.backbone)
            made = kind(model.backbone, class_names, make_preprocessor(model), **kwargs)
            made._backbone_preset = os.fspath(preset)
            return made
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
        if "://" not in path:
            check_digests(Path(path))
        loaded: CMMImageClassifier = super().from_preset(
            path, **({} if dtype is None else {"dtype": dtype})
        )
        # keras-hub leaves a head at random whose weights are missing.
        if not loaded._head_was_loaded:
            raise InputError(
                f"{os.fspath(preset)}: has no task.weights.h5, the weights of the classifier; copy "
                "the folder anew, or fit the classifier again."
            )
        loaded._check_weights(os.fspath(preset))
        loaded._backbone_preset = loaded._backbone_preset or os.fspath(preset)
        if "://" not in path:
            loaded._read_support(Path(path))
        return loaded

    def load_task_weights(self, filepath: Any) -> None:
        """Loads the weights of the head, as `from_preset` does."""
        super().load_task_weights(filepath)
        self._head_was_loaded = True

    def save_to_preset(
        self, preset_dir: str | os.PathLike[str], max_shard_size: float | None = 10
    ) -> None:
        """Saves the classifier as a keras-hub preset, which `from_preset` loads.

        Its file `keras_cmm.json` has the SHA-256 of all files. `from_preset` refuses a preset whose
        files are missing or have changed.

        Args:
            preset_dir: the folder of the preset. It is made if it does not exist.
            max_shard_size: float. A larger backbone is saved in several files of so many GB.

        Raises:
            InputError: if the weights are not all finite numbers.
        """
        self._check_weights("the classifier")
        with adding_files(Path(preset_dir)) as folder:
            super().save_to_preset(os.fspath(folder), max_shard_size=max_shard_size)
            self._write_support(folder)

    @classmethod
    def _class_for(cls, backbone: Any) -> type[CMMImageClassifier]:
        return classifier_class(backbone, cls)

    def _check_weights(self, source: str) -> None:
        # The text tower is no part of the functional model, so its weights are not among its own.
        for part in (self.backbone, self.head, self.also and self.also.backbone):
            if part is not None:
                check_finite_weights(part, source)

    @property
    def trainable(self) -> bool:
        """Whether the head is trained; the backbone never is."""
        return bool(keras.Model.trainable.fget(self))

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.Model.trainable.fset(self, value)
        for name in ("backbone", "also"):
            if (frozen := getattr(self, name, None)) is not None:
                frozen.trainable = False

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
        """Configures the training of the head.

        Args:
            optimizer: a Keras optimizer, or `"auto"` for the recipe's: AdamW whose learning rate
                falls along a cosine over the epochs of `fit`.
            loss: a loss of `(class ids, logits)`, or `"auto"` for cross-entropy. Labels reach it
                as class ids. A name of a loss, such as `"sparse_categorical_crossentropy"`, means
                one of probabilities.
            metrics: metrics of `(class ids, logits)`, or `"auto"` for accuracy (top-1). Of Keras's
                own, these are `"accuracy"` and the sparse ones.
            **kwargs: the other arguments of `keras.Model.compile`.

        Raises:
            ValueError: if the loss or a metric is of probabilities or of one-hot labels.
        """
        arguments = {"loss": loss, "metrics": metrics}
        for argument, given in {**arguments, "weighted_metrics": None, **kwargs}.items():
            if argument in ("loss", "metrics", "weighted_metrics"):
                refuse_probabilities(argument, given)
                refuse_one_hot(argument, given)
        # The head is compiled when it is needed. The arguments lie where saving does not look: an
        # optimizer of a new classifier would be missed in the files of a saved one.
        self._compile_arguments = SimpleNamespace(optimizer=optimizer, **arguments, **kwargs)
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

    def embed(self, x: Any, views: int = 0) -> npt.NDArray[np.float32]:
        """Embeds images.

        Args:
            x: images, see the class, or a single one.
            views: int >= 0. So many augmented views of each image are embedded too, and the image
                gets the mean of its embeddings. See `keras_cmm_runtime.images.ImageView`.

        Returns:
            float32 array of shape `(images, dim)`, rows of unit length.
        """
        return self._embed([x] if is_one_picture(x) else x, None, views)[0]

    def predict(
        self, x: Any, batch_size: int | None = None, *, views: int = 0, **kwargs: Any
    ) -> npt.NDArray[np.float32]:
        """Returns the fused logits of images.

        Args:
            x: images, see the class, or a single one: a path, a PIL image or an array of shape
                `(height, width, channels)`.
            batch_size: int. Samples a step of the head.
            views: int >= 0. So many augmented views of each image count too, see `embed`.
            **kwargs: the other arguments of `keras.Model.predict`.

        Returns:
            float32 array of shape `(images, classes)`, for `head.probabilities`.
        """
        return self.predict_embeddings(self.embed(x, views), batch_size=batch_size, **kwargs)

    def predict_embeddings(
        self, embeddings: npt.NDArray[np.floating], batch_size: int | None = None, **kwargs: Any
    ) -> npt.NDArray[np.float32]:
        """Returns the fused logits of `(images, dim)` embeddings, as `predict` does of images."""
        if not len(embeddings):
            return np.empty((0, self.num_classes), dtype="float32")
        kwargs.setdefault("verbose", 0)
        batch_size = batch_size or TrainingRecipe().batch_size
        logits = np.asarray(self.head.predict(embeddings, batch_size=batch_size, **kwargs))
        if not np.isfinite(logits).all():
            raise InputError(
                "the classifier gives numbers that are not finite, so it cannot answer. Its "
                "weights or the embeddings are damaged; load or fit the classifier again."
            )
        return logits

    def predict_on_batch(self, x: Any) -> npt.NDArray[np.float32]:
        """Returns the fused logits of images, as `predict` does."""
        return self.predict(x)

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
                "also": self.also and keras.saving.serialize_keras_object(self.also),
                "head_was_given": self._head_was_given,
                "backbone_preset": self._backbone_preset,
            }
        )
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> CMMImageClassifier:
        """Builds a classifier from what `get_config` returned."""
        state, arguments = cls._arguments(config)
        model = cls(**arguments)
        model._head_was_given, model._backbone_preset = state
        return model

    @staticmethod
    def _arguments(
        config: dict[str, Any],
    ) -> tuple[tuple[bool, str | None], dict[str, Any]]:
        """Returns what no argument sets, and the arguments of the constructor."""
        config = dict(config)
        # Version 0.1.0 saved no name of the backbone.
        state = config.pop("head_was_given"), config.pop("backbone_preset", None)
        for name in ("backbone", "preprocessor", "head", "also"):
            if isinstance(config.get(name), dict):
                config[name] = keras.saving.deserialize_keras_object(config[name])
        # Presets leave out how a model was built. A built head waits for its saved prototypes; an
        # unbuilt one would ask for class texts, before the tokenizer has its vocabulary.
        if config.get("head") is not None and not config["head"].built:
            width = prepare_backbone(config["backbone"]).projection_dim + config["head"].also_dim
            config["head"].build((None, width))
        return state, config

    # `keras.models.clone_model` gives any functional model the class `Functional`, unless its
    # constructor takes `*args` and `**kwargs`. It then calls that with an input, an output and a
    # name. So the output tells the model that is cloned.
    def _run_through_graph(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = super()._run_through_graph(inputs, *args, **kwargs)
        if isinstance(outputs, keras.KerasTensor):
            outputs._cloned_model = self
        return outputs

    def _copy_config(self, output: Any, name: str) -> None:
        """Constructs this model as the one that `output` was made by. Its weights are new."""
        model = output._cloned_model
        state, arguments = self._arguments(model.get_config())
        # A config does not hold the vocabulary of a tokenizer.
        arguments |= {"preprocessor": model.preprocessor, "name": name, "compile": False}
        type(self).__init__(self, **arguments)
        self._head_was_given, self._backbone_preset = state
        if (compile_config := model.get_compile_config()) is not None:
            self.compile_from_config(compile_config)

    def _clip_model(self) -> CLIPModel:
        if self.preprocessor is None:
            raise ValueError(
                "the classifier has no `preprocessor`, so it can read neither texts nor images; "
                "construct it with a `keras_hub.models.CLIPPreprocessor`."
            )
        return CLIPModel(
            self.backbone, self.preprocessor.tokenizer, self.preprocessor.image_converter
        )


# keras-hub finds the class of a saved classifier by that of its backbone.
@keras.saving.register_keras_serializable(package="keras_cmm")
class _SigLIPCMMImageClassifier(CMMImageClassifier):
    """A `CMMImageClassifier` on SigLIP."""

    backbone_cls = keras_hub.models.SigLIPBackbone
    preprocessor_cls = keras_hub.models.SigLIPPreprocessor


@keras.saving.register_keras_serializable(package="keras_cmm")
class _TorchCMMImageClassifier(CMMImageClassifier):
    """A `CMMImageClassifier` on a model that another library runs."""

    backbone_cls = TorchBackbone
    preprocessor_cls = TorchPreprocessor


@keras.saving.register_keras_serializable(package="keras_cmm")
class _MetaCLIP2CMMImageClassifier(CMMImageClassifier):
    """A `CMMImageClassifier` on MetaCLIP 2."""

    backbone_cls = keras_hub.models.MetaCLIP2Backbone
    preprocessor_cls = keras_hub.models.MetaCLIP2CausalLMPreprocessor


def classifier_class(
    backbone: Any, cls: type[CMMImageClassifier] = CMMImageClassifier
) -> type[CMMImageClassifier]:
    """Returns `cls`, or the class for the kind of a backbone that is no CLIP."""
    kinds = (
        cls,
        _SigLIPCMMImageClassifier,
        _MetaCLIP2CMMImageClassifier,
        _TorchCMMImageClassifier,
    )
    return next(kind for kind in kinds if isinstance(backbone, kind.backbone_cls))
