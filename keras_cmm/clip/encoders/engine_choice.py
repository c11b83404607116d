"""Which of several engines is the fastest, measured once for a machine and a model."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils import home_folder, read_json_object, replacing_durably

SECONDS = 2.0
_FEWEST_TURNS = 2


def remembered_choice(model: str, names: tuple[str, ...]) -> str | None:
    """Returns the engine that `fastest_engine` found for a model on this machine, or `None`.

    Args:
        model: what the speed depends on besides the machine.
        names: the engines that there are.
    """
    found = _read().get(_key(model))
    engine = found.get("engine") if isinstance(found, dict) else None
    return engine if engine in names else None


def fastest_engine(
    model: str, engines: Mapping[str, Callable[[], Any]], seconds: float = SECONDS
) -> str:
    """Measures engines in turns, and remembers the fastest in the file `engines.json`.

    They run in turns, so that other work on the machine slows them alike. What is compared is the
    fastest turn of each, which other work slowed least. The file is in the folder `KERAS_CMM_HOME`,
    or in keras-cmm's folder of the user's caches. Where that cannot be written, each process
    measures anew.

    Args:
        model: what the speed depends on besides the machine.
        engines: by name, functions that each embed the same few images.
        seconds: float. How long to measure, but two turns at least. A first run of each engine,
            which may build it, comes on top.

    Returns:
        The name of the fastest. Of equal ones it is the first.
    """
    for run in engines.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in engines}
    end = time.perf_counter() + seconds
    turns = 0
    while turns < _FEWEST_TURNS or time.perf_counter() < end:
        for name, run in engines.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
        turns += 1
    best = {name: min(values) for name, values in times.items()}
    engine = min(best, key=lambda name: best[name])
    _remember(model, {"engine": engine, "seconds": best, "model": model, "machine": _machine()})
    return engine


def _file() -> Path:
    return home_folder() / "engines.json"


def _read() -> dict[str, Any]:
    # A damaged file costs a measurement.
    with contextlib.suppress(InputError):
        return read_json_object(_file())
    return {}


def _remember(model: str, found: Mapping[str, Any]) -> None:
    choices = {**_read(), _key(model): found}
    with contextlib.suppress(OSError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        with replacing_durably(_file()) as output:
            output.write(json.dumps(choices, indent=1, sort_keys=True).encode() + b"\n")


def _key(model: str) -> str:
    return hashlib.sha256(f"{_machine()} {model}".encode()).hexdigest()[:16]


def _machine() -> str:
    """Returns the kind of processor, since users share folders between machines."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{name}, {os.cpu_count()} cores"
