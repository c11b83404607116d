"""Checks of what users pass to a classifier, made before any image is embedded."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import Any

import keras
import numpy as np

from keras_cmm.recipes import checked_sample_weight
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.check_number import check_int, check_number, is_finite_number
from keras_cmm_runtime.utils.same_names import same_names


def checked_class_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """Returns class names as a tuple.

    Args:
        class_names: two or more different names, in the order of the class ids.

    Raises:
        InputError: if they are not.
    """
    if isinstance(class_names, str | Set):
        raise InputError(
            "`class_names` must be a list of strings, whose order is that of the class ids. "
            f"Received: {class_names!r}"
        )
    names = tuple(class_names)
    if not all(isinstance(name, str) and name.strip() for name in names):
        raise InputError(
            f"`class_names` must be a list of strings, none blank. Received: {list(names)!r}"
        )
    for name in names:
        if name.encode(errors="ignore").decode() != name:
            raise InputError(f"`class_names` must be valid Unicode. Received: {name!r}")
    if len(names) < 2:
        raise InputError(f"`class_names` must have two names or more. Received: {list(names)}")
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise InputError(
            "`class_names` must differ; tell them apart as in 'crane (bird)'. "
            f"Received twice: {repeated[0]!r}"
        )
    return names


def class_weight_by_id(
    class_weight: Mapping[int | str, float] | None,
    classes: Sequence[str] | int,
    sample_weight: Any,
) -> dict[int, float] | None:
    """Returns class weights by class id. Keras would ignore a key that is no class id.

    Args:
        class_weight: weights by class id or name, or `None`.
        classes: the class names, or how many classes without names there are.
        sample_weight: the weights of samples, or `None`; both cannot be used together.

    Raises:
        InputError: if a key is no class, a weight is no finite number >= 0, or there are sample
            weights too.

    Example:
        >>> class_weight_by_id({"dog": 2.0}, ["cat", "dog"], None)
        {1: 2.0}
    """
    if class_weight is None:
        return None
    if not isinstance(class_weight, Mapping):
        raise InputError(
            "`class_weight` must be a dict of class ids or names to weights. "
            f"Received: {class_weight!r}"
        )
    if sample_weight is not None:
        raise InputError(
            "`class_weight` and `sample_weight` cannot be used together: give the product of "
            "both as `sample_weight`."
        )
    class_names = [] if isinstance(classes, int) else classes
    num_classes = classes if isinstance(classes, int) else len(classes)
    same = same_names([key for key in class_weight if isinstance(key, str)], class_names)
    id_of_name = {name: index for index, name in enumerate(class_names)}
    id_of_key: dict[Any, int] = {key: id_of_name[name] for key, name in same.items()}
    weights: dict[Any, float] = {
        id_of_key.get(key, key): weight for key, weight in class_weight.items()
    }
    ids = range(num_classes)
    unknown = [key for key in weights if isinstance(key, bool) or key not in ids]
    if unknown:
        raise InputError(
            f"the keys of `class_weight` must be {'class names or ' if class_names else ''}class "
            f"ids from 0 to {num_classes - 1}. Received: {unknown[0]!r}"
        )
    values = list(weights.values())
    if not all(is_finite_number(each) and each >= 0 for each in values):
        raise InputError(f"`class_weight` must hold finite numbers >= 0. Received: {values}")
    return weights


def check_fit_arguments(
    arguments: dict[str, Any],
    class_names: Sequence[str],
    seed: int,
    samples: int | None,
    has_default_optimizer: bool,
) -> None:
    """Checks the arguments of `fit`, takes out `shuffle` and brings `class_weight` to class ids.

    Args:
        arguments: those of `keras.Model.fit`, which are changed.
        class_names: the classes.
        seed: the seed of `fit`.
        samples: int or `None`. The number of samples, `None` where it is not known yet.
        has_default_optimizer: bool. Whether the recipe's optimizer is used.

    Raises:
        TypeError: if `keras.Model.fit` has no such argument.
        ValueError: if an argument cannot be used.
    """
    inspect.signature(keras.Model.fit).bind_partial(None, **arguments)
    if not arguments.pop("shuffle", True):
        raise ValueError("samples are always shuffled, by `seed`. Received: shuffle=False")
    if has_default_optimizer:
        refuse_rate_callbacks(arguments.get("callbacks"))
    sample_weight = arguments.get("sample_weight")
    arguments["class_weight"] = class_weight_by_id(
        arguments.get("class_weight"), class_names, sample_weight
    )
    check_int("seed", seed, 0)
    split = arguments.get("validation_split", 0.0)
    check_number("validation_split", split, "in [0, 1)")
    if samples is None:
        return
    weights = checked_sample_weight(sample_weight, samples)
    if weights is not None:
        samples = int(np.count_nonzero(weights))
    if split and not int(samples * split):
        raise ValueError(
            "`validation_split` must hold out one sample or more, or be 0. "
            f"Received: {split}, with {samples} samples"
        )


def validation_pair(validation_data: Any) -> tuple[Any, Any]:
    """Returns validation data as images or a data set, and labels or `None`."""
    if not isinstance(validation_data, tuple | list):
        return validation_data, None
    if len(validation_data) != 2:
        raise InputError(
            "`validation_data` must be (images, labels) or a data set. "
            f"Received: {len(validation_data)} parts"
        )
    return validation_data[0], validation_data[1]


def loss_takes_ids(loss: Any) -> bool:
    """Whether a compiled loss takes class ids, as Keras's sparse ones do; `None` is the default."""
    names = [
        name.lower()
        for each in keras.tree.flatten(loss)
        for name in (
            str(each),
            getattr(each, "__name__", ""),
            *(kind.__name__ for kind in type(each).__mro__),
        )
    ]
    return loss is None or any(name.startswith("sparse") for name in names)


