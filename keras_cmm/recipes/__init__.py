"""Recipes: where a CMM head starts, and how it is trained on a support set."""

from keras_cmm.recipes.auto_recipe import AutoRecipe
from keras_cmm.recipes.calibration import calibrated_temperature, fit_temperature, held_out_rows
from keras_cmm.recipes.shuffled_batches import ShuffledBatches
from keras_cmm.recipes.training_recipe import TrainingRecipe

__all__ = [
    "AutoRecipe",
    "ShuffledBatches",
    "TrainingRecipe",
    "calibrated_temperature",
    "fit_temperature",
    "held_out_rows",
]
