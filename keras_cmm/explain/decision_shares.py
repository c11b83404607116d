"""What texts and images add to a decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops


@dataclass(frozen=True)
class DecisionShares:
    """How far the two parts of the fused logits put one class before another.

    The logits of a `CMMClassifier` are a sum: CLIP's own part compares the image with the frozen
    texts of the classes, the trained part compares the mapped image with the trained prototypes.
    So is the margin, the difference of two classes' logits. Before training, the prototypes are the
    texts too.

    Args:
        class_name: the class that is explained.
        rival: the class that it is compared with.
        text: what CLIP's own part adds to the margin, in units of logits. It is negative where that
            part is for the rival.
        images: what the trained part, map and prototypes, adds to the margin.

    Example:
        >>> shares = DecisionShares("ant", "bee", text=-1.0, images=5.0)
        >>> shares.margin, shares.text_share, shares.images_share
        (4.0, -0.25, 1.25)
    """

    class_name: str
    rival: str
    text: float
    images: float

    @property
    def margin(self) -> float:
        """The logit of the class minus that of its rival, `text + images`."""
        return self.text + self.images

    @property
    def text_share(self) -> float | None:
        """The part of the margin that comes from the texts, or `None` if the margin is zero."""
        return self.text / self.margin if self.margin else None

    @property
    def images_share(self) -> float | None:
        """The rest of the margin, `1 - text_share`, or `None` if the margin is zero."""
        return None if self.text_share is None else 1 - self.text_share


def logit_parts(
    head: Any, embeddings: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Returns the two parts of the fused logits.

    Args:
        head: a `CMMClassifier`.
        embeddings: `(images, dim + also_dim)`.

    Returns:
        CLIP's own part and the trained part, `(images, classes)` each. Their sum is the logits.
    """
    inputs = ops.convert_to_tensor(np.asarray(embeddings, dtype="float32"))

    def cosines(similarities: Any) -> npt.NDArray[np.float64]:
        return ops.convert_to_numpy(ops.cast(similarities, "float32")).astype("float64")

    clip_part = inputs[:, : inputs.shape[1] - head.also_dim]
    text = head.logit_scale * head.clip_weight * cosines(head.text_prototypes(clip_part))
    images = head.logit_scale * head.alpha * cosines(head.similarities(inputs))
    return text, images
