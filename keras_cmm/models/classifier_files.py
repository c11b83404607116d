"""The files of an image classifier: exported ones, and the head alone."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import keras

from keras_cmm.clip import CLIPModel, load, make_preprocessor
from keras_cmm.clip.backbones.digest import ModelDigest
from keras_cmm.models.cmm_classifier import CMMClassifier
from keras_cmm.models.head_file import HeadFile
from keras_cmm.models.keras_files import SavedAsKerasFile
from keras_cmm.models.second_encoder import refuse_second_encoder
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.onnx_classifier import ONNX_FILE
from keras_cmm_runtime.utils import add_digests

if TYPE_CHECKING:
    from keras_cmm.hub import PushedModel


class ClassifierFiles(SavedAsKerasFile):
    """The part of `CMMImageClassifier` that writes files, other than presets of keras-hub."""

    class_names: tuple[str, ...]
    head: CMMClassifier
    backbone: Any
    template: Any
    descriptions: Any
    _head_was_given: bool
    _backbone_preset: str | None = None
    _class_for: Callable[[Any], Any]
    save_to_preset: Callable[..., None]

    def export(
        self,
        filepath: str | os.PathLike[str],
        format: str = "onnx",  # noqa: A002, as of `keras.Model.export`
        verbose: bool | None = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """Writes the classifier as a file that runs without Keras; see `export_classifier`.

        Args:
            filepath: the file.
            format: one of `keras_cmm.export.FORMATS`, or another format of `keras.Model.export`,
                which then gets all arguments.
            verbose: bool or `None`. Whether to print how the file compares with Keras. `None`
                prints it.
            input_signature: must be `None`, but for the other formats.
            **kwargs: the other arguments of `keras_cmm.export.export_classifier`.

        Raises:
            InputError: if the classifier cannot be exported, the file cannot be written, or it does
                not agree with Keras.
        """
        from keras_cmm.export import FORMATS, export_classifier

        if format not in FORMATS:
            super().export(filepath, format, verbose, input_signature, **kwargs)  # type: ignore[misc]
            return
        if input_signature is not None:
            raise ValueError(
                f"`input_signature` must be None for the format {format!r}, which takes pixels as "
                f"`embedder.preprocessor.pixels` makes them. Received: {input_signature=}"
            )
        parity = export_classifier(self, filepath, format, **kwargs)
        if verbose is None or verbose:
            print(f"{os.fspath(filepath)}: {parity}")

    def save_head(
        self,
        filepath: str | os.PathLike[str],
        backbone: str | os.PathLike[str] | None = None,
    ) -> None:
        """Saves the head alone, and which backbone it is of, as a safetensors file.

        The file holds all that was trained: a few MB, where `save` and `save_to_preset` write all
        of CLIP too. It names the backbone and holds the SHA-256 of its weights. `load_head` loads
        both. What `compile` was given is not saved, nor is a regularizer of the mapping.

        The weights are tensors of float32, and the rest is JSON in the metadata under `keras_cmm`,
        so that other programs can read it.

        Args:
            filepath: the file. An existing one is replaced.
            backbone: the name of the backbone that the file holds, as `keras_cmm.clip.load` takes
                it, or `None` for where it was loaded from.

        Raises:
            InputError: if the mapping or the triplet loss is of a class of your own, a weight is
                not finite, or the file cannot be written.

        Example:
            >>> model.save_head("pets.safetensors")  # doctest: +SKIP
            >>> again = keras_cmm.CMMImageClassifier.load_head(  # doctest: +SKIP
            ...     "pets.safetensors"
            ... )

        References:
            - [safetensors](https://huggingface.co/docs/safetensors).
        """
        refuse_second_encoder(self, "has no file of its head alone; use `save_to_preset`")
        preset = self._backbone_preset if backbone is None else os.fspath(backbone)
        HeadFile.of(
            self.head,
            self.class_names,
            self._head_was_given,
            preprocessing=_preprocessing(self),
            backbone={
                "preset": preset,
                "dtype": self.backbone.dtype_policy.name,
                "weights": ModelDigest(self.backbone)()["weights"],
            },
            prompts={"template": self.template, "descriptions": self.descriptions},
        ).write(Path(filepath))

    def push_to_hub(self, repo_id: str, onnx: bool = True, **kwargs: Any) -> PushedModel:
        """Pushes the classifier to the Hugging Face hub, with a model card.

        `CMMImageClassifier.from_preset("hf://owner/name")` loads it. Images are never pushed, nor
        are the names and embeddings of the training images, unless `training_images=True`.

        Args:
            repo_id: the repository, `owner/name`. It is made if it does not exist.
            onnx: bool. Whether a `classifier.onnx` is pushed too, which runs without Keras. A
                classifier that cannot be exported is pushed without it, with a warning.
            **kwargs: the other arguments of `keras_cmm.hub.push_model`: `private`, `revision`,
                `token`, `message`, `evaluation`, `training_images` and `dry_run`.

        Returns:
            What was pushed, with `url`.

        Raises:
            InputError: if the classifier cannot be saved, the hub cannot be reached or refuses the
                push, or the repository holds something else.

        Example:
            >>> model.push_to_hub("ada/pets", private=True)  # doctest: +SKIP
        """
        from keras_cmm.hub import push_model

        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            self.save_to_preset(folder)
            if onnx:
                try:
                    self.export(folder / ONNX_FILE, verbose=False)
                except InputError as error:  # The model is whole without it.
                    warnings.warn(f"no {ONNX_FILE} is pushed: {error}", stacklevel=2)
                add_digests(folder, list(folder.glob(f"{ONNX_FILE}*")))
            return push_model(folder, repo_id, **kwargs)

    @classmethod
    def load_head(
        cls,
        filepath: str | os.PathLike[str],
        backbone: str | os.PathLike[str] | CLIPModel | None = None,
    ) -> Self:
        """Loads a classifier from a file of `save_head` and its backbone.

        Args:
            filepath: the file.
            backbone: where the backbone is now, as `keras_cmm.clip.load` takes it, or a `CLIPModel`
                that was loaded. `None` for the name in the file.

        Returns:
            The classifier, which predicts as the saved one did.

        Raises:
            InputError: if the file is damaged or none of these, the backbone cannot be loaded, or
                it is not the one that the head was trained on.
        """
        saved = HeadFile.read(Path(filepath))
        source = saved.backbone["preset"] if backbone is None else backbone
        if source is None:
            raise InputError(
                f"{os.fspath(filepath)}: does not name its backbone; give it by `backbone`."
            )
        if isinstance(source, CLIPModel):
            model, name = source, "the given backbone"
        else:
            try:
                model, name = load(source, dtype=_other_dtype(saved)), os.fspath(source)
            except InputError as error:
                raise InputError(
                    f"{os.fspath(filepath)}: its backbone cannot be loaded: {error} Say by "
                    "`backbone` where it is now."
                ) from error
        if ModelDigest(model.backbone)()["weights"] != saved.backbone["weights"]:
            raise InputError(
                f"{os.fspath(filepath)}: was trained on another backbone than {name}, whose "
                f"weights differ. It was {saved.backbone['preset'] or 'one without a name'!r} in "
                f"{saved.backbone['dtype']}; give that by `backbone`."
            )
        classifier = cls._class_for(model.backbone)(
            model.backbone,
            saved.class_names,
            make_preprocessor(model),
            head=saved.make(Path(filepath)),
            **saved.prompts,
        )
        if _preprocessing(classifier) != saved.preprocessing:
            raise InputError(
                f"{os.fspath(filepath)}: was trained on images that were preprocessed in another "
                f"way than those of {name}; give another `backbone`."
            )
        classifier._head_was_given = saved.settings["was_given"]
        classifier._backbone_preset = None if isinstance(source, CLIPModel) else name
        return classifier


def _other_dtype(saved: HeadFile) -> str | None:
    """Returns the dtype of the backbone, or `None` if Keras loads it so anyway."""
    dtype: str = saved.backbone["dtype"]
    return None if dtype == keras.config.dtype_policy().name else dtype


def _preprocessing(classifier: Any) -> dict[str, Any]:
    """Returns the settings of the preprocessor, as JSON gives them back."""
    settings: dict[str, Any] = json.loads(json.dumps(vars(classifier.embedder.preprocessor)))
    return settings
