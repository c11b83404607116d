"""Sharing a classifier: the model card, and the Hugging Face hub."""

from keras_cmm.hub.model_card import model_card
from keras_cmm.hub.push_model import push_model
from keras_cmm.hub.pushed_model import PushedModel

__all__ = ["PushedModel", "model_card", "push_model"]
