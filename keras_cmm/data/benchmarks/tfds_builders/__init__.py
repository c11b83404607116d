"""Builders for tensorflow-datasets, of benchmarks that it does not have itself.

Importing this package registers them, so that `tfds.builder("fgvc_aircraft")` finds its builder. It
needs tensorflow-datasets, so no module of `keras_cmm` imports it at its top.
"""

from keras_cmm.data.benchmarks.tfds_builders.fgvc_aircraft import FGVCAircraft
from keras_cmm.data.benchmarks.tfds_builders.ucf101_middle_frames import UCF101MiddleFrames

__all__ = ["FGVCAircraft", "UCF101MiddleFrames"]
