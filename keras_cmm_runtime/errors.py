"""The error for what the user can mend."""


class InputError(ValueError):
    """A file, folder or argument that cannot be used.

    The message is one sentence: what was given, what was expected and how to mend it. The command
    line prints it as one line and exits with code 2.
    """


class TooManyPixelsError(InputError):
    """An image that has more pixels than `PIL.Image.MAX_IMAGE_PIXELS`."""
