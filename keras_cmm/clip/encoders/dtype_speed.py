"""How fast this processor multiplies in half precision."""

from __future__ import annotations

import functools
import time

# Rows and widths of a dense layer of ViT-B/32 for five images: some milliseconds in float32.
_SHAPE = (256, 768, 768)
_TURNS = 5
# Measurements beside other work differ by less.
_SLOWER = 1.5


@functools.cache
def slowdown(dtype: str) -> float:
    """Returns how many times as long as in float32 a product takes on the CPU.

    It is measured once in a process, by torch, which takes a tenth of a second.

    Args:
        dtype: `"bfloat16"` or `"float16"`.
    """
    import torch
    from torch.nn import functional

    rows, inputs, outputs = _SHAPE
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((rows, inputs), generator=generator)
    weight = torch.randn((outputs, inputs), generator=generator)
    pairs = {name: (x.to(name), weight.to(name)) for name in (torch.float32, getattr(torch, dtype))}
    best = {name: float("inf") for name in pairs}
    with torch.inference_mode():
        for turn in range(_TURNS + 1):
            for name, pair in pairs.items():
                start = time.perf_counter()
                functional.linear(*pair)
                if turn:  # The first product prepares the library.
                    best[name] = min(best[name], time.perf_counter() - start)
    return best[getattr(torch, dtype)] / best[torch.float32]


def slow_dtype_message(dtype: str) -> str | None:
    """Returns what to say of a dtype that is slow on this processor, or `None`.

    Args:
        dtype: `"bfloat16"` or `"float16"`.
    """
    factor = slowdown(dtype)
    if factor < _SLOWER:
        return None
    return (
        f"{dtype} takes {factor:.1f} times as long as float32 on this processor, which has no "
        "units for it; leave out the dtype to embed in float32."
    )
