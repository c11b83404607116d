"""A server of image classifiers over HTTP: the Open Inference Protocol v2 and plain uploads.

It runs on ONNX Runtime and Pillow, without Keras.
"""

from keras_cmm_server.app import create_app
from keras_cmm_server.server_settings import LOCAL_NAMES, ServerSettings
from keras_cmm_server.serving import serve

__all__ = ["LOCAL_NAMES", "ServerSettings", "create_app", "serve"]
