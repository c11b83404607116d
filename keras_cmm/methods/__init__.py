"""Few-shot methods on frozen embeddings: fit on a support set, predict logits."""

from __future__ import annotations

from keras_cmm.methods.clap import CLAP
from keras_cmm.methods.clip_adapter import CLIPAdapter
from keras_cmm.methods.cmm import CMM
from keras_cmm.methods.few_shot_method import FewShotMethod
from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.methods.gda import GDA
from keras_cmm.methods.hoso_adapter import HOSOAdapter
from keras_cmm.methods.lfa import LFA
from keras_cmm.methods.linear_probe import LinearProbe
from keras_cmm.methods.lp_plus_plus import LPPlusPlus
from keras_cmm.methods.mapped_images import MappedImages
from keras_cmm.methods.nearest_mean import NearestMean
from keras_cmm.methods.plain_cmm import PlainCMM
from keras_cmm.methods.proker import ProKeR
from keras_cmm.methods.prototype_mixing import PrototypeMixing
from keras_cmm.methods.rla import RLA
from keras_cmm.methods.task_res import TaskRes
from keras_cmm.methods.tip_adapter import TipAdapter
from keras_cmm.methods.tip_adapter_f import TipAdapterF
from keras_cmm.methods.zero_shot import ZeroShot

METHODS: dict[str, type[FewShotMethod]] = {
    method.name: method
    for method in (
        CMM,
        PlainCMM,
        ZeroShot,
        NearestMean,
        LinearProbe,
        CLIPAdapter,
        TipAdapter,
        TipAdapterF,
        TaskRes,
        LPPlusPlus,
        CLAP,
        GDA,
        ProKeR,
        LFA,
        RLA,
        HOSOAdapter,
        PrototypeMixing,
    )
}

__all__ = [
    "CLAP",
    "CMM",
    "GDA",
    "LFA",
    "METHODS",
    "RLA",
    "CLIPAdapter",
    "FewShotMethod",
    "FewShotTask",
    "HOSOAdapter",
    "LPPlusPlus",
    "LinearProbe",
    "MappedImages",
    "NearestMean",
    "PlainCMM",
    "ProKeR",
    "PrototypeMixing",
    "TaskRes",
    "TipAdapter",
    "TipAdapterF",
    "ZeroShot",
]
