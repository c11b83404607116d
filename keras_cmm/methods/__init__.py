"""Few-shot methods on frozen embeddings: fit on a support set, predict logits."""

from __future__ import annotations

from keras_cmm.methods.cmm import CMM
from keras_cmm.methods.few_shot_method import FewShotMethod
from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.linear_probe import LinearProbe
from keras_cmm.methods.nearest_mean import NearestMean
from keras_cmm.methods.plain_cmm import PlainCMM
from keras_cmm.methods.tip_adapter import TipAdapter
from keras_cmm.methods.tip_adapter_f import TipAdapterF
from keras_cmm.methods.zero_shot import ZeroShot

METHODS: dict[str, type[FewShotMethod]] = {
    method.name: method
    for method in (CMM, PlainCMM, ZeroShot, NearestMean, LinearProbe, TipAdapter, TipAdapterF)
}

__all__ = [
    "CMM",
    "METHODS",
    "FewShotMethod",
    "FewShotTask",
    "LinearProbe",
    "NearestMean",
    "PlainCMM",
    "TipAdapter",
    "TipAdapterF",
    "ZeroShot",
]
