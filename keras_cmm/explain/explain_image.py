"""Explaining what a classifier says about an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from keras import ops

from keras_cmm.explain.decision_shares import DecisionShares, logit_parts
from keras_cmm.explain.explanation import Explanation
from keras_cmm.explain.patch_effects import patch_effects, refuse_other_towers
from keras_cmm.explain.picture_area import on_the_picture
from keras_cmm.explain.support_images import MOST_SUPPORT_IMAGES
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils import listed, shortened
from keras_cmm_runtime.utils.check_number import check_int

if TYPE_CHECKING:
    from PIL.Image import Image

_NO_SUPPORT = (
    "the classifier keeps no embeddings of its training images: it was not trained, was saved "
    "without them or by an earlier version, comes from a .keras file or has more than "
    f"{MOST_SUPPORT_IMAGES:,} of them"
)


def explain_image(
    model: Any,
    image: Any,
    class_name: str | None = None,
    nearest: int = 5,
    heat_map: bool = True,
) -> Explanation:
    """Explains one image; see `CMMImageClassifier.explain`, which calls it with its own model."""
    check_int("nearest", nearest, 1)
    names = list(model.class_names)
    if class_name is not None and class_name not in names:
        raise InputError(
            f"`class_name` must be one of the {len(names)} classes: {listed(names)}. "
            f"Received: class_name={shortened(repr(class_name))}"
        )
    if heat_map and model.also is not None:
        raise InputError(
            "a classifier with a second encoder has no heat map, which shows the patches of one; "
            "use `heat_map=False`."
        )
    if heat_map:
        refuse_other_towers(model.backbone)
    picture = model.embedder.preprocessor.read(image)
    embedding = model.embed([image])
    logits = model.predict_embeddings(embedding)
    order = np.argsort(-logits[0], kind="stable").tolist()
    own = order[0] if class_name is None else names.index(class_name)
    probabilities = ops.convert_to_numpy(model.head.probabilities(logits))[0]
    support = model.support_images
    return Explanation(
        image=picture,
        class_name=names[own],
        probability=float(probabilities[own]),
        predicted_class=names[order[0]],
        heat_map=_heat_map(model, picture, own) if heat_map else None,
        shares=_shares(model, embedding, own, next(row for row in order if row != own)),
        nearest=None if support is None else support.nearest(embedding[0], nearest),
        nearest_missing=_NO_SUPPORT if support is None else "",
    )


def _heat_map(model: Any, picture: Image, own: int) -> npt.NDArray[np.float32]:
    preprocessor = model.embedder.preprocessor
    patches = patch_effects(model.backbone, model.head, preprocessor(picture), own)
    left, top, right, bottom = preprocessor.seen_box(picture)
    # Pixels beyond the last whole patch are not seen.
    size = preprocessor.image_size
    seen = len(patches) * model.backbone.vision_encoder.patch_size / size
    box = (left, top, left + seen * (right - left), top + seen * (bottom - top))
    return on_the_picture(patches, picture.size, box)


def _shares(model: Any, embedding: npt.NDArray[np.float32], own: int, rival: int) -> DecisionShares:
    text, images = (part[0] for part in logit_parts(model.head, embedding))
    return DecisionShares(
        model.class_names[own],
        model.class_names[rival],
        text=float(text[own] - text[rival]),
        images=float(images[own] - images[rival]),
    )
