"""Makes the demo's pictures from Microsoft's Fluent emoji, which the bundled CLIP never saw.

All choices follow from the pictures and their names. No model takes part:

- The classes are gestures, roles, fantasy roles, activities, sports and resting poses of people, by
  Unicode's subgroups. A class is kept if all its pictures exist: 3 people (man, woman, person), 6
  skin tones and 2 styles (flat, modern). The names are Unicode's. Mirrored pictures ("facing
  right") are left out.
- The skin tones of one drawing look nearly the same, so they stay together. In each class one of
  the three people is the test set, in both styles and all tones. The other two are the support
  pool. The test person is one that looks least like the others. Where several do, a hash decides.
- Some test pictures still look nearly like one of the support pool, for example under a helmet.
  They are left out. A class with fewer than 8 test pictures is left out too.

The commands need the files that ``pretrain_emoji_clip`` keeps under ``--dir``::

    python examples/pretrain_emoji_clip download
    python examples/make_demo_set.py make             # writes keras_cmm/assets/demo
    python examples/make_demo_set.py contact --output sheet.png
    python examples/make_demo_set.py baseline
    python examples/pretrain_emoji_clip render        # for check
    python examples/make_demo_set.py check
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageDraw
from pretrain_emoji_clip.names import clean, slug
from pretrain_emoji_clip.rendering import SIZE, render_svg, unify
from pretrain_emoji_clip.sources import DEFAULT_DIR, HELD_OUT, NAMES, package_dir

from keras_cmm.data import DemoSet, sample_few_shot

SEED = 1
ASSETS = Path(__file__).parent.parent / "keras_cmm" / "assets" / "demo"
STYLES = ("flat", "modern")
PEOPLE = ("man", "person", "woman")
TONES = ("dark", "default", "light", "medium-dark", "medium-light", "medium")
COLUMNS = len(TONES)
DRAWING = re.compile(rf"(?:({'|'.join(PEOPLE)})-)?(.+?)-({'|'.join(TONES)})")
SUBGROUPS = range(24, 30)  # In emojibase: gesture, role, fantasy, activity, sport, resting.
OTHER_NAMES = {"deaf": "deaf person", "merpeople": "merperson"}  # The package has names of its own.
NEARLY_THE_SAME = 0.025  # Root mean square between thumbnails, as for the training pictures.
LEAST_TEST = 8

Drawing = tuple[str, str, str]  # Style, person, tone.


def find_drawings(root: Path) -> dict[str, dict[Drawing, Path]]:
    """Returns the SVG files of each class that has all of them, by class name."""
    entries = json.loads((package_dir(root, NAMES) / "en" / "data.json").read_text("utf-8"))
    labels = {slug(e["label"]): e["label"] for e in entries if e.get("subgroup") in SUBGROUPS}
    found: dict[str, dict[Drawing, Path]] = defaultdict(dict)
    for style in STYLES:
        for file in sorted((package_dir(root, HELD_OUT) / "icons" / style).glob("*.svg")):
            match = DRAWING.fullmatch(file.stem)
            if not match or match[2].endswith("-facing-right"):
                continue
            role = OTHER_NAMES.get(match[2], match[2])
            label = labels.get(slug(f"person {role}")) or labels.get(slug(role))
            if label:
                found[clean(label)][style, match[1] or "person", match[3]] = file
    complete = set(itertools.product(STYLES, PEOPLE, TONES))
    return {name: found[name] for name in sorted(found) if set(found[name]) == complete}


def thumbnails(pictures: list[Image.Image]) -> np.ndarray:
    return unify(np.stack([np.asarray(picture.convert("RGBA")) for picture in pictures]))


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the root mean squares of the differences, shape `(len(a), len(b))`."""
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squared, 0) / a.shape[1])


