"""Losses of Cross-Modal Mapping, written in `keras.ops` alone."""

from keras_cmm.losses.cross_modal_triplet_loss import CrossModalTripletLoss

__all__ = ["CrossModalTripletLoss"]
