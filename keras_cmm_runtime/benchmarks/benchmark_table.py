"""The table of the benchmarks."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

_TABLE = Path(__file__).parent / "benchmarks.toml"


def benchmark_table() -> dict[str, dict[str, Any]]:
    """Returns what `benchmarks.toml` says of each benchmark, by name.

    Example:
        >>> benchmark_table()["dtd"]["coop_sizes"]["test"]
        1692
    """
    return tomllib.loads(_TABLE.read_text(encoding="utf-8"))
