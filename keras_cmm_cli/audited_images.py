"""The images of `keras-cmm audit`: those of all splits in one list."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keras_cmm_cli.images import ImagesGiven, embed_images
from keras_cmm_cli.run_file import file_hash
from keras_cmm_cli.terminal import Terminal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from keras_cmm.clip import ImageEmbedder
    from keras_cmm.evaluation import PictureSignature
    from keras_cmm.labelling import Finding

_SPLITS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class AuditedImages:
    """Labelled images of all splits.

    Args:
        images: The images, as `keras_cmm.clip.read_image` takes them.
        names: The name of each.
        labels: `(images,)` class ids.
        splits: The split of each, or `None` if there are no splits.
        class_names: The classes.
    """

    images: Sequence[Any]
    names: Sequence[str]
    labels: npt.NDArray[np.int64]
    splits: Sequence[str] | None
    class_names: Sequence[str]

    @classmethod
    def open(cls, given: ImagesGiven, class_names: Sequence[str] | None) -> AuditedImages:
        """Opens the images that a command is given.

        Args:
            given: The images.
            class_names: The classes of a model, or `None` for those that are found.
        """
        import numpy as np

        opened = given.open_splits(_SPLITS, class_names)
        images = [image for source in opened.values() for image in source.images]
        names = list(itertools.chain(*(source.keys() for source in opened.values())))
        labels = np.concatenate([source.labels for source in opened.values()])
        splits = None
        if None not in opened:
            splits = [str(split) for split, source in opened.items() for _ in range(len(source))]
        known = next(iter(opened.values())).class_names
        return cls(images, names, labels.astype("int64"), splits, known)

    def damaged(self, readable: npt.NDArray[np.int64] | None = None) -> list[Finding]:
        """Returns the images that cannot be read, with the reason.

        Args:
            readable: The images that could be embedded, or `None` to open every image.
        """
        import numpy as np

        from keras_cmm.labelling import Finding
        from keras_cmm_runtime import InputError
        from keras_cmm_runtime.images import read_image

        def problem(row: int) -> str | None:
            try:
                read_image(self.images[row])
            except InputError as error:
                return str(error)
            return None if readable is None else "cannot be prepared for the model"

        rows = np.arange(len(self.images))
        if readable is not None:
            rows = np.setdiff1d(rows, readable)
        with ThreadPoolExecutor() as pool:
            reasons = list(pool.map(problem, rows.tolist()))
        return [
            Finding("damaged", 0.0, reason, row=row, label=int(self.labels[row]))
            for row, reason in zip(rows.tolist(), reasons, strict=True)
            if reason is not None
        ]

    def digests(self) -> list[str | None]:
        """Returns a digest of each image's file, `None` for one that cannot be read."""
        from keras_cmm_runtime import InputError

        def digest(image: Any) -> str | None:
            try:
                return file_hash(image)
            except InputError:
                return None

        with ThreadPoolExecutor() as pool:
            return list(pool.map(digest, self.images))

    def embed(
        self, terminal: Terminal, embedder: ImageEmbedder
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Returns the embeddings of the images that can be read, and the numbers of these."""
        with warnings.catch_warnings():
            # The others are findings.
            warnings.filterwarnings("ignore", "left out: ")
            embedded = embed_images(terminal, embedder, self.images, strict=False)
        return embedded.embeddings, embedded.rows

    def of_files(
        self, findings: Sequence[Finding], readable: npt.NDArray[np.int64]
    ) -> list[Finding]:
        """Returns findings about embeddings as findings about these images.

        Near copies are looked at, and stay if the pictures are alike too.

        Args:
            findings: What `keras_cmm.labelling.audit` found.
            readable: The image of each embedding.
        """
        near = [each for each in findings if each.kind == "near_duplicate"]
        rows = {row for each in near for row in (each.row, each.other) if row is not None}
        signatures = self._signatures(sorted(int(readable[row]) for row in rows))
        found = []
        for each in findings:
            row, other = (
                None if number is None else int(readable[number])
                for number in (each.row, each.other)
            )
            # The same pixels in two files count as near: the files differ.
            if each.kind == "near_duplicate" and not _are_copies(
                signatures[row], signatures[other]
            ):
                continue
            found.append(each._replace(row=row, other=other))
        return found

    def _signatures(self, rows: Sequence[int]) -> dict[int | None, PictureSignature | None]:
        """Returns the signatures of some images: each is read once, however many are like it."""
        from keras_cmm.evaluation import PictureSignature

        with ThreadPoolExecutor() as pool:
            made = pool.map(PictureSignature.of, [self.images[row] for row in rows])
            return dict(zip(rows, made, strict=True))


def _are_copies(one: PictureSignature | None, other: PictureSignature | None) -> bool:
    return one is not None and other is not None and one.likeness(other) != "other"
