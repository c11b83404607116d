"""The commands: download, render, train, export and evaluate."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image

import pretrain_emoji_clip
from pretrain_emoji_clip.captions import MAX_TOKENS
from pretrain_emoji_clip.data import prompt_name
from pretrain_emoji_clip.model import Config, build_backbone
from pretrain_emoji_clip.names import load_names, role_of
from pretrain_emoji_clip.rendering import SIZE, fluent_pictures, render_all
from pretrain_emoji_clip.sources import DEFAULT_DIR, HELD_OUT, NAMES, SOURCES, download_package
from pretrain_emoji_clip.training import Trainer


# "\b" tells click to leave the lines of the commands as they are.
@click.group(help=pretrain_emoji_clip.__doc__.replace("::\n", "::\n\n\b"))
@click.option("--dir", "root", type=click.Path(path_type=Path), default=DEFAULT_DIR)
@click.pass_context
def main(context: click.Context, root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    context.obj = root


@main.command(help="Fetch the npm packages.")
@click.pass_obj
def download(root: Path) -> None:
    for package in [NAMES, HELD_OUT, *(s.package for s in SOURCES)]:
        click.echo(package)
        download_package(root, package)


@main.command(help="Render all pictures once, to 64 x 64 RGBA.")
@click.pass_obj
def render(root: Path) -> None:
    render_all(root)


@main.command(help="Train, or resume training.")
@click.option("--resume", is_flag=True, help="Resume exactly where the checkpoint was written.")
@click.option(
    "--minutes", type=float, default=1e6, help="Write a checkpoint and stop after this time."
)
@click.option("--set", "settings", multiple=True, help="Change a setting, such as --set lr=5e-4.")
@click.option("--steps", type=int, help="Length of the whole schedule, also with --resume.")
@click.option("--name", default="emoji_clip_tiny", help="Name of the checkpoint and its log.")
@click.option("--threads", type=int, default=2)
@click.pass_obj
def train(
    root: Path,
    resume: bool,
    minutes: float,
    settings: tuple[str, ...],
    steps: int | None,
    name: str,
    threads: int,
) -> None:
    until = time.time() + 60 * minutes
    torch.set_num_threads(threads)
    file = root / f"{name}.pt"
    log_file = root / ("train.log" if name == "emoji_clip_tiny" else f"{name}.log")

    def log(line: str) -> None:
        stamp = time.strftime("%H:%M:%S")
        click.echo(f"{stamp} {line}")
        with log_file.open("a") as f:
            f.write(f"{stamp} {line}\n")

    if resume:
        state = torch.load(file, weights_only=False)
        config = Config(**state["config"])
        if steps:  # A longer or shorter schedule from here on.
            config = replace(config, steps=steps)
        trainer = Trainer(root, config)
        trainer.load(state)
    else:
        config = Config()
        for setting in settings:
            key, value = setting.split("=")
            config = replace(config, **{key: type(getattr(config, key))(value)})
        if steps:
            config = replace(config, steps=steps)
        trainer = Trainer(root, config)
    corpus = trainer.corpus
    log(
        f"{'resume' if resume else 'start'} at step {trainer.step}: {len(corpus.train)} pictures, "
        f"{len(corpus.shelf)} concepts ({len(corpus.people)} of people), "
        f"{len(corpus.validation)} for validation, {trainer.backbone.count_params()} parameters; "
        f"{trainer.config}"
    )
    trainer.run(until, log, file)


def halve_weights(preset: Path) -> None:
    """Stores the weights of a preset as float16. Keras casts them on loading."""
    import h5py

    file, part = preset / "model.weights.h5", preset / "model.weights.part"
    with h5py.File(file) as old, h5py.File(part, "w", libver="latest") as new:

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                value = item[()]
                if np.issubdtype(value.dtype, np.floating):
                    value = value.astype("float16")
                packed = {"compression": "gzip", "shuffle": True} if value.size > 4096 else {}
                made = new.create_dataset(name, data=value, **packed)
            else:
                made = new.require_group(name)
            made.attrs.update(dict(item.attrs))

        new.attrs.update(dict(old.attrs))
        old.visititems(copy)
    part.replace(file)


@main.command(help="Write the averaged weights of a checkpoint as a keras-hub preset.")
@click.option("--name", default="emoji_clip_tiny", help="Name of the checkpoint.")
@click.option("--preset", type=click.Path(path_type=Path), required=True)
@click.pass_obj
def export(root: Path, name: str, preset: Path) -> None:
    import keras_hub

    state = torch.load(root / f"{name}.pt", weights_only=False)
    config = Config(**state["config"])
    vocabulary, merges = json.loads((root / f"vocabulary-{config.merges}.json").read_text())
    backbone = build_backbone(config, len(vocabulary))
    for variable in backbone.trainable_variables:
        variable.assign(state["ema"][variable.path].numpy())
    preprocessor = keras_hub.models.CLIPPreprocessor(
        keras_hub.models.CLIPTokenizer(vocabulary=vocabulary, merges=merges),
        keras_hub.layers.CLIPImageConverter(
            image_size=(SIZE, SIZE),
            scale=1 / 127.5,
            offset=-1.0,
            interpolation="bicubic",
            antialias=True,
            crop_to_aspect_ratio=True,
        ),
        sequence_length=MAX_TOKENS,
    )
    backbone.save_to_preset(str(preset))
    preprocessor.save_to_preset(str(preset))
    halve_weights(preset)
    size = sum(f.stat().st_size for f in preset.rglob("*") if f.is_file())
    click.echo(
        f"step {state['step']} of {config.steps}: {backbone.count_params()} parameters, "
        f"{size / 1e6:.2f} MB in {preset}"
    )


@main.command(
    help="Measure zero-shot accuracy on people of the held-out vendor. Choose nothing by it."
)
@click.option("--preset", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--least", default=24, help="Leave out classes with fewer pictures.")
@click.pass_obj
def evaluate(root: Path, preset: Path, least: int) -> None:
    import keras
    import keras_hub

    backbone = keras_hub.models.CLIPBackbone.from_preset(str(preset))
    tokenizer = keras_hub.models.CLIPTokenizer.from_preset(str(preset))
    converter = keras_hub.layers.CLIPImageConverter.from_preset(str(preset))
    roles, by_slug = load_names(root)
    pictures: dict[str, list[np.ndarray]] = defaultdict(list)
    for hexcode, picture in fluent_pictures(root, by_slug):
        if roles[role_of(hexcode)].people:
            ground = Image.new("RGBA", picture.size, "white")
            array = np.asarray(Image.alpha_composite(ground, picture).convert("RGB"))
            pictures[role_of(hexcode)].append(array)
    classes = [code for code in pictures if len(pictures[code]) >= least]
    names = [prompt_name(roles[code]) for code in classes]
    images = np.concatenate([np.stack(pictures[code]) for code in classes])
    truth = np.concatenate([np.full(len(pictures[c]), i) for i, c in enumerate(classes)])
    packer = keras_hub.layers.StartEndPacker(
        sequence_length=MAX_TOKENS,
        start_value=tokenizer.start_token_id,
        end_value=tokenizer.end_token_id,
        pad_value=tokenizer.pad_token_id,
    )

    def unit(x: Any) -> np.ndarray:
        x = keras.ops.convert_to_numpy(x)
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    with torch.no_grad():
        found = np.concatenate(
            [
                unit(backbone.get_vision_embeddings(converter(images[i : i + 200])))
                for i in range(0, len(images), 200)
            ]
        )
        prompts = ["{}", "an emoji of {}", "an emoji of a {}."]
        texts = [
            unit(backbone.get_text_embeddings(packer(tokenizer([p.format(n) for n in names]))))
            for p in prompts
        ]
    click.echo(f"{len(classes)} classes, {len(images)} pictures, chance {1 / len(classes):.1%}")
    for prompt, vectors in [*zip(prompts, texts, strict=True), ("all three", unit(sum(texts)))]:
        order = np.argsort(-(found @ vectors.T), axis=1)
        top1 = (order[:, 0] == truth).mean()
        top5 = (order[:, :5] == truth[:, None]).any(1).mean()
        click.echo(f"{prompt:20s} top-1 {top1:.1%} top-5 {top5:.1%}")
