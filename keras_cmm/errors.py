"""The error that is the caller's to mend."""


class InputError(ValueError):
    """A file, folder or argument that cannot be used as given.

    The message is one sentence that says what was given, what was expected and how to mend it.
    The command line shows it as one line and exits with code 2.
    """
