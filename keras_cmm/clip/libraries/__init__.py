"""Models that OpenCLIP, timm or transformers run themselves, on the torch backend.

They need keras-hub at once, so this room is imported only when such a model is loaded.
"""

from keras_cmm.clip.libraries.open_clip_folder import load_through_open_clip
from keras_cmm.clip.libraries.timm_folder import load_timm
from keras_cmm.clip.libraries.torch_backbone import TorchBackbone
from keras_cmm.clip.libraries.torch_preprocessor import TorchPreprocessor
from keras_cmm.clip.libraries.transformers_folder import load_transformers

__all__ = [
    "TorchBackbone",
    "TorchPreprocessor",
    "load_through_open_clip",
    "load_timm",
    "load_transformers",
]
