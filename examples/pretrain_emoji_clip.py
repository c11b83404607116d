"""Pre-train a small CLIP on emoji pictures and their names, from nothing, on a CPU.

The result is the preset ``emoji_clip_tiny``: a keras-hub ``CLIPBackbone`` of about 5 M parameters
for 64 x 64 pictures, with its own BPE vocabulary. The pictures come from npm packages under
permissive licences (see ``NOTICE``). Microsoft's Fluent emoji are never trained on: they are the
unseen vendor of the demo, and ``evaluate`` measures on them.

Run the steps in this order; each is repeatable and keeps its files under ``--dir``::

    pip install keras-hub torch tokenizers pillow click resvg-py   # and npm on the PATH
    python pretrain_emoji_clip.py download
    python pretrain_emoji_clip.py render
    python pretrain_emoji_clip.py train --steps 7000               # stop and --resume at will
    python pretrain_emoji_clip.py train --resume
    python pretrain_emoji_clip.py export --preset emoji_clip_tiny
    python pretrain_emoji_clip.py evaluate --preset emoji_clip_tiny
"""

from __future__ import annotations

import io
import json
import math
import os
import random
import re
import subprocess
import tarfile
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # leave the other core to others when idle

import click
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

SIZE = 64
MAX_TOKENS = 32
DEFAULT_DIR = Path.home() / "emoji_clip"

# ------------------------------------------------------------------------------------- sources

NAMES = "emojibase-data@17.0.0"
HELD_OUT = "fluentui-emoji@1.3.0"


@dataclass(frozen=True)
class Source:
    """One npm package of pictures; `weight` is how often its pictures are drawn."""

    vendor: str
    package: str
    licence: str
    weight: float = 1.0


SOURCES = [
    Source("noto", "emoji-datasource-google@16.0.0", "Apache-2.0"),
    Source("noto-2020", "emoji-datasource-google@6.1.1", "Apache-2.0", 0.5),
    Source("noto-2019", "emoji-datasource-google@5.0.1", "Apache-2.0", 0.5),
    Source("noto-2018", "emoji-datasource-google@4.1.0", "Apache-2.0", 0.4),
    Source("noto-2017", "emoji-datasource-google@3.0.0", "Apache-2.0", 0.6),
    Source("blob", "@iconify-json/noto-v1@1.2.5", "Apache-2.0", 0.8),
    Source("twemoji", "emoji-datasource-twitter@16.0.0", "CC-BY-4.0", 1.2),
    Source("twemoji-2018", "emoji-datasource-twitter@4.0.4", "CC-BY-4.0", 0.6),
    Source("emojione", "@iconify-json/emojione@1.2.3", "CC-BY-4.0"),
    Source("emojione-mono", "@iconify-json/emojione-monotone@1.2.1", "CC-BY-4.0", 0.3),
    Source("fxemoji", "@iconify-json/fxemoji@1.2.2", "CC-BY-4.0"),
    Source("streamline", "@iconify-json/streamline-emojis@1.2.4", "CC-BY-4.0", 1.2),
]
VALIDATION_VENDORS = ("streamline", "fxemoji")  # a third of their concepts is kept for validation


def package_dir(root: Path, package: str) -> Path:
    return root / "cache" / package.strip("@").replace("/", "-").replace("@", "-") / "package"


def download_package(root: Path, package: str) -> None:
    """Fetch one package with ``npm pack`` and unpack it, without the big sprite sheets."""
    target = package_dir(root, package)
    if (target / "package.json").exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    run = subprocess.run(
        ["npm", "pack", package, "--silent"],
        cwd=target.parent,
        check=True,
        capture_output=True,
        text=True,
    )
    archive = target.parent / run.stdout.strip().splitlines()[-1]
    with tarfile.open(archive) as tar:
        members = [m for m in tar.getmembers() if "/sheets" not in m.name and m.isfile()]
        tar.extractall(target.parent, members=members, filter="data")
    archive.unlink()


# ----------------------------------------------------------------------- names, roles, captions

TONES = {
    "1F3FB": "light",
    "1F3FC": "medium-light",
    "1F3FD": "medium",
    "1F3FE": "medium-dark",
    "1F3FF": "dark",
}
PEOPLE_SUBGROUPS = range(23, 30)  # person, gesture, role, fantasy, activity, sport, resting
ADULTS = {"1F468", "1F469", "1F9D1"}
GENDER_WORDS = {"man", "woman", "person", "men", "women", "people", "boy", "girl"}
NO_FLIP_GROUPS = {8, 9}  # symbols and flags carry letters and directions
NO_FLIP_WORDS = re.compile(r"\b(left|right|clock|rightwards|leftwards|o.clock|anticlockwise)\b")
TONE_SUFFIX = re.compile(r"[: -]+((?:medium-|medium )?(?:light|dark|medium) skin tone)$")


