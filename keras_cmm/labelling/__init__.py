"""Which images to label next, and which labels and images to look at again."""

from keras_cmm.labelling.audit import audit
from keras_cmm.labelling.class_checks import alike_classes, silent_names
from keras_cmm.labelling.duplicates import exact_duplicates, near_duplicates
from keras_cmm.labelling.finding import KINDS, Finding
from keras_cmm.labelling.odd_images import odd_images
from keras_cmm.labelling.out_of_fold import closed_form_predict, out_of_fold, stratified_folds
from keras_cmm.labelling.pool import Pool
from keras_cmm.labelling.strategies import STRATEGIES
from keras_cmm.labelling.suggest import DEFAULT_STRATEGY, suggest
from keras_cmm.labelling.suggestion import Suggestion, suggestions
from keras_cmm.labelling.wrong_labels import wrong_labels

__all__ = [
    "DEFAULT_STRATEGY",
    "KINDS",
    "STRATEGIES",
    "Finding",
    "Pool",
    "Suggestion",
    "alike_classes",
    "audit",
    "closed_form_predict",
    "exact_duplicates",
    "near_duplicates",
    "odd_images",
    "out_of_fold",
    "silent_names",
    "stratified_folds",
    "suggest",
    "suggestions",
    "wrong_labels",
]
