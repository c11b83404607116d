"""Saving as a file of Keras."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from keras_cmm_runtime.errors import InputError


class SavedAsKerasFile:
    """The part of a model that saves it as a file, which Keras can load from `.keras` alone."""

    def save(self, filepath: str | os.PathLike[str], overwrite: bool = True, **kwargs: Any) -> None:
        """Saves the model; see `keras.Model.save`.

        Args:
            filepath: a name that ends in `.keras`.
            overwrite: bool. Whether an existing file is replaced. Otherwise Keras asks.
            **kwargs: the other arguments of `keras.Model.save`.

        Raises:
            InputError: if the name is one of Keras's older format, from which the model could not
                be loaded.
        """
        if Path(filepath).suffix.lower() in (".h5", ".hdf5"):
            raise InputError(
                "`filepath` must end in .keras, since Keras cannot load this model from HDF5. "
                f"Received: {os.fspath(filepath)!r}; for the weights alone call "
                '`save_weights("NAME.weights.h5")`.'
            )
        super().save(filepath, overwrite=overwrite, **kwargs)  # type: ignore[misc]