def role_of(hexcode: str) -> str:
    """The code of what is depicted, whatever the gender, the skin tone or the direction."""
    parts = [p for p in hexcode.upper().split("-") if p != "FE0F" and p not in TONES]
    if not parts:  # a skin tone by itself
        return hexcode
    if {"1FAF1", "1FAF2"} <= set(parts):
        return "1F91D"
    if sum(p in ADULTS for p in parts) > 1 or {"1F466", "1F467", "1F9D2"} & set(parts[1:]):
        if {"1F466", "1F467", "1F9D2"} & set(parts):
            return "1F46A"
        for sign, role in (("1F48B", "1F48F"), ("2764", "1F491"), ("1F91D", "1F46D")):
            if sign in parts:
                return role
    if parts[0] in ADULTS and len(parts) > 1:
        parts[0] = "1F9D1"
    code = "-".join(parts)
    for suffix in ("-200D-27A1", "-200D-2640", "-200D-2642"):
        code = code.replace(suffix, "")
    return {"1F46B": "1F46D", "1F46C": "1F46D"}.get(code, code)


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", text.lower().replace("&", "and"))


def clean(text: str) -> str:
    text = text.lower().replace("\u2019", "'").replace("\u201c", "").replace("\u201d", "")
    return re.sub(r"\s+", " ", text.replace("_", " ").replace(":", " ")).strip()


@dataclass
class Role:
    """A concept: its captions by gender, and what all of its pictures share."""

    code: str
    group: int = -1
    people: bool = False
    flip: bool = True
    names: list[str] = field(default_factory=list)
    gendered: dict[str, list[str]] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)

    def add(self, where: list[str], *texts: str) -> None:
        """Append what is new."""
        for text in texts:
            if text and text not in where:
                where.append(text)


def without_gender(label: str) -> list[str]:
    """'woman surfing' -> 'surfing', 'person surfing'; 'man artist' -> 'artist'."""
    first, _, rest = label.partition(" ")
    if first not in GENDER_WORDS or not rest:
        return []
    if rest.split()[0].endswith("ing"):
        return [rest, f"person {rest}"]
    if rest.split()[0] in {"in", "with", "wearing"}:
        return [f"person {rest}"]
    return [rest]


def gender_of(hexcode: str) -> str:
    parts = hexcode.upper().split("-")
    for code, gender in (("2640", "woman"), ("2642", "man"), ("1F469", "woman"), ("1F468", "man")):
        if code in parts:
            return gender
    return ""


def load_names(root: Path) -> tuple[dict[str, Role], dict[str, str]]:
    """Roles by code, and a table from the slug of a name to a full hexcode."""
    base = package_dir(root, NAMES) / "en"
    entries = json.loads((base / "data.json").read_text("utf-8"))
    codes = {
        name: json.loads((base / "shortcodes" / f"{name}.json").read_text("utf-8"))
        for name in ("github", "iamcal", "emojibase", "joypixels")
    }
    roles: dict[str, Role] = {}
    by_slug: dict[str, str] = {}
    for entry in entries:
        hexcode = entry["hexcode"]
        if entry.get("group") == 2:  # components: skin tones, hair
            continue
        role = roles.setdefault(role_of(hexcode), Role(role_of(hexcode)))
        label = clean(entry["label"])
        role.group = max(role.group, entry.get("group", -1))
        role.people |= entry.get("group") == 1 and entry.get("subgroup") in PEOPLE_SUBGROUPS
        role.flip &= role.group not in NO_FLIP_GROUPS and not NO_FLIP_WORDS.search(label)
        gender = gender_of(hexcode)
        shorts = []
        for table in codes.values():
            value = table.get(hexcode, [])
            shorts += [clean(s) for s in ([value] if isinstance(value, str) else value)]
        shorts = [s for s in shorts if len(s) > 2 and not s.startswith("flag ")]
        if gender:
            role.add(role.gendered.setdefault(gender, []), label, *shorts)
            role.add(role.names, *without_gender(label))
        else:
            role.add(role.names, label, *without_gender(label), *shorts)
        role.add(role.tags, *(clean(t) for t in entry.get("tags", []) if t not in GENDER_WORDS))
        by_slug[slug(entry["label"])] = hexcode
        for skin in entry.get("skins", []):
            by_slug[slug(skin["label"])] = skin["hexcode"]
    older = json.loads((package_dir(root, SOURCES[0].package) / "emoji.json").read_text("utf-8"))
    for entry in older:  # Unicode's own, older names
        for name in (entry["name"] or "", *entry["short_names"]):
            if role_of(entry["unified"]) in roles:
                by_slug.setdefault(slug(name), entry["unified"])
    for code in ("1F46A", "1F48F", "1F491", "1F46D"):
        if code in roles:
            roles[code].people = False
    return roles, by_slug


# ------------------------------------------------------------------------------------ rendering


def render_svg(svg: str) -> Image.Image:
    import resvg_py

    picture = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=2 * SIZE))))
    return fit(picture)


