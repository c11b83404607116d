"""What runs a saved classifier: ONNX Runtime alone, or Keras."""

from __future__ import annotations

import functools
import importlib.util
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from keras_cmm_cli.environment import load_keras
from keras_cmm_cli.images import embed_images
from keras_cmm_cli.options import VIEWS, batch_size_option, strict_option, unused_seed_option
from keras_cmm_cli.saved_model import fetched, load_classifier
from keras_cmm_cli.store import advising_on_store, default_folder, store_option
from keras_cmm_cli.terminal import Terminal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from keras_cmm import CMMImageClassifier
    from keras_cmm_runtime import OnnxClassifier

ENGINE_VARIABLE = "KERAS_CMM_ENGINE"


class Engine(Protocol):
    """A classifier that was loaded."""

    @property
    def class_names(self) -> Sequence[str]:
        """The classes, in the order of the logits."""

    def logits(
        self, terminal: Terminal, images: Collection[Any], strict: bool
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Returns the logits of the images that can be read, and the numbers of these."""

    def named(
        self,
        logits: npt.NDArray[np.float32],
        top_k: int = 5,
        reject: float | None = None,
        coverage: float | None = None,
    ) -> list[list[tuple[str, float]]]:
        """Returns the classes of each image with their probabilities; see `named_classes`."""


@dataclass(frozen=True)
class ModelGiven:
    """The model that a command is given, and how it is to be run.

    Args:
        folder: The folder of the model.
        engine: `"onnx"` or `"keras"`, or an engine that only this command has.
        batch_size: Images a pass through the backbone.
        store: The folder of the store of embeddings, or `None`. Only Keras has one.
        views: Augmented views of each image that count too. Only Keras takes them.
    """

    folder: Path
    engine: str
    batch_size: int | None
    store: Path | None
    views: int = 0

    def load(self, terminal: Terminal) -> Engine:
        """Loads the model."""
        if self.engine == "onnx":
            from keras_cmm_runtime import OnnxClassifier

            return _Onnx(OnnxClassifier.load(self.folder), self.batch_size or 32)
        with terminal.status("loading Keras"):
            load_keras()
        with terminal.status("loading the model"):
            classifier = load_classifier(self.folder, self.batch_size, self.store)
            return _Keras(classifier, self.views)


class _Keras:
    def __init__(self, classifier: CMMImageClassifier, views: int) -> None:
        self._classifier = classifier
        self._views = views
        self.class_names = classifier.class_names
        self.named = classifier.named

    def logits(
        self, terminal: Terminal, images: Collection[Any], strict: bool
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        embeddings, rows = embed_images(
            terminal, self._classifier.embedder, images, strict, self._views
        )
        return self._classifier.predict_embeddings(embeddings), rows


class _Onnx:
    def __init__(self, classifier: OnnxClassifier, batch_size: int) -> None:
        self._classifier = classifier
        self._batch_size = batch_size
        self.class_names = classifier.class_names
        self.named = classifier.named

    def logits(
        self, terminal: Terminal, images: Collection[Any], strict: bool
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        with terminal.progress("classifying images") as progress:
            return self._classifier.predict_readable(
                images, self._batch_size, "raise" if strict else "skip", progress
            )


def model_options(
    command: Callable[..., Any],
    further_engines: Sequence[str] = (),
    further_help: str = "",
) -> Callable[..., Any]:
    """Adds the options of a command that runs a model, which gets a `ModelGiven` as `model`.

    They are `--engine`, `--views`, `--batch-size`, `--store`, `--no-store`, `--seed` and
    `--strict`.

    Args:
        command: The command.
        further_engines: Engines that this command alone has.
        further_help: What they do.
    """

    @click.option(
        "--engine",
        type=click.Choice(("auto", "onnx", "keras", *further_engines)),
        default="auto",
        show_default=True,
        envvar=ENGINE_VARIABLE,
        help="What runs the model: ONNX Runtime, which starts at once, or Keras. auto takes ONNX "
        "Runtime where the model has a classifier.onnx and neither --store nor --views is given. "
        f"The variable {ENGINE_VARIABLE} sets another default.{further_help}",
    )
    @click.option(
        "--views",
        type=VIEWS,
        default=0,
        show_default=True,
        help="Augmented views of each image that count beside it: crops, mirrored or not. Their "
        "mean embedding is classified, by Keras.",
    )
    @batch_size_option
    @store_option
    @click.option(
        "--no-store", is_flag=True, help="Keep no embeddings. Only Keras would keep them."
    )
    @unused_seed_option
    @strict_option
    @functools.wraps(command)
    def body(
        *args: Any,
        model_dir: Path | str,
        engine: str,
        views: int,
        batch_size: int | None,
        store: Path | None,
        no_store: bool,
        **kwargs: Any,
    ) -> Any:
        if no_store and store is not None:
            raise click.UsageError("--store and --no-store exclude each other; give one.")
        model_dir = fetched(model_dir, whole=engine == "keras" or store is not None or views > 0)
        chosen = _chosen(model_dir, engine, store, views)
        folder = None
        if chosen == "keras" and not no_store:
            folder = store or default_folder()
        with advising_on_store(folder):
            model = ModelGiven(model_dir, chosen, batch_size, folder, views)
            return command(*args, model=model, **kwargs)

    return body


def _chosen(model_dir: Path, engine: str, store: Path | None, views: int) -> str:
    has_keras = importlib.util.find_spec("keras_cmm") is not None
    if views and (engine == "onnx" or not has_keras):
        raise click.UsageError(
            "--views needs Keras, since classifier.onnx sees one view of an image; leave out "
            "--views" + (" or --engine onnx." if has_keras else ", or install keras-cmm.")
        )
    if engine == "onnx" and store is not None:
        raise click.UsageError(
            "--store needs Keras, since ONNX Runtime keeps no embeddings; leave out --store or "
            "--engine onnx."
        )
    if engine != "auto":
        return engine
    # Where Keras is not installed, the error is about the missing file.
    if not has_keras:
        if store is not None:
            warnings.warn(
                "--store has no effect, since keras-cmm, which keeps embeddings, is not installed.",
                stacklevel=2,
            )
        return "onnx"
    has_onnx = (model_dir / "classifier.onnx").is_file()
    return "onnx" if has_onnx and store is None and not views else "keras"