def refuse_rate_callbacks(callbacks: Any) -> None:
    """Refuses callbacks that set the learning rate: the recipe's follows a schedule."""
    setters = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)
    for each in keras.tree.flatten(getattr(callbacks, "callbacks", callbacks)):
        if isinstance(each, setters):
            raise ValueError(
                f"`{type(each).__name__}` cannot be used with the default optimizer, whose "
                "learning rate follows a schedule. Call "
                "`compile(optimizer=keras.optimizers.AdamW(1e-3))` before."
            )


def refuse_one_hot(argument: str, given: Any) -> None:
    """Refuses Keras's own losses and metrics that take no class ids: all but the sparse ones.

    Args:
        argument: name of the argument of `compile`, such as "loss".
        given: its value.
    """
    known = keras.losses if argument == "loss" else keras.metrics
    for each in keras.tree.flatten(given):
        if each is None or (isinstance(each, str) and each in ("auto", "accuracy", "acc")):
            continue
        try:
            found = known.get(each)
        except (TypeError, ValueError):  # An unknown name: for Keras to say.
            continue
        name = getattr(found, "__name__", type(found).__name__)
        is_own = found.__module__.partition(".")[0] != "keras" or name == "MeanMetricWrapper"
        if not is_own and not name.lower().startswith("sparse"):
            raise ValueError(
                f"`{argument}` must take class ids and logits, as Keras' sparse ones do: labels of "
                f"all kinds are brought to class ids. Received: {each!r}"
            )


def refuse_probabilities(argument: str, given: Any) -> None:
    """Refuses losses and metrics that take logits for probabilities: training would go badly.

    The arguments are those of `refuse_one_hot`; the value may be nested lists or dicts.
    """
    for each in keras.tree.flatten(given):
        try:
            function = keras.losses.get(each)
        except ValueError:  # A metric, or an unknown name: for Keras to say.
            continue
        from_logits = getattr(function, "from_logits", None)
        if inspect.isfunction(function):
            parameter = inspect.signature(function).parameters.get("from_logits")
            from_logits = parameter.default if parameter else None
        if from_logits is False:
            kind = "losses" if argument == "loss" else "metrics"
            raise ValueError(
                f"`{argument}` must be of logits, such as "
                f"`keras.{kind}.SparseCategoricalCrossentropy(from_logits=True)`. "
                f"Received: {each!r}, which is of probabilities"
            )
