"""Pictures of three classes, for tests of image classifiers."""

import numpy as np

NAMES = ["ant", "bee", "cat"]


def make_images(count=12, seed=0):
    """Class 0 is red, 1 green, 2 blue, all noisy, of mixed sizes."""
    rng = np.random.default_rng(seed)
    images, labels = [], []
    for number in range(count):
        label = number * len(NAMES) // count  # sorted by class, as folders are
        image = rng.integers(0, 60, (40 + number, 50, 3))
        image[..., label] += 190
        images.append(image.astype("uint8"))
        labels.append(label)
    return images, np.array(labels)
