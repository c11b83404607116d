"""Texts in messages."""


def shortened(text: str, most: int = 80) -> str:
    """Returns a text, or its beginning if it has more than `most` characters.

    Example:
        >>> shortened("a photo of a cat", most=10)
        'a photo of…'
    """
    return text if len(text) <= most else f"{text[:most]}…"
