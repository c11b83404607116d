"""Which heat map finds the object: the pointing game on composed pictures.

    keras-cmm demo --output demo
    python examples/study_heat_maps.py table demo/model
    python examples/study_heat_maps.py pictures demo/model docs/images

`table` pastes pictures of the demo set into larger ones, asks each way for a heat map of the class
of one of them, and counts how often the hottest pixel lies in the box around that drawing (Zhang et
al., arXiv:1608.00507). Every second picture is a grid of four drawings of different classes, the
others have two drawings on a pale gradient. So a map that finds any drawing, or the middle, fails.

The ways and their settings are compared on pictures made of training drawings, in the column
`train`. The column `test` has pictures made of test drawings, of people whom the model never saw.

LeGrad and Chefer's method need gradients, and run on torch alone.

References:
    - Zhou et al., MaskCLIP, ECCV 2022, arXiv:2112.01071.
    - Li et al., CLIP Surgery, arXiv:2304.05653.
    - Gandelsman et al., ICLR 2024, arXiv:2310.05916.
    - Bousselham et al., LeGrad, arXiv:2404.03214, section 3.
    - Chefer et al., Generic Attention-model Explainability, ICCV 2021, arXiv:2103.15679, eq. 5-6.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("KERAS_BACKEND", "torch")

import click
import numpy as np
import torch
from PIL import Image, ImageDraw

from keras_cmm import CMMImageClassifier
from keras_cmm.data import DemoSet
from keras_cmm.explain import patch_effects
from keras_cmm.explain.picture_area import on_the_picture
from keras_cmm_runtime.metrics import wilson_interval

TILE = 64  # the demo's drawings
SIDE = 2 * TILE
SEEDS = {"train": 0, "test": 1}


class Composed(NamedTuple):
    """A picture with a known object: the class of one drawing in it, and the box around that."""

    image: Image.Image
    class_id: int
    box: tuple[int, int, int, int]


def compose(images, labels, count, seed):
    """Returns `count` pictures, by turns grids of four drawings and two drawings on a gradient."""
    rng = np.random.default_rng(seed)
    return [
        _grid(images, labels, rng) if number % 2 == 0 else _scene(images, labels, rng)
        for number in range(count)
    ]


def _grid(images, labels, rng):
    classes, rows = _drawings(labels, 4, rng)
    canvas = Image.new("RGB", (SIDE, SIDE), "white")
    corners = [(TILE * (place % 2), TILE * (place // 2)) for place in rng.permutation(4)]
    boxes = [_paste(canvas, images[row], *at, TILE) for row, at in zip(rows, corners, strict=True)]
    return Composed(canvas, classes[0], boxes[0])


def _scene(images, labels, rng):
    classes, rows = _drawings(labels, 2, rng)
    top, bottom = rng.integers(200, 256, (2, 1, 1, 3))
    share = np.linspace(0, 1, SIDE)[:, None, None]
    gradient = top[0] * (1 - share) + bottom[0] * share
    canvas = Image.fromarray(np.repeat(gradient.astype("uint8"), SIDE, axis=1))
    sizes = rng.integers(52, TILE + 1, 2)
    while True:
        (x, y), (u, v) = (rng.integers(0, SIDE - size + 1, 2) for size in sizes)
        if x + sizes[0] <= u or u + sizes[1] <= x or y + sizes[0] <= v or v + sizes[1] <= y:
            break
    box = _paste(canvas, images[rows[0]], int(x), int(y), int(sizes[0]))
    _paste(canvas, images[rows[1]], int(u), int(v), int(sizes[1]))
    return Composed(canvas, classes[0], box)


def _drawings(labels, count, rng):
    classes = rng.choice(np.unique(labels), count, replace=False).tolist()
    return classes, [int(rng.choice(np.flatnonzero(labels == label))) for label in classes]


def _paste(canvas, drawing, left, top, size):
    """Pastes a drawing without its white ground; returns the box around it."""
    picture = Image.fromarray(drawing)
    filled = picture.copy()
    last = TILE - 1
    for corner in ((0, 0), (last, 0), (0, last), (last, last)):
        ImageDraw.floodfill(filled, corner, (255, 0, 255), thresh=12)
    inside = (np.asarray(filled) != (255, 0, 255)).any(axis=-1)
    picture.putalpha(Image.fromarray(inside.astype("uint8") * 255))
    picture = picture.resize((size, size), Image.Resampling.LANCZOS)
    canvas.paste(picture, (left, top), picture)
    x, y, right, bottom = picture.getchannel("A").getbbox()
    return left + x, top + y, left + right, top + bottom


def is_hit(patches, picture):
    """Returns whether the hottest pixel lies in the box."""
    heat = on_the_picture(patches, picture.image.size, (0, 0, *picture.image.size))
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    left, top, right, bottom = picture.box
    return bool(left <= x < right and top <= y < bottom)


class Walk:
    """One pass of an image through a vision transformer of keras-hub, on torch, with gradients."""

    def __init__(self, model, image, class_id):
        self.model, self.class_id = model, class_id
        self.encoder = model.backbone.vision_encoder
        pixels = torch.from_numpy(model.embedder.preprocessor(image))[None].requires_grad_()
        tokens = self.encoder.pre_layer_norm(self.encoder.embedding(pixels))
        self.attentions, self.values, self.outputs = [], [], []
        for layer in self.encoder.encoder_layers:
            attention, normed = layer.attention, layer.layer_norm_1(tokens)
            query, key = attention.query_dense(normed), attention.key_dense(normed)
            value = attention.value_dense(normed)
            weights = self.attention(query, key)
            mixed = attention.output_dense(torch.einsum("bhqk,bkhd->bqhd", weights, value))
            tokens = tokens + mixed
            hidden = layer.activation(layer.dense_1(layer.layer_norm_2(tokens)))
            tokens = tokens + layer.dense_2(hidden)
            self.attentions.append(weights)
            self.values.append(value)
            self.outputs.append(tokens)

    @staticmethod
    def attention(query, key):
        """Returns the attention of each query to each key, `(1, heads, queries, keys)`."""
        scores = torch.einsum("bqhd,bkhd->bhqk", query, key) / query.shape[-1] ** 0.5
        return scores.softmax(dim=-1)

    def score(self, tokens, target):
        """Returns the class's logit, or its lead over the mean, for each of `(tokens, width)`."""
        embeddings = self.model.backbone.vision_projection(self.encoder.layer_norm(tokens))
        logits = self.model.head(embeddings / embeddings.norm(dim=-1, keepdim=True))
        own = logits[:, self.class_id]
        return own if target == "logit" else own - logits.mean(dim=-1)


