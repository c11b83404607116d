"""Names: from the code points of an emoji to its concept and to the texts that describe it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from pretrain_emoji_clip.sources import NAMES, SOURCES, package_dir

TONES = {
    "1F3FB": "light",
    "1F3FC": "medium-light",
    "1F3FD": "medium",
    "1F3FE": "medium-dark",
    "1F3FF": "dark",
}
PEOPLE_SUBGROUPS = range(23, 30)  # Person, gesture, role, fantasy, activity, sport, resting.
ADULTS = {"1F468", "1F469", "1F9D1"}
GENDER_WORDS = {"man", "woman", "person", "men", "women", "people", "boy", "girl"}
NO_FLIP_GROUPS = {8, 9}  # Symbols and flags: they show letters and directions.
NO_FLIP_WORDS = re.compile(r"\b(left|right|clock|rightwards|leftwards|o.clock|anticlockwise)\b")
TONE_SUFFIX = re.compile(r"[: -]+((?:medium-|medium )?(?:light|dark|medium) skin tone)$")


def role_of(hexcode: str) -> str:
    """Returns the code of what is depicted, whatever the gender, the skin tone or the direction."""
    parts = [p for p in hexcode.upper().split("-") if p != "FE0F" and p not in TONES]
    if not parts:  # A skin tone by itself.
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
    """A concept: its names, the same by gender, its keywords, and what all its pictures share."""

    code: str
    group: int = -1
    people: bool = False
    flip: bool = True
    names: list[str] = field(default_factory=list)
    gendered: dict[str, list[str]] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)

    def add(self, where: list[str], *texts: str) -> None:
        """Appends the texts that are new."""
        for text in texts:
            if text and text not in where:
                where.append(text)


def without_gender(label: str) -> list[str]:
    """Returns 'surfing', 'person surfing' for 'woman surfing', and 'artist' for 'man artist'."""
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
    """Returns the roles by code, and a table from the slug of a name to a full hexcode."""
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
        if entry.get("group") == 2:  # Components: skin tones, hair.
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
    for entry in older:  # Unicode's own, older names.
        for name in (entry["name"] or "", *entry["short_names"]):
            if role_of(entry["unified"]) in roles:
                by_slug.setdefault(slug(name), entry["unified"])
    for code in ("1F46A", "1F48F", "1F491", "1F46D"):
        if code in roles:
            roles[code].people = False
    return roles, by_slug
