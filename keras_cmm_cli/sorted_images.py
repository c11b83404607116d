"""Images put into one folder a class, as `predict --sort-into` does."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from keras_cmm_cli.outputs import new_folder

# What Windows, macOS or Linux refuses in a name or reads as another.
_REFUSED = re.compile(r'[\x00-\x1f\x7f/\\\\:*?"<>|\ud800-\udfff]')
_MAX_BYTES = 200
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?$", re.IGNORECASE)


def sort_images(
    output: Path, images: Sequence[Path], class_names: Sequence[str], link: bool
) -> None:
    """Copies each image into the folder of its class.

    The folder appears whole or not at all. The images themselves stay where they are.

    Args:
        output: The folder to make; `check_new_folder` must have accepted it.
        images: The files.
        class_names: The class of each.
        link: Whether to make symbolic links in the place of copies.

    Raises:
        ClickException: If the folder cannot be written.
    """
    folders = folder_names(sorted(set(class_names)))
    with new_folder(output, overwrite=False) as folder:
        taken: set[str] = set()
        for image, class_name in zip(images, class_names, strict=True):
            place = folder / folders[class_name]
            place.mkdir(exist_ok=True)
            target = place / _free_name(image, place, taken)
            if link:
                target.symlink_to(image.resolve())
            else:
                shutil.copyfile(image, target)
                shutil.copystat(image, target)


def folder_names(class_names: Sequence[str]) -> dict[str, str]:
    """Returns a folder name for each class, which every system takes.

    Characters that a system refuses become `_`. A class whose name is then that of an earlier one
    gets a number.

    Example:
        >>> folder_names(["ant", "bee/wasp", "Ant", ".."])
        {'ant': 'ant', 'bee/wasp': 'bee_wasp', 'Ant': 'Ant-2', '..': '_'}
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for class_name in class_names:
        # Windows drops dots and spaces at the end; a dot in front hides the folder.
        name = _shortened(_REFUSED.sub("_", class_name).strip(" ").rstrip(". ").lstrip("."))
        if not name or _DEVICES.match(name):
            name = f"_{name}"
        free, number = name, 2
        while free.casefold() in taken:
            free, number = f"{name}-{number}", number + 1
        taken.add(free.casefold())
        names[class_name] = free
    return names


def _free_name(image: Path, place: Path, taken: set[str]) -> str:
    """Returns the name of an image, numbered if another image of its class has it."""
    name, number = image.name, 2
    while (path := os.fspath(place / name).casefold()) in taken:
        name, number = f"{image.stem}-{number}{image.suffix}", number + 1
    taken.add(path)
    return name


def _shortened(name: str) -> str:
    """Returns the start of a name that is too long for a file system."""
    return name.encode()[:_MAX_BYTES].decode(errors="ignore")
