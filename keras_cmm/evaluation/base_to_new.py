"""Base-to-new: train on half of the classes, test on the other half too."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_cmm.data import EmbeddingSet
from keras_cmm.evaluation.measures import predict_logits
from keras_cmm.evaluation.record import Record, make_record
from keras_cmm.evaluation.single_run import fit_method
from keras_cmm.methods import CMM, METHODS, FewShotMethod, FewShotTask, MappedImages, ZeroShot
from keras_cmm.models import CMMClassifier
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.metrics.accuracy import top_1
from keras_cmm_runtime.utils.unit_rows import unit_rows


def can_classify_new(method: str) -> bool:
    """Returns whether a method can score classes that it was trained without, by their texts.

    Class means, linear probes, caches of images and weights that are trained for each class have
    nothing to score a new class by. Nor has a subclass that overrides `predict_logits`.

    Example:
        >>> can_classify_new("cmm"), can_classify_new("linear_probe")
        (True, False)
    """
    cls = METHODS[method]
    return any(
        issubclass(cls, kind)
        and cls.predict_logits is kind.predict_logits
        and cls._logits is kind._logits
        for kind in (CMM, MappedImages, ZeroShot)
    )


def run_base_to_new(
    embedding_set: EmbeddingSet, task: FewShotTask, method: str, also: str | None = None
) -> Record:
    """Fits one method on the base classes, and tests it on the base and on the new classes.

    The first half of the classes, rounded up, are the base classes. Training sees their images and
    texts alone. Base images are scored among the base classes, new images among the new classes.

    CMM keeps the mapping that the base classes trained, and starts the prototype of a new class as
    its recipe starts that of a class without images. Methods that map images keep the map
    and take the texts of the new classes.

    Args:
        embedding_set: The data set that the task was drawn from.
        task: A task of all classes, see `make_task`.
        method: A key of `keras_cmm.methods.METHODS`.
        also: Name of the second encoder's embeddings that the task was drawn with, or `None`.

    Returns:
        A record as of `run_benchmark`, with `base_to_new`, `base_top1` and `new_top1` (percent) in
        place of `top1`. Its `num_classes` and `support_rows` are those of training.

    Raises:
        InputError: If the method cannot score new classes or refuses the task, or a half of the
            classes has no test image or less than two classes.

    Example:
        >>> import numpy as np
        >>> from keras_cmm.evaluation import make_task
        >>> eye, ids = np.eye(4, dtype="float32"), np.arange(4)
        >>> data = EmbeddingSet(
        ...     train_embeddings=eye, train_labels=ids, test_embeddings=eye, test_labels=ids,
        ...     text_embeddings=eye, class_names=list("abcd"), dataset="bugs", backbone="CLIP",
        ... )
        >>> record = run_base_to_new(data, make_task(data, 0, seed=0), "zero_shot")
        >>> record["base_top1"], record["new_top1"]
        (100.0, 100.0)

    References:
        The protocol of CoCoOp: Zhou et al., CVPR 2022, arXiv:2203.05557.
    """
    if not can_classify_new(method):
        raise InputError(
            f"`method` must be able to score classes without images: "
            f"{', '.join(filter(can_classify_new, METHODS))}. Received: {method}"
        )
    num_base = (embedding_set.num_classes + 1) // 2
    is_base = embedding_set.test_labels < num_base
    if embedding_set.num_classes < 4 or is_base.all() or not is_base.any():
        raise InputError(
            f"{embedding_set.dataset}: base-to-new needs four classes or more, and test images of "
            f"both halves. Received: {embedding_set.num_classes} classes, with {is_base.sum()} "
            f"test images in the first half and {(~is_base).sum()} in the second"
        )
    base = base_task(task, num_base)
    fitted, fit_seconds = fit_method(method, base)

    images = unit_rows(embedding_set.test_embeddings)
    also_rows = None if also is None else unit_rows(embedding_set.further(also).test)
    base_also = None if also_rows is None else also_rows[is_base]
    labels = embedding_set.test_labels
    new_images = images[~is_base]
    if also_rows is not None and fitted.uses_also:
        new_images = np.concatenate([new_images, also_rows[~is_base]], axis=1)
    new_logits = _new_logits(fitted, base, task.text_embeddings[num_base:], new_images)
    return make_record(
        embedding_set,
        base,
        method,
        fitted,
        base_to_new=True,
        base_top1=top_1(predict_logits(fitted, images[is_base], base_also), labels[is_base]),
        new_top1=top_1(new_logits, labels[~is_base] - num_base),
        fit_seconds=fit_seconds,
    )


def base_task(task: FewShotTask, num_base: int) -> FewShotTask:
    """Returns a task with the rows and texts of its first `num_base` classes alone."""
    support = task.labels < num_base
    kept: dict[str, Any] = {}
    if task.also_embeddings is not None:
        kept["also_embeddings"] = task.also_embeddings[support]
    if task.val_embeddings is not None and task.val_labels is not None:
        val = task.val_labels < num_base
        kept |= {"val_embeddings": task.val_embeddings[val], "val_labels": task.val_labels[val]}
        if task.val_also_embeddings is not None:
            kept["val_also_embeddings"] = task.val_also_embeddings[val]
    return replace(
        task,
        embeddings=task.embeddings[support],
        labels=task.labels[support],
        text_embeddings=task.text_embeddings[:num_base],
        **kept,
    )


def _new_logits(
    fitted: FewShotMethod,
    task: FewShotTask,
    text_embeddings: npt.NDArray[np.float32],
    images: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Returns the logits of classes that the method was not fitted on."""
    if isinstance(fitted, MappedImages):
        other = copy.copy(fitted)  # It keeps the map of the images, and gets other texts.
        other.text_weights_ = np.float32(task.logit_scale) * text_embeddings
        return other.predict_logits(images)
    if not isinstance(fitted, CMM):
        return images @ text_embeddings.T
    # The recipe starts all classes, and the new ones have no image.
    whole = CMMClassifier.from_text_embeddings(
        np.concatenate([task.text_embeddings, text_embeddings]),
        logit_scale=task.logit_scale,
        also_dim=task.also_dim,
    )
    rows = task.embeddings
    if task.also_embeddings is not None:
        rows = np.concatenate([rows, task.also_embeddings], axis=1)
    fitted.recipe_.prepare(whole, rows, task.labels.astype("int64"))
    new = CMMClassifier.from_text_embeddings(
        text_embeddings,
        mapping=fitted.model_.mapping,
        alpha=whole.alpha if fitted.alpha is None else fitted.alpha,
        logit_scale=whole.logit_scale,
        clip_weight=whole.clip_weight,
        also_dim=task.also_dim,
    )
    starts = keras.ops.convert_to_numpy(whole.prototypes.embeddings)
    new.prototypes.embeddings.assign(starts[task.num_classes :])
    return np.asarray(new.predict(images, batch_size=4096, verbose=0))
