"""The README.md beside a model: its model card."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from keras_cmm.hub.licence import licence_of
from keras_cmm_runtime.hub import HUB_SCHEME

_CARD = """\
---
{front_matter}
---

# Few-shot image classifier: {count} classes

A frozen CLIP backbone ({preset}) with a Cross-Modal Mapping head ([arXiv:2412.20110]\
(https://arxiv.org/abs/2412.20110)), trained with [keras-cmm]\
(https://github.com/keras-cmm/keras-cmm){version}.

## Use

```
keras-cmm predict {place} image.png
```

```python
import keras_cmm

model = keras_cmm.CMMImageClassifier.from_preset("{place}")
print(model.classify(["image.png"], top_k=5))
```
{without_keras}
## Classes

{classes}

## Accuracy

{accuracy}

## Training

| | |
| --- | --- |
{rows}
{command}
{files}

## Limits

The model predicts one of the classes above for any image, whatever it shows. It knows the kinds of
images that it was trained on, and has the biases of its backbone. {tested}

## Licence

The weights of the backbone ({preset}) are part of this model. Their licence: {licence}. The images
of training may have terms of their own.
"""

_WITHOUT_KERAS = """
Without Keras and torch, after `pip install "keras-cmm-runtime{extra}"`:

```python
from keras_cmm_runtime import OnnxClassifier

print(OnnxClassifier.load("{place}").classify(["image.png"], top_k=5))
```
"""


def model_card(about: Mapping[str, Any], place: str = "MODEL_DIR", has_onnx: bool = True) -> str:
    """Returns a model card as Markdown, with the metadata that the Hugging Face hub reads.

    Names of classes, prompts, presets and the command are data: they are shown as code, in which
    neither Markdown nor HTML has a meaning.

    Args:
        about: what is known of the model. `class_names` must be there. The others are those of the
            file `keras_cmm.json` of `keras-cmm fit`, and may be missing. `evaluation` holds what
            `keras-cmm evaluate --format json` printed.
        place: where the model is: a folder, or `hf://owner/name`.
        has_onnx: bool. Whether the model has a `classifier.onnx`.

    Returns:
        The content of `README.md`.

    Example:
        >>> card = model_card({"class_names": ["ant", "bee"], "preset": "emoji_clip_tiny"})
        >>> card.splitlines()[:3]
        ['---', 'library_name: keras', 'license: apache-2.0']
    """
    names, preset = about["class_names"], about.get("preset")
    evaluation = about.get("evaluation")
    extra = "[hub]" if place.startswith(HUB_SCHEME) else ""
    licence = licence_of(preset)
    version = (about.get("versions") or {}).get("keras_cmm")
    known = [
        text
        for text, key in (
            ("the versions and all settings are in `keras_cmm.json`", "hyperparameters"),
            ("the draw is in `few_shot_indices.json`", "shots"),
        )
        if key in about
    ]
    return _CARD.format(
        front_matter="\n".join(_front_matter(licence.identifier, evaluation)),
        count=len(names),
        preset=code(preset) if preset else "not named",
        version=f" {version}" if version else "",
        place=place,
        without_keras=_WITHOUT_KERAS.format(place=place, extra=extra) if has_onnx else "",
        classes=", ".join(code(name) for name in names),
        accuracy=_accuracy(evaluation),
        rows="\n".join(f"| {name} | {_cell(value)} |" for name, value in _rows(about).items()),
        command=f"\n{code(about['command'])}\n" if about.get("command") else "",
        files=f"{' and '.join(known)}.".capitalize() if known else "",
        tested="Its accuracy above is that of the images it was tested on; on others it may differ."
        if evaluation
        else "Training does not show its accuracy: measure it on images that it was not trained "
        "on.",
        licence=licence.text,
    )


def _front_matter(licence: str, evaluation: Mapping[str, Any] | None) -> list[str]:
    lines = [
        "library_name: keras",
        f"license: {licence}",
        "pipeline_tag: image-classification",
        "tags:",
        *(f"- {tag}" for tag in ("keras-cmm", "keras-hub", "few-shot", "clip")),
    ]
    if evaluation:
        name = f"top-1, {_interval(evaluation)}, {_protocol(evaluation)}"
        lines += [
            "model-index:",
            "- name: keras-cmm classifier",
            "  results:",
            "  - task:",
            "      type: image-classification",
            "    dataset:",
            "      name: images of its own",
            "      type: imagefolder",
            "    metrics:",
            "    - type: accuracy",
            f"      name: {json.dumps(name)}",
            f"      value: {evaluation['top1'] / 100:.4f}",
            "    - type: f1",
            "      name: macro F1",
            f"      value: {evaluation['macro_f1'] / 100:.4f}",
        ]
    return lines


def _accuracy(evaluation: Mapping[str, Any] | None) -> str:
    if not evaluation:
        return (
            "Not measured. `keras-cmm evaluate MODEL_DIR IMAGES_DIR` measures it on images of your "
            "own."
        )
    top5 = f" Top-5: {evaluation['top5']:.1f}%." if evaluation.get("top5") is not None else ""
    return (
        f"Top-1: {evaluation['top1']:.1f}%, {_interval(evaluation)}.{top5} Macro F1: "
        f"{evaluation['macro_f1']:.1f}%. Protocol: {_protocol(evaluation)}."
    )


def _interval(evaluation: Mapping[str, Any]) -> str:
    low, high = evaluation["top1_interval"]
    return f"Wilson's 95% interval {low:.1f}-{high:.1f}%"


def _protocol(evaluation: Mapping[str, Any]) -> str:
    count, trained_on = evaluation["images"], evaluation.get("trained_on")
    images = f"{count} images" if count != 1 else "1 image"
    if evaluation.get("protocol"):
        images += f" {code(evaluation['protocol'])}"
    text = f"{images} of {evaluation['classes']} classes, predicted once"
    if trained_on is None:
        return f"{text}; whether it was trained on some of them is not known"
    if trained_on:
        return f"{text}; it was trained on {trained_on} of them, so this is too high"
    return f"{text}, none of which it was trained on"


def _rows(about: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the rows of the table of training, of what is known."""
    rows: dict[str, Any] = {}
    prompts = [code(template) for template in about.get("templates") or []]
    if about.get("descriptions"):
        prompts.append("descriptions")
    if about.get("images") is not None:
        with_images = {image["label"] for image in about["images"]}
        without = [code(name) for name in about["class_names"] if name not in with_images]
        rows["images"] = len(about["images"])
        rows["shots a class"] = about.get("shots")
        rows["classes without images"] = ", ".join(without) or "none"
        rows["seed"] = about.get("seed")
    rows["prompts"] = ", ".join(prompts)
    rows["grown by"] = ", ".join(map(code, about.get("grown") or [])) or None
    for name, value in (about.get("hyperparameters") or {}).items():
        rows[name.replace("_", " ")] = value
    return {name: value for name, value in rows.items() if value is not None}


def code(text: str) -> str:
    """Returns a text as Markdown code, in which neither Markdown nor HTML has a meaning.

    Example:
        >>> code("red fox"), code("a `b`")
        ('`red fox`', '`` a `b` ``')
    """
    text = _one_line(text)
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if longest or not text.strip() else ""
    return f"{fence}{space}{text}{space}{fence}"


def _one_line(text: str) -> str:
    """Replaces white space by single spaces, and hidden characters by what Python writes."""
    characters = (
        each if each.isprintable() else f"\\u{ord(each):04x}" for each in " ".join(text.split())
    )
    return "".join(characters)


def _cell(value: object) -> str:
    # A bar ends a cell, even in code.
    return str(value).replace("|", "\\|")
