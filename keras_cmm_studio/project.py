"""A project: a folder of labelled images, of which no change is lost."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils import read_json_object, replacing_durably, shortened, warn
from keras_cmm_studio.checked_image import checked_image
from keras_cmm_studio.project_files import REMOVED, ProjectFiles
from keras_cmm_studio.project_state import ProjectState
from keras_cmm_studio.project_step import ProjectStep
from keras_cmm_studio.studio_image import StudioImage
from keras_cmm_studio.studio_settings import StudioSettings

PROJECT_FILE = "project.json"
FORMAT = "keras-cmm-studio/1"


class Project:
    """A folder of images by class, with their record and a journal of what was done.

    The folder has `images/CLASS/`, `unlabelled/`, and `removed/` for undo. The files hold the bytes
    that were added, under names of their content. `project.json` names the classes in their order
    and the class of each image, and holds the journal. It is replaced as a whole with each change:
    new images are written before it, and others are moved after it. So a process that is killed
    leaves a project of before or after a change; the next one puts the files in their places.

    One process at a time may have it open. Its methods may be called from several threads.

    Args:
        folder: The folder. It is made if it does not exist.
        settings: The limits, by default those of `StudioSettings()`.

    Raises:
        InputError: If the folder holds something else, another process has it open, or it cannot
            be read or written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, Project(f"{folder}/mine") as project:
        ...     project.add_classes(["fox", "hen"])
        ...     project.undo()
        'added the classes fox, hen'
    """

    def __init__(self, folder: str | Path, settings: StudioSettings | None = None) -> None:
        self.folder = Path(folder).resolve()
        self.settings = settings or StudioSettings()
        self._files = ProjectFiles(self.folder)
        self._lock = threading.RLock()
        self._state = ProjectState()
        self._undo: list[ProjectStep] = []
        self._redo: list[ProjectStep] = []
        self._options: dict[str, Any] = {}
        self._revision = 0
        self._next = {"class": 1, "image": 1}
        self._process_lock = _taken(self.folder)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Project:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets another process open the project."""
        self._process_lock.release()

    @property
    def state(self) -> ProjectState:
        """What the project holds now. The object never changes."""
        return self._state

    @property
    def revision(self) -> int:
        """A number that grows with each change."""
        return self._revision

    @property
    def options(self) -> dict[str, Any]:
        """Settings that the project keeps, such as the CLIP it was begun with."""
        return dict(self._options)

    @property
    def next_undo(self) -> str | None:
        """What `undo` would take back, or `None`."""
        return self._undo[-1].what if self._undo else None

    @property
    def next_redo(self) -> str | None:
        """What `redo` would do again, or `None`."""
        return self._redo[-1].what if self._redo else None

    def set_options(self, **options: Any) -> None:
        """Keeps settings, as JSON values. This is no step of the journal."""
        with self._lock:
            options = {**self._options, **options}
            if options != self._options:
                self._write(self._state, self._undo, self._redo, options)

    def add_classes(self, names: Sequence[str]) -> None:
        """Adds classes.

        Raises:
            InputError: If a name cannot be used, or there would be too many classes.
        """
        with self._lock:
            new = self._state.with_classes(list(names), self._next["class"])
            if len(new.classes) > self.settings.max_classes:
                raise InputError(f"a project may have {self.settings.max_classes} classes at most.")
            added = ", ".join(each.name for each in new.classes[len(self._state.classes) :])
            noun = "class" if len(names) == 1 else "classes"
            self._change(f"added the {noun} {shortened(added)}", new)

    def rename_class(self, class_id: int, name: str) -> None:
        """Renames a class.

        Raises:
            InputError: If there is none, or the name cannot be used.
        """
        with self._lock:
            old = self._state.class_of(class_id)
            new = self._state.renamed(class_id, name)
            if old is not None and new != self._state:
                self._change(f"renamed {old.name}", new)

    def remove_class(self, class_id: int) -> None:
        """Removes a class with its images.

        Raises:
            InputError: If there is none.
        """
        with self._lock:
            old = self._state.class_of(class_id)
            new = self._state.without_class(class_id)
            self._change(f"removed the class {old.name if old else ''}", new)

    def add_images(
        self,
        class_id: int | None,
        images: Iterable[tuple[str, bytes]],
    ) -> tuple[list[str], list[dict[str, str]]]:
        """Adds images to a class, or to the unlabelled ones, all in one step.

        Args:
            class_id: The class, or `None`.
            images: The original name and the bytes of each.

        Returns:
            The names of those that were added, and `{"name", "reason"}` of the others.

        Raises:
            InputError: If there is no such class, or nothing can be written.
        """
        refused: list[dict[str, str]] = []
        read: dict[str, tuple[str, bytes]] = {}
        # Images are decoded without the lock: it takes long.
        for original, data in images:
            try:
                read.setdefault(checked_image(original, data), (original, data))
            except InputError as error:
                refused.append({"name": original, "reason": str(error)})
        with self._lock:
            of = self._state.class_of(class_id)
            left = self.settings.max_images_a_class - len(self._state.images_of(class_id))
            new: list[StudioImage] = []
            for name, (original, data) in read.items():
                reason = self._reason_against(name, left - len(new))
                if reason is not None:
                    refused.append({"name": original, "reason": f"{original}: {reason}"})
                    continue
                image = StudioImage(name, class_id, original, self._next["image"] + len(new))
                with _writing():
                    self._files.write(name, self._state.folder_of(image), data)
                new.append(image)
            if new:
                what = f"added {_counted(len(new))} to {of.name if of else 'the unlabelled'}"
                self._change(what, self._state.with_images(new))
                self._files.forget(image.name for image in new)  # copies of earlier times
        return [image.name for image in new], refused

    def move_images(self, names: Sequence[str], class_id: int | None) -> None:
        """Gives images another class, or makes them unlabelled.

        Raises:
            InputError: If there is no such image or class, or the class would have too many.
        """
        with self._lock:
            state, of = self._state, self._state.class_of(class_id)
            state.check_names(list(names))
            moved = [
                StudioImage(name, class_id, state.images[name].original, state.images[name].number)
                for name in dict.fromkeys(names)
                if state.images[name].class_id != class_id
            ]
            most = self.settings.max_images_a_class
            if len(state.images_of(class_id)) + len(moved) > most:
                raise InputError(f"a class may have {most:,} images at most.")
            if moved:
                what = f"moved {_counted(len(moved))} to {of.name if of else 'the unlabelled'}"
                self._change(what, state.with_images(moved))

    def remove_images(self, names: Sequence[str]) -> None:
        """Removes images.

        Raises:
            InputError: If there is no such image.
        """
        with self._lock:
            new = self._state.without_images(list(names))
            if new != self._state:
                self._change(f"removed {_counted(len(set(names)))}", new)

    def undo(self) -> str:
        """Takes back the last step; returns what it was.

        Raises:
            InputError: If there is none.
        """
        with self._lock:
            if not self._undo:
                raise InputError("there is nothing to undo.")
            step = self._undo[-1]
            new = step.undone(self._state)
            self._write(new, self._undo[:-1], [*self._redo, step], self._options)
            return step.what

    def redo(self) -> str:
        """Does the step again that was undone last; returns what it was.

        Raises:
            InputError: If there is none.
        """
        with self._lock:
            if not self._redo:
                raise InputError("there is nothing to redo.")
            step = self._redo[-1]
            new = step.done(self._state)
            self._write(new, [*self._undo, step], self._redo[:-1], self._options)
            return step.what

    def read(self, name: str) -> bytes:
        """Returns the bytes of an image.

        Raises:
            InputError: If there is none.
        """
        with self._lock:
            self._state.check_names([name])
            return self._files.read(name, self._state.folder_of(self._state.images[name]))

    def _reason_against(self, name: str, room: int) -> str | None:
        known = self._state.images.get(name)
        if known is not None:
            of = self._state.class_of(known.class_id)
            where = "among the unlabelled images" if of is None else f"in the class {of.name}"
            return f"the same picture is {where} already."
        if room <= 0:
            return f"a class may have {self.settings.max_images_a_class:,} images at most."
        return None

    def _change(self, what: str, new: ProjectState) -> None:
        step = ProjectStep.between(what, self._state, new)
        undo = [*self._undo, step][-self.settings.max_steps :]
        self._write(new, undo, [], self._options)

    def _write(
        self,
        new: ProjectState,
        undo: list[ProjectStep],
        redo: list[ProjectStep],
        options: dict[str, Any],
    ) -> None:
        """Writes the record, then moves the files that have another place now."""
        old = self._state
        for kind, numbers in (
            ("class", [each.id for each in new.classes]),
            ("image", [image.number for image in new.images.values()]),
        ):
            self._next[kind] = max([self._next[kind], *(number + 1 for number in numbers)])
        content = {
            "format": FORMAT,
            "revision": self._revision + 1,
            "options": options,
            "next": self._next,
            **new.as_dict(),
            "undo": [step.as_dict() for step in undo],
            "redo": [step.as_dict() for step in redo],
        }
        with _writing(), replacing_durably(self.folder / PROJECT_FILE) as file:
            file.write(json.dumps(content, indent=1, ensure_ascii=True).encode() + b"\n")
        needed = self._needed(old, self._undo, self._redo)
        self._state, self._undo, self._redo, self._options = new, undo, redo, options
        self._revision += 1
        # From here on the change is made. Files that stay behind are moved at the next start.
        with contextlib.suppress(OSError):
            places = [_places(state) for state in (old, new)]
            names = {name for name in places[0] | places[1] if _differ(name, *places)}
            old_places, new_places = places
            self._files.move(
                {
                    name: (old_places.get(name, REMOVED), new_places.get(name, REMOVED))
                    for name in names
                }
            )
        self._files.forget(needed - self._needed(new, undo, redo))

    @staticmethod
    def _needed(state: ProjectState, undo: list[ProjectStep], redo: list[ProjectStep]) -> set[str]:
        return set(state.images).union(*(step.names for step in (*undo, *redo)))

    def _open(self) -> None:
        path = self.folder / PROJECT_FILE
        if not path.exists():
            self._write(self._state, [], [], {})
            return
        content = read_json_object(path, "it is no project of keras-cmm studio")
        if content.get("format") != FORMAT:
            raise InputError(f"{path}: is of no project of keras-cmm studio; give another folder.")
        try:
            self._state = ProjectState.from_dict(content)
            self._undo = [ProjectStep.from_dict(each) for each in content["undo"]]
            self._redo = [ProjectStep.from_dict(each) for each in content["redo"]]
            self._options = dict(content["options"])
            self._revision = int(content["revision"])
            self._next = {kind: int(content["next"][kind]) for kind in ("class", "image")}
        except (InputError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}: is damaged ({error}); the images are whole: give --project another "
                f"folder and open {self.folder / 'images'}."
            ) from error
        try:
            missing = self._files.arrange(_places(self._state))
        except OSError as error:
            raise InputError(
                f"{error.filename or self.folder}: cannot be used ({error.strerror or error})."
            ) from error
        if missing:
            warn(
                f"{self.folder}: {_counted(len(missing))} of the project are gone from its folder, "
                "so they are taken out of their classes."
            )
            self._write(self._state.without_images(sorted(missing)), [], [], self._options)


