"""`keras-cmm embed`: from a folder of images to an embeddings file."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keras_cmm_cli.environment import load_keras
from keras_cmm_cli.images import ImagesGiven, PathOrURI, embed_list, images_options, refuse_uris
from keras_cmm_cli.leakage import rows_without_copies
from keras_cmm_cli.options import (
    DTYPES,
    batch_size_option,
    preset_option,
    seed_option,
    strict_option,
)
from keras_cmm_cli.outputs import EMBEDDINGS, check_apart, check_new_file
from keras_cmm_cli.prompts import prompt_options, read_prompts
from keras_cmm_cli.run_file import command_line, printable
from keras_cmm_cli.store import open_store, store_options
from keras_cmm_cli.terminal import Terminal, counted, with_terminal
from keras_cmm_cli.workers import (
    ENGINES,
    WorkersGiven,
    refuse_with_parts,
    tell_report,
    workers_options,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from keras_cmm.data import ImageSource, NamedEmbeddings

_SPLITS = ("train", "val", "test")


@click.command(
    epilog="""\b
Examples:
  keras-cmm embed photos/ --preset clip_vit_base_patch16 --output photos.safetensors
  keras-cmm embed photos/ --preset clip_vit_base_patch16 --also siglip_base_patch16_224 \\
    --output both.safetensors
  keras-cmm embed s3://bucket/photos --preset clip_vit_base_patch16 --engine ray --address auto \\
    --output s3://bucket/embedded
"""
)
@images_options
@preset_option
@click.option(
    "--also",
    multiple=True,
    metavar="PRESET",
    help="A further image encoder, whose embeddings the file holds too, under its name; see "
    "benchmark --also. May be given several times.",
)
@click.option(
    "--output",
    required=True,
    type=PathOrURI(path_type=Path),
    help="File to write, or with --engine the folder.",
)
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    help="Embed IMAGES_DIR in parts, by processes of this machine (local) or by Ray, into a folder "
    "of Parquet files. IMAGES_DIR may then also be a folder of tar or Parquet files, a WebDataset, "
    "or a URI such as s3://bucket/photos. A run that was broken off goes on where it was.",
)
@workers_options
@click.option("--dataset", help="Name of the data set.  [default: the name of the folder or CSV]")
@click.option(
    "--test-fraction",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    help="Share of each class's images that is for testing.",
)
@prompt_options
@click.option("--dtype", type=click.Choice(DTYPES), help="Precision of the backbone.")
@batch_size_option
@store_options
@seed_option
@strict_option
@click.option("--overwrite", is_flag=True, help="Replace the file --output if it exists.")
@with_terminal
def embed(
    terminal: Terminal,
    given: ImagesGiven,
    preset: str,
    also: tuple[str, ...],
    output: Path | str,
    engine: str | None,
    workers: WorkersGiven,
    dataset: str | None,
    test_fraction: float,
    templates: tuple[str, ...],
    descriptions: Path | None,
    dtype: str | None,
    batch_size: int | None,
    store: Path | None,
    seed: int,
    strict: bool,
    overwrite: bool,
) -> None:
    """Write the CLIP embeddings of IMAGES_DIR to a file, for `benchmark`.

    If IMAGES_DIR has the folders train and test, and perhaps val, each with one folder of images a
    class, these are the splits. Otherwise IMAGES_DIR has one folder of images a class. Then
    --test-fraction of each class's images, drawn by --seed, become the test rows, and the others
    the train rows. IMAGES_DIR may also be a .zip or .tar archive, or a .csv or .parquet list, whose
    column split may name the splits.

    Test images that are copies of training images are left out, with a warning.
    """
    if engine is not None:
        prompts_given = (templates, descriptions)
        _embed_in_parts(
            terminal,
            given,
            preset,
            output,
            engine,
            workers,
            prompts_given,
            test_fraction,
            dtype,
            batch_size,
        )
        return
    workers.refuse()
    refuse_uris(output)
    output = Path(output)
    check_apart({"--output": output}, (given.images_dir, given.table, descriptions))
    check_new_file(output, overwrite, EMBEDDINGS)
    further = {_name(source): source for source in also}
    if len(further) < len(also):
        raise click.UsageError(f"the names of --also must differ. Received: {', '.join(also)}")
    with terminal.status("loading Keras"):
        load_keras()
    splits, protocol = _splits(given, test_fraction, seed)
    class_names = splits["train"].class_names
    prompts = read_prompts(templates, descriptions, class_names)

    from keras_cmm.clip import ImageEmbedder, TextEmbedder, build_prompts, load, logit_scale
    from keras_cmm.data import EmbeddingSet, key_digests

    with terminal.status("loading CLIP"):
        model = load(preset, dtype=dtype)
    embedder = ImageEmbedder(model, batch_size, store=open_store(store))
    rows: dict[str, Any] = {}
    splits_done: list[tuple[npt.NDArray[np.float32], ImageSource]] = []
    for split, images in splits.items():
        terminal.note(
            f"{split}: {counted(len(images), 'image', 'images')} of "
            f"{counted(len(set(images.labels.tolist())), 'class', 'classes')}."
        )
        embeddings, kept = embed_list(terminal, embedder, images, strict)
        for earlier in splits_done:
            fresh = rows_without_copies(embeddings, kept, *earlier, split=split)
            if not fresh:
                raise click.ClickException(
                    f"all {split} images are copies of training images; give others."
                )
            embeddings, kept = embeddings[fresh], kept.take(fresh)
        splits_done.append((embeddings, kept))
        rows |= {f"{split}_embeddings": embeddings, f"{split}_labels": kept.labels}
        if split != "test":
            rows[f"{split}_keys"] = key_digests(kept.keys())
    kept_images = dict(zip(splits, (kept for _, kept in splits_done), strict=True))
    data = EmbeddingSet(
        **rows,
        also={
            name: _further(terminal, source, kept_images, batch_size, store)
            for name, source in further.items()
        },
        text_embeddings=TextEmbedder(model).class_prototypes(build_prompts(class_names, **prompts)),
        class_names=list(class_names),
        dataset=printable(dataset or given.path.resolve().stem),
        backbone=printable(Path(preset).resolve().name if Path(preset).is_dir() else preset),
        logit_scale=logit_scale(model.backbone),
        protocol=protocol,
        notes=f"Made by: {command_line()}",
    )
    data.write(output)
    terminal.result(
        f"{output}: {data.num_classes} classes, "
        + ", ".join(f"{len(rows[f'{split}_labels'])} {split}" for split in splits)
        + " rows"
    )


def _embed_in_parts(
    terminal: Terminal,
    given: ImagesGiven,
    preset: str,
    output: Path | str,
    engine: str,
    workers: WorkersGiven,
    prompts_given: tuple[tuple[str, ...], Path | None],
    test_fraction: float,
    dtype: str | None,
    batch_size: int | None,
) -> None:
    """Runs `--engine local` and `--engine ray`."""
    refuse_with_parts(
        *("also", "table", "image_column", "label_column", "dataset", "store", "no_store"),
        *("seed", "strict", "overwrite"),
    )
    if given.images_dir is None:
        raise click.UsageError("Missing argument 'IMAGES_DIR'.")
    with terminal.status("loading Keras"):
        load_keras()

    from keras_cmm.clip import build_prompts
    from keras_cmm.scale import KerasEncoder, embed_shards
    from keras_cmm_runtime.utils import read_json_object

    # What is wrong with the prompts is told before the work, not after it.
    descriptions = prompts_given[1]
    described = {} if descriptions is None else read_json_object(descriptions, "expected classes")
    read_prompts(*prompts_given, tuple(described))

    def prompts(names: Sequence[str]) -> Sequence[Sequence[str]]:
        return build_prompts(names, **read_prompts(*prompts_given, names))

    with terminal.progress("embedding parts") as progress:
        report = embed_shards(
            str(given.images_dir),
            str(output),
            # A worker may have another current folder.
            KerasEncoder(str(Path(preset).resolve()) if Path(preset).is_dir() else preset, dtype),
            model=printable(Path(preset).resolve().name if Path(preset).is_dir() else preset),
            options=workers.options(engine),
            batch_size=batch_size,
            shard_size=workers.shard_size,
            test_fraction=test_fraction,
            prompts=prompts,
            progress=lambda report: progress(len(report.shards), None),
        )
    tell_report(terminal, str(output), report)


def _name(source: str) -> str:
    """Returns the name of a further encoder: that of its folder, or a preset's last part."""
    return Path(source).resolve().name if Path(source).is_dir() else source.rpartition("/")[2]


