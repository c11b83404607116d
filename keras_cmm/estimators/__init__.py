"""Estimators of scikit-learn: on embeddings and on images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras_cmm.estimators.cmm_estimator import CMMEstimator

if TYPE_CHECKING:
    from keras_cmm.estimators.cmm_image_estimator import CMMImageEstimator

__all__ = ["CMMEstimator", "CMMImageEstimator"]


def __getattr__(name: str) -> Any:
    # keras-hub takes seconds, which estimators on embeddings need not wait for.
    if name == "CMMImageEstimator":
        from keras_cmm.estimators.cmm_image_estimator import CMMImageEstimator

        return CMMImageEstimator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
