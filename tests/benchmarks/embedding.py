"""Times image embedding against other ways to run the same tower, and `fit` with and without it.

`--part engines` times ViT-B/32 and ViT-B/16 in float32: ours, with the engine that it chooses,
against transformers with sdpa, ONNX Runtime on the export of transformers, and OpenVINO on that
too. `--part rest` times ViT-B/32 in more detail.

All models have random weights and all images are made here, so nothing is downloaded. The compared
functions run in turns, so that other work on the machine slows them alike. A ratio is the median
over the turns. Only the ratios count, since the images per second depend on the machine. Run it
with

    KERAS_BACKEND=torch python tests/benchmarks/embedding.py [--threads 2] [--images 1000]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import keras
import keras_hub
import numpy as np
import torch
from PIL import Image
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from keras_cmm import CMMImageClassifier
from keras_cmm.clip import CLIPModel, EmbeddingStore, ImageEmbedder

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_clip import tiny_vocabulary

BATCH = 32
ROUNDS = 9
EPOCHS = 30
CLASSES = [f"class {number}" for number in range(20)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--images", type=int, default=1000, help="images that `fit` gets")
    parser.add_argument("--part", choices=("engines", "rest", "all"), default="all")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        # The choice of the engine is measured here and now.
        os.environ["KERAS_CMM_HOME"] = folder
        paths = make_images(Path(folder), arguments.images)
        if arguments.part != "rest":
            for patch_size in (32, 16):
                time_engines(patch_size, paths[: 4 * BATCH], Path(folder), arguments)
        if arguments.part == "engines":
            return
        preprocessor = make_preprocessor()
        backbone = make_backbone()
        model = CLIPModel(backbone, preprocessor.tokenizer, preprocessor.image_converter)
        print(f"{arguments.threads} threads, batches of {BATCH}, JPEG files of 500 x 375 pixels")
        time_encoders(model, paths)
        time_end_to_end(model, paths[: 8 * BATCH], None)
        time_end_to_end(model, paths[: 8 * BATCH], "bfloat16")
        time_fit(backbone, preprocessor, paths, Path(folder, "store"))


def time_engines(
    patch_size: int, paths: list[Path], folder: Path, arguments: argparse.Namespace
) -> None:
    preprocessor = make_preprocessor()
    model = CLIPModel(
        make_backbone(patch_size), preprocessor.tokenizer, preprocessor.image_converter
    )
    embedder = ImageEmbedder(model, batch_size=BATCH)
    pixels = np.stack([embedder.preprocessor.pixels(path) for path in paths[:BATCH]])
    images = torch.from_numpy(embedder.preprocessor.normalize(pixels)).permute(0, 3, 1, 2)
    images = images.contiguous()
    config = CLIPVisionConfig(patch_size=patch_size, attn_implementation="sdpa")
    reference = CLIPVisionModelWithProjection(config).eval()

    def transformers() -> None:
        with torch.inference_mode():
            reference(images)

    def end_to_end() -> None:
        # Without a length, as a stream: a job of so few images would not change the engine.
        embedder.embed(iter(paths))

    others = {"transformers, sdpa": transformers}
    others |= exported_engines(reference, images, folder / f"vit_{patch_size}.onnx", arguments)
    embedder.encoder.expect(2**31)
    first = seconds_of(lambda: embedder.embed_pixels(pixels))
    functions = [lambda: embedder.embed_pixels(pixels), *others.values()]
    own, *seconds = in_turns(*functions, rounds=arguments.rounds)
    engine = embedder.encoder._engine._chosen
    name = f"ViT-B/{patch_size}, ours on {engine}"
    print(f"{name:44} {BATCH / np.median(own):6.1f} images/s (first batch {first:.1f} s)")
    for other, times in zip(others, seconds, strict=True):
        ratio = np.median(times / own)
        print(f"  {other:42} {BATCH / np.median(times):6.1f} images/s, ours {ratio:5.2f} x")
    best = np.min(seconds, axis=0)
    print(f"  {'ours / best of the others of each turn':42} {np.median(best / own):28.2f} x")
    embedder.encoder.expect(0)
    whole, best_alone = in_turns(
        end_to_end, list(others.values())[int(np.argmin(np.median(seconds, axis=1)))], rounds=3
    )
    speed = len(paths) / np.median(whole)
    ratio = np.median(best_alone * len(paths) / BATCH / whole)
    print(f"  {'from JPEG files':42} {speed:6.1f} images/s, {ratio:5.2f} x the best other alone")


def exported_engines(
    reference: torch.nn.Module, images: torch.Tensor, path: Path, arguments: argparse.Namespace
) -> dict[str, Callable[[], object]]:
    import onnxruntime
    import openvino

    torch.onnx.export(
        reference,
        (images[:2],),
        path,
        dynamo=True,
        verbose=False,
        input_names=["pixel_values"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    values = images.numpy()
    compiled = openvino.Core().compile_model(
        path,
        "CPU",
        {"INFERENCE_NUM_THREADS": arguments.threads, "INFERENCE_PRECISION_HINT": "f32"},
    )
    return {
        "ONNX Runtime, export of transformers": lambda: session.run(None, {"pixel_values": values}),
        "OpenVINO, export of transformers": lambda: compiled([values]),
    }


def time_encoders(model: CLIPModel, paths: list[Path]) -> None:
    exact, half = ImageEmbedder(model), ImageEmbedder(model, dtype="bfloat16")
    pixels = np.stack([exact.preprocessor.pixels(path) for path in paths[:BATCH]])
    config = CLIPVisionConfig(attn_implementation="sdpa")  # the defaults are those of ViT-B/32
    reference = CLIPVisionModelWithProjection(config).eval()
    inputs = torch.from_numpy(exact.preprocessor.normalize(pixels)).permute(0, 3, 1, 2).contiguous()

    def transformers() -> None:
        with torch.inference_mode():
            reference(inputs)

    def keras_hub_plain() -> None:
        with torch.inference_mode():
            model.backbone.get_vision_embeddings(inputs.permute(0, 2, 3, 1))

    seconds = in_turns(
        transformers,
        keras_hub_plain,
        lambda: exact.embed_pixels(pixels),
        lambda: half.embed_pixels(pixels),
    )
    names = ("keras-hub's forward pass, float32", "ours, float32", "ours, bfloat16")
    speed = BATCH / np.median(seconds[0])
    print(f"{'transformers, float32, sdpa':44} {speed:6.1f} images/s")
    for name, own in zip(names, seconds[1:], strict=True):
        ratio = np.median(seconds[0] / own)
        print(f"{name:44} {BATCH / np.median(own):6.1f} images/s {ratio:6.2f} x transformers")
    cosines = (exact.embed_pixels(pixels) * half.embed_pixels(pixels)).sum(axis=1)
    print(f"{'lowest cosine of bfloat16 to float32':44} {cosines.min():.6f}")


def time_end_to_end(model: CLIPModel, paths: list[Path], dtype: str | None) -> None:
    embedder = ImageEmbedder(model, batch_size=BATCH, dtype=dtype)
    pixels = np.stack([embedder.preprocessor.pixels(path) for path in paths])

    def encoder_alone() -> None:
        for start in range(0, len(pixels), BATCH):
            embedder.embed_pixels(pixels[start : start + BATCH])

    alone, whole = in_turns(encoder_alone, lambda: embedder.embed(paths), rounds=5)
    start = time.process_time()
    for path in paths:
        embedder.preprocessor.pixels(path)
    reading = time.process_time() - start
    name = f"from JPEG files, {dtype or 'float32'}"
    ratio = np.median(alone / whole)
    speed = len(paths) / np.median(whole)
    print(f"{name:44} {speed:6.1f} images/s {ratio:6.3f} x encoder alone")
    name = "  if reading took no more than its CPU time"
    best = np.median(alone) / (np.median(alone) + reading / torch.get_num_threads())
    print(f"{name:44} {'':15} {best:6.3f} x encoder alone")


def time_fit(
    backbone: keras.Model, preprocessor: keras.Layer, paths: list[Path], folder: Path
) -> None:
    labels = np.arange(len(paths)) % len(CLASSES)
    classifier = CMMImageClassifier(backbone, CLASSES, preprocessor=preprocessor)
    classifier.embedder.store = EmbeddingStore(folder)
    first = seconds_of(lambda: classifier.fit(paths, labels, epochs=EPOCHS, verbose=0))
    second = np.median(
        [
            seconds_of(lambda: classifier.fit(paths, labels, epochs=EPOCHS, verbose=0))
            for _ in range(3)
        ]
    )
    classifier.embedder.store = None
    embedded_once = seconds_of(lambda: classifier.fit(paths, labels, epochs=EPOCHS, verbose=0))
    # With an augmentation, even one that changes nothing, every epoch embeds the images again.
    one_epoch = seconds_of(
        lambda: classifier.fit(
            paths, labels, epochs=1, verbose=0, augmentation=lambda pixels: pixels
        )
    )
    print(f"fit on {len(paths)} images, {EPOCHS} epochs: {embedded_once:.1f} s")
    print(f"  through the backbone, one epoch: {one_epoch:.1f} s")
    ratio = EPOCHS * one_epoch / embedded_once
    print(f"{f'  {EPOCHS} epochs of that (scaled) / fit':44} {ratio:6.1f} x")
    print(f"  first fit with a store: {first:.1f} s, second: {second:.2f} s")
    print(f"{'  first / second':44} {first / second:6.1f} x")


def in_turns(*functions: Callable[[], object], rounds: int = ROUNDS) -> np.ndarray:
    """Returns seconds `(functions, rounds)`. A first run of each function is not timed."""
    for function in functions:
        function()
    return np.array([[seconds_of(each) for each in functions] for _ in range(rounds)]).T


def seconds_of(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def make_images(folder: Path, count: int) -> list[Path]:
    """Makes blurred noise with some grain, which compresses to the size of a photo."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), "uint8"))
        smooth = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC), "float32")
        grain = rng.standard_normal(smooth.shape, "float32") * 12
        paths.append(folder / f"{number}.jpg")
        pixels = (smooth + grain).clip(0, 255).astype("uint8")
        Image.fromarray(pixels).save(paths[-1], quality=90)
    return paths


