"""Running the cases of a target in a process that is watched."""

import multiprocessing
import os
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from .mutations import damaged
from .targets import TARGETS

OUTCOMES = ("tried", "refused", "right", "other", "tracebacks", "hangs", "wrong")
_FAILURES = ("tracebacks", "hangs", "wrong")
_START_SECONDS = 300.0

# A server that has imported Keras once starts processes quickly.
_METHODS = multiprocessing.get_all_start_methods()
context = multiprocessing.get_context("forkserver" if "forkserver" in _METHODS else "spawn")
if "forkserver" in _METHODS:
    context.set_forkserver_preload(["keras_cmm.clip", "keras_cmm.data"])


@dataclass
class Result:
    """How often each outcome came, and the cases that failed: number, outcome and words."""

    counts: Counter = field(default_factory=Counter)
    failures: list = field(default_factory=list)

    def add(self, case, outcome, words):
        self.counts.update(["tried", outcome])
        if outcome in _FAILURES:
            self.failures.append((case, outcome, words))

    def __str__(self):
        return ", ".join(f"{self.counts[outcome]} {outcome}" for outcome in OUTCOMES)


def fuzz(name, seed, cases, seconds):
    """Tries damaged files of a format.

    Args:
        name: A key of `TARGETS`.
        seed: Decides the damage, with the number of the case.
        cases: How many to try.
        seconds: When to stop, even if fewer were tried. Preparing the samples does not count.

    Returns:
        The `Result`.
    """
    result, next_case, end = Result(), 0, None
    while next_case < cases and (end is None or time.monotonic() < end):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(
            target=_work, args=(sender, name, seed, next_case, cases), daemon=True
        )
        process.start()
        sender.close()
        limit = _START_SECONDS
        try:
            while next_case < cases:
                if not receiver.poll(limit):
                    result.add(next_case, "hangs", f"no answer after {limit:g} s")
                    next_case += 1
                    break
                message = receiver.recv()
                if message == "ready":
                    end = end or time.monotonic() + seconds
                else:
                    result.add(*message)
                    next_case = message[0] + 1
                limit = TARGETS[name].seconds
                if time.monotonic() > end:
                    return result
        except EOFError:
            process.join()
            if limit == _START_SECONDS:
                raise RuntimeError(f"{name}: the sound files cannot be read") from None
            result.add(next_case, "tracebacks", f"the process ended ({process.exitcode})")
            next_case += 1
        finally:
            process.kill()
            process.join()
            receiver.close()
    return result


def try_case(name, seed, case, samples=None):
    """Tries one case in this process; returns its outcome and words about it."""
    with tempfile.TemporaryDirectory() as folder:
        return _try(Path(folder), TARGETS[name], seed, case, samples or _sound(TARGETS[name]))


def _work(sender, name, seed, first, cases):
    # libtiff writes to the error stream itself.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    samples = _sound(TARGETS[name])
    sender.send("ready")
    for case in range(first, cases):
        sender.send((case, *try_case(name, seed, case, samples)))
    sender.close()


def _sound(target):
    """Returns the samples with their values."""
    sound = []
    for files in target.samples():
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder), files)
            sound.append((files, target.read(Path(folder))))
    return sound


def _write(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def _try(folder, target, seed, case, samples):
    from keras_cmm_runtime.errors import InputError

    files, sound = samples[case % len(samples)]
    kind, name, data = damaged(seed, case, files)
    _write(folder, {**files, name: data})
    words = f"{kind} of {name}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = target.read(folder)
    except InputError as error:
        if "\n" in str(error):
            return "wrong", f"{words}: the refusal has several lines: {error!r}"
        return "refused", f"{words}: {error}"
    except Exception:
        return "tracebacks", f"{words}: {traceback.format_exc(limit=-4)}"
    if target.same(value, sound):
        return "right", words
    if data == files[name] or kind in target.exact:
        return "wrong", f"{words} is read, with another value"
    return "other", words
