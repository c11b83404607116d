"""Rendering: every picture once, to 64 x 64 RGBA, without near-duplicates."""

from __future__ import annotations

import io
import json
import re
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from PIL import Image

from pretrain_emoji_clip.names import (
    TONE_SUFFIX,
    TONES,
    Role,
    clean,
    gender_of,
    load_names,
    role_of,
    slug,
)
from pretrain_emoji_clip.sources import HELD_OUT, SOURCES, package_dir

SIZE = 64


def render_svg(svg: str) -> Image.Image:
    import resvg_py

    picture = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=2 * SIZE))))
    return fit(picture)


def fit(picture: Image.Image) -> Image.Image:
    """Scales a picture to SIZE x SIZE on transparent ground. The aspect ratio stays."""
    picture = picture.convert("RGBA")
    scale = SIZE / max(picture.size)
    if scale != 1.0:
        size = [max(1, round(s * scale)) for s in picture.size]
        picture = picture.resize((size[0], size[1]), Image.Resampling.BOX)
    if picture.size != (SIZE, SIZE):
        canvas = Image.new("RGBA", (SIZE, SIZE))
        canvas.paste(picture, ((SIZE - picture.width) // 2, (SIZE - picture.height) // 2))
        picture = canvas
    return picture


def iconify_pictures(folder: Path) -> dict[str, str]:
    """Returns the SVG text of each icon, by name, for a package of the iconify collection."""
    data = json.loads((folder / "icons.json").read_text("utf-8"))
    out = {}
    for name, icon in data["icons"].items():
        width = icon.get("width", data.get("width", 16))
        height = icon.get("height", data.get("height", 16))
        box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
        out[name] = (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'color="#333" viewBox="{box}" width="{width}" height="{height}">{icon["body"]}</svg>'
        )
    return out


@dataclass
class Record:
    """One picture: who drew it and what it shows."""

    vendor: str
    role: str
    gender: str = ""
    tone: str = ""
    source: str = ""


def tone_of(hexcode: str) -> str:
    tones = [TONES[p] for p in hexcode.upper().split("-") if p in TONES]
    return tones[0] if tones and len(set(tones)) == 1 else ""


def unify(pixels: np.ndarray) -> np.ndarray:
    """Returns premultiplied 16 x 16 thumbnails on white, which show near-duplicates."""
    x = pixels.astype("float32") / 255
    x = x[..., :3] * x[..., 3:] + 1 - x[..., 3:]
    return x.reshape(-1, 16, SIZE // 16, 16, SIZE // 16, 3).mean((2, 4)).reshape(len(x), -1)


def render_all(root: Path) -> None:
    roles, by_slug = load_names(root)
    records: list[Record] = []
    pixels: list[np.ndarray] = []
    seen: dict[str, list[np.ndarray]] = defaultdict(list)  # Thumbnails by role, for duplicates.
    duplicates: dict[str, int] = defaultdict(int)
    nameless: dict[str, int] = defaultdict(int)

    def keep(record: Record, picture: Image.Image) -> None:
        array = np.asarray(picture)
        if not (array[..., 3] > 32).any():
            return
        thumb = unify(array[None])[0]
        # Releases of one vendor repeat most drawings. Those differ by less than 2.5%, the root
        # mean square over the thumbnail.
        if any(np.mean((thumb - other) ** 2) < 0.025**2 for other in seen[record.role]):
            duplicates[record.vendor] += 1
            return
        seen[record.role].append(thumb)
        records.append(record)
        pixels.append(array)

    for source in SOURCES:
        folder = package_dir(root, source.package)
        if source.package.startswith("emoji-datasource"):
            for file in sorted((folder / "img").glob("*/64/*.png")):
                code = role_of(file.stem)
                if code not in roles:
                    nameless[source.vendor] += 1
                    continue
                hexcode = file.stem.upper()
                record = Record(
                    source.vendor, code, gender_of(hexcode), tone_of(hexcode), file.name
                )
                keep(record, fit(Image.open(file)))
            continue
        for name, svg in sorted(iconify_pictures(folder).items()):
            bare = re.sub(r"-\d$", "", name) if source.vendor == "streamline" else name
            hexcode = by_slug.get(slug(bare), "")
            if not hexcode:  # A name of the vendor's own is a concept by itself.
                if source.vendor == "fxemoji":  # Its names have no spaces between words.
                    nameless[source.vendor] += 1
                    continue
                label = clean(TONE_SUFFIX.sub("", bare.replace("-", " ")))
                code = f"own-{slug(label)}"
                match = by_slug.get(slug(f"{label} face")) or by_slug.get(
                    slug(label.removesuffix(" face"))
                )
                code = role_of(match) if match else code
                roles.setdefault(code, Role(code, names=[label], flip=False))
                record = Record(source.vendor, code, source=name)
            else:
                record = Record(
                    source.vendor, role_of(hexcode), gender_of(hexcode), tone_of(hexcode), name
                )
            keep(record, render_svg(svg))
    array = np.stack(pixels)

    # No picture may stay that looks like the held-out vendor's picture of the same concept.
    fluent = [(code, np.asarray(picture)) for code, picture in fluent_pictures(root, by_slug)]
    drop = np.zeros(len(records), bool)
    if fluent:
        by_role: dict[str, list[int]] = defaultdict(list)
        for i, record in enumerate(records):
            by_role[record.role].append(i)
        thumbs, theirs = unify(array), unify(np.stack([p for _, p in fluent]))
        for (hexcode, _), thumb in zip(fluent, theirs, strict=True):
            for i in by_role.get(role_of(hexcode), []):
                drop[i] |= float(np.mean((thumbs[i] - thumb) ** 2)) < 0.05**2
        used = {role_of(h) for h, _ in fluent}
        click.echo(f"held-out vendor: {len(fluent)} pictures of {len(used)} concepts; never stored")
    records = [r for r, d in zip(records, drop, strict=True) if not d]
    array = array[~drop]
    used_roles = {r.role for r in records}
    np.save(root / "pictures.npy", array)
    (root / "pictures.json").write_text(
        json.dumps(
            {
                "records": [asdict(r) for r in records],
                "roles": [asdict(r) for r in roles.values() if r.code in used_roles],
            }
        )
    )
    for source in SOURCES:
        mine = [r for r in records if r.vendor == source.vendor]
        click.echo(
            f"{source.vendor:14s} {len(mine):5d} pictures {len({r.role for r in mine}):5d} concepts"
            f" ({sum(roles[r.role].people for r in mine)} of people; {duplicates[source.vendor]}"
            f" duplicates, {nameless[source.vendor]} nameless left out)  {source.licence}"
        )
    click.echo(
        f"total {len(records)} pictures, {len(used_roles)} concepts; {int(drop.sum())} more were "
        "dropped for looking like the held-out vendor's"
    )


def fluent_pictures(root: Path, by_slug: dict[str, str]) -> list[tuple[str, Image.Image]]:
    """Returns (hexcode, picture) pairs of the held-out vendor, for `evaluate` and `render`."""
    out = []
    suffix = re.compile(r"-(default|light|medium-light|medium|medium-dark|dark)$")
    for style in ("flat", "modern"):
        folder = package_dir(root, HELD_OUT) / "icons" / style
        for file in sorted(folder.glob("*.svg")):
            name = file.stem
            found = suffix.search(name)
            bare, tone = (name[: found.start()], found[1]) if found else (name, "default")
            label = bare if tone == "default" else f"{bare}{tone}skintone"
            hexcode = by_slug.get(slug(label)) or by_slug.get(slug(bare)) or by_slug.get(slug(name))
            if hexcode:
                out.append((hexcode, render_svg(file.read_text("utf-8"))))
    return out