def make_preprocessor() -> keras.Layer:
    vocabulary, merges = tiny_vocabulary()
    return keras_hub.models.CLIPPreprocessor(
        keras_hub.models.CLIPTokenizer(vocabulary=vocabulary, merges=merges),
        keras_hub.layers.CLIPImageConverter(
            image_size=(224, 224), interpolation="bicubic", crop_to_aspect_ratio=True, scale=1 / 255
        ),
    )


def make_backbone(patch_size: int = 32) -> keras.Model:
    """Makes a CLIP with the image tower of ViT-B and a small text tower."""
    keras.utils.set_random_seed(0)
    vision = keras_hub.models.CLIPVisionEncoder(
        patch_size=patch_size, hidden_dim=768, num_layers=12, num_heads=12, intermediate_dim=3072
    )
    text = keras_hub.models.CLIPTextEncoder(
        vocabulary_size=len(tiny_vocabulary()[0]),
        embedding_dim=64,
        hidden_dim=64,
        num_layers=2,
        num_heads=2,
        intermediate_dim=128,
    )
    embedding = vision.embedding
    embedding.position_ids.assign(np.arange(embedding.num_positions)[None])
    return keras_hub.models.CLIPBackbone(vision, text, projection_dim=512)


if __name__ == "__main__":
    main()
