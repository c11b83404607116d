"""What was pushed to the hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class PushedModel(NamedTuple):
    """What `push_model` pushed, or would push.

    Args:
        repo_id: the repository on the hub, `owner/name`.
        files: the size in bytes of each file, by its name in the repository.
        left_out: what lies in the model's folder and is not pushed.
        url: where the model is, or `None` for a dry run.
        commit: the commit, or `None` for a dry run.
    """

    repo_id: str
    files: Mapping[str, int]
    left_out: tuple[str, ...]
    url: str | None = None
    commit: str | None = None
