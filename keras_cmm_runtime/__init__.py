"""What a machine needs that only predicts: no Keras, torch or TensorFlow.

It reads images and lists of them and rates predictions. `keras_cmm` builds on it.
"""

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.onnx_classifier import OnnxClassifier

__all__ = ["InputError", "OnnxClassifier"]
