"""What a user reads when an input cannot be used."""

import pytest

from keras_cmm import InputError


def refusal(function, *args, **kwargs):
    """Calls a function that must raise an `InputError`; returns its message, which is one line."""
    with pytest.raises(InputError) as caught:
        function(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    return message
