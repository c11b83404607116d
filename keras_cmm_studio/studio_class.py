"""A class of a project."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StudioClass:
    """A class of a project.

    Args:
        id: A number that the class keeps when it is renamed.
        name: The name as the user wrote it. It is data, never a path.
        folder: The name of its folder below `images`, see `folder_of`.

    Example:
        >>> StudioClass(1, "red fox", "red fox").name
        'red fox'
    """

    id: int
    name: str
    folder: str