def fit(picture: Image.Image) -> Image.Image:
    """Scale to SIZE x SIZE, keeping the aspect ratio, on transparent ground."""
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
    """Icon name -> SVG text, for a package of the iconify collection."""
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
    """Premultiplied 16 x 16 thumbnails on white, to find near-duplicates."""
    x = pixels.astype("float32") / 255
    x = x[..., :3] * x[..., 3:] + 1 - x[..., 3:]
    return x.reshape(-1, 16, SIZE // 16, 16, SIZE // 16, 3).mean((2, 4)).reshape(len(x), -1)


def render_all(root: Path) -> None:
    roles, by_slug = load_names(root)
    records: list[Record] = []
    pixels: list[np.ndarray] = []
    seen: dict[str, list[np.ndarray]] = defaultdict(list)  # role -> thumbnails, for duplicates
    duplicates: dict[str, int] = defaultdict(int)
    nameless: dict[str, int] = defaultdict(int)

    def keep(record: Record, picture: Image.Image) -> None:
        array = np.asarray(picture)
        if not (array[..., 3] > 32).any():
            return
        thumb = unify(array[None])[0]
        # Releases of one vendor repeat most drawings: root mean square below 2.5%.
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
            if not hexcode:  # a name of the vendor's own: a concept by itself
                if source.vendor == "fxemoji":  # its words are run together
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

    # Nothing that looks like the held-out vendor's picture of the same thing may stay.
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
    """(hexcode, picture) of the held-out vendor. For `evaluate` and the duplicate check."""
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


# ------------------------------------------------------------------------------------- captions

WRAPPERS = [
    "an emoji of {}",
    "an emoji of {}.",
    "an emoji of a {}",
    "an emoji of a {}.",
    "{} emoji",
    "a picture of {}",
    "a picture of a {}.",
    "a photo of a {}.",
    "an icon of a {}",
    "a drawing of a {}.",
    "a cartoon of {}",
    "{}.",
]


@dataclass
class Captioner:
    """Draws a caption for a picture; `owners` tells which concepts a core caption fits."""

    roles: list[Role]
    owners: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def __post_init__(self) -> None:
        for i, role in enumerate(self.roles):
            every = [role.names, role.tags, *role.gendered.values()]
            for text in (t for texts in every for t in texts):
                self.owners[text].add(i)

    def texts(self) -> list[str]:
        """Every core caption."""
        return sorted(self.owners)

    def draw(self, i: int, gender: str, tone: str, rng: random.Random) -> tuple[str, str]:
        """A caption and its core (the part that decides what else it would fit)."""
        role, dice = self.roles[i], rng.random()
        names = role.names or [n for ns in role.gendered.values() for n in ns] or role.tags
        if role.gendered.get(gender) and rng.random() < 0.35:
            names = role.gendered[gender]
        # The first name is the Unicode label and deserves half of the draws.
        name = names[0] if rng.random() < 0.5 else rng.choice(names)
        core = text = name
        if dice < 0.14 and role.tags:
            core = text = rng.choice(role.tags)
        elif dice < 0.28 and len(role.tags) > 1:
            tags = rng.sample(role.tags, min(len(role.tags), rng.randint(2, 4)))
            text, core = ", ".join(tags), "\n".join(tags)
        elif dice < 0.36 and role.tags:
            text = f"{name}, {rng.choice(role.tags)}"
        elif tone and dice < 0.46:
            text = f"{name} with {tone} skin tone" if rng.random() < 0.5 else f"{name}, {tone} skin"
        if rng.random() < 0.45:
            text = rng.choice(WRAPPERS).format(text)
        return text, core

    def fits(self, core: str) -> set[int]:
        """The concepts that a core caption is true of."""
        sets = [self.owners.get(part, set()) for part in core.split("\n")]
        return set.intersection(*sets)


def train_vocabulary(texts: list[str], merges: int) -> tuple[dict[str, int], list[str]]:
    """A CLIP-style BPE: bytes, bytes that end a word, merges, then the two special tokens.

    CLIP's text pooling takes the position of the largest id, so the end token must come last; id 0,
    which pads, is the harmless byte '!'.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"),
                behavior="removed",
                invert=True,
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=2 * len(alphabet) + merges,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    pairs = json.loads(tokenizer.to_str())["model"]["merges"]
    rules = [tuple(p) if isinstance(p, list) else tuple(p.split(" ")) for p in pairs][:merges]
    alphabet.remove("!")
    tokens = ["!", *alphabet, *(f"{c}</w>" for c in ["!", *alphabet]), *(a + b for a, b in rules)]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    return {t: i for i, t in enumerate(tokens)}, [f"{a} {b}" for a, b in rules]


def vocabulary_of(
    root: Path, captioner: Captioner, merges: int
) -> tuple[dict[str, int], list[str]]:
    """The vocabulary is made once and kept: weights are worthless with another."""
    file = root / f"vocabulary-{merges}.json"
    if not file.exists():
        rng = random.Random(0)
        texts = [w.format("") for w in WRAPPERS] * 50 + captioner.texts()
        for i, role in enumerate(captioner.roles):
            texts += [captioner.draw(i, g, "medium-dark", rng)[0] for g in ("", *role.gendered)] * 2
        file.write_text(json.dumps(train_vocabulary(texts, merges)))
    vocabulary, rules = json.loads(file.read_text())
    return vocabulary, rules


class Tokens:
    """Text to padded ids, as keras-hub's tokenizer and packer make them, with a cache by word."""

    def __init__(self, vocabulary: dict[str, int], merges: list[str]) -> None:
        import keras_hub

        self.keras = keras_hub.models.CLIPTokenizer(vocabulary=vocabulary, merges=merges)
        self.start, self.end = self.keras.start_token_id, self.keras.end_token_id
        self.fast = self.keras._tokenizer

    def __call__(self, texts: list[str]) -> torch.Tensor:
        """Ids of the captions, padded to the longest."""
        rows = [e.ids[: MAX_TOKENS - 2] for e in self.fast.encode_batch(texts)]
        width = max(map(len, rows)) + 2
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, : len(row) + 2] = torch.tensor([self.start, *row, self.end])
        return ids


