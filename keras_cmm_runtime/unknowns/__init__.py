"""Images of none of the classes, and sets of classes that hold the right one."""

from keras_cmm_runtime.unknowns.held_out_scores import HeldOutScores
from keras_cmm_runtime.unknowns.nearest_prototype import nearest_prototype

__all__ = ["HeldOutScores", "nearest_prototype"]
