"""Times small products of torch with threads that wait in a loop, and with threads that sleep.

Each run is a process of its own, in turns, and ends after a minute at the latest. Run it beside
other work, which the load shows, and alone:

    python tests/benchmarks/waiting_threads.py [--turns 3]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

_PRODUCTS = """
import time
import torch
rows, kernel, logits = torch.randn(256, 192), torch.randn(192, 192), torch.randn(256, 1024)
def step():
    return (rows @ kernel @ kernel.T).sum() + torch.softmax(1.5 * logits, 1).sum()
for _ in range(20):
    step()
start = time.perf_counter()
for _ in range(400):
    step()
print(f"{time.perf_counter() - start:.2f} s with {torch.get_num_threads()} threads")
"""
_LIMIT = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    unset = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    for _ in range(arguments.turns):
        for name, more in (("loop", {}), ("sleep", {"OMP_WAIT_POLICY": "PASSIVE"})):
            try:
                done = subprocess.run(
                    [sys.executable, "-c", _PRODUCTS],
                    env={**environment, **more},
                    capture_output=True,
                    text=True,
                    check=True,
                    timeout=_LIMIT,
                )
                said = done.stdout.strip()
            except subprocess.TimeoutExpired:
                said = f"more than {_LIMIT} s"
            print(f"{name:6} {said}, load {os.getloadavg()[0]:.1f}", flush=True)


if __name__ == "__main__":
    main()
