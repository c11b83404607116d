"""The folder of a saved classifier, and loading it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from keras_cmm_cli.model_path import ModelPath
from keras_cmm_cli.options import DTYPES
from keras_cmm_cli.run_file import AS_THE_PRESET, RUN_FILE, read_run
from keras_cmm_cli.store import open_store

if TYPE_CHECKING:
    from keras_cmm import CMMImageClassifier


model_argument = click.argument("model_dir", type=ModelPath())
model_folder_argument = click.argument("model_dir", type=ModelPath(hub=False))


def fetched(model: Path | str, whole: bool = True) -> Path:
    """Returns the folder of a model, which is fetched first if it is on the Hugging Face hub.

    Args:
        model: What `ModelPath` gave.
        whole: Whether Keras needs it. Otherwise its `classifier.onnx` is enough, if it has one.

    Raises:
        ClickException: If it cannot be fetched.
    """
    if isinstance(model, Path):
        return model
    from keras_cmm_runtime import InputError
    from keras_cmm_runtime.hub import fetch_model

    try:
        return fetch_model(model, whole)
    except InputError as error:
        raise click.ClickException(str(error)) from error


def load_classifier(
    model_dir: Path, batch_size: int | None = None, store: Path | None = None
) -> CMMImageClassifier:
    """Loads a classifier that `keras-cmm fit` or `save_to_preset` wrote.

    Args:
        model_dir: The folder of the classifier.
        batch_size: Images a pass through the backbone.
        store: The folder that `store_options` gave.

    Raises:
        InputError: If the folder holds no saved classifier, or one that is not whole.
        ClickException: If the saved classifier cannot be loaded.
    """
    from keras_cmm import CMMImageClassifier
    from keras_cmm_runtime import InputError

    # keras-hub loads in Keras's default precision, whatever the model was trained in.
    settings = (read_run(model_dir) or {}).get("hyperparameters", {})
    dtype = settings.get("dtype")
    if dtype in (None, AS_THE_PRESET):
        dtype = None
    elif dtype not in DTYPES:
        raise InputError(
            f"{model_dir / RUN_FILE}: has the unknown dtype {dtype!r}; copy the folder anew."
        )
    try:
        classifier = CMMImageClassifier.from_preset(str(model_dir), dtype=dtype)
    except InputError:
        raise
    # A damaged file can fail anywhere in keras-hub, Keras, h5py or json.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise click.ClickException(
            f"{model_dir}: the saved classifier cannot be loaded ({reason}); copy its folder anew "
            "or train it again."
        ) from error
    classifier.embedder.batch_size = batch_size
    classifier.embedder.store = open_store(store)
    return classifier