def _further(
    terminal: Terminal,
    source: str,
    splits: dict[str, ImageSource],
    batch_size: int | None,
    store: Path | None,
) -> NamedEmbeddings:
    """Embeds the images of all splits with a further encoder."""
    from keras_cmm.clip import ImageEmbedder, load
    from keras_cmm.data import NamedEmbeddings

    with terminal.status(f"loading {source}"):
        embedder = ImageEmbedder(load(source), batch_size, store=open_store(store))
    return NamedEmbeddings(
        **{
            split: embed_list(terminal, embedder, images, strict=True)[0]
            for split, images in splits.items()
        }
    )


def _splits(
    given: ImagesGiven, test_fraction: float, seed: int
) -> tuple[dict[str, ImageSource], str]:
    """Returns the images of each split, and the name of the protocol."""
    opened = given.open_splits(_SPLITS)
    if None not in opened:
        splits = {str(split): images for split, images in opened.items()}
        if not {"train", "test"} <= splits.keys():
            raise click.ClickException(
                f"{given.path}: has no splits but {', '.join(splits)}; expected train and test."
            )
        return splits, "folders" if given.path.is_dir() else "splits"
    images = opened[None]
    test_rows = _draw_test_rows(images, test_fraction, seed)
    train_rows = [row for row in range(len(images)) if row not in test_rows]
    splits = {"train": images.take(train_rows), "test": images.take(sorted(test_rows))}
    return splits, f"split {test_fraction:g} seed {seed}"


def _draw_test_rows(images: ImageSource, fraction: float, seed: int) -> set[int]:
    """Draws a share of each class, at least one image; one image at least is left to train on.

    `sample_few_shot` makes the draw depend on the images' names and the seed alone.
    """
    import numpy as np

    from keras_cmm.data import sample_few_shot

    keys = images.keys()
    drawn: set[int] = set()
    for label, name in enumerate(images.class_names):
        rows = np.flatnonzero(images.labels == label)
        number = min(len(rows) - 1, max(1, round(fraction * len(rows))))
        if not number:
            warnings.warn(f"class {name!r} has one image, so none to test with.", stacklevel=2)
            continue
        sample = sample_few_shot(
            images.labels[rows], number, seed=seed, keys=[keys[row] for row in rows]
        )
        drawn.update(rows[sample.indices].tolist())
    if not drawn:
        raise click.ClickException("no class has an image to test with; add images.")
    return drawn
