"""Losses of Cross-Modal Mapping, written in `keras.ops` alone."""

from keras_cmm.losses.cross_modal_triplet_loss import CrossModalTripletLoss
from keras_cmm.losses.supervised_contrastive_loss import SupervisedContrastiveLoss

__all__ = ["CrossModalTripletLoss", "SupervisedContrastiveLoss"]
