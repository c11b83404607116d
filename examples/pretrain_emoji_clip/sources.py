"""The npm packages that the pictures and their names come from."""

from __future__ import annotations

import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

DEFAULT_DIR = Path.home() / "emoji_clip"
NAMES = "emojibase-data@17.0.0"
HELD_OUT = "fluentui-emoji@1.3.0"


@dataclass(frozen=True)
class Source:
    """One npm package of pictures. `weight` says how often its pictures are drawn."""

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
VALIDATION_VENDORS = ("streamline", "fxemoji")  # A third of their concepts is for validation.


def package_dir(root: Path, package: str) -> Path:
    return root / "cache" / package.strip("@").replace("/", "-").replace("@", "-") / "package"


def download_package(root: Path, package: str) -> None:
    """Fetches one package with ``npm pack`` and unpacks it, without the big sprite sheets."""
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