def split(
    name: str, pictures: dict[Drawing, Image.Image]
) -> tuple[list[Drawing], list[Drawing], list[Drawing]]:
    """Returns the support pool, the test set, and what is left out of the test set."""
    drawings = sorted(pictures)
    thumbs = dict(zip(drawings, thumbnails([pictures[d] for d in drawings]), strict=True))

    def parts(person: str) -> tuple[list[Drawing], list[Drawing], list[Drawing]]:
        support = [d for d in drawings if d[1] != person]
        test = [d for d in drawings if d[1] == person]
        nearest = distances(
            np.stack([thumbs[d] for d in test]), np.stack([thumbs[d] for d in support])
        ).min(1)
        near = {d for d, n in zip(test, nearest, strict=True) if n < NEARLY_THE_SAME}
        return support, [d for d in test if d not in near], sorted(near)

    def rank(person: str) -> tuple[int, bytes]:
        digest = hashlib.sha256(f"{SEED}:{name}:{person}".encode()).digest()
        return len(parts(person)[2]), digest

    return parts(min(PEOPLE, key=rank))


def draw(file: Path) -> Image.Image:
    picture = render_svg(file.read_text("utf-8"))
    ground = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(ground, picture).convert("RGB")


def sheet(pictures: list[Image.Image]) -> Image.Image:
    """Returns one picture of all pictures, in rows of `COLUMNS`."""
    canvas = Image.new("RGB", (COLUMNS * SIZE, -(-len(pictures) // COLUMNS) * SIZE), "white")
    for i, picture in enumerate(pictures):
        canvas.paste(picture, (i % COLUMNS * SIZE, i // COLUMNS * SIZE))
    return canvas


# "\b" tells click to leave the lines of the commands as they are.
@click.group(help=__doc__.replace("::\n", "::\n\n\b"))
@click.option("--dir", "root", type=click.Path(path_type=Path), default=DEFAULT_DIR)
@click.pass_context
def main(context: click.Context, root: Path) -> None:
    context.obj = root


@main.command(help="Render, split and write the pictures.")
@click.option("--output", type=click.Path(path_type=Path), default=ASSETS)
@click.pass_obj
def make(root: Path, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    for old in output.glob("*.webp"):
        old.unlink()
    classes: dict[str, dict[str, list[str]]] = {}
    people: Counter[str] = Counter()
    for name, files in find_drawings(root).items():
        pictures = {drawing: draw(file) for drawing, file in files.items()}
        train, test, near = split(name, pictures)
        if near:
            kept = "" if len(test) >= LEAST_TEST else "; class left out"
            click.echo(f"{name}: {len(near)} test pictures nearly in the support pool{kept}")
        if len(test) < LEAST_TEST:
            continue
        people[test[0][1]] += 1
        parts = {}
        for part, drawings in (("train", train), ("test", test)):
            # The order of the exported files. There '-' comes before '.'.
            parts[part] = sorted(("-".join(d) for d in drawings), key=lambda key: f"{key}.png")
        classes[name] = parts
        by_key = {"-".join(drawing): picture for drawing, picture in pictures.items()}
        file = output / f"{name.replace(' ', '_')}.webp"
        sheet([by_key[key] for key in parts["train"] + parts["test"]]).save(
            file, lossless=True, quality=100, method=6
        )
    # One line for each class.
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(p)}" for name, p in classes.items())
    index = f'{{"size": {SIZE}, "classes": {{\n{lines}\n}}}}\n'
    (output / "index.json").write_text(index, "utf-8")
    size = sum(file.stat().st_size for file in output.iterdir())
    click.echo(
        f"{len(classes)} classes, {sum(len(p['train']) for p in classes.values())} support and "
        f"{sum(len(p['test']) for p in classes.values())} test pictures, {size / 1e6:.2f} MB; "
        f"test people: {dict(sorted(people.items()))}"
    )


@main.command(help="Look for pictures of the demo among the training pictures.")
@click.pass_obj
def check(root: Path) -> None:
    demo = DemoSet.load()
    records = json.loads((root / "pictures.json").read_text("utf-8"))["records"]
    training = np.load(root / "pictures.npy", mmap_mode="r")
    thumbs = np.concatenate([unify(training[i : i + 1000]) for i in range(0, len(training), 1000)])
    images = np.concatenate([demo.train_images, demo.test_images])
    ours = thumbnails([Image.fromarray(image) for image in images])
    apart = distances(ours, thumbs)
    nearest = apart.min(1)
    row = int(nearest.argmin())
    twin = records[int(apart[row].argmin())]
    click.echo(f"vendors of the training pictures: {sorted({r['vendor'] for r in records})}")
    click.echo(
        f"{(nearest < NEARLY_THE_SAME).sum()} of {len(ours)} demo pictures are nearly one of "
        f"the {len(thumbs)} training pictures (closer than {NEARLY_THE_SAME:.1%}); the closest "
        f"is {(demo.train_keys + demo.test_keys)[row]}, {nearest[row]:.1%} from "
        f"{twin['source']} of {twin['vendor']}; median {np.median(nearest):.1%}"
    )
    labels = np.concatenate([demo.train_labels, demo.test_labels])
    other = distances(ours, ours)
    between = other[len(demo.train_images) :, : len(demo.train_images)].min()
    other[labels[:, None] == labels] = np.inf
    click.echo(
        f"closest test and support picture: {between:.1%}; "
        f"closest pictures of two classes: {other.min():.1%}"
    )


@main.command(
    help="Measure nearest neighbours on raw pixels, which a model should be compared with."
)
def baseline() -> None:
    demo = DemoSet.load()
    images = np.concatenate([demo.train_images, demo.test_images])
    pixels = images.reshape(len(images), -1).astype("float32") / 255
    labels = np.concatenate([demo.train_labels, demo.test_labels])
    keys = demo.train_keys + demo.test_keys
    own = np.arange(len(demo.train_labels))
    for title, shuffled in (("split by person (the set's)", False), ("random split", True)):
        for shots in (1, 2, 4, 8, 16):
            scores = []
            for seed in (1, 2, 3):
                pool = own
                if shuffled:
                    pool = sample_few_shot(labels, 24, seed=-seed, keys=keys).indices
                test = np.setdiff1d(np.arange(len(labels)), pool)
                sample = sample_few_shot(
                    labels[pool], shots, seed=seed, keys=[keys[i] for i in pool]
                )
                support = pool[sample.indices]
                nearest = distances(pixels[test], pixels[support]).argmin(1)
                scores.append((labels[support][nearest] == labels[test]).mean())
            click.echo(f"{title}, nearest neighbour of raw pixels, {shots} shots: ", nl=False)
            click.echo(f"{np.mean(scores):.1%} +- {np.std(scores, ddof=1):.1%}")


@main.command(help="Draw some pictures of each class on one sheet.")
@click.option("--output", type=click.Path(path_type=Path), required=True)
@click.option("--test", is_flag=True, help="Take the test set instead of the support pool.")
def contact(output: Path, test: bool) -> None:
    demo = DemoSet.load()
    images, labels = (
        (demo.test_images, demo.test_labels) if test else (demo.train_images, demo.train_labels)
    )
    columns, margin, shown = 2, 200, 6
    rows = -(-len(demo.class_names) // columns)
    width = margin + shown * SIZE
    canvas = Image.new("RGB", (columns * width, rows * SIZE), "white")
    writer = ImageDraw.Draw(canvas)
    for label, name in enumerate(demo.class_names):
        x, y = label // rows * width, label % rows * SIZE
        writer.text((x + 4, y + SIZE // 2 - 6), name, fill="black")
        mine = np.flatnonzero(labels == label)
        for i, row in enumerate(mine[np.linspace(0, len(mine) - 1, shown).astype(int)]):
            canvas.paste(Image.fromarray(images[row]), (x + margin + i * SIZE, y))
    canvas.save(output)


if __name__ == "__main__":
    main()
