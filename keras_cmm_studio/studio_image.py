"""An image of a project."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StudioImage:
    """An image of a project.

    Args:
        name: The name of its file: the beginning of its SHA-256 and the suffix of its format.
        class_id: The class that the user gave it, or `None` for an unlabelled one.
        original: The name that the file had where it came from. It is data, never a path.
        number: Its place in the order in which images were added.

    Example:
        >>> StudioImage("0f" * 16 + ".png", None, "IMG_1.png", 7).class_id is None
        True
    """

    name: str
    class_id: int | None
    original: str
    number: int
