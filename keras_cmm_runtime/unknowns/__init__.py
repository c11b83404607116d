"""Naming classes: the most probable ones, "unknown", or a set that holds the right one."""

from keras_cmm_runtime.unknowns.held_out_scores import HeldOutScores
from keras_cmm_runtime.unknowns.named_classes import UNKNOWN, named_classes

__all__ = ["UNKNOWN", "HeldOutScores", "named_classes"]
