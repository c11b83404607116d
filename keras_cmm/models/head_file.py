"""The file of a trained head without its backbone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from keras import ops
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from keras_cmm.layers import CrossModalMapping
from keras_cmm.losses import CrossModalTripletLoss
from keras_cmm.models.checks import checked_class_names
from keras_cmm.models.cmm_classifier import CMMClassifier
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.unknowns import HeldOutScores
from keras_cmm_runtime.utils import refuse_special_file, replacing

FORMAT = "keras-cmm-head/1"
_METADATA = "keras_cmm"
_SETTINGS = (
    "alpha",
    "logit_scale",
    "clip_weight",
    "triplet_weight",
    "contrastive_weight",
    "temperature",
    "train_temperature",
    "train_prototypes",
)
_MAPPING = ("residual", "use_bias", "normalize", "rank")
_TRIPLET_LOSS = ("margin", "distance", "negatives", "reduction", "duplicate_groups")
_BACKBONE: dict[str, Any] = {"preset": (str, type(None)), "weights": str, "dtype": str}
_PROMPTS = {"template", "descriptions"}


@dataclass(frozen=True, eq=False)
class HeadFile:
    """What a file of a head holds.

    Args:
        tensors: the weights by name, float32: `text_prototypes` and `prototypes` of shape
            `(classes, dim)`, `mapping.kernel` of shape `(dim + also_dim, dim)`, or
            `mapping.down_kernel` and `mapping.up_kernel`, perhaps `mapping.bias`, with a second
            encoder `mapping.also_weight`, and `train_offsets` of shape `(classes,)`.
            A trained head may have `held_out_scores` of shape `(2, images)`, `best` and `own` of
            `HeldOutScores`, and `mapped_centre` of shape `(dim,)`, by which classes are added.
        class_names: the names of the classes.
        settings: the scales and weights of the head, its dtype, and whether it was trained.
        mapping: the arguments of its `CrossModalMapping`.
        triplet_loss: the arguments of its `CrossModalTripletLoss`.
        preprocessing: the settings of the `ImagePreprocessor`.
        backbone: `preset`, its name or `None`, `weights`, the digest of its weights, and `dtype`.
        prompts: `template` and `descriptions` of the classifier.
    """

    tensors: Mapping[str, npt.NDArray[np.float32]]
    class_names: tuple[str, ...]
    settings: Mapping[str, Any]
    mapping: Mapping[str, Any]
    triplet_loss: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    backbone: Mapping[str, Any]
    prompts: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        head: CMMClassifier,
        class_names: tuple[str, ...],
        head_was_given: bool,
        **about: Mapping[str, Any],
    ) -> Self:
        """Returns what the file of a head holds.

        Raises:
            InputError: if a part of the head is of a class of the user's own.
        """
        for argument, part, kind in (
            ("mapping", head.mapping, CrossModalMapping),
            ("triplet_loss", head.triplet_loss, CrossModalTripletLoss),
        ):
            if type(part) is not kind:
                raise InputError(
                    f"a head can be saved alone if its `{argument}` is a `{kind.__name__}`. "
                    f"Received: a {type(part).__name__}; save the classifier as a .keras file."
                )
        mapping = head.mapping.get_config()
        triplet = head.triplet_loss.get_config()
        weights = {
            "text_prototypes": head.text_prototypes.embeddings,
            "prototypes": head.prototypes.embeddings,
            "train_offsets": head.train_offsets,
            **{f"mapping.{weight.name}": weight for weight in head.mapping.weights},
        }
        if (scores := head.held_out_scores) is not None:
            weights["held_out_scores"] = np.stack([scores.best, scores.own])
        if head.mapped_centre is not None:
            weights["mapped_centre"] = head.mapped_centre
        return cls(
            tensors={name: _values(weight) for name, weight in weights.items()},
            class_names=class_names,
            settings={
                **{name: getattr(head, name) for name in _SETTINGS},
                "dtype": head.mapping.dtype_policy.name,
                "is_trained": head.is_trained,
                "was_given": head_was_given,
            },
            mapping={
                **{name: mapping[name] for name in _MAPPING},
                # Only with a second encoder, so that earlier versions read all other heads.
                **({"also_dim": head.also_dim} if head.also_dim else {}),
            },
            triplet_loss={name: triplet[name] for name in _TRIPLET_LOSS},
            **about,
        )

    def write(self, path: Path) -> None:
        """Writes a safetensors file.

        Raises:
            InputError: if a weight is not finite, or the file cannot be written.
        """
        if not all(np.isfinite(values).all() for values in self.tensors.values()):
            raise InputError("the head has weights that are not finite numbers; fit it again.")
        about = {name: value for name, value in vars(self).items() if name != "tensors"}
        text = json.dumps({"format": FORMAT, **about}, allow_nan=False)
        with replacing(path) as file:
            file.write(save(dict(self.tensors), {_METADATA: text}))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a file that `write` wrote.

        Raises:
            InputError: if the file cannot be read or is none of these.
        """
        refuse_special_file(path)
        mend = "copy it anew, or save the head again"
        try:
            with safe_open(path, framework="numpy") as file:
                text = (file.metadata() or {}).get(_METADATA)
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, TypeError, ValueError) as error:
            raise InputError(f"{path}: is no safetensors file ({error}); {mend}.") from error
        try:
            about = json.loads(text or "")
            found = about.pop("format")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise InputError(f"{path}: is no head of keras-cmm; give one of `save_head`.") from None
        if found != FORMAT:
            raise InputError(
                f"{path}: has the format {found!r}; this version of keras-cmm reads {FORMAT!r}. "
                "Save the head again, or install another version."
            )
        try:
            about["class_names"] = checked_class_names(about["class_names"])
            head = cls(tensors=tensors, **about)
            head._check()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{path}: is damaged ({error}); {mend}.") from error
        return head

    def _check(self) -> None:
        """Raises an error unless the weights are those that the settings ask for."""
        for name in ("settings", "mapping", "triplet_loss", "preprocessing", "backbone", "prompts"):
            if not isinstance(getattr(self, name), dict):
                raise ValueError(f"{name} is no object")
        for name, kinds in _BACKBONE.items():
            if not isinstance(self.backbone[name], kinds):
                raise ValueError(f"backbone.{name} is {self.backbone[name]!r}")
        if set(self.prompts) != _PROMPTS or type(self.settings["was_given"]) is not bool:
            raise ValueError("its settings are not those of a head")
        classes, dim = len(self.class_names), self.tensors["text_prototypes"].shape[-1]
        rank, also_dim = self.mapping["rank"], self.mapping.get("also_dim", 0)
        width = dim + also_dim
        shapes = {
            "text_prototypes": (classes, dim),
            "prototypes": (classes, dim),
            "train_offsets": (classes,),
        }
        if rank is None:
            shapes["mapping.kernel"] = (width, dim)
        else:
            shapes |= {"mapping.down_kernel": (width, rank), "mapping.up_kernel": (rank, dim)}
        if also_dim:
            shapes["mapping.also_weight"] = ()
        if self.mapping["use_bias"]:
            shapes["mapping.bias"] = (dim,)
        if "held_out_scores" in self.tensors:
            shapes["held_out_scores"] = (2, self.tensors["held_out_scores"].shape[-1])
        if "mapped_centre" in self.tensors:
            shapes["mapped_centre"] = (dim,)
        if {name: values.shape for name, values in self.tensors.items()} != shapes:
            raise ValueError("its tensors are not those of its settings")
        for name, values in self.tensors.items():
            if values.dtype != np.float32 or not np.isfinite(values).all():
                raise ValueError(f"{name} does not hold finite numbers of 32 bits")

    def make(self, path: Path) -> CMMClassifier:
        """Returns the head, built, with its weights.

        Args:
            path: the file, for the error.

        Raises:
            InputError: if a setting is out of range.
        """
        settings = dict(self.settings)
        classes, is_trained = len(self.class_names), settings.pop("is_trained", False) is True
        settings.pop("was_given")
        try:
            dtype = settings.pop("dtype")
            triplet_loss = CrossModalTripletLoss(**self.triplet_loss)
            groups, triplet_loss.duplicate_groups = triplet_loss.duplicate_groups, None
            if not {each for group in groups or [] for each in group} <= set(range(classes)):
                raise ValueError(f"duplicate_groups={groups}")
            mapping = CrossModalMapping(**self.mapping, dtype=dtype, name="mapping")
            head = CMMClassifier(
                classes,
                mapping=mapping,
                triplet_loss=triplet_loss,
                also_dim=mapping.also_dim,
                dtype=dtype,
                name="head",
                **settings,
            )
            head.build((None, self.tensors["prototypes"].shape[1] + mapping.also_dim))
            head.train_offsets = self.tensors["train_offsets"]
            if "held_out_scores" in self.tensors:
                head.held_out_scores = HeldOutScores(*self.tensors["held_out_scores"])
            head.mapped_centre = self.tensors.get("mapped_centre")
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: is damaged ({error}); copy it anew.") from error
        head.text_prototypes.embeddings.assign(self.tensors["text_prototypes"])
        head.prototypes.embeddings.assign(self.tensors["prototypes"])
        for weight in mapping.weights:
            weight.assign(self.tensors[f"mapping.{weight.name}"])
        head.triplet_loss.duplicate_groups = groups
        head.is_trained = is_trained
        return head


def _values(weight: Any) -> npt.NDArray[np.float32]:
    values = ops.convert_to_numpy(ops.cast(ops.convert_to_tensor(weight), "float32"))
    return np.array(values, order="C")  # A number of no axes keeps its shape.
