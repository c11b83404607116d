"""Cross-Modal Mapping by the plain recipe."""

from __future__ import annotations

from typing import ClassVar

from keras_cmm.methods.cmm import CMM


class PlainCMM(CMM):
    """`CMM` with the plain recipe, under a name of its own for tables.

    Example:
        >>> PlainCMM().name, PlainCMM().recipe
        ('cmm_plain', 'plain')

    References:
        Yang et al., Cross-Modal Mapping, arXiv:2412.20110.
    """

    name: ClassVar[str] = "cmm_plain"

    def __init__(self) -> None:
        super().__init__(recipe="plain")
