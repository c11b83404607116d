"""Layers of Cross-Modal Mapping, written in `keras.ops` alone."""

from keras_cmm.layers.class_prototypes import ClassPrototypes
from keras_cmm.layers.cross_modal_mapping import CrossModalMapping

__all__ = ["ClassPrototypes", "CrossModalMapping"]