def is_project(folder: Path) -> bool:
    """Returns whether a folder is that of a project."""
    try:
        return read_json_object(folder / PROJECT_FILE).get("format") == FORMAT
    except InputError:
        return False


def fingerprint(state: ProjectState) -> str:
    """Returns a digest of all that a classifier is trained on."""
    classes = {each.id: each.name for each in state.classes}
    images = sorted((image.name, classes.get(image.class_id)) for image in state.images.values()
                    if image.class_id is not None)  # fmt: skip
    content = json.dumps([list(classes.values()), images])
    return hashlib.sha256(content.encode()).hexdigest()


def _taken(folder: Path) -> FileLock:
    """Makes the folder of a project and keeps other processes out of it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        entries = {path.name for path in folder.iterdir()}
        if entries and PROJECT_FILE not in entries and entries - {".lock", *_OWN}:
            raise InputError(
                f"{folder}: holds something else ({min(entries)!r}); give --project the name of a "
                "new folder."
            )
        lock = FileLock(folder / ".lock")
        lock.acquire(blocking=False)
    except Timeout:
        raise InputError(
            f"{folder}: is open in another keras-cmm studio; close that, or give another --project."
        ) from None
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be used ({error.strerror or error}); give another --project."
        ) from error
    return lock


# What a process may have made that was killed before it wrote the record.
_OWN = ("images", "unlabelled", REMOVED, "embeddings")


def _places(state: ProjectState) -> dict[str, str]:
    return {image.name: state.folder_of(image) for image in state.images.values()}


def _differ(name: str, old: dict[str, str], new: dict[str, str]) -> bool:
    return old.get(name) != new.get(name)


def _counted(number: int) -> str:
    return f"{number:,} image" if number == 1 else f"{number:,} images"


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the change is not kept, because the project cannot be written "
            f"({error.strerror or error}); free some space or mend the folder, and try again."
        ) from error
