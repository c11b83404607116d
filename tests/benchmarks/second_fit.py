"""Times a second `fit` on the same images against the first.

    python tests/benchmarks/second_fit.py [--preset PRESET] [--patch-size 16] [--images 2000]

The images are JPEG files of noise, and the classifiers use a store. The second `fit` belongs to a
new classifier object, as in a new process: it hashes the weights and the files, and trains the same
head.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image


def write_images(folder, count, size):
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        coarse = rng.integers(0, 256, (size[1] // 8, size[0] // 8, 3), "uint8")
        paths.append(folder / f"{number}.jpg")
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(paths[-1], quality=90)
    return paths, np.arange(count) % 10


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", help="default: a ViT-B of random weights")
    parser.add_argument("--patch-size", type=int, default=16, help="patch size of the random ViT-B")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--size", type=int, nargs=2, default=(400, 300), help="width and height")
    parser.add_argument("--epochs", type=int, default=30)
    arguments = parser.parse_args()

    from keras_cmm import CMMImageClassifier
    from keras_cmm.clip import EmbeddingStore

    names = [f"class {number}" for number in range(10)]
    with tempfile.TemporaryDirectory() as folder:
        preset = arguments.preset or random_preset(Path(folder, "preset"), arguments.patch_size)
        (Path(folder, "images")).mkdir()
        paths, labels = write_images(Path(folder, "images"), arguments.images, arguments.size)
        seconds = {}
        taken = 0
        for name in ("first fit", "second fit, new object", "third fit, same object"):
            if "same" not in name:
                model = CMMImageClassifier.from_preset(preset, class_names=names)
                store = model.embedder.store = EmbeddingStore(Path(folder, "store"))
                taken = 0
            start = time.perf_counter()
            model.fit(paths, labels, epochs=arguments.epochs, verbose=0)
            seconds[name] = time.perf_counter() - start
            print(
                f"{name:24} {seconds[name]:8.2f} s, {seconds['first fit'] / seconds[name]:6.1f} "
                f"times as fast, {store.taken - taken:,} of {len(paths):,} images taken from "
                "the store",
                flush=True,
            )
            taken = store.taken


def random_preset(folder, patch_size):
    """Saves a ViT-B of random weights, with the tokenizer of the bundled preset."""
    import keras_hub

    from keras_cmm import clip

    small = clip.load("emoji_clip_tiny")
    vision = keras_hub.models.CLIPVisionEncoder(
        patch_size, 768, 12, 12, 3072, image_shape=(224, 224, 3)
    )
    text = keras_hub.models.CLIPTextEncoder(
        small.tokenizer.vocabulary_size(), 512, 512, 2, 8, 2048, max_sequence_length=32
    )
    backbone = keras_hub.models.CLIPBackbone(vision, text, projection_dim=512)
    converter = keras_hub.layers.CLIPImageConverter(
        image_size=(224, 224), scale=1 / 127.5, offset=-1, interpolation="bicubic"
    )
    backbone.save_to_preset(str(folder))
    keras_hub.models.CLIPPreprocessor(
        small.tokenizer, converter, sequence_length=32
    ).save_to_preset(str(folder))
    return folder


if __name__ == "__main__":
    main()
