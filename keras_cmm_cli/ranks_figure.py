"""The figure of ranks that `benchmark` and `aggregate` write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from keras_cmm_cli.runs_folder import Record
from keras_cmm_cli.terminal import Terminal, counted


def write_ranks_figure(terminal: Terminal, path: Path, records: Sequence[Record]) -> bool:
    """Writes the figure, or reports why there is none, and returns whether it was written."""
    from keras_cmm.report import write_ranks
    from keras_cmm_runtime import InputError

    try:
        found = write_ranks(path, records)
    except InputError as error:
        terminal.error(f"{path}: not written. {error}")
        return False
    sets = max(len(ranks.datasets) for ranks in found)
    too_few = "" if any(ranks.can_differ for ranks in found) else ", too few to tell methods apart"
    terminal.note(f"{path}: ranks on {counted(sets, 'data set', 'data sets')}{too_few}.")
    return True
