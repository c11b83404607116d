"""Encoders: what embeds images, and texts in the same space."""

from keras_cmm.clip.encoders.encoder import Encoder
from keras_cmm.clip.encoders.keras_hub_encoder import KerasHubEncoder

__all__ = ["Encoder", "KerasHubEncoder"]
