"""CLIP backbones: the towers, the interface they share, and how they are run."""

from keras_cmm.clip.backbones.interface import logit_scale, prepare_backbone

__all__ = ["logit_scale", "prepare_backbone"]
