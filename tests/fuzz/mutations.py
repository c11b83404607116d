"""Damaging bytes at random."""

import random


def flip(rng, data):
    """Flips one to three bits."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(rng, data):
    """Cuts the end off."""
    return data[: rng.randrange(len(data))]


def zeros(rng, data):
    """Replaces the end by zeros, as downloads do that reserve the space first."""
    start = rng.randrange(max(1, len(data) - 128))
    return data[:start] + bytes(len(data) - start)


def swap(rng, data):
    """Exchanges two blocks."""
    size = min(rng.choice((4, 16, 64, 512)), len(data) // 3 or 1)
    first = rng.randrange(len(data) - 2 * size + 1) if len(data) > 2 * size else 0
    second = rng.randrange(first + size, max(first + size, len(data) - size) + 1)
    blocks = data[first : first + size], data[second : second + size]
    rest = data[first + size : second], data[second + size :]
    return data[:first] + blocks[1] + rest[0] + blocks[0] + rest[1]


def insert(rng, data):
    """Inserts some bytes."""
    place = rng.randrange(len(data) + 1)
    new = rng.choice((b"\0", b"\xff", rng.randbytes(1), rng.randbytes(4), rng.randbytes(40)))
    return data[:place] + new + data[place:]


MUTATIONS = {mutation.__name__: mutation for mutation in (flip, cut, zeros, swap, insert)}
ALL = frozenset(MUTATIONS)


def damaged(seed, case, files):
    """Returns the kind of damage, the name of a file, and its damaged bytes.

    Args:
        seed: The seed of the run.
        case: The number of the case. It decides all, so that a case can be repeated alone.
        files: `{name: bytes}`.
    """
    rng = random.Random(f"{seed} {case}")
    name = rng.choice(sorted(name for name, data in files.items() if data))
    # Bits are flipped as often as all else is done.
    kind = rng.choice(("flip", "cut", "zeros", "swap", "insert", "flip", "flip", "flip"))
    return kind, name, MUTATIONS[kind](rng, files[name])
