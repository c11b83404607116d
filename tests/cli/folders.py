"""Folders of pictures, and what is in a folder."""

import numpy as np
from PIL import Image

COLOURS = {"red_fox": (220, 40, 30), "Blue Jay": (40, 60, 220), "green tea": (30, 200, 60)}


def write_photos(folder, images=6, seed=0):
    rng = np.random.default_rng(seed)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(images):
            pixels = np.array(colour) + rng.normal(0, 30, size=(40 + number, 48, 3))
            picture = Image.fromarray(pixels.clip(0, 255).astype("uint8"))
            picture.save(folder / name / f"{number}.png")
    return folder


def truncate_as_jpeg(path):
    """Replaces a picture by the first half of it as a JPEG; returns the new path."""
    jpeg = path.with_suffix(".jpg")
    Image.open(path).resize((200, 200)).save(jpeg)
    jpeg.write_bytes(jpeg.read_bytes()[: jpeg.stat().st_size // 2])
    path.unlink()
    return jpeg


def files_in(folder):
    """All paths in a folder, to see that nothing was written."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
