"""A classifier that the studio trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_cmm.data import FewShotSample
    from keras_cmm.models import CMMImageClassifier


@dataclass(frozen=True, eq=False)
class TrainedClassifier:
    """A classifier that the studio trained, with all that its folder tells about it.

    Args:
        classifier: The classifier.
        sample: The draw of its training images: all of them, in the order they were trained on.
        history: What training recorded, by name.
        images: For each training image its `name`, `label` and `sha256`.
        preset: The CLIP it was made on.
        seed: The seed of training.
        fingerprint: The digest of the classes and images.
    """

    classifier: CMMImageClassifier
    sample: FewShotSample
    history: dict[str, list[float]]
    images: list[dict[str, str]]
    preset: str
    seed: int
    fingerprint: str
