"""The peak memory of this process."""

import resource
import sys


def peak_memory_mib() -> float:
    """Returns the largest resident size so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
