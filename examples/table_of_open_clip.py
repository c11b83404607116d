"""Prints how each configuration of OpenCLIP is loaded, as docs/open_clip.md holds it.

    .ci/open_clip_tests .venv-open-clip
    .venv-open-clip/bin/python examples/table_of_open_clip.py

Nothing is fetched, and no memory is taken for weights: a model that OpenCLIP runs is built on
torch's meta device, with the code that loads it. The text towers of transformers are built from
the default config of their kind, since their own configs lie on the hub.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from keras_cmm.clip.checkpoints.open_clip import settings_of_config
from keras_cmm.clip.libraries.building import build_without_memory
from keras_cmm_runtime.errors import InputError

_TEXT_TOWERS = {
    "facebook/nllb-200-distilled-1.3B": "m2m_100",
    "facebook/nllb-200-distilled-600M": "m2m_100",
    "google/mt5-base": "mt5",
    "google/mt5-xl": "mt5",
    "roberta-base": "roberta",
    "xlm-roberta-base": "xlm-roberta",
    "xlm-roberta-large": "xlm-roberta",
}


def how_loaded(config: dict[str, Any]) -> tuple[str, int | str, int | str]:
    """Returns how a configuration is loaded, its image size and the length of its embeddings."""
    try:
        settings = settings_of_config(Path("config"), config)
    except InputError:
        pass
    else:
        return "keras-hub", settings.image_size, settings.projection_dim
    architecture: dict[str, Any] = {"model_cfg": config}
    if name := config["text_cfg"].get("hf_model_name"):
        import transformers

        text = transformers.AutoConfig.for_model(_TEXT_TOWERS[name])
        architecture["text_tower"] = text.to_dict()
    try:
        model = build_without_memory("open_clip", architecture)
    except InputError as error:
        return f"not: {error}", "", ""
    return "OpenCLIP", model.image_size, model.dim


def kind_of(config: dict[str, Any]) -> str:
    """Returns what the towers of a configuration are."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    image_tower = vision.get("timm_model_name", "ViT")
    if isinstance(vision.get("layers"), list):
        image_tower = "ResNet"
    return f"{image_tower}, {text.get('hf_model_name', 'CLIP')}"


def main() -> None:
    import open_clip

    print("| configuration | image tower, text tower | images | dim | run by |")
    print("| --- | --- | --- | --- | --- |")
    counts: Counter[str] = Counter()
    for name in sorted(open_clip.list_models(), key=str.lower):
        config = open_clip.get_model_config(name)
        how, size, dim = how_loaded(config)
        counts[how.partition(":")[0]] += 1
        print(f"| {name} | {kind_of(config)} | {size} | {dim} | {how} |", flush=True)
    counted = ", ".join(f"{how} {count}" for how, count in sorted(counts.items()))
    print(f"\nOpenCLIP {open_clip.__version__}: {counts.total()} configurations: {counted}.")


if __name__ == "__main__":
    main()
