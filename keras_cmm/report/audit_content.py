"""The content of the page of an audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keras_cmm.labelling import Finding


@dataclass(frozen=True, eq=False)
class AuditContent:
    """What the page of an audit shows.

    Args:
        title: Heading of the page.
        summary: One or two sentences under the heading.
        findings: What was found, the most important of a kind first.
        names: The name of each image.
        class_names: The name of each class.
        images: By its number, each image that a finding is about, as `keras_cmm.clip.read_image`
            takes it. One that is missing or cannot be read is shown by its name alone.
        command: The exact command that made the page.
        versions: Version of each package.

    Example:
        >>> AuditContent("Insects", "", [], ["a.png"], ["ant", "bee"]).images
        {}
    """

    title: str
    summary: str
    findings: Sequence[Finding]
    names: Sequence[str]
    class_names: Sequence[str]
    images: Mapping[int, Any] = field(default_factory=dict)
    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
