"""The weights of a model, kept where a call ends in an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras


@contextmanager
def kept_weights(model: Any) -> Iterator[None]:
    """Gives a model its weights back if `fit`, `evaluate` or `predict` ends in an error.

    On JAX, Keras takes the weights out of a model while it works. A bad batch would leave it
    without.

    Args:
        model: a `keras.Model`.
    """
    if keras.config.backend() != "jax" or not model.built:
        yield
        return
    variables = [*model.variables, *model.metrics_variables]
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None:
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
        variables += optimizer.variables
    before = [variable.value for variable in variables]
    try:
        yield
    except BaseException:
        if any(getattr(variable, "_value", variable) is None for variable in variables):
            if any(value.is_deleted() for value in before):  # A step was done with them.
                model.jax_state_sync()
            else:
                for variable, value in zip(variables, before, strict=True):
                    variable.assign(value)
        raise