def values_of_the_last_layer(walk, target):
    """MaskCLIP's: the last layer's values of each patch, as if each attended to itself alone."""
    output = walk.encoder.encoder_layers[-1].attention.output_dense
    return walk.score(output(walk.values[-1])[0, 1:], target)


def value_attention(walk, target):
    """CLIP Surgery's: patches attend by the likeness of their values, in all layers, no MLP."""
    total = 0
    for layer, value in zip(walk.encoder.encoder_layers, walk.values, strict=True):
        weights = walk.attention(value, value)
        mixed = torch.einsum("bhqk,bkhd->bqhd", weights, value)
        total = total + layer.attention.output_dense(mixed)
    return walk.score(total[0, 1:], target)


def legrad(walk, target):
    """LeGrad: each layer's own score, its gradient by the attention, positive parts, the mean."""
    total = 0
    for weights, tokens in zip(walk.attentions, walk.outputs, strict=True):
        score = walk.score(tokens[:, 0], target).sum()
        (gradient,) = torch.autograd.grad(score, weights, retain_graph=True)
        total = total + gradient.clamp(min=0).mean(dim=(0, 1, 2))[1:]
    return total


def chefer(walk, target):
    """Chefer et al.: relevance rolled out through attention times its gradient."""
    score = walk.score(walk.outputs[-1][:, 0], target).sum()
    gradients = torch.autograd.grad(score, walk.attentions, retain_graph=True)
    relevance = torch.eye(gradients[0].shape[-1])
    for weights, gradient in zip(walk.attentions, gradients, strict=True):
        relevance = relevance + (gradient * weights).clamp(min=0).mean(dim=(0, 1)) @ relevance
    return relevance[0, 1:]


