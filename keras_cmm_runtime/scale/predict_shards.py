"""Classifying images in parts, on one machine or many."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.onnx_classifier import OnnxClassifier
from keras_cmm_runtime.scale.engine_options import EngineOptions
from keras_cmm_runtime.scale.find_shards import DEFAULT_SHARD_SIZE, find_shards
from keras_cmm_runtime.scale.prediction_model import PredictionModel
from keras_cmm_runtime.scale.run_workers import run_workers
from keras_cmm_runtime.scale.shard_folder import ShardFolder
from keras_cmm_runtime.scale.shard_report import ShardReport
from keras_cmm_runtime.scale.shard_worker import ShardWorker
from keras_cmm_runtime.scale.storage import Storage
from keras_cmm_runtime.utils.check_number import check_int


def predict_shards(
    model: str,
    source: str,
    output: str,
    *,
    top_k: int = 5,
    options: EngineOptions | None = None,
    batch_size: int = 16,
    shard_size: int = DEFAULT_SHARD_SIZE,
    source_options: Mapping[str, Any] | None = None,
    output_options: Mapping[str, Any] | None = None,
    progress: Callable[[ShardReport], None] | None = None,
) -> ShardReport:
    """Classifies all images of a source, a part at a time, into a folder of Parquet files.

    The files have the columns id, label (the class that the source tells, if any), split, digest,
    error, classes and scores: the likeliest classes and their probabilities. All else is as in
    `embed_shards`. ONNX Runtime runs the model, on CPUs.

    Args:
        model: A folder of `keras-cmm fit`, or an ONNX file of `keras-cmm export`. All nodes of a
            cluster must have it under this path.
        source: As in `embed_shards`.
        output: As in `embed_shards`.
        top_k: Number of classes of a row.
        options: As in `embed_shards`.
        batch_size: As in `embed_shards`.
        shard_size: As in `embed_shards`.
        source_options: As in `embed_shards`.
        output_options: As in `embed_shards`.
        progress: As in `embed_shards`.

    Returns:
        What became of the parts.

    Raises:
        InputError: As `embed_shards`, and if there is no such model.

    Example:
        >>> report = predict_shards("pets", "photos", "predicted")  # doctest: +SKIP
    """
    check_int("top_k", top_k, 1)
    check_int("batch_size", batch_size, 1)
    images, folder = Storage(source, source_options), Storage(output, output_options)
    listing = functools.partial(find_shards, images, shard_size)
    # Raises at once where there are no images.
    next(iter(listing()))
    path = str(Path(model).resolve())
    classifier = OnnxClassifier.load(path)
    job = {
        "kind": "predictions",
        "source": images.place,
        "model": classifier.digest,
        "top_k": top_k,
        "class_names": classifier.class_names,
    }
    output_folder = ShardFolder(folder, job)
    make_worker = functools.partial(_worker, path, classifier.digest, top_k, batch_size, folder)
    report = run_workers(options or EngineOptions(), listing, make_worker, progress)
    output_folder.finish(report)
    return report


def _worker(path: str, digest: str, top_k: int, batch_size: int, output: Storage) -> ShardWorker:
    return ShardWorker(functools.partial(_model, path, digest, top_k, batch_size), output)


def _model(path: str, digest: str, top_k: int, batch_size: int) -> PredictionModel:
    classifier = OnnxClassifier.load(path, threads=1)
    if classifier.digest != digest:
        raise InputError(f"{path}: is another model on this node; copy it there again.")
    return PredictionModel(classifier, top_k, batch_size)
