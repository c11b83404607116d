"""Exporting a classifier to formats that run without Keras."""

from keras_cmm.export.export_classifier import export_classifier
from keras_cmm.export.formats import FORMATS
from keras_cmm.export.parity import Parity

__all__ = ["FORMATS", "Parity", "export_classifier"]