WAYS = {
    "similarity of values, last layer (MaskCLIP)": (values_of_the_last_layer, "lead"),
    "similarity of values, v-v attention (CLIP Surgery)": (value_attention, "lead"),
    "LeGrad, of the logit": (legrad, "logit"),
    "LeGrad, of the lead": (legrad, "lead"),
    "Chefer et al., of the logit": (chefer, "logit"),
    "Chefer et al., of the lead": (chefer, "lead"),
}
EFFECTS = {"the last layer": 0.01, "half of the layers": 0.5, "all layers": 1.0}


def play(model, pictures):
    """Returns for each way whether it hit, one value a picture."""
    middle, area = SIDE // 2, SIDE**2
    hits = {name: [] for name in (*(f"direct effects, {each}" for each in EFFECTS), *WAYS)}
    boxes = [picture.box for picture in pictures]
    hits["the middle of the picture"] = [
        left <= middle < right and top <= middle < bottom for left, top, right, bottom in boxes
    ]
    hits["chance"] = [(right - left) * (low - top) / area for left, top, right, low in boxes]
    for picture in pictures:
        image = model.embedder.preprocessor(picture.image)
        for name, part in EFFECTS.items():
            patches = patch_effects(model.backbone, model.head, image, picture.class_id, part)
            hits[f"direct effects, {name}"].append(is_hit(patches, picture))
        walk = Walk(model, picture.image, picture.class_id)
        for name, (way, target) in WAYS.items():
            scores = way(walk, target).detach().numpy()
            side = round(len(scores) ** 0.5)
            hits[name].append(is_hit(scores.reshape(side, side), picture))
    return {name: np.array(values, dtype=float) for name, values in hits.items()}


def cells_of(name, hits):
    """Returns the cells of all pictures, of grids and of scenes, in percent."""
    whole = f"{100 * hits.mean():.1f}"
    if name != "chance":
        low, high = wilson_interval(int(hits.sum()), len(hits))
        whole += f" ({low:.0f}-{high:.0f})"
    return [whole, f"{100 * hits[::2].mean():.0f}", f"{100 * hits[1::2].mean():.0f}"]


@click.group()
def main() -> None:
    """Compare heat maps on pictures with a known object."""


@main.command()
@click.argument("model_dir", type=click.Path(exists=True, file_okay=False))
@click.option("--count", default=200, show_default=True, type=click.IntRange(min=2))
def table(model_dir, count) -> None:
    """Print the pointing-game score of each way, in percent with its 95% interval (Wilson)."""
    model, demo = CMMImageClassifier.from_preset(model_dir), DemoSet.load()
    train = play(model, compose(demo.train_images, demo.train_labels, count, SEEDS["train"]))
    test = play(model, compose(demo.test_images, demo.test_labels, count, SEEDS["test"]))
    print("| heat map | train | grids | scenes | test | grids | scenes |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in train:
        cells = [*cells_of(name, train[name]), *cells_of(name, test[name])]
        print(f"| {name} | " + " | ".join(cells) + " |")


@main.command()
@click.argument("model_dir", type=click.Path(exists=True, file_okay=False))
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def pictures(model_dir, folder) -> None:
    """Write four explanations to FOLDER: of the first two grids and scenes of the column test."""
    model, demo = CMMImageClassifier.from_preset(model_dir), DemoSet.load()
    folder.mkdir(parents=True, exist_ok=True)
    composed = compose(demo.test_images, demo.test_labels, 4, SEEDS["test"])
    for number, picture in enumerate(composed, start=1):
        name = model.class_names[picture.class_id]
        drawn = model.explain(picture.image, name).draw()
        drawn.thumbnail((720, 720))
        path = folder / f"explain_{number}.png"
        drawn.save(path, optimize=True)
        print(f"{path}: {name}")


if __name__ == "__main__":
    main()
