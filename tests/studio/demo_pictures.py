"""Bundled pictures as files."""

from PIL import Image

CLASSES = ("artist", "cook", "firefighter")


OTHER = "person raising hand"


def write_other_picture(path):
    """Writes a picture of another class, of which classifiers of the three are not sure."""
    from keras_cmm.data import DemoSet

    demo = DemoSet.load()
    images = demo.test_images[demo.test_labels == demo.class_names.index(OTHER)]
    Image.fromarray(images[2]).save(path)
    return path


def write_demo_pictures(folder, shots=4):
    """Writes pictures of three classes to train on and to try; returns both by class."""
    from keras_cmm.data import DemoSet

    demo = DemoSet.load()
    written = {}
    for part, number in (("train", shots), ("test", 2)):
        images = getattr(demo, f"{part}_images")
        labels = getattr(demo, f"{part}_labels")
        written[part] = {}
        for name in CLASSES:
            own = images[labels == demo.class_names.index(name)]
            chosen = own[:: max(1, len(own) // number)][:number]
            written[part][name] = []
            for row, picture in enumerate(chosen):
                path = folder / f"{part}-{name}-{row}.png"
                Image.fromarray(picture).save(path)
                written[part][name].append(path)
    return written
