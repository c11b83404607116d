"""A step of a project's journal, which can be undone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keras_cmm_runtime.errors import InputError
from keras_cmm_studio.project_state import ProjectState

_Part = Mapping[str, Any]


@dataclass(frozen=True)
class ProjectStep:
    """What one click changed. Only what differs is kept.

    Args:
        what: What it did, for the user, such as "added 4 images to fox".
        before: The classes and images before, as JSON; `None` for an image that was not there.
        after: The same after it.

    Example:
        >>> state = ProjectState()
        >>> step = ProjectStep.between("added fox", state, state.with_classes(["fox"]))
        >>> step.undone(step.done(state)) == state
        True
    """

    what: str
    before: _Part
    after: _Part

    @classmethod
    def between(cls, what: str, old: ProjectState, new: ProjectState) -> ProjectStep:
        """Returns the step from one state to another."""
        names = {
            name
            for name in old.images.keys() | new.images.keys()
            if old.images.get(name) != new.images.get(name)
        }
        changed = old.classes != new.classes
        return cls(what, *(_part(state, names, changed) for state in (old, new)))

    @property
    def names(self) -> set[str]:
        """The names of the images that it concerns."""
        return {*self.before["images"], *self.after["images"]}

    def done(self, state: ProjectState) -> ProjectState:
        """Returns a state after this step."""
        return _with(state, self.after)

    def undone(self, state: ProjectState) -> ProjectState:
        """Returns a state before this step."""
        return _with(state, self.before)

    def as_dict(self) -> dict[str, Any]:
        """Returns the step as JSON can hold it."""
        return {"what": self.what, "before": dict(self.before), "after": dict(self.after)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ProjectStep:
        """Returns the step that `as_dict` described.

        Raises:
            InputError: If it describes none.
        """
        try:
            step = cls(content["what"], content["before"], content["after"])
            parts = (step.before, step.after)
            sound = isinstance(step.what, str) and all(
                isinstance(part["images"], dict) and isinstance(part["classes"], list | None)
                for part in parts
            )
        except (KeyError, TypeError) as error:
            raise InputError("its journal is damaged") from error
        if not sound:
            raise InputError("its journal is damaged")
        return step


def _part(state: ProjectState, names: set[str], changed: bool) -> dict[str, Any]:
    images = {name: state.images.get(name) for name in sorted(names)}
    return {
        "classes": [dataclasses.asdict(each) for each in state.classes] if changed else None,
        "images": {
            name: None if image is None else dataclasses.asdict(image)
            for name, image in images.items()
        },
    }


def _with(state: ProjectState, part: _Part) -> ProjectState:
    content = state.as_dict()
    if part["classes"] is not None:
        content["classes"] = part["classes"]
    images = {image["name"]: image for image in content["images"]} | dict(part["images"])
    content["images"] = [image for image in images.values() if image is not None]
    # As from a file: a journal that another program wrote must not lead outside the project.
    return ProjectState.from_dict(content)
