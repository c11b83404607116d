"""Commands that run a saved classifier: their common options, and loading it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keras_cmm_cli.options import (
    DTYPES,
    batch_size_option,
    strict_option,
    unused_seed_option,
)
from keras_cmm_cli.run_file import read_run
from keras_cmm_cli.store import open_store, store_options

if TYPE_CHECKING:
    from keras_cmm import CMMImageClassifier

model_argument = click.argument(
    "model_dir", type=click.Path(exists=True, file_okay=False, path_type=Path)
)


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--batch-size`, `--store`, `--no-store`, `--seed` and `--strict`."""
    return batch_size_option(store_options(unused_seed_option(strict_option(command))))


def load_classifier(
    model_dir: Path, batch_size: int = 32, store: Path | None = None
) -> CMMImageClassifier:
    """Loads a classifier that `keras-cmm fit` or `save_to_preset` wrote.

    Args:
        model_dir: The folder of the classifier.
        batch_size: Images a pass through the backbone.
        store: The folder that `store_options` gave.

    Raises:
        InputError: If the folder holds no saved classifier.
        ClickException: If the saved classifier cannot be loaded.
    """
    from keras_cmm import CMMImageClassifier, InputError

    # keras-hub loads in Keras's default precision, whatever the model was trained in.
    settings = (read_run(model_dir) or {}).get("hyperparameters", {})
    dtype = settings.get("dtype") if settings.get("dtype") in DTYPES else None
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
