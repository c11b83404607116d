"""The benchmarks of the table in `keras_cmm_runtime`, by name."""

import difflib
from collections.abc import Callable
from typing import Any

from keras_cmm.data.benchmarks.benchmark import Benchmark
from keras_cmm_runtime.benchmarks import benchmark_table
from keras_cmm_runtime.errors import InputError

_NAMES_TRAP = (
    "Class names are read from imagenet/classnames.txt under both protocols; OpenAI's names call "
    "two classes 'missile' and two 'sunglasses'."
)

_CALTECH = {
    "airplanes": "airplane",
    "faces": "face",
    "leopards": "leopard",
    "motorbikes": "motorbike",
    "background_google": "",
    "faces_easy": "",
}
_EUROSAT = {
    "AnnualCrop": "Annual Crop Land",
    "HerbaceousVegetation": "Herbaceous Vegetation Land",
    "Highway": "Highway or Road",
    "Industrial": "Industrial Buildings",
    "Pasture": "Pasture Land",
    "PermanentCrop": "Permanent Crop Land",
    "Residential": "Residential Buildings",
    "SeaLake": "Sea or Lake",
}


def _car_name(name: str) -> str:
    """Puts the year first: "Acura RL Sedan 2012" is "2012 Acura RL Sedan" to CLIP."""
    model, _, year = name.rpartition(" ")
    return f"{year} {model}"


def _scene_name(name: str) -> str:
    """Drops the letter and puts the kind first: "/a/apse/indoor" is "indoor apse" to CLIP."""
    return " ".join(reversed(name.split("/")[2:]))


_CLASS_NAMES: dict[str, Callable[[str], str]] = {
    "caltech101": lambda name: _CALTECH.get(name, name),
    "eurosat": lambda name: _EUROSAT.get(name, name),
    "oxford_pets": str.lower,
    "stanford_cars": _car_name,
    "sun397": _scene_name,
}


def _benchmark(name: str, facts: dict[str, Any]) -> Benchmark:
    facts["tfds_splits"] = {split: tuple(part) for split, part in facts["tfds_splits"].items()}
    traps = facts.pop("traps", [])
    if facts.get("coop_layout") in ("wnids", "numbers"):
        traps.append(_NAMES_TRAP)
    return Benchmark(
        name=name,
        prompt_template=facts.pop("prompt_template", name),
        tfds_name=facts.pop("tfds_name", name),
        tfds_class_name=_CLASS_NAMES.get(name, str),
        sources=tuple(facts.pop("sources")),
        traps=tuple(traps),
        **facts,
    )


BENCHMARKS: dict[str, Benchmark] = {
    name: _benchmark(name, facts) for name, facts in benchmark_table().items()
}
"""All benchmarks by name: the 11 data sets, then the 4 distribution shifts of ImageNet."""


def get_benchmark(name: str) -> Benchmark:
    """Returns the benchmark of a name.

    Args:
        name: A key of `BENCHMARKS`, such as "dtd".

    Returns:
        The benchmark.

    Raises:
        InputError: If there is none of that name.

    Example:
        >>> get_benchmark("dtd").coop_sizes["test"]
        1692
    """
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    near = difflib.get_close_matches(name, BENCHMARKS, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise InputError(f"{name!r}: is no benchmark{hint}; there are {', '.join(BENCHMARKS)}.")
