"""The picture of a heat map."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from keras_cmm.explain import Explanation

_SIZE = 512
_WEIGHT = 0.65


def heat_picture(explanation: Explanation) -> str | None:
    """Returns the heat map over the picture in grey, as a `data:` address of a PNG file.

    Args:
        explanation: What `explain` returned, with or without a heat map.

    Returns:
        The address, or `None` without a heat map. The colours are those of viridis.
    """
    if explanation.heat_map is None:
        return None
    from matplotlib import colormaps

    picture = explanation.image.convert("L").convert("RGB")
    picture.thumbnail((_SIZE, _SIZE))
    heat = np.clip(explanation.heat_map, 0, None)
    heat = heat / max(float(heat.max()), 1e-12)
    small = Image.fromarray(heat.astype("float32")).resize(picture.size, Image.Resampling.BILINEAR)
    colours = colormaps["viridis"](np.asarray(small))[..., :3] * 255
    mixed = _WEIGHT * colours + (1 - _WEIGHT) * np.asarray(picture)
    file = io.BytesIO()
    Image.fromarray(mixed.astype("uint8")).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
