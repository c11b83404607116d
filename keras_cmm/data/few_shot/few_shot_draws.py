"""All few-shot draws of a benchmark on one data set."""

import functools
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from keras_cmm.data.few_shot.coop_indices import read_few_shot_indices
from keras_cmm.data.few_shot.few_shot_sample import FewShotSample
from keras_cmm.data.few_shot.sampling import sample_few_shot
from keras_cmm_runtime.sources import ImageSource

_MAX_VALIDATION_SHOTS = 4

Pool = tuple[npt.ArrayLike, Sequence[bytes | str]]
"""Labels and keys of the rows to draw from, as in `sample_few_shot`."""


class FewShotDraws:
    """Draws support and validation images of a data set before they are embedded.

    Validation images are min(shots, 4) a class from the validation split. A data set without this
    split gives train images outside the support set.

    Args:
        train: The train images.
        val: The images of the validation split, or `None` if there is none.
        indices: A folder of files `shot_K-seed_S.json` with the draws, see
            `read_few_shot_indices`, or `None` to draw by `sample_few_shot`.

    Example:
        >>> import tempfile
        >>> from keras_cmm.data import ImageList
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"):
        ...         Path(folder, name).parent.mkdir(exist_ok=True)
        ...         Path(folder, name).touch()
        ...     draws = FewShotDraws(ImageList.from_folder(folder))
        >>> len(draws.support(1, seed=1).indices), len(draws.validation(1, seed=1).indices)
        (2, 2)

    References:
        The protocol of CoOp: Zhou et al., IJCV 2022, arXiv:2109.01134.
    """

    def __init__(
        self,
        train: ImageSource,
        val: ImageSource | None = None,
        indices: str | Path | None = None,
    ) -> None:
        self.train = train
        self.val = val
        self.indices = None if indices is None else Path(indices)
        self._train = train.labels, train.keys()
        self._val = None if val is None else (val.labels, val.keys())
        # A draw from ImageNet takes seconds, and each is used several times.
        self._support = functools.cache(self._draw_support)
        self._validation = functools.cache(self._draw_validation)

    @property
    def largest_class(self) -> int:
        """Number of train images of the largest class."""
        return int(np.bincount(self.train.labels).max())

    def support(self, shots: int, seed: int) -> FewShotSample:
        """Returns the support set of a draw, as rows of `train`.

        Args:
            shots: Images a class.
            seed: Seed of the draw.

        Raises:
            InputError: If a file of `indices` cannot be used.
        """
        return self._support(shots, seed)

    def validation(self, shots: int, seed: int) -> FewShotSample:
        """Returns the validation images of a draw, as rows of `val`, or of `train` without `val`.

        Args:
            shots: Images a class of the support set.
            seed: Seed of the draw.

        Raises:
            InputError: If a file of `indices` cannot be used.
        """
        return self._validation(shots, seed)

    def rows(self, runs: Iterable[tuple[int, int]]) -> tuple[npt.NDArray[np.int64], ...]:
        """Returns the rows of `train` and of `val` that some draws use, each once, ascending.

        Args:
            runs: Shots and seed of each draw.
        """
        train, val = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        for shots, seed in runs:
            train.append(self.support(shots, seed).indices)
            pool = train if self.val is None else val
            pool.append(self.validation(shots, seed).indices)
        return np.unique(np.concatenate(train)), np.unique(np.concatenate(val))

    def among(
        self,
        shots: int,
        seed: int,
        train_rows: npt.NDArray[np.int64],
        val_rows: npt.NDArray[np.int64],
    ) -> tuple[FewShotSample, FewShotSample]:
        """Returns the support and validation samples of a draw, for data of these rows only.

        `train_rows` and `val_rows` are the results of `rows`.
        """
        pool = train_rows if self.val is None else val_rows
        samples = (self.support(shots, seed), train_rows), (self.validation(shots, seed), pool)
        support, validation = (
            replace(sample, indices=np.searchsorted(rows, sample.indices), num_rows=len(rows))
            for sample, rows in samples
        )
        return support, validation

    def _draw_support(self, shots: int, seed: int) -> FewShotSample:
        labels, keys = self._train
        if self.indices is None:
            return sample_few_shot(labels, shots, seed=seed, keys=keys)
        return read_few_shot_indices(
            self._file(shots, seed), shots=shots, seed=seed, labels=labels, keys=keys
        )

    def _draw_validation(self, shots: int, seed: int) -> FewShotSample:
        if self.indices is None:
            support = self.support(shots, seed).indices
            return sample_validation(self._train, self._val, support, shots, seed=seed)
        labels, keys = self._val or self._train
        return read_few_shot_indices(
            self._file(shots, seed),
            "val",
            shots=min(shots, _MAX_VALIDATION_SHOTS),
            seed=seed,
            labels=labels,
            keys=keys,
        )

    def _file(self, shots: int, seed: int) -> Path:
        assert self.indices is not None
        return self.indices / f"shot_{shots}-seed_{seed}.json"


def sample_validation(
    train: Pool, val: Pool | None, support_rows: npt.ArrayLike, shots: int, *, seed: int
) -> FewShotSample:
    """Draws min(shots, 4) validation rows of each class, or as many as there are.

    Args:
        train: The train rows.
        val: The rows of the validation split, or `None` to draw from `train`.
        support_rows: Row numbers of the support set in `train`, which are not drawn.
        shots: Rows a class of the support set.
        seed: Seed of the draw.

    Returns:
        Rows of `val`, or of `train` if there is no validation split.

    Example:
        >>> train = [0] * 9, list("abcdefghi")
        >>> len(sample_validation(train, None, [0, 1], 2, seed=1).indices)
        2
    """
    labels, keys = train if val is None else val
    exclude = support_rows if val is None else None
    number = min(shots, _MAX_VALIDATION_SHOTS)
    with warnings.catch_warnings():
        # A class may have fewer validation images; the user need not act.
        warnings.simplefilter("ignore", UserWarning)
        return sample_few_shot(labels, number, seed=seed, keys=keys, exclude=exclude)
