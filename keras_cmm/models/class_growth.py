"""Adding, removing and renaming the classes of an image classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_cmm.clip import CLIPModel, TextEmbedder, build_prompts
from keras_cmm.models.checks import checked_class_names
from keras_cmm.models.cmm_classifier import CMMClassifier
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils import listed
from keras_cmm_runtime.utils.same_names import same_names


class ClassGrowth:
    """The part of `CMMImageClassifier` that changes its classes without training."""

    class_names: tuple[str, ...]
    num_classes: int
    head: CMMClassifier
    template: str | Sequence[str] | None
    descriptions: Mapping[str, Sequence[str]] | None
    embed: Callable[[Any], npt.NDArray[np.float32]]
    _clip_model: Callable[[], CLIPModel]
    _head_is_compiled: bool
    _add_support: Callable[[npt.NDArray[np.float32], str, Any], None]
    _relabel_support: Callable[[Mapping[str, str | None]], None]

    def add_class(
        self, name: str, images: Any = None, descriptions: Sequence[str] | None = None
    ) -> None:
        """Adds a class after the others, by its text and, better, by images of it.

        Nothing is trained: the new class gets a prototype, see `CMMClassifier.add_class`. The other
        classes keep their logits to the bit. `fit` on the images of all classes then trains on.

        Args:
            name: str. The name of the class.
            images: images of the class, in a list or an array, or `None`.
            descriptions: sentences of more prompts for the class, or `None`. A classifier of other
                classes with descriptions and without a template needs them.

        Raises:
            InputError: if the name is blank, no text or that of a class, or an image cannot be
                used. The classifier stays as it was.

        Example:
            >>> model.add_class("fox", ["fox.jpg"])  # doctest: +SKIP
            >>> model.class_names  # doctest: +SKIP
            ('cat', 'dog', 'fox')
        """
        names = self._with_new_name(name)
        # A class of descriptions may have none of its own where there is a template.
        own = {name: list(descriptions)} if descriptions else None
        prompts = build_prompts([name], self.template, own)
        embeddings = None if images is None else self.embed(images)
        text = TextEmbedder(self._clip_model()).class_prototypes(prompts)[0]
        self.head.add_class(text, embeddings)
        if own is not None or self.descriptions is not None:
            self.descriptions = {**(self.descriptions or {}), **(own or {})}
        if embeddings is not None:
            self._add_support(embeddings, names[-1], images)
        self._set_names(names)

    def remove_class(self, name: str) -> None:
        """Removes a class. The other classes keep their logits to the bit.

        Args:
            name: str. The name of the class.

        Raises:
            InputError: if there is no such class, or only two are left.

        Example:
            >>> model.remove_class("fox")  # doctest: +SKIP
        """
        index = self._index_of_class(name)
        self.head.remove_class(index)
        removed = self.class_names[index]
        if self.descriptions is not None:
            self.descriptions = {
                key: value for key, value in self.descriptions.items() if key != removed
            }
        self._relabel_support({removed: None})
        self._set_names([each for each in self.class_names if each != removed])

    def rename_class(self, old: str, new: str) -> None:
        """Gives a class another name. All logits stay the same to the bit.

        The text of the class stays that of the old name too. For a class of another text, remove it
        and add it again.

        Args:
            old: str. The name of the class.
            new: str. Its new name.

        Raises:
            InputError: if there is no such class, or the new name is blank, no text or that of a
                class.

        Example:
            >>> model.rename_class("crane", "crane (bird)")  # doctest: +SKIP
        """
        index = self._index_of_class(old)
        self._with_new_name(new)
        old = self.class_names[index]
        if self.descriptions is not None:
            self.descriptions = {
                new if key == old else key: value for key, value in self.descriptions.items()
            }
        self._relabel_support({old: new})
        self.class_names = tuple(new if each == old else each for each in self.class_names)

    def _with_new_name(self, name: str) -> tuple[str, ...]:
        """Returns the class names and a new one."""
        if isinstance(name, str) and (same := same_names([name], self.class_names)):
            raise InputError(
                f"there is a class {same[name]!r} already; tell classes apart as in "
                f"'crane (bird)'. Received: {name!r}"
            )
        return checked_class_names([*self.class_names, name])

    def _index_of_class(self, name: str) -> int:
        known = same_names([name], self.class_names) if isinstance(name, str) else {}
        if not known:
            raise InputError(
                f"there is no class {name!r}; the classes are {listed(self.class_names)}."
            )
        return self.class_names.index(known[name])

    def _set_names(self, names: Sequence[str]) -> None:
        """Brings what follows from the number of classes up to the head."""
        self.class_names = tuple(names)
        self.num_classes = len(names)
        self._head_is_compiled = False
        # The functional graph holds the shape of the logits.
        model: Any = self
        inputs = model.inputs[0]
        if model.also is not None:
            inputs = {each.name: each for each in model.inputs}
        function = keras.Function(inputs, model._logits(inputs), name=model.name)
        operation = vars(keras.Operation(name=model.name))
        graph = {key: value for key, value in vars(function).items() if key not in operation}
        # Not by `setattr`, which would track the layers of the graph once more.
        model.__dict__.update(graph)
