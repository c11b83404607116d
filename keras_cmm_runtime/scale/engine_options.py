"""What runs the workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.check_number import check_int, check_number

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class EngineOptions:
    """What runs the workers, and how many there are.

    Args:
        engine: `"local"` for processes of this machine, or `"ray"`.
        num_workers: Number of workers, each with a copy of the model. Defaults to the number of
            cores of this machine, or of the cluster's GPUs.
        gpus_per_worker: For Ray, the GPUs of a worker. A part such as 0.5 lets workers share one.
        decoders: For Ray, tasks that decode images for each worker, on any node. Defaults to none
            where the workers run on CPUs, which they fill, and to 4 where they have GPUs.
        address: Address of a Ray cluster, such as `"auto"`; `None` starts one on this machine.
        setup: Called first in each worker, before anything is imported that the work needs. It must
            be picklable.

    Raises:
        InputError: If an argument is out of range.

    Example:
        >>> EngineOptions(num_workers=2).engine
        'local'
    """

    engine: str = "local"
    num_workers: int | None = None
    gpus_per_worker: float = 0.0
    decoders: int | None = None
    address: str | None = None
    setup: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise InputError(f"`engine` must be one of {ENGINES}. Received: {self.engine!r}")
        if self.num_workers is not None:
            check_int("num_workers", self.num_workers, 1)
        if self.decoders is not None:
            check_int("decoders", self.decoders, 0)
        check_number("gpus_per_worker", self.gpus_per_worker, ">= 0")
        if self.engine == "local" and (self.address is not None or self.gpus_per_worker):
            raise InputError('`address` and `gpus_per_worker` need `engine="ray"`.')
