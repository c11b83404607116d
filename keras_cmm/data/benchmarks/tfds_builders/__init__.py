"""Builders for tensorflow-datasets of what it does not have itself.

Importing them registers them: `tfds.builder("fgvc_aircraft")` then finds the builder. They need
tensorflow-datasets; nothing else in the package imports them at its top.
"""

from keras_cmm.data.benchmarks.tfds_builders.fgvc_aircraft import FGVCAircraft
from keras_cmm.data.benchmarks.tfds_builders.ucf101_middle_frames import UCF101MiddleFrames

__all__ = ["FGVCAircraft", "UCF101MiddleFrames"]
