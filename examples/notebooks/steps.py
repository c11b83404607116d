"""What the notebooks have in common: where the images are, and looking at mistakes.

Each notebook is also a Python file in cells, with which jupytext (https://jupytext.readthedocs.io)
keeps it in step. `python quickstart.py` runs it in this folder.

Environment variables set the rest, so that the notebooks need no edits:

- `KERAS_CMM_DATA_DIR`: the folder of the data sets ("data" here where it is not set).
- `KERAS_CMM_PROTOCOL`: "coop" for folders as CoOp's DATASETS.md has them, "tfds" for data sets that
  tensorflow-datasets has prepared. Results under the two cannot be compared.
- `KERAS_CMM_PRESET`: the CLIP model; whatever `keras_cmm.clip.load` takes.
- `KERAS_CMM_HOME`: where embeddings are kept, so that no image is embedded twice.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
from keras import ops
from PIL import Image, ImageDraw
from platformdirs import user_cache_path

from keras_cmm.clip import EmbeddingStore, build_prompts, read_image
from keras_cmm.evaluation import confusion_matrix, measure_modality_gap
from keras_cmm.models import find_duplicate_groups

DATA_DIR = os.environ.get("KERAS_CMM_DATA_DIR", "data")
PROTOCOL = os.environ.get("KERAS_CMM_PROTOCOL", "coop")
PRESET = os.environ.get("KERAS_CMM_PRESET", "clip_vit_base_patch32")
HOME = os.environ.get("KERAS_CMM_HOME") or user_cache_path("keras-cmm", appauthor=False)
# The store of the command line, so that `keras-cmm benchmark` need not embed these images again.
STORE = EmbeddingStore(Path(HOME, "embeddings"))

_TILE = 112
_CAPTION = 26


def distinct_names(class_names):
    """Returns names of which no two are the same: "missile" may be "missile (657)"."""
    times = Counter(class_names)
    return [
        f"{name} ({label})" if times[name] > 1 else name for label, name in enumerate(class_names)
    ]


def distinct_prompts(class_names, template):
    """Returns the prompts of classes under their `distinct_names`.

    The names keep the classifier's classes apart. The prompts stay those of the field, so two
    classes that share a name share their prompts and their text embedding.
    """
    prompts = build_prompts(class_names, template)
    return dict(zip(distinct_names(class_names), prompts, strict=True))


def gaps(model, embeddings, labels, classes=slice(None)):
    """Prints the modality gap on test images before and after the mapping, and returns both.

    With `classes`, which of the model's classes are scored, `labels` are numbers in it.
    """
    mapped = ops.convert_to_numpy(model.head.mapping(embeddings))
    prototypes = ops.convert_to_numpy(model.head.prototypes.embeddings)[classes]
    texts = model.text_embeddings[classes]
    # Before and after alike: training drives the prototypes of classes of the same text apart.
    same_text = find_duplicate_groups(texts)
    before = measure_modality_gap(embeddings, texts, labels, same_text)
    after = measure_modality_gap(mapped, prototypes, labels, same_text)
    print(f"{'':22}{'before':>8}{'after':>8}")
    for name, one, other in zip(before._fields, before, after, strict=True):
        print(f"{name:22}{one:8.3f}{other:8.3f}")
    return before, after


def confusions(predictions, labels, class_names, most=10):
    """Prints which classes are taken for which, and returns `(count, true id, predicted id)`."""
    counts = confusion_matrix(predictions, labels, len(class_names))
    totals = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    found = []
    for true, predicted in zip(*np.unravel_index(order, counts.shape), strict=True):
        if counts[true, predicted]:
            found.append((int(counts[true, predicted]), int(true), int(predicted)))
            print(
                f"{counts[true, predicted]:5} of {totals[true]:5}  {class_names[true]}  taken for  "
                f"{class_names[predicted]}"
            )
    if not found:
        print("no image is taken for another class's")
    return found


def mistakes_sheet(source, predictions, most=12):
    """Shows images that were named wrong, drawn evenly from all of them: true class > guess."""
    wrong = np.random.default_rng(0).permutation(np.flatnonzero(predictions != source.labels))
    rows = np.sort(wrong[:most])
    names = source.class_names
    captions = [f"{names[source.labels[row]]}\n> {names[predictions[row]]}" for row in rows]
    return contact_sheet(source, rows, captions)


def contact_sheet(source, rows, captions, columns=6):
    """Shows the images of some rows of a source in one picture.

    Args:
        source: The images, an `ImageSource`.
        rows: Row numbers.
        captions: A text for each row; a line break makes two lines.
        columns: Pictures side by side.

    Returns:
        A PIL image, or `None` if there is no row.
    """
    if not len(rows):
        return None
    lines = -(-len(rows) // columns)
    width, height = _TILE + 4, _TILE + _CAPTION
    sheet = Image.new("RGB", (width * min(columns, len(rows)), height * lines), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (image, caption) in enumerate(zip(source.take(rows).images, captions, strict=True)):
        left, top = width * (number % columns), height * (number // columns)
        picture = read_image(image)
        picture.thumbnail((_TILE, _TILE))
        sheet.paste(picture, (left, top))
        for line, text in enumerate(caption.split("\n")):
            draw.text((left, top + _TILE + 12 * line), text[:19], fill="black")
    return sheet
