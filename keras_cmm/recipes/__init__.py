"""Recipes: where a CMM head starts, and how it is trained on a support set."""

from keras_cmm.recipes.auto_recipe import AutoRecipe
from keras_cmm.recipes.calibration import fit_temperature, held_out_rows, is_more_probable
from keras_cmm.recipes.closed_form_start import ClosedFormStart, closed_form_start
from keras_cmm.recipes.cross_validation import cross_validated_scores
from keras_cmm.recipes.logit_adjustment import logit_adjustment
from keras_cmm.recipes.new_prototype import new_prototype
from keras_cmm.recipes.second_tower import SecondTower, second_tower
from keras_cmm.recipes.shuffled_batches import ShuffledBatches
from keras_cmm.recipes.support_set import (
    checked_embeddings,
    checked_labels,
    checked_sample_weight,
    checked_support,
)
from keras_cmm.recipes.text_prior import text_trust
from keras_cmm.recipes.training_recipe import TrainingRecipe, TrainingSet

__all__ = [
    "AutoRecipe",
    "ClosedFormStart",
    "SecondTower",
    "ShuffledBatches",
    "TrainingRecipe",
    "TrainingSet",
    "checked_embeddings",
    "checked_labels",
    "checked_sample_weight",
    "checked_support",
    "closed_form_start",
    "cross_validated_scores",
    "fit_temperature",
    "held_out_rows",
    "is_more_probable",
    "logit_adjustment",
    "new_prototype",
    "second_tower",
    "text_trust",
]
