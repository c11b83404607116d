"""Transductive methods: they see all test images at once, without labels.

They are no few-shot methods: what they say of an image depends on the others. So they are a group
of their own, and stand in no table with `keras_cmm.methods.METHODS`.
"""

from __future__ import annotations

from keras_cmm.methods.transductive.em_dirichlet import EMDirichlet
from keras_cmm.methods.transductive.text_guided_mixture import TextGuidedMixture
from keras_cmm.methods.transductive.transductive_method import TransductiveMethod

TRANSDUCTIVE_METHODS: dict[str, type[TransductiveMethod]] = {
    method.name: method for method in (EMDirichlet, TextGuidedMixture)
}

__all__ = ["TRANSDUCTIVE_METHODS", "EMDirichlet", "TextGuidedMixture", "TransductiveMethod"]
