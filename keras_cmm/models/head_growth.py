"""Adding and removing classes of a head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from keras_cmm.layers import ClassPrototypes
from keras_cmm.recipes import checked_embeddings, new_prototype
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.check_number import check_int
from keras_cmm_runtime.utils.unit_rows import unit_rows


class HeadGrowth:
    """The part of `CMMClassifier` that adds and removes classes.

    Map and other prototypes stay as they are, so the other classes keep their logits to the bit.
    A compiled head stays compiled, and its optimizer starts anew.
    """

    built: bool
    num_classes: int
    also_dim: int
    is_trained: bool
    mapping: Any
    prototypes: ClassPrototypes
    text_prototypes: ClassPrototypes
    train_offsets: npt.NDArray[np.float32]
    triplet_loss: Any
    _finds_duplicate_groups: bool
    # The mean of the mapped training images, `(dim,)`, or `None`. It is saved with the weights.
    mapped_centre: npt.NDArray[np.float32] | None = None

    def add_class(self, text_embedding: Any, images: Any = None) -> None:
        """Adds a class after the others.

        Its prototype is where the text of a class lies among the prototypes, as the other classes
        tell, and with images between that place and these, see `new_prototype`. Before any training
        the place is the text itself.

        Args:
            text_embedding: array-like of shape `(dim,)`.
            images: array-like of shape `(images, dim + also_dim)`, embeddings of images of the
                class, or `None`.

        Raises:
            InputError: if the head has no texts yet, an embedding cannot be used, or there are
                images and the head was not trained by a recipe, as `AutoRecipe().fit` does.

        Example:
            >>> import numpy as np
            >>> from keras_cmm import CMMClassifier
            >>> head = CMMClassifier.from_text_embeddings(np.eye(2, 4))
            >>> head.add_class([0.0, 0.0, 1.0, 0.0])
            >>> head.predict(np.eye(3, 4), verbose=0).argmax(axis=1)
            array([0, 1, 2])
        """
        self._check_has_texts()
        texts = self._texts()
        dim = texts.shape[1]
        text = np.asarray(ops.convert_to_numpy(text_embedding))
        if text.ndim != 1:
            raise InputError(
                f"`text_embedding` must have shape ({dim},). Received: shape {text.shape}"
            )
        text = unit_rows(checked_embeddings(text[None], "text_embedding", dim))
        mapped = None
        if images is not None:
            embeddings = unit_rows(checked_embeddings(images, "images", dim + self.also_dim))
            if not len(embeddings):
                raise InputError("`images` must hold one embedding or more, or be None.")
            if self.mapped_centre is None:
                raise InputError(
                    "`images` need a classifier that a recipe of this version has trained, as "
                    "`fit` of an image classifier does: leave them out, or fit it again."
                )
            mapped = ops.convert_to_numpy(self.mapping(embeddings))
        prototypes = self._prototypes()
        is_trained = self.is_trained
        known = prototypes if is_trained else texts
        row = new_prototype(text[0], texts, known, mapped, self.mapped_centre)
        offsets = self.train_offsets
        self._set_classes(
            np.concatenate([texts, text]),
            np.concatenate([prototypes, row[None]]),
            np.append(offsets, offsets.mean(dtype="float32")),
            [*self._groups(), [1]],
        )

    def remove_class(self, class_id: int) -> None:
        """Removes a class. The ids of the classes after it fall by one.

        Args:
            class_id: int. The class.

        Raises:
            InputError: if there is no such class, or only two are left.

        Example:
            >>> import numpy as np
            >>> from keras_cmm import CMMClassifier
            >>> head = CMMClassifier.from_text_embeddings(np.eye(3))
            >>> head.remove_class(0)
            >>> head.text_embeddings.argmax(axis=1)
            array([1, 2])
        """
        self._check_has_texts()
        check_int("class_id", class_id, 0)
        if class_id >= self.num_classes:
            raise InputError(
                f"`class_id` must be less than the {self.num_classes} classes. "
                f"Received: class_id={class_id}"
            )
        if self.num_classes == 2:
            raise InputError("a classifier needs two classes or more, so these two must stay.")
        if not self._finds_duplicate_groups:
            _remove_from_groups(self.triplet_loss, class_id)
        groups, classes = self._groups(), -1
        for group in groups:
            for place, is_class in enumerate(group):
                classes += is_class
                if is_class and classes == class_id:
                    group[place] = 0
        self._set_classes(
            np.delete(self._texts(), class_id, axis=0),
            np.delete(self._prototypes(), class_id, axis=0),
            np.delete(self.train_offsets, class_id),
            [group for group in groups if any(group)],
        )

    def remember_images(self, embeddings: npt.NDArray[np.floating]) -> None:
        """Keeps the mean of mapped training images, `(images, dim + also_dim)`, for `add_class`."""
        rows = unit_rows(np.asarray(embeddings, dtype="float32"))
        mapped = unit_rows(ops.convert_to_numpy(self.mapping(rows)))
        self.mapped_centre = mapped.mean(axis=0)

    def _check_has_texts(self) -> None:
        if not self.built:
            raise InputError(
                "the head must have class texts before classes are added or removed: use "
                "`CMMClassifier.from_text_embeddings` or `assign_text_embeddings`."
            )

    def _texts(self) -> npt.NDArray[np.float32]:
        return np.array(ops.convert_to_numpy(self.text_prototypes.embeddings))

    def _prototypes(self) -> npt.NDArray[np.float32]:
        return np.array(ops.convert_to_numpy(self.prototypes.embeddings))

    def _groups(self) -> list[list[int]]:
        groups = self.prototypes.groups
        return [[1] * self.num_classes] if groups is None else [list(group) for group in groups]

    def _set_classes(
        self,
        texts: npt.NDArray[np.float32],
        prototypes: npt.NDArray[np.float32],
        train_offsets: npt.NDArray[np.float32],
        groups: Sequence[Sequence[int]],
    ) -> None:
        """Gives the head its texts and prototypes, `(classes, dim)`, of another number."""
        model: Any = self
        model.num_classes = len(texts)
        model.held_out_scores = None  # They are of the classes before.
        model.text_prototypes.set_classes(texts, groups)
        model.prototypes.set_classes(prototypes, groups)
        model._untrack_variable(model._train_offsets)
        model._tracker.unlock()
        model._train_offsets = model._make_train_offsets()
        model._tracker.lock()
        model.train_offsets = train_offsets
        model._find_duplicate_groups(texts)
        model.trainable = model.trainable
        # Traced functions hold the old weights, and an optimizer has state for each.
        model.train_function = model.test_function = model.predict_function = None
        if (optimizer := getattr(model, "optimizer", None)) is not None:
            model.optimizer = type(optimizer).from_config(optimizer.get_config())
            model.optimizer.build(model.trainable_variables)


def _remove_from_groups(triplet_loss: Any, class_id: int) -> None:
    """Takes a class out of the duplicate groups that a user gave."""
    groups = getattr(triplet_loss, "duplicate_groups", None)
    if groups:
        kept = [
            [each - (each > class_id) for each in group if each != class_id] for group in groups
        ]
        triplet_loss.duplicate_groups = [group for group in kept if len(group) > 1] or None
