"""The limits of a studio."""

from dataclasses import dataclass

from keras_cmm_runtime.utils.check_number import check_int


@dataclass(frozen=True)
class StudioSettings:
    """The limits of a studio.

    Args:
        max_body_bytes: int. The largest body of one request.
        max_images_a_request: int. The most images of one request.
        max_pixels: int. The most pixels of one image.
        max_classes: int. The most classes of a project.
        max_images_a_class: int. The most images of a class, and the most unlabelled ones.
        max_steps: int. How many steps can be undone.

    Raises:
        InputError: If one of them is no int >= 1.

    Example:
        >>> StudioSettings(max_classes=10).max_images_a_class
        1000
    """

    max_body_bytes: int = 64 * 2**20
    max_images_a_request: int = 32
    max_pixels: int = 50_000_000
    max_classes: int = 1000
    max_images_a_class: int = 1000
    max_steps: int = 100

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            check_int(name, value, 1)
