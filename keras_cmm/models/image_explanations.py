"""Explaining what a classifier says about an image."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_cmm.explain import (
    MOST_SUPPORT_IMAGES,
    SUPPORT_FILE,
    Explanation,
    SupportImages,
    explain_image,
)
from keras_cmm_runtime.images import image_name


class ImageExplanations:
    """The part of `CMMImageClassifier` that explains its answers.

    `support_images` are the `SupportImages` of the last `fit`, or `None`. Set it to `None` before
    saving, to keep neither embeddings nor names of the training images.
    """

    class_names: tuple[str, ...]
    support_images: SupportImages | None = None

    def explain(
        self,
        image: Any,
        class_name: str | None = None,
        nearest: int = 5,
        heat_map: bool = True,
    ) -> Explanation:
        """Explains one image.

        The heat map shows how much the lead of the class, its logit minus the mean of all logits,
        falls without what the layers of the image tower take from each patch. The nearest
        training images are those of the highest cosine between CLIP's embeddings. The share of
        texts and images splits the margin between the class and its rival: the runner-up, or the
        predicted class if another one is explained.

        Args:
            image: a path, a PIL image or an array of shape `(height, width, channels)`.
            class_name: the class to explain, or `None` for the predicted one.
            nearest: int, at least 1. How many training images.
            heat_map: bool. `False` leaves the heat map out, as image towers need that are no vision
                transformers of CLIP or MetaCLIP 2.

        Returns:
            An `Explanation`. Its `nearest` is `None` if the classifier keeps no training images.

        Raises:
            InputError: if the image cannot be read, there is no such class, or the image tower
                has no patches to tell apart.
            ValueError: if `nearest` is no int >= 1.

        Example:
            >>> explanation = model.explain("new.jpg")  # doctest: +SKIP
            >>> explanation.class_name, explanation.heat_map.shape  # doctest: +SKIP
            ('dog', (480, 640))
            >>> explanation.save("why.png")  # doctest: +SKIP
        """
        return explain_image(self, image, class_name, nearest, heat_map)

    def _keep_support(
        self,
        embeddings: npt.NDArray[np.floating[Any]],
        labels: npt.NDArray[np.int64],
        numbers: npt.NDArray[np.int64],
        weights: npt.NDArray[np.float32] | None,
    ) -> None:
        """Keeps the images of a `fit`, by their numbers; those of weight 0 were not trained on."""
        self.support_images = None
        used = np.arange(len(labels)) if weights is None else np.flatnonzero(weights)
        if len(used) <= MOST_SUPPORT_IMAGES:
            classes = [self.class_names[label] for label in labels[used].tolist()]
            names = [f"image {number}" for number in numbers[used].tolist()]
            rows = np.asarray(embeddings[used], dtype="float32")
            self.support_images = SupportImages(rows, classes, names)

    def _name_support(self, x: Any) -> None:
        """Names the images of the last `fit` by their paths, if they were given as paths."""
        support = self.support_images
        if support is None or not isinstance(x, Sequence) or isinstance(x, str):
            return
        numbers = [int(name.removeprefix("image ")) for name in support.names]
        images = [x[number] for number in numbers]
        if all(isinstance(image, str | os.PathLike) for image in images):
            self.support_images = replace(support, names=[image_name(image) for image in images])

    def _add_support(self, embeddings: npt.NDArray[np.float32], class_name: str, x: Any) -> None:
        """Keeps the images of a class that is added."""
        support = self.support_images
        if support is None or len(support) + len(embeddings) > MOST_SUPPORT_IMAGES:
            return
        names = [f"image {number} of {class_name}" for number in range(len(embeddings))]
        if isinstance(x, Sequence) and all(isinstance(image, str | os.PathLike) for image in x):
            names = [image_name(image) for image in x]
        self.support_images = SupportImages(
            np.concatenate([support.embeddings, embeddings]),
            [*support.classes, *[class_name] * len(names)],
            [*support.names, *names],
        )

    def _relabel_support(self, new_names: Mapping[str, str | None]) -> None:
        """Gives classes of the kept images other names, and drops the images of those of none."""
        support = self.support_images
        if support is None:
            return
        classes = [new_names.get(name, name) for name in support.classes]
        kept = [row for row, name in enumerate(classes) if name is not None]
        self.support_images = SupportImages(
            support.embeddings[kept],
            [name for name in classes if name is not None],
            [support.names[row] for row in kept],
        )

    def _write_support(self, folder: Path) -> None:
        if self.support_images is not None:
            self.support_images.write(folder / SUPPORT_FILE)

    def _read_support(self, folder: Path) -> None:
        if (folder / SUPPORT_FILE).is_file():
            self.support_images = SupportImages.read(folder / SUPPORT_FILE)
