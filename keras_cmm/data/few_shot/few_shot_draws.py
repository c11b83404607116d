"""All few-shot draws of a benchmark on one data set."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from keras_cmm.data.few_shot.coop_indices import read_few_shot_indices
from keras_cmm.data.few_shot.few_shot_sample import FewShotSample
from keras_cmm.data.few_shot.sampling import sample_few_shot
from keras_cmm.data.sources.image_source import ImageSource

_MAX_VALIDATION_SHOTS = 4


class FewShotDraws:
    """Draws support and validation images of a data set, so that only these need be embedded.

    Validation is min(shots, 4) images a class of the validation split, else of the train images
    that are not in the support set.

    Args:
        train: The train images.
        val: The images of the validation split, or `None` if there is none.
        indices: A folder of files `shot_K-seed_S.json` to take the draws from, see
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
        self._train_keys = train.keys()
        self._val_keys = None if val is None else val.keys()
        # A draw from ImageNet takes seconds, and each is asked for several times.
        self._support: dict[tuple[int, int], FewShotSample] = {}
        self._validation: dict[tuple[int, int], FewShotSample] = {}

    @property
    def largest_class(self) -> int:
        """Number of train images of the class that has most."""
        return int(np.bincount(self.train.labels).max())

    def support(self, shots: int, seed: int) -> FewShotSample:
        """Draws the support set.

        Args:
            shots: Images a class.
            seed: Seed of the draw.

        Returns:
            Rows of `train`.

        Raises:
            InputError: If a file of `indices` cannot be used.
        """
        if (shots, seed) not in self._support:
            self._support[shots, seed] = self._draw_support(shots, seed)
        return self._support[shots, seed]

    def validation(self, shots: int, seed: int) -> FewShotSample:
        """Draws validation images.

        Args:
            shots: Images a class of the support set.
            seed: Seed of the draw.

        Returns:
            Rows of `val`, or of `train` where there is none.

        Raises:
            InputError: If a file of `indices` cannot be used.
        """
        if (shots, seed) not in self._validation:
            self._validation[shots, seed] = self._draw_validation(shots, seed)
        return self._validation[shots, seed]

    def rows(self, runs: Iterable[tuple[int, int]]) -> tuple[npt.NDArray[np.int64], ...]:
        """Lists what must be embedded.

        Args:
            runs: Shots and seed of each run.

        Returns:
            The rows of `train` and of `val` that any of these draws has, each once, ascending.
        """
        train, val = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        for shots, seed in runs:
            train.append(self.support(shots, seed).indices)
            pool = train if self.val is None else val
            pool.append(self.validation(shots, seed).indices)
        return np.unique(np.concatenate(train)), np.unique(np.concatenate(val))

    def _draw_support(self, shots: int, seed: int) -> FewShotSample:
        labels, keys = self.train.labels, self._train_keys
        if self.indices is None:
            return sample_few_shot(labels, shots, seed=seed, keys=keys)
        return read_few_shot_indices(
            self._file(shots, seed), shots=shots, seed=seed, labels=labels, keys=keys
        )

    def _draw_validation(self, shots: int, seed: int) -> FewShotSample:
        if self.val is not None and self._val_keys is not None:
            labels, keys, exclude = self.val.labels, self._val_keys, None
        else:
            labels, keys = self.train.labels, self._train_keys
            exclude = self.support(shots, seed).indices if self.indices is None else None
        if self.indices is not None:
            return read_few_shot_indices(
                self._file(shots, seed),
                "val",
                shots=min(shots, _MAX_VALIDATION_SHOTS),
                seed=seed,
                labels=labels,
                keys=keys,
            )
        return sample_validation(labels, shots, seed=seed, keys=keys, exclude=exclude)

    def _file(self, shots: int, seed: int) -> Path:
        assert self.indices is not None
        return self.indices / f"shot_{shots}-seed_{seed}.json"


def sample_validation(
    labels: npt.ArrayLike,
    shots: int,
    *,
    seed: int,
    keys: Sequence[bytes | str],
    exclude: npt.ArrayLike | None = None,
) -> FewShotSample:
    """Draws min(shots, 4) validation rows of each class, with no warning where there are fewer.

    Args:
        labels: As of `sample_few_shot`.
        shots: Rows a class of the support set.
        seed: As of `sample_few_shot`.
        keys: As of `sample_few_shot`.
        exclude: The rows of the support set, where both are drawn from the same rows.

    Returns:
        The sample.

    Example:
        >>> len(sample_validation([0] * 9, 8, seed=1, keys=list("abcdefghi")).indices)
        4
    """
    number = min(shots, _MAX_VALIDATION_SHOTS)
    with warnings.catch_warnings():
        # Fewer validation images than wanted are no fault of the data.
        warnings.simplefilter("ignore", UserWarning)
        return sample_few_shot(labels, number, seed=seed, keys=keys, exclude=exclude)


def within(sample: FewShotSample, rows: npt.NDArray[np.int64]) -> FewShotSample:
    """Numbers the rows of a sample among those that were embedded.

    Args:
        sample: The sample.
        rows: Ascending row numbers, those of the sample among them.

    Returns:
        The same sample of data that has `rows` only.

    Example:
        >>> sample = sample_few_shot([0, 1, 1], 1, seed=1, keys=["a", "b", "c"])
        >>> within(sample, sample.indices).indices
        array([0, 1])
    """
    return replace(sample, indices=np.searchsorted(rows, sample.indices), num_rows=len(rows))