# --------------------------------------------------------------------------------- augmentation


def uniform(n: int, low: float, high: float, *shape: int) -> torch.Tensor:
    return torch.empty(n, *shape).uniform_(low, high)


def chosen(n: int, probability: float) -> torch.Tensor:
    return torch.rand(n) < probability


LUMA = torch.tensor([0.299, 0.587, 0.114])


def affine(x: torch.Tensor, flip: torch.Tensor) -> torch.Tensor:
    n = len(x)
    wild = chosen(n, 0.15).float()
    angle = uniform(n, -1, 1) * (0.16 + 0.4 * wild)
    scale = torch.exp(uniform(n, -0.12, 0.42))  # above 1 shrinks the picture
    aspect = torch.exp(uniform(n, -0.08, 0.08))
    sign = torch.where(flip & chosen(n, 0.5), -1.0, 1.0)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    room = 0.08 + 0.5 * (scale - 1).clamp(min=0)
    theta = torch.stack(
        [
            torch.stack([cos * aspect * sign, -sin, uniform(n, -1, 1) * room], 1),
            torch.stack([sin * sign, cos / aspect, uniform(n, -1, 1) * room], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, [n, 4, SIZE, SIZE], align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def colour_matrix(n: int) -> torch.Tensor:
    """Random saturation, hue, contrast; some grey, permuted or inverted: [n, 3, 4]."""
    hue = uniform(n, -1, 1) * torch.where(chosen(n, 0.12), 3.14, 0.2)
    cos, sin = torch.cos(hue), torch.sin(hue)
    third, root = 1 / 3, math.sqrt(1 / 3)
    eye, ones = torch.eye(3), torch.full((3, 3), third)
    cross = torch.tensor([[0.0, -root, root], [root, 0.0, -root], [-root, root, 0.0]])
    m = cos[:, None, None] * eye + (1 - cos)[:, None, None] * ones + sin[:, None, None] * cross
    saturation = uniform(n, 0.6, 1.5)
    saturation[chosen(n, 0.08)] = 0
    m = (saturation[:, None, None] * eye + (1 - saturation)[:, None, None] * LUMA.expand(3, 3)) @ m
    contrast = uniform(n, 0.75, 1.25)[:, None, None]
    shift = 0.5 * (1 - contrast) + uniform(n, -0.12, 0.12, 1, 1) + uniform(n, -0.06, 0.06, 3, 1)
    m = torch.cat([m * contrast, shift], 2)
    inverted = chosen(n, 0.02)
    m[inverted] = -m[inverted] + torch.tensor([0.0, 0, 0, 1])
    return m


def blur(x: torch.Tensor) -> torch.Tensor:
    kernel = torch.tensor([1.0, 2, 1]) / 4
    weight = (kernel[:, None] * kernel).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), weight, groups=x.shape[1])


def subset(x: torch.Tensor, probability: float, change: Any) -> torch.Tensor:
    """Apply `change` to a random part of the batch."""
    index = torch.nonzero(chosen(len(x), probability)).flatten()
    if len(index):
        x = x.index_copy(0, index, change(x[index]))
    return x


def ramp(n: int) -> torch.Tensor:
    """A plane of random direction over the picture, in -1..1."""
    line = torch.linspace(-1, 1, SIZE)
    angle = uniform(n, 0, 2 * math.pi, 1, 1)
    return torch.cos(angle) * line + torch.sin(angle) * line[:, None]


def edges(x: torch.Tensor) -> torch.Tensor:
    grey = (x * LUMA[:, None, None]).sum(1, keepdim=True)
    gx = F.pad(grey[..., 1:] - grey[..., :-1], (0, 1))
    gy = F.pad(grey[..., 1:, :] - grey[..., :-1, :], (0, 0, 0, 1))
    return (1 - 3 * (gx.abs() + gy.abs())).clamp(0, 1).expand(-1, 3, -1, -1)


def half_and_back(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear", align_corners=False)


def posterize(x: torch.Tensor) -> torch.Tensor:
    levels = torch.randint(2, 6, (len(x), 1, 1, 1)).float()
    return (x * levels).round() / levels


def erase(x: torch.Tensor) -> torch.Tensor:
    n, line = len(x), torch.arange(SIZE)
    low = torch.rand(n, 2) * SIZE * 0.8
    high = low + SIZE * uniform(n, 0.1, 0.35, 2)
    inside = [(line >= low[:, i : i + 1]) & (line < high[:, i : i + 1]) for i in (0, 1)]
    mask = (inside[0][:, :, None] & inside[1][:, None, :])[:, None].float()
    return x * (1 - mask) + mask * torch.rand(n, 3, 1, 1)


def on_ground(rgb: torch.Tensor, alpha: torch.Tensor, ground: torch.Tensor) -> torch.Tensor:
    return rgb + ground * (1 - alpha)


def outline(alpha: torch.Tensor, ground: torch.Tensor) -> torch.Tensor:
    """The ground, for a fifth of the pictures with the widened silhouette in ink on it."""
    n = len(alpha)
    ground = ground.expand(n, 3, SIZE, SIZE)
    index = torch.nonzero(chosen(n, 0.2)).flatten()
    wide = F.max_pool2d(alpha[index], 3, 1, 1)
    wide = subset(wide, 0.4, lambda y: F.max_pool2d(y, 3, 1, 1))
    k = len(index)
    ink = torch.rand(k, 3, 1, 1) * torch.where(chosen(k, 0.6), 0.25, 1.0)[:, None, None, None]
    return ground.index_copy(0, index, on_ground(ink * wide, wide, ground[index]))


def augment(pictures: torch.Tensor, flip: torch.Tensor) -> torch.Tensor:
    """uint8 RGBA [n, 64, 64, 4] -> model input [n, 64, 64, 3], every picture in a style by chance.

    The aim is to generalise to a vendor that was never seen: form must matter more than palette,
    outline, shading or ground.
    """
    n = len(pictures)
    x = pictures.permute(0, 3, 1, 2).float() / 255
    x = torch.cat([x[:, :3] * x[:, 3:], x[:, 3:]], 1)  # premultiplied: it can be interpolated
    x = affine(x, flip)
    rgb, alpha = x[:, :3], x[:, 3:]
    m = colour_matrix(n)
    rgb = torch.einsum("nij,njhw->nihw", m[:, :, :3], rgb) + m[:, :, 3, None, None] * alpha
    strength = uniform(n, 0, 0.35, 1, 1, 1) * chosen(n, 0.35)[:, None, None, None]
    rgb = rgb * (1 + strength * ramp(n)[:, None])  # shading, as of a gradient
    rgb = torch.minimum(rgb.clamp(min=0), alpha)
    # Ground: white half of the time, else grey, black, coloured; some with a gradient.
    ground = torch.ones(n, 3, 1, 1)
    coloured, grey = chosen(n, 0.35), chosen(n, 0.2)
    ground[coloured] = torch.rand(int(coloured.sum()), 3, 1, 1)
    ground[grey] = torch.rand(int(grey.sum()), 1, 1, 1).expand(-1, 3, 1, 1)
    ground = ground + 0.3 * chosen(n, 0.15)[:, None, None, None] * ramp(n)[:, None]
    # Outline: dark, white or coloured, one to two pixels.
    x = on_ground(rgb, alpha, outline(alpha, ground)).clamp(0, 1)
    x = subset(x, 0.10, half_and_back)
    x = subset(x, 0.10, blur)
    x = subset(x, 0.10, lambda y: y + uniform(len(y), 0.5, 2.0, 1, 1, 1) * (y - blur(y)))
    x = subset(x, 0.06, posterize)
    x = subset(x, 0.03, edges)
    x = subset(x, 0.08, lambda y: y + torch.randn_like(y) * uniform(len(y), 0, 0.06, 1, 1, 1))
    x = subset(x, 0.20, erase)
    return to_input(x.clamp(0, 1))


def plain(pictures: np.ndarray | torch.Tensor) -> torch.Tensor:
    """On white, nothing else: what validation and the demo see."""
    x = torch.as_tensor(np.asarray(pictures)).permute(0, 3, 1, 2).float() / 255
    return to_input(on_ground(x[:, :3] * x[:, 3:], x[:, 3:], torch.ones(1, 3, 1, 1)))


def to_input(x: torch.Tensor) -> torch.Tensor:
    return (x * 2 - 1).permute(0, 2, 3, 1).contiguous()  # mean and deviation 0.5


# ---------------------------------------------------------------------------------------- model


@dataclass
class Config:
    """Everything that decides the result of a run; stored in the checkpoint."""

    steps: int = 7000
    batch: int = 128
    people: float = 0.4  # share of people in roles and activities in a batch
    lr: float = 1e-3
    warmup: int = 200
    weight_decay: float = 0.1
    ema: float = 0.998
    keep: float = 0.5  # share of the patches that the vision encoder sees (1 = all)
    whole: float = 0.12  # the last part of the run sees all of them
    patch: int = 8
    width: int = 192
    depth: int = 7
    heads: int = 6
    text_width: int = 160
    text_depth: int = 4
    text_heads: int = 4
    projection: int = 192
    merges: int = 2200
    seed: int = 1
    without: str = ""  # a vendor to leave out, for the sweep


def build_backbone(config: Config, vocabulary_size: int, dtype: str = "float32") -> Any:
    import keras
    import keras_hub

    keras.utils.set_random_seed(config.seed)
    vision = keras_hub.models.CLIPVisionEncoder(
        patch_size=config.patch,
        hidden_dim=config.width,
        num_layers=config.depth,
        num_heads=config.heads,
        intermediate_dim=4 * config.width,
        image_shape=(SIZE, SIZE, 3),
        dtype=dtype,
        name="clip_vision_encoder",
    )
    text = keras_hub.models.CLIPTextEncoder(
        vocabulary_size=vocabulary_size,
        embedding_dim=config.text_width,
        hidden_dim=config.text_width,
        num_layers=config.text_depth,
        num_heads=config.text_heads,
        intermediate_dim=4 * config.text_width,
        max_sequence_length=MAX_TOKENS,
        dtype=dtype,
        name="clip_text_encoder",
    )
    return keras_hub.models.CLIPBackbone(
        vision, text, config.projection, dtype=dtype, name="emoji_clip_tiny"
    )


def start_values(backbone: Any) -> None:
    """CLIP's initial scale of the embeddings: Keras's default is too large for positions."""
    for variable in backbone.trainable_variables:
        value, path = variable.value, variable.path
        with torch.no_grad():
            if "embedding" in path and "patch" not in path:
                value.normal_(0, 0.02)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, is_causal: bool) -> torch.Tensor:
    """Plain attention: over a few dozen tokens, torch's fused kernel is up to six times slower."""
    n, heads, length, width = q.shape
    q, k, v = (t.reshape(n * heads, length, width) for t in (q, k, v))
    scores = torch.bmm(q, k.transpose(1, 2)) / math.sqrt(width)
    if is_causal:
        scores = scores + torch.full((length, length), -1e4, dtype=q.dtype).triu(1)
    return torch.bmm(scores.softmax(-1), v).view(n, heads, length, width)


def block(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """What `layer` (a keras-hub CLIPEncoderLayer) computes, faster, in the precision of `x`."""

    def get(variable: Any, *shape: int) -> torch.Tensor:
        value = variable.value.to(x.dtype)
        return value.reshape(shape) if shape else value

    n, length, width = x.shape
    attention, flat = layer.attention, (n * length, width)
    norm = layer.layer_norm_1
    y = F.layer_norm(x, (width,), get(norm.gamma), get(norm.beta), norm.epsilon).reshape(flat)
    parts = (attention._query_dense, attention._key_dense, attention._value_dense)
    kernel = torch.cat([get(p.kernel, width, width) for p in parts], 1)
    bias = torch.cat([get(p.bias, width) for p in parts])
    heads = attention._num_heads
    q, k, v = torch.addmm(bias, y, kernel).view(n, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
    y = attend(q, k, v, layer.use_causal_mask)
    out = attention._output_dense
    kernel = get(out.kernel, width, width)
    x = x + torch.addmm(get(out.bias), y.transpose(1, 2).reshape(flat), kernel).view_as(x)
    norm = layer.layer_norm_2
    y = F.layer_norm(x, (width,), get(norm.gamma), get(norm.beta), norm.epsilon).reshape(flat)
    y = torch.addmm(get(layer.dense_1.bias), y, get(layer.dense_1.kernel))
    y = F.silu(1.702 * y) / 1.702  # quick GELU
    return x + torch.addmm(get(layer.dense_2.bias), y, get(layer.dense_2.kernel)).view_as(x)


def encode_pictures(
    backbone: Any, pictures: torch.Tensor, keep: float = 1.0, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Unit vectors of pictures; with `keep` < 1 from a random part of the patches (as in FLIP)."""
    encoder = backbone.vision_encoder
    x = encoder.embedding(pictures)
    if keep < 1:
        n, length, width = x.shape
        order = torch.rand(n, length - 1).argsort(1)[:, : round((length - 1) * keep)] + 1
        index = torch.cat([torch.zeros(n, 1, dtype=torch.long), order], 1)
        x = torch.gather(x, 1, index[..., None].expand(-1, -1, width))
    x = encoder.pre_layer_norm(x).to(dtype)
    for layer in encoder.encoder_layers:
        x = block(layer, x)
    pooled = encoder.layer_norm(x[:, 0].float())
    return F.normalize(backbone.vision_projection(pooled), dim=-1)


def encode_texts(
    backbone: Any, ids: torch.Tensor, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    encoder = backbone.text_encoder
    x = encoder.embedding(ids).to(dtype)
    for layer in encoder.encoder_layers:
        x = block(layer, x)
    x = encoder.layer_norm(x[torch.arange(len(ids)), ids.argmax(1)].float())
    return F.normalize(backbone.text_projection(x), dim=-1)


def encode_captions(backbone: Any, ids: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """`encode_texts` in two parts, the short ones without the padding that the long ones need."""
    lengths = ids.argmax(1) + 1
    order = lengths.argsort(stable=True)
    cut = int(len(ids) * 0.75)
    parts = [
        encode_texts(backbone, ids[part, : int(lengths[part].max())], dtype)
        for part in (order[:cut], order[cut:])
    ]
    return torch.cat(parts)[order.argsort()]


def check_equal(backbone: Any, pictures: torch.Tensor, ids: torch.Tensor) -> None:
    """The fast encoders must agree with keras-hub's own."""
    with torch.no_grad():
        a = F.normalize(backbone.get_vision_embeddings(pictures), dim=-1)
        b = F.normalize(backbone.get_text_embeddings(ids), dim=-1)
        torch.testing.assert_close(encode_pictures(backbone, pictures), a, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(encode_texts(backbone, ids), b, atol=1e-4, rtol=1e-3)


# ----------------------------------------------------------------------------------------- data


class Corpus:
    """The rendered pictures, split into training and validation, with a sampler of batches."""

    def __init__(self, root: Path, config: Config) -> None:
        self.pixels = torch.from_numpy(np.load(root / "pictures.npy"))
        data = json.loads((root / "pictures.json").read_text())
        self.records = [Record(**r) for r in data["records"]]
        self.roles = [Role(**r) for r in data["roles"]]
        self.captioner = Captioner(self.roles)
        number = {role.code: i for i, role in enumerate(self.roles)}
        self.role_of = [number[r.role] for r in self.records]
        weights = {s.vendor: s.weight for s in SOURCES}
        vendors: dict[int, set[str]] = defaultdict(set)
        for i, record in zip(self.role_of, self.records, strict=True):
            vendors[i].add(record.vendor)
        validation, train = [], []
        for k, record in enumerate(self.records):
            i = self.role_of[k]
            if config.without:
                hidden = record.vendor.startswith(config.without)
                if hidden and all(v.startswith(config.without) for v in vendors[i]):
                    continue
            else:
                others = vendors[i] - set(VALIDATION_VENDORS)
                hidden = record.vendor in VALIDATION_VENDORS and i % 3 == 0 and bool(others)
            (validation if hidden else train).append(k)
        self.train, self.validation = train, validation
        # role -> vendor -> pictures
        self.shelf: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for k in train:
            self.shelf[self.role_of[k]][self.records[k].vendor].append(k)
        self.weights = weights
        self.people = np.array([i for i in self.shelf if self.roles[i].people])
        self.others = np.array([i for i in self.shelf if not self.roles[i].people])
        odds = [{9: 0.35, 8: 0.5}.get(self.roles[i].group, 1.0) for i in self.others]
        self.odds = np.array(odds) / sum(odds)
        self.config = config

    def batch(
        self, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, list[str], torch.Tensor]:
        """Pictures, which of them may be flipped, captions, and which caption fits which picture.

        Concepts are distinct within a batch, so no picture is the negative of its own name.
        """
        size = self.config.batch
        people = min(len(self.people), round(size * self.config.people))
        drawn = np.concatenate(
            [
                rng.choice(self.people, people, replace=False),
                rng.choice(self.others, size - people, replace=False, p=self.odds),
            ]
        ).tolist()
        pick = random.Random(int(rng.integers(1 << 62)))
        index, captions, cores = [], [], []
        for i in drawn:
            vendors = list(self.shelf[i])
            vendor = pick.choices(vendors, [self.weights[v] for v in vendors])[0]
            k = pick.choice(self.shelf[i][vendor])
            record = self.records[k]
            text, core = self.captioner.draw(i, record.gender, record.tone, pick)
            index.append(k)
            captions.append(text)
            cores.append(core)
        row = {i: n for n, i in enumerate(drawn)}
        fits = torch.eye(size)
        for n, core in enumerate(cores):
            for i in self.captioner.fits(core):
                if i in row:
                    fits[row[i], n] = 1
        flip = torch.tensor([self.roles[i].flip for i in drawn])
        return self.pixels[index], flip, captions, fits


def zero_shot(
    corpus: Corpus, backbone: Any, tokens: Tokens, people: bool
) -> tuple[int, int, float, float]:
    """Top-1 and top-5 of the validation pictures among the names of all concepts (of people)."""
    classes = [i for i in corpus.shelf if corpus.roles[i].people or not people]
    names = [prompt_name(corpus.roles[i]) for i in classes]
    column = {i: n for n, i in enumerate(classes)}
    index = [k for k in corpus.validation if corpus.role_of[k] in column]
    random.Random(0).shuffle(index)
    index = index[:1500]
    with torch.no_grad():
        texts = class_vectors(backbone, tokens, names)
        found = []
        for start in range(0, len(index), 250):
            part = index[start : start + 250]
            scores = encode_pictures(backbone, plain(corpus.pixels[part])) @ texts.T
            truth = torch.tensor([column[corpus.role_of[k]] for k in part])
            found.append((scores.topk(5).indices == truth[:, None]).float())
    hits = torch.cat(found)
    return len(index), len(classes), hits[:, 0].mean().item(), hits.sum(1).mean().item()


def prompt_name(role: Role) -> str:
    return (role.names or [n for ns in role.gendered.values() for n in ns] or role.tags)[0]


def class_vectors(backbone: Any, tokens: Tokens, names: list[str]) -> torch.Tensor:
    prompts = ("{}", "an emoji of {}", "an emoji of a {}.")
    parts = []
    for start in range(0, len(names), 300):
        some = names[start : start + 300]
        vectors = [encode_texts(backbone, tokens([p.format(t) for t in some])) for p in prompts]
        parts.append(F.normalize(sum(vectors), dim=-1))
    return torch.cat(parts)


# ------------------------------------------------------------------------------------- training


def soft_loss(logits: torch.Tensor, fits: torch.Tensor) -> torch.Tensor:
    """Symmetric cross entropy; where several captions fit, they share the target."""
    a = -(fits / fits.sum(1, keepdim=True) * logits.log_softmax(1)).sum(1).mean()
    b = -(fits / fits.sum(0, keepdim=True) * logits.log_softmax(0)).sum(0).mean()
    return (a + b) / 2


def save_atomically(state: dict[str, Any], file: Path) -> None:
    part = file.with_suffix(".part")
    torch.save(state, part)
    part.replace(file)


class Trainer:
    """The training loop: AdamW on the Keras variables, EMA, checkpoints that resume exactly."""

    def __init__(self, root: Path, config: Config) -> None:
        self.root, self.config = root, config
        self.corpus = Corpus(root, config)
        vocabulary, merges = vocabulary_of(root, self.corpus.captioner, config.merges)
        self.tokens = Tokens(vocabulary, merges)
        self.backbone = build_backbone(config, len(vocabulary))
        start_values(self.backbone)
        self.variables = self.backbone.trainable_variables
        self.values = [v.value for v in self.variables]
        self.ema = [v.detach().clone() for v in self.values]
        decay = [v for v in self.values if v.ndim > 1]
        rest = [v for v in self.values if v.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decay, "weight_decay": config.weight_decay},
                {"params": rest, "weight_decay": 0.0},
            ],
            lr=config.lr,
            betas=(0.9, 0.98),
            eps=1e-6,
            fused=True,
        )
        self.rng = np.random.default_rng(config.seed)
        torch.manual_seed(config.seed)
        self.step, self.seconds = 0, 0.0
        check_equal(self.backbone, plain(self.corpus.pixels[:4]), self.tokens(["a dog", "pizza"]))

    def state(self) -> dict[str, Any]:
        """All that a checkpoint needs."""
        paths = [v.path for v in self.variables]
        return {
            "config": asdict(self.config),
            "step": self.step,
            "seconds": self.seconds,
            "weights": {
                v.path: t.detach() for v, t in zip(self.variables, self.values, strict=True)
            },
            "ema": dict(zip(paths, self.ema, strict=True)),
            "optimizer": self.optimizer.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "numpy_rng": self.rng.bit_generator.state,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        with torch.no_grad():
            for variable, value, mean in zip(self.variables, self.values, self.ema, strict=True):
                value.copy_(state["weights"][variable.path])
                mean.copy_(state["ema"][variable.path])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch_rng"])
        self.rng.bit_generator.state = state["numpy_rng"]
        self.step, self.seconds = state["step"], state["seconds"]

    def swap(self) -> None:
        """Exchange the weights with their running mean."""
        with torch.no_grad():
            for value, mean in zip(self.values, self.ema, strict=True):
                kept = value.clone()
                value.copy_(mean)
                mean.copy_(kept)

    def rate(self) -> float:
        """Learning rate: warmup, then a cosine."""
        config, step = self.config, self.step
        if step < config.warmup:
            return config.lr * (step + 1) / config.warmup
        done = (step - config.warmup) / max(1, config.steps - config.warmup)
        return config.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))

    def train_step(self) -> float:
        """One batch; returns its loss."""
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        pixels, flip, captions, fits = self.corpus.batch(self.rng)
        with torch.no_grad():
            pictures = augment(pixels, flip)
        keep = config.keep if self.step < config.steps * (1 - config.whole) else 1.0
        # Weights and optimizer stay in float32; the blocks compute in bfloat16, twice as fast.
        dtype = torch.bfloat16
        pictures = encode_pictures(self.backbone, pictures, keep, dtype)
        texts = encode_captions(self.backbone, self.tokens(captions), dtype)
        scale = self.backbone.clip_head.logit_scale.value
        loss = soft_loss(pictures @ texts.T * scale.exp(), fits)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.values, 1.0)
        self.optimizer.step()
        with torch.no_grad():
            scale.clamp_(0, math.log(100))
            mean = min(config.ema, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(self.ema, [v.detach() for v in self.values], 1 - mean)
        self.step += 1
        return loss.item()

    def validate(self) -> str:
        """Zero-shot accuracy of the averaged weights on the validation slice."""
        self.swap()
        out = []
        for title, people in (("all", False), ("people", True)):
            n, classes, top1, top5 = zero_shot(self.corpus, self.backbone, self.tokens, people)
            out.append(f"{title} {top1:.1%}/{top5:.1%} ({n} pictures, {classes} names)")
        self.swap()
        return "zero-shot top-1/top-5: " + "; ".join(out)

    def run(self, until: float, log: Any, checkpoint: Path) -> None:
        """Train to the end of the schedule, or until the clock says so."""
        started = said = saved = time.time()
        checked = started
        losses: list[float] = []
        first, begun = self.step, self.seconds
        while self.step < self.config.steps and time.time() < until:
            losses.append(self.train_step())
            now = time.time()
            self.seconds = begun + now - started
            if now - said > 60:
                done = self.step - first
                speed = done / (now - started)
                eta = (self.config.steps - self.step) / speed / 60
                scale = self.backbone.clip_head.logit_scale.value.exp().item()
                log(
                    f"step {self.step}/{self.config.steps} loss {np.mean(losses):.3f} "
                    f"lr {self.rate():.2e} scale {scale:.1f} "
                    f"{speed * self.config.batch:.0f} images/s "
                    f"trained {self.seconds / 60:.0f} min eta {eta:.0f} min"
                )
                said, losses = now, []
            if now - saved > 300:
                save_atomically(self.state(), checkpoint)
                saved = now
            if now - checked > 900:
                log(self.validate())
                checked = now
        save_atomically(self.state(), checkpoint)
        log(f"stopped at step {self.step} of {self.config.steps}; " + self.validate())


# ------------------------------------------------------------------------------------- commands


@click.group(help=__doc__)
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


@main.command(help="Train, or go on with training.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint, exactly.")
@click.option("--minutes", type=float, default=1e6, help="Stop (with a checkpoint) after this.")
@click.option("--set", "settings", multiple=True, help="Another setting, such as --set lr=5e-4.")
@click.option("--steps", type=int, help="Length of the whole schedule; changes it with --resume.")
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
        if steps:  # a longer (or shorter) schedule from here on
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
    """Store the weights of a preset as float16. Keras casts them on loading."""
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
    help="Measure zero-shot accuracy on people of the held-out vendor. Never to choose by."
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


if __name__ == "__main__":
    main()
