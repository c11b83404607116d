"""The README.md beside a model."""

from __future__ import annotations

import re
from typing import Any

from keras_cmm_cli.run_file import printable
from keras_cmm_cli.terminal import one_line

_CARD = """\
---
library_name: keras-hub
pipeline_tag: image-classification
tags:
- keras-cmm
- few-shot
- clip
---

# Few-shot image classifier: {count} classes

A frozen CLIP backbone ({preset}) with a Cross-Modal Mapping head ([arXiv:2412.20110]\
(https://arxiv.org/abs/2412.20110)), trained with keras-cmm {version}.

## Use

```
keras-cmm predict MODEL_DIR image.png
```

```python
import keras_cmm

model = keras_cmm.CMMImageClassifier.from_preset("MODEL_DIR")
print(model.classify(["image.png"], top_k=5))
```

## Classes

{classes}

## Training

| | |
| --- | --- |
{rows}

{command}

The images, versions and all settings are in `keras_cmm.json`, the draw in `few_shot_indices.json`.

## Limits

The model predicts one of the classes above for any image. Training does not show its accuracy:
measure it on other images by `keras-cmm evaluate MODEL_DIR IMAGES_DIR`. Its licence and biases are
those of the backbone and of the training images.
"""


def model_card(run: dict[str, Any]) -> str:
    """Returns the card as Markdown.

    Args:
        run: The content of the run file, see `describe_run`.
    """
    settings = run["hyperparameters"]
    prompts = [code(template) for template in run["templates"] or []]
    if run["descriptions"]:
        prompts.append("descriptions")
    with_images = {image["label"] for image in run["images"]}
    rows = {
        "images": len(run["images"]),
        "shots a class": run["shots"],
        "classes without images": ", ".join(
            code(name) for name in run["class_names"] if name not in with_images
        )
        or "none",
        "seed": run["seed"],
        "prompts": ", ".join(prompts),
        **({"grown by": ", ".join(map(code, run["grown"]))} if "grown" in run else {}),
        **{name.replace("_", " "): value for name, value in settings.items() if value is not None},
    }
    return _CARD.format(
        count=len(run["class_names"]),
        preset=code(run["preset"]),
        version=run["versions"]["keras_cmm"],
        classes=", ".join(code(name) for name in run["class_names"]),
        rows="\n".join(f"| {name} | {_cell(value)} |" for name, value in rows.items()),
        command=code(run["command"]),
    )


def code(text: str) -> str:
    """Returns a text as Markdown code, in which neither Markdown nor HTML has a meaning.

    Example:
        >>> code("red fox"), code("a `b`")
        ('`red fox`', '`` a `b` ``')
    """
    text = printable(one_line(text))
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if longest or not text.strip() else ""
    return f"{fence}{space}{text}{space}{fence}"


def _cell(value: object) -> str:
    # A bar ends a cell, even in code.
    return str(value).replace("|", "\\|")
