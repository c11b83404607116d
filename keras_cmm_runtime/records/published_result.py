"""Results that others have published."""

from __future__ import annotations

from typing import NamedTuple


class PublishedResult(NamedTuple):
    """Top-1 accuracy that others report for a method on frozen CLIP.

    16 shots, average over the 11 data sets of CoOp, from the authors' logs or later re-runs.

    Args:
        method: Name of the method.
        rn50: Percent with CLIP's RN50, or `None` if it is not known.
        vit_b16: Percent with CLIP's ViT-B/16, or `None` if it is not known.
        source: Who describes the method.
        protocol: How the authors split and tuned, as far as it is known.

    Example:
        >>> PUBLISHED_RESULTS[0].method, PUBLISHED_RESULTS[0].vit_b16
        ('zero-shot CLIP', 65.4)
    """

    method: str
    rn50: float | None
    vit_b16: float | None
    source: str
    protocol: str = "CoOp's splits; tuning as each author does, on validation or on test images"


_LOGS = "authors' logs or later re-runs"
_ENCODERS = "CoOp's splits; tunes the encoders too, which no other method here does"

PUBLISHED_RESULTS = (
    PublishedResult(
        "zero-shot CLIP",
        58.9,
        65.4,
        "Radford et al., arXiv:2103.00020",
        "CoOp's test sets, no training",
    ),
    PublishedResult("linear probe", None, 78.4, "Radford et al., arXiv:2103.00020"),
    PublishedResult("Tip-Adapter", 70.3, 76.4, "Zhang et al., arXiv:2207.09519"),
    PublishedResult("Tip-Adapter-F", 75.8, 81.2, "Zhang et al., arXiv:2207.09519"),
    PublishedResult("CLIP-Adapter", 74.4, 79.9, "Gao et al., arXiv:2110.04544"),
    PublishedResult("LP++", None, 80.3, "Huang et al., arXiv:2404.02285"),
    PublishedResult("GDA", 76.1, 81.7, "Wang et al., arXiv:2402.04087"),
    PublishedResult("APE-T", 77.3, None, _LOGS),
    PublishedResult("ProKeR", None, 82.0, "arXiv:2501.11175"),
    PublishedResult("TOGA", None, 82.3, _LOGS),
    PublishedResult("CLIP-LoRA", None, 82.9, _LOGS, _ENCODERS),
    PublishedResult("MPS-Tuning", None, 86.9, _LOGS, _ENCODERS),
)
"""Published results at 16 shots, on the average of 11 data sets."""
