"""Which parts are still to be made."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Iterable, Iterator

from keras_cmm_runtime.scale.input_shard import InputShard

MAX_TRIES = 5


class WorkList:
    """The parts to make, those that failed once more at the end, each `MAX_TRIES` times at most.

    Args:
        shards: the parts, listed as they are asked for.

    Example:
        >>> work = WorkList(["a", "b"])  # Anything with a name in real life.
        >>> list(work.take(1))
        ['a']
    """

    def __init__(self, shards: Iterable[InputShard]) -> None:
        self._shards = iter(shards)
        self._again: deque[InputShard] = deque()
        self._tries: Counter[str] = Counter()

    def take(self, number: int) -> Iterator[InputShard]:
        """Yields up to so many parts, and none at the end."""
        yield from itertools.islice(itertools.chain(self._shards, self._retried()), max(0, number))

    def again(self, shard: InputShard) -> bool:
        """Puts a part that failed at the end. Returns `False` if it has been tried too often."""
        self._tries[shard.name] += 1
        if self._tries[shard.name] >= MAX_TRIES:
            return False
        self._again.append(shard)
        return True

    def _retried(self) -> Iterator[InputShard]:
        while self._again:
            yield self._again.popleft()
