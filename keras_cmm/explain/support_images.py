"""The training images of a classifier, kept as embeddings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from keras_cmm.explain.support_image import SupportImage
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils import refuse_special_file, replacing, unit_rows
from keras_cmm_runtime.utils.check_number import check_int

SUPPORT_FILE = "support_images.safetensors"
MOST_SUPPORT_IMAGES = 100_000
"""A classifier of more training images keeps none: they would weigh more than itself."""

FORMAT = "keras-cmm-support-images/1"

_MEND = "copy the folder of the classifier anew, or fit it again"


@dataclass(frozen=True, eq=False)
class SupportImages:
    """The embeddings, classes and names of the images that a classifier was trained on.

    `CMMImageClassifier.fit` makes them, and `save_to_preset` writes them beside the weights. The
    embeddings are kept in float16: cosines are then exact to about 0.0005.

    Args:
        embeddings: `(images, dim)`, CLIP's image embeddings, of any length but zero.
        classes: the name of each image's class.
        names: the name of each image.

    Raises:
        InputError: if the three differ in length, or an embedding is not finite or is zero.

    Example:
        >>> support = SupportImages([[1.0, 0.0], [0.0, 1.0]], ["ant", "bee"], ["a.png", "b.png"])
        >>> [image.name for image in support.nearest([0.0, 2.0], 1)]
        ['b.png']
    """

    embeddings: npt.NDArray[np.floating]
    classes: Sequence[str]
    names: Sequence[str]

    def __post_init__(self) -> None:
        rows = np.asarray(self.embeddings, dtype="float32")
        if rows.ndim != 2 or not len(rows) == len(self.classes) == len(self.names):
            raise InputError(
                "`embeddings` must have shape (images, dim), and `classes` and `names` one text an "
                f"image. Received: shape {rows.shape}, {len(self.classes)} classes and "
                f"{len(self.names)} names"
            )
        if not np.isfinite(rows).all() or not rows.any(axis=1).all():
            raise InputError("`embeddings` must be finite numbers, not all zero in any row.")
        # Rounded once: a file that is read holds the bits that were written.
        if getattr(self.embeddings, "dtype", None) != np.float16:
            object.__setattr__(self, "embeddings", unit_rows(rows).astype("float16"))
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "names", tuple(self.names))

    def __len__(self) -> int:
        return len(self.names)

    def nearest(self, embedding: Any, count: int = 5) -> list[SupportImage]:
        """Returns the images that are most like one embedding, the most similar first.

        Args:
            embedding: `(dim,)`, CLIP's embedding of an image.
            count: int, at least 1. How many.

        Returns:
            At most `count` images. Among equals, those that were trained on first come first.

        Raises:
            InputError: if the embedding has another width.
            ValueError: if `count` is no int >= 1.
        """
        check_int("count", count, 1)
        rows = self.embeddings.astype("float32")
        query = np.asarray(embedding, dtype="float32")
        if query.shape != rows.shape[1:]:
            raise InputError(
                f"`embedding` must have shape {rows.shape[1:]}. Received: shape {query.shape}"
            )
        # float16 rows are not quite of unit length.
        similarities = np.clip(unit_rows(rows) @ unit_rows(query[None])[0], -1, 1)
        order = np.argsort(-similarities, kind="stable")[:count]
        return [
            SupportImage(self.names[row], self.classes[row], float(similarities[row]))
            for row in order.tolist()
        ]

    def write(self, path: str | Path) -> None:
        """Writes a safetensors file.

        Raises:
            InputError: if the file cannot be written.
        """
        texts = {"classes": json.dumps(self.classes), "names": json.dumps(self.names)}
        content = save({"embeddings": self.embeddings}, {"format": FORMAT, **texts})
        with replacing(Path(path)) as file:
            file.write(content)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Reads a file that `write` wrote.

        Raises:
            InputError: if the file cannot be read or is none of these.

        Example:
            >>> import tempfile
            >>> support = SupportImages([[1.0, 0.0]], ["ant"], ["a.png"])
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     support.write(f"{folder}/support.safetensors")
            ...     SupportImages.read(f"{folder}/support.safetensors").names
            ('a.png',)
        """
        path = Path(path)
        refuse_special_file(path)
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != FORMAT:
                    raise InputError(f"{path}: is no file of support images; {_MEND}.")
                embeddings = file.get_tensor("embeddings")
            classes, names = (json.loads(metadata[key]) for key in ("classes", "names"))
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
        except (SafetensorError, KeyError, ValueError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path}: is damaged; {_MEND}.") from error
        if not all(_is_texts(texts) for texts in (classes, names)):
            raise InputError(f"{path}: has no list of classes or of names; {_MEND}.")
        try:
            return cls(embeddings, classes, names)
        except InputError as error:
            raise InputError(f"{path}: {error}; {_MEND}.") from None


def _is_texts(texts: Any) -> bool:
    return isinstance(texts, list) and all(isinstance(text, str) for text in texts)
