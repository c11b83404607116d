"""Runs the fuzzers: `python -m tests.fuzz --minutes 60`."""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the helpers of the tests

from .targets import TARGETS
from .workers import fuzz, try_case


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="for all formats together")
    parser.add_argument("--seed", type=int, help="default: the time")
    parser.add_argument("--only", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--case", type=int, help="tries this one, in this process")
    arguments = parser.parse_args()
    seed = int(time.time()) if arguments.seed is None else arguments.seed
    if arguments.case is not None:
        for name in arguments.only:
            print(name, *try_case(name, seed, arguments.case))
        return 0
    failed = 0
    print(f"seed {seed}", flush=True)
    for name in arguments.only:
        seconds = 60 * arguments.minutes / len(arguments.only)
        result = fuzz(name, seed, 10**9, seconds)
        print(f"{name}: {result}", flush=True)
        for case, outcome, words in result.failures[:20]:
            print(f'  {outcome}: --only "{name}" --seed {seed} --case {case}: {words}')
        failed += len(result.failures)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
