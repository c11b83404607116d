"""Trains a small image encoder without text, beside the bundled CLIP, and embeds the demo with it.

The encoder is a convolutional network of 0.9 M parameters. It learns from the same pictures as the
bundled CLIP and sees no name and no other text: two pictures of one emoji, of one vendor or two,
each in a style drawn at random, must be alike among all pictures of the batch (the loss of SimCLR
and CLIP). Which pictures show one emoji is told by its code point. The demo's vendor is never
trained on.

    python examples/pretrain_emoji_clip download
    python examples/pretrain_emoji_clip render
    python examples/train_second_encoder.py train --minutes 10
    keras-cmm demo --output demo
    python examples/train_second_encoder.py embed demo/embeddings.safetensors two_towers.safetensors
    keras-cmm benchmark two_towers.safetensors --also emoji_eye --methods zero_shot,cmm

`embed` adds the embeddings to the demo's file, under the name `emoji_eye`. The weights are not
bundled: they stay in `--dir`.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # An idle thread leaves its core to others.

import click
import numpy as np
import torch
import torch.nn.functional as F
from pretrain_emoji_clip.augmentation import augment
from pretrain_emoji_clip.sources import DEFAULT_DIR
from torch import nn

NAME = "emoji_eye"
WIDTHS = (32, 64, 128, 192)
DIM, PROJECTION = 192, 64
BATCH, TEMPERATURE = 128, 0.1
PEOPLE = 0.6  # The part of a batch that shows people, as the demo's pictures do.


class Block(nn.Module):
    """Two convolutions with a way around them; the first halves the picture."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, 2, 1, bias=False)
        self.second = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.around = nn.Conv2d(before, after, 1, bias=False)
        self.norms = nn.ModuleList([nn.GroupNorm(8, after), nn.GroupNorm(8, after)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the features of half the height and width."""
        y = F.relu(self.norms[0](self.first(x)))
        y = self.norms[1](self.second(y))
        return F.relu(y + self.around(F.avg_pool2d(x, 2)))


class Encoder(nn.Module):
    """Pictures of shape (n, 64, 64, 3) in [-1, 1] to embeddings of shape (n, 192)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTHS[0], 6, 4, 1)
        widths = itertools.pairwise(WIDTHS)
        self.blocks = nn.Sequential(*(Block(before, after) for before, after in widths))
        self.head = nn.Linear(DIM, PROJECTION, bias=False)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Returns the embeddings of pictures."""
        x = self.blocks(F.relu(self.stem(pictures.permute(0, 3, 1, 2))))
        return x.mean((2, 3))


class Pairs:
    """The pictures by emoji; draws two of each, both in a style of its own."""

    def __init__(self, root: Path) -> None:
        self.pixels = torch.from_numpy(np.load(root / "pictures.npy"))
        data = json.loads((root / "pictures.json").read_text("utf-8"))
        roles = {role["code"]: role for role in data["roles"]}
        self.pictures: dict[str, list[int]] = defaultdict(list)
        for number, record in enumerate(data["records"]):
            self.pictures[record["role"]].append(number)
        self.flip = {code: roles[code]["flip"] for code in self.pictures}
        self.people = [code for code in self.pictures if roles[code]["people"]]
        self.others = [code for code in self.pictures if not roles[code]["people"]]

    def draw(self, generator: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns two batches of pictures, of which each pair shows one emoji."""
        number = min(len(self.people), round(BATCH * PEOPLE))
        codes = [
            *generator.choice(self.people, number, replace=False),
            *generator.choice(self.others, BATCH - number, replace=False),
        ]
        flip = torch.tensor([self.flip[code] for code in codes])
        drawn = [generator.choice(self.pictures[code], 2) for code in codes]
        first, second = (
            augment(self.pixels[[int(pair[side]) for pair in drawn]], flip) for side in (0, 1)
        )
        return first, second


def contrast(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Returns the cross-entropy of finding each picture's partner, both ways."""
    logits = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T / TEMPERATURE
    own = torch.arange(len(logits))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


@click.group(help=(__doc__ or "").split("\n\n", maxsplit=1)[0])
@click.option("--dir", "root", type=click.Path(path_type=Path), default=DEFAULT_DIR)
@click.pass_context
def main(context: click.Context, root: Path) -> None:
    """Trains an image encoder without text, and embeds the demo's pictures."""
    context.obj = root


@main.command()
@click.option("--minutes", default=10.0, show_default=True, help="How long to train.")
@click.option("--seed", default=1, show_default=True)
@click.pass_obj
def train(root: Path, minutes: float, seed: int) -> None:
    """Train the encoder for some minutes."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    pairs, encoder = Pairs(root), Encoder()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.0, weight_decay=0.05)
    start, step, losses = time.monotonic(), 0, []
    while (done := (time.monotonic() - start) / (60 * minutes)) < 1:
        rate = 2e-3 * min(1.0, (step + 1) / 20) * (0.5 + 0.5 * math.cos(math.pi * done))
        for group in optimizer.param_groups:
            group["lr"] = rate
        with torch.no_grad():
            views = pairs.draw(generator)
        loss = contrast(*(encoder.head(encoder(view)) for view in views))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        step += 1
        if step % 50 == 0:
            click.echo(f"step {step}, {done:.0%}: loss {np.mean(losses[-50:]):.3f}")
    torch.save(encoder.state_dict(), root / f"{NAME}.pt")
    click.echo(f"{step} steps, loss {np.mean(losses[-50:]):.3f}: {root / NAME}.pt")


@main.command()
@click.argument("embeddings", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_obj
def embed(root: Path, embeddings: Path, output: Path) -> None:
    """Add the encoder's embeddings of the demo's pictures to the demo's file EMBEDDINGS."""
    from keras_cmm.data import DemoSet, EmbeddingSet, NamedEmbeddings

    encoder = Encoder()
    encoder.load_state_dict(torch.load(root / f"{NAME}.pt", weights_only=True))
    encoder.eval()
    demo, data = DemoSet.load(), EmbeddingSet.read(embeddings)
    if not np.array_equal(data.train_labels, demo.train_labels):
        raise click.ClickException(f"{embeddings}: is not the demo's file of embeddings.")
    rows = {}
    for part, pictures in (("train", demo.train_images), ("test", demo.test_images)):
        scaled = torch.from_numpy(pictures).float() / 127.5 - 1
        with torch.no_grad():
            rows[part] = torch.cat([encoder(some) for some in scaled.split(256)]).numpy()
    data = replace(data, also={**data.also, NAME: NamedEmbeddings(**rows)})
    data.write(output)
    click.echo(f"{output}: {data.dataset}, with {', '.join(data.also)}")


if __name__ == "__main__":
    main()
