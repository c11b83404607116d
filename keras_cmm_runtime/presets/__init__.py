"""What can be named as a preset, read without Keras."""

from keras_cmm_runtime.presets.preset import Preset
from keras_cmm_runtime.presets.preset_table import known_presets, near_presets

__all__ = ["Preset", "known_presets", "near_presets"]
