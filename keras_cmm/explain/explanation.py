"""Why a classifier named a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL.PngImagePlugin import PngInfo

from keras_cmm.explain.decision_shares import DecisionShares
from keras_cmm.explain.support_image import SupportImage
from keras_cmm_runtime.utils.files import replacing

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, eq=False)
class Explanation:
    """What `CMMImageClassifier.explain` returns about one class of one image.

    Args:
        image: the RGB picture, upright, in its own size.
        class_name: the class that is explained.
        probability: its probability, in [0, 1].
        predicted_class: the most probable class.
        heat_map: float32 `(height, width)`, aligned with `image`. How much the lead of the class
            over the mean of the classes falls without what the image tower takes from this place,
            in units of logits. It is below zero where the place is against the class, and zero
            where preprocessing cuts the picture off. `None` if it was not asked for.
        shares: what texts and images add to the margin of the class.
        nearest: the nearest training images, the most similar first, or `None`.
        nearest_missing: why `nearest` is `None`, or an empty text.
    """

    image: Image
    class_name: str
    probability: float
    predicted_class: str
    heat_map: npt.NDArray[np.float32] | None
    shares: DecisionShares
    nearest: Sequence[SupportImage] | None
    nearest_missing: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Returns the numbers as JSON can hold them, without the picture.

        The heat map is described by its largest value and the place of it, `[x, y]` in pixels.
        """
        shares = self.shares
        return {
            "class": self.class_name,
            "probability": self.probability,
            "predicted_class": self.predicted_class,
            "decision": {
                "rival": shares.rival,
                "margin": shares.margin,
                "text": shares.text,
                "images": shares.images,
                "text_share": shares.text_share,
                "images_share": shares.images_share,
            },
            "heat_map": self._peak(),
            "nearest": None
            if self.nearest is None
            else [
                {"image": each.name, "class": each.class_name, "similarity": each.similarity}
                for each in self.nearest
            ],
            "nearest_missing": self.nearest_missing or None,
        }

    def _peak(self) -> dict[str, Any] | None:
        if self.heat_map is None:
            return None
        y, x = np.unravel_index(int(self.heat_map.argmax()), self.heat_map.shape)
        return {
            "width": self.image.width,
            "height": self.image.height,
            "peak": float(self.heat_map[y, x]),
            "peak_at": [int(x), int(y)],
        }

    def draw(self) -> Image:
        """Returns the picture beside the same picture with the heat map over it.

        The title names the class and its probability. The colours are those of viridis, which
        people who cannot tell red from green read too.
        """
        from keras_cmm.explain.explanation_figure import draw_explanation

        return draw_explanation(self)

    def save(self, path: str | Path) -> None:
        """Writes what `draw` returns as a PNG file.

        Raises:
            InputError: if the file cannot be written.
        """
        marks = PngInfo()
        # By this, the command knows which files it may replace.
        marks.add_text("Software", "keras-cmm explanation")
        picture = self.draw()
        with replacing(Path(path)) as file:
            picture.save(file, format="PNG", pnginfo=marks)
