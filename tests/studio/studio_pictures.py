"""Pictures for the tests of the studio."""

import io

import numpy as np
from PIL import Image


def png(seed, size=8):
    """Returns a small PNG file, another one for each seed."""
    values = np.random.default_rng(seed).integers(0, 256, (size, size, 3), "uint8")
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()
