"""What a project holds at one moment."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from keras_cmm_runtime.errors import InputError
from keras_cmm_studio.studio_class import StudioClass
from keras_cmm_studio.studio_image import StudioImage

IMAGES, UNLABELLED = "images", "unlabelled"
NAME = re.compile(r"[0-9a-f]{32}\.[a-z]{3,4}")
"""The names that files of images have."""

_MAX_NAME = 100
_MAX_FOLDER = 60
# Windows takes these for devices.
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)


@dataclass(frozen=True)
class ProjectState:
    """The classes and images of a project at one moment. It never changes; edits make a new one.

    Args:
        classes: In the order that the user gave them, which is that of the model.
        images: By their names.

    Example:
        >>> state = ProjectState().with_classes(["red fox", "../fox"])
        >>> [each.folder for each in state.classes]
        ['red fox', 'class-2']
    """

    classes: tuple[StudioClass, ...] = ()
    images: Mapping[str, StudioImage] = field(default_factory=dict)

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in their order."""
        return [each.name for each in self.classes]

    def class_of(self, class_id: int | None) -> StudioClass | None:
        """Returns a class, or `None` for the unlabelled images.

        Raises:
            InputError: If there is no such class.
        """
        if class_id is None:
            return None
        for each in self.classes:
            if each.id == class_id:
                return each
        raise InputError("there is no such class; it may have been removed in another window.")

    def images_of(self, class_id: int | None) -> list[StudioImage]:
        """Returns the images of a class, or the unlabelled ones, in the order they were added."""
        found = [image for image in self.images.values() if image.class_id == class_id]
        return sorted(found, key=lambda image: image.number)

    def folder_of(self, image: StudioImage) -> str:
        """Returns the folder of an image, below that of the project."""
        of = self.class_of(image.class_id)
        return UNLABELLED if of is None else f"{IMAGES}/{of.folder}"

    def with_classes(self, names: list[str], next_id: int = 1) -> ProjectState:
        """Returns the state with further classes.

        Args:
            names: Their names.
            next_id: The id of the first of them. It must never have been in use.

        Raises:
            InputError: If a name is blank, too long, not printable or in use.
        """
        classes = self.classes
        for number, name in enumerate(names, max([next_id, *(each.id + 1 for each in classes)])):
            name = _checked(name, classes)
            classes = (*classes, StudioClass(number, name, _folder(name, number, classes)))
        return replace(self, classes=classes)

    def renamed(self, class_id: int, name: str) -> ProjectState:
        """Returns the state in which a class has another name, and a folder of that name.

        Raises:
            InputError: If there is no such class, or as `with_classes`.
        """
        self.class_of(class_id)
        others = tuple(each for each in self.classes if each.id != class_id)
        name = _checked(name, others)
        new = StudioClass(class_id, name, _folder(name, class_id, others))
        classes = tuple(new if each.id == class_id else each for each in self.classes)
        return replace(self, classes=classes)

    def without_class(self, class_id: int) -> ProjectState:
        """Returns the state without a class and its images."""
        self.class_of(class_id)
        classes = tuple(each for each in self.classes if each.id != class_id)
        images = {name: image for name, image in self.images.items() if image.class_id != class_id}
        return replace(self, classes=classes, images=images)

    def with_images(self, images: list[StudioImage]) -> ProjectState:
        """Returns the state with further images, or with other records of these images."""
        return replace(self, images={**self.images, **{image.name: image for image in images}})

    def without_images(self, names: list[str]) -> ProjectState:
        """Returns the state without some images."""
        self.check_names(names)
        left = {name: image for name, image in self.images.items() if name not in set(names)}
        return replace(self, images=left)

    def check_names(self, names: list[str]) -> None:
        """Raises an error unless there are images of all these names.

        Raises:
            InputError: If one is missing.
        """
        if any(name not in self.images for name in names):
            raise InputError("there is no such image; it may have been removed in another window.")

    def as_dict(self) -> dict[str, Any]:
        """Returns the state as JSON can hold it."""
        images = sorted(self.images.values(), key=lambda image: image.number)
        return {
            "classes": [dataclasses.asdict(each) for each in self.classes],
            "images": [dataclasses.asdict(image) for image in images],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ProjectState:
        """Returns the state that `as_dict` described.

        Raises:
            InputError: If it describes none.
        """
        try:
            classes = tuple(StudioClass(**each) for each in content["classes"])
            images = {each["name"]: StudioImage(**each) for each in content["images"]}
        except (KeyError, TypeError) as error:
            raise InputError("its classes or images are damaged") from error
        state = cls(classes, images)
        # A file that another program wrote must not lead outside the project.
        ids = {each.id for each in classes}
        sound = (
            all(type(each.id) is int and isinstance(each.name, str) for each in classes)
            and all(each.folder == _folder(each.name, each.id, ()) or each.folder
                    == _numbered(each.id) for each in classes)
            and len({each.folder.casefold() for each in classes}) == len(classes) == len(ids)
            and all(NAME.fullmatch(str(image.name)) for image in images.values())
            and all(type(image.number) is int for image in images.values())
            and all(image.class_id is None or image.class_id in ids for image in images.values())
        )  # fmt: skip
        if not sound:
            raise InputError("its classes or images are damaged")
        return state


def _checked(name: str, others: tuple[StudioClass, ...]) -> str:
    """Returns a name without needless spaces, or raises an error."""
    name = " ".join(unicodedata.normalize("NFC", name).split())
    if not name:
        raise InputError("the name of a class must not be blank; write what its images show.")
    if len(name) > _MAX_NAME:
        raise InputError(f"the name of a class may have {_MAX_NAME} characters at most.")
    if not name.isprintable():
        raise InputError("the name of a class must have characters only that can be shown.")
    if any(name.casefold() == other.name.casefold() for other in others):
        raise InputError(f"there is a class {name!r} already; give each class a name of its own.")
    return name


def _folder(name: str, number: int, others: tuple[StudioClass, ...]) -> str:
    """Returns the name of a class's folder: its own name where no system trips over it."""
    plain = all(character.isalnum() or character in " -_" for character in name)
    if not plain or len(name.encode()) > _MAX_FOLDER or _DEVICE.fullmatch(name):
        return _numbered(number)
    if any(name.casefold() == other.folder.casefold() for other in others):
        return _numbered(number)
    return name


def _numbered(number: int) -> str:
    return f"class-{number}"
