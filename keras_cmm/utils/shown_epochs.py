"""Which of many epochs are worth a line."""

_MOST = 20


def is_shown(epoch: int, epochs: int) -> bool:
    """Whether there is a line for an epoch, counted from 0: for at most 20, and the last one.

    Example:
        >>> [epoch + 1 for epoch in range(50) if is_shown(epoch, 50)][-3:]
        [45, 48, 50]
    """
    step = -(-epochs // _MOST)
    return (epoch + 1) % step == 0 or epoch + 1 == epochs
