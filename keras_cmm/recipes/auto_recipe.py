"""The recipe that decides everything from the support set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from keras import ops

from keras_cmm.layers import CrossModalMapping
from keras_cmm.recipes.closed_form_start import SupportStart, rows_of_all_classes, support_start
from keras_cmm.recipes.logit_adjustment import count_offsets
from keras_cmm.recipes.training_recipe import TrainingRecipe
from keras_cmm.utils.unit_rows import unit_rows

if TYPE_CHECKING:
    from keras_cmm.models.cmm_classifier import CMMClassifier


# What `learning_rate` is for: a width of the embeddings, CLIP ViT-B's, and a number of images.
_RATED_DIM = 512
_RATED_IMAGES = 100

# One number needs no more, and 84,000 rows of 21,000 classes would take gigabytes.
_MAX_RATED_ROWS = 1000


@dataclass(frozen=True)
class AutoRecipe(TrainingRecipe):
    """The default CMM recipe: a closed-form start, then few and small steps.

    The mapping and the prototypes start where `support_start` puts them, and the texts, moved to
    the images' mean, are trained on beside the images. The mapped images' logits count more the
    more shots there are: their scale is `shot_scale * shots**shot_exponent`, whatever CLIP's. To
    these come `text_share / shots` of CLIP's own logits: the prototypes take them over, and
    `clip_weight` falls by as much. So mapped images find their class's prototype without CLIP's
    help, and the fused logits stay nearly what they were. The logits are softened in training, so
    that a sample that is fitted goes on shaping the map; less so where there are so many classes
    that it would be pushed from all of them alike. Those of classes with more images are raised, so
    that what is learnt favours no class for their number. The more shots there are, the less CLIP's
    own logits count, and the more the mapped images of a class are pulled together.
    Small support sets, and those that the start tells apart already, are trained less: they would
    soon be learnt by heart. So are those of few of the classes, which would be learnt at the
    others' expense. A start that leaves very much of a loss mostly tells of wrong labels, which are
    not worth learning: the rate grows no further.

    All this trusts the texts. Where the support set is likeliest by less than half of CLIP's
    logits, as for folders whose names are numbers, the texts' logits count for less, down to
    nothing, and their rows to train on move to the mean image. What a text tells of where its
    class's images are is a regression's to say.

    Shots are the images a class, on average over all classes, and at least 1.

    One set of constants serves every data set and number of shots. `examples/study_recipe.py`
    measures what each ingredient does, and what other values would give.

    Args:
        learning_rate: float > 0. The peak learning rate for 100 images of 512 dimensions on which
            training starts at a cross-entropy of 1.
        rate_exponent: float. How the learning rate grows with the number of images.
        loss_exponent: float. How it grows with that cross-entropy.
        max_loss: float > 0. The cross-entropy from which on it grows no more.
        full_rate_share: float in [0, 1]. The part of the classes that must have images for that
            rate; where fewer have, it falls with the root of their number.
        full_trust: float in [0, 1]. The texts count in full where the support set is likeliest by
            this part of CLIP's logits or more; else by the cube of the proportion. 0 trusts them
            always.
        weight_decay: float >= 0. As in `TrainingRecipe`; decay would pull the map from its start.
        epochs: int >= 1. As in `TrainingRecipe`.
        min_steps: int. As in `TrainingRecipe`.
        batch_size: int >= 1. As in `TrainingRecipe`.
        max_steps: int or `None`. As in `TrainingRecipe`; so a step's cost, which grows with the
            classes, is not multiplied by a number of steps that grows with them too.
        shot_scale: float > 0. Scale of the mapped images' logits at one shot.
        shot_exponent: float. How that scale grows with the shots.
        text_share: float in [0, 1). The part of CLIP's logits that the prototypes take over at one
            shot.
        clip_shots: float > 0 or `None`. After so many shots beyond the first, CLIP's own logits
            count for half as much; `None` keeps them.
        prior_shots: float >= 0. How many images a class's text counts for at the start.
        shrinkage_factor: float > 0. How much the images' covariance is shrunk, in units of what is
            likeliest; see `keras_cmm.recipes.closed_form_start`.
        triplet_weight: float >= 0. Weight of the triplet loss; the start has done most of its work.
        contrastive_weight: float >= 0. Weight of the contrastive loss at many shots; at one, where
            an image has none of its class beside it but the text, there is no such loss.
        train_temperature: float > 0. Training divides the logits by it, or by less.
        max_rivals: float >= 1. Over so many wrong classes may an image's error spread: where it
            would over more, the logits are divided by less, down to 1.
        logit_adjustment: float >= 0. Training adds this many times the logarithm of the rows of a
            class to its logit, so that classes with few images or none are not passed over; see
            `keras_cmm.recipes.logit_adjustment`.
        text_rows: bool. Train on the texts beside the images.

    Example:
        >>> import numpy as np
        >>> from keras_cmm import AutoRecipe, CMMClassifier
        >>> head = CMMClassifier.from_text_embeddings(np.eye(3, 8), logit_scale=100.0)
        >>> images, labels, rate = AutoRecipe().start(head, np.eye(3, 8), np.arange(3))
        >>> images.shape, labels.tolist(), head.clip_weight
        ((6, 8), [0, 1, 2, 0, 1, 2], 0.5)
    """

    learning_rate: float = 1.6e-4
    rate_exponent: float = 0.25
    loss_exponent: float = 1.0
    max_loss: float = 1.5
    full_rate_share: float = 0.25
    full_trust: float = 0.5
    weight_decay: float = 0.0
    epochs: int = 1
    min_steps: int = 150
    max_steps: int | None = 150
    shot_scale: float = 20.0
    shot_exponent: float = 0.6
    text_share: float = 0.5
    clip_shots: float | None = 32.0
    prior_shots: float = 2.0
    shrinkage_factor: float = 4.0
    triplet_weight: float = 1.0
    contrastive_weight: float = 0.25
    train_temperature: float = 2.0
    max_rivals: float = 30.0
    logit_adjustment: float = 1.5
    text_rows: bool = True

    def __post_init__(self) -> None:
        """Refuses what no head could be started with."""
        super().__post_init__()
        for name in (
            "max_loss",
            "shot_scale",
            "clip_shots",
            "shrinkage_factor",
            "train_temperature",
        ):
            value = getattr(self, name)
            if not (name == "clip_shots" and value is None) and not value > 0:
                raise ValueError(f"`{name}` must be a float > 0. Received: {name}={value!r}")
        for name in ("prior_shots", "triplet_weight", "contrastive_weight", "logit_adjustment"):
            value = getattr(self, name)
            if not value >= 0:
                raise ValueError(f"`{name}` must be a float >= 0. Received: {name}={value!r}")
        if not self.max_rivals >= 1:
            raise ValueError(
                f"`max_rivals` must be a float >= 1. Received: max_rivals={self.max_rivals!r}"
            )
        if not 0 <= self.text_share < 1:
            raise ValueError(
                f"`text_share` must be a float in [0, 1). Received: text_share={self.text_share!r}"
            )
        for name in ("full_rate_share", "full_trust"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"`{name}` must be a float in [0, 1]. Received: {name}={value!r}")

    def support_start(
        self,
        embeddings: npt.NDArray[np.floating[Any]],
        labels: npt.NDArray[Any],
        text_embeddings: npt.NDArray[np.floating[Any]],
    ) -> SupportStart:
        """Returns the closed-form start, see `keras_cmm.recipes.closed_form_start`."""
        return support_start(
            embeddings, labels, text_embeddings, self.prior_shots, self.shrinkage_factor
        )

    def start(
        self,
        head: CMMClassifier,
        embeddings: npt.NDArray[np.floating[Any]],
        labels: npt.NDArray[Any],
    ) -> tuple[npt.NDArray[np.floating[Any]], npt.NDArray[Any], float]:
        """Puts a head at its start, and returns what to train it on.

        It may have been trained before: all that is left of that are its class texts.

        Args:
            head: a built classifier whose mapping is a `CrossModalMapping` as it is by default:
                residual, of full rank and without bias.
            embeddings: support set, array-like of shape `(images, dim)`.
            labels: array-like of shape `(images,)`, class ids.

        Returns:
            The rows to train on and their class ids, the support set and the texts after it; and
            the peak learning rate.

        Raises:
            ValueError: if the mapping cannot start in closed form, or embeddings and labels do not
                fit the head.
        """
        _check_mapping(head.mapping)
        embeddings, labels = _checked_support(head, embeddings, labels)
        embeddings = unit_rows(embeddings)
        text_weight = self._text_weight(head, embeddings, labels)
        start = self.support_start(embeddings, labels, head.text_embeddings)
        shots = max(1.0, len(labels) / head.num_classes)
        num_images = len(labels)
        seen_share = len(np.unique(labels)) / head.num_classes
        share = text_weight * self.text_share / shots
        prototypes, scale = _with_text_logits(
            start,
            embeddings,
            head.text_embeddings,
            scale=self.shot_scale * shots**self.shot_exponent,
            text_scale=share * head.logit_scale,
        )
        head.mapping.kernel.assign(start.transform - np.eye(len(start.transform), dtype="float32"))
        head.prototypes.embeddings.assign(prototypes)
        clip_weight = text_weight - share
        if self.clip_shots is not None:
            clip_weight /= 1 + (shots - 1) / self.clip_shots
        head.clip_weight = clip_weight
        head.alpha = scale / head.logit_scale
        head.triplet_weight = self.triplet_weight
        head.contrastive_weight = self.contrastive_weight * (1 - 1 / shots)
        if self.text_rows:
            rows = start.text_rows
            if text_weight < 1:
                mean = unit_rows(embeddings.mean(axis=0))
                rows = unit_rows(text_weight * rows + (1 - text_weight) * mean)
            embeddings = np.concatenate([embeddings, rows])
            labels = np.concatenate([labels, np.arange(head.num_classes, dtype=labels.dtype)])
        head.train_offsets = count_offsets(labels, head.num_classes, self.logit_adjustment)
        head.train_temperature, cross_entropy = self._softening(
            head, embeddings, labels, num_images
        )
        learning_rate = self._learning_rate(
            num_images, seen_share, embeddings.shape[1], cross_entropy
        )
        # The prototypes' logits weigh more with the share, and so does every step.
        return embeddings, labels, (1 - share) * learning_rate

    def _text_weight(
        self,
        head: CMMClassifier,
        embeddings: npt.NDArray[np.float32],
        labels: npt.NDArray[np.int64],
    ) -> float:
        """Returns what the texts count for, from 0 to 1."""
        from scipy.optimize import brentq
        from scipy.special import softmax

        if not self.full_trust:
            return 1.0
        rows = rows_of_all_classes(labels, _MAX_RATED_ROWS)
        logits = head.logit_scale * embeddings[rows] @ head.text_embeddings.T
        own = logits[np.arange(len(logits)), labels[rows]].mean()

        def slope(part: float) -> float:
            """Returns how the cross-entropy of a part of CLIP's logits grows with the part."""
            return float((softmax(part * logits, axis=1) * logits).sum(axis=1).mean() - own)

        # The cross-entropy is convex: while it falls, its least is at a larger part.
        if slope(self.full_trust) <= 0:
            return 1.0
        if slope(0.0) >= 0:
            return 0.0
        # Where texts tell little, what they tell wrong does more harm than the rest does good.
        return (float(brentq(slope, 0.0, self.full_trust)) / self.full_trust) ** 3

    def _softening(
        self,
        head: CMMClassifier,
        embeddings: npt.NDArray[np.float32],
        labels: npt.NDArray[np.int64],
        num_images: int,
    ) -> tuple[float, float]:
        """Returns what training divides the logits by, and the cross-entropy that it starts at.

        The more classes there are, the more of them share the error of softened logits. Training
        would push an image from all of them alike, rather than from those that it is taken for.
        """
        # Every so many, so that no class is left out; the texts after the images are in order.
        images = np.argsort(labels[:num_images], kind="stable")
        order = np.append(images, np.arange(num_images, len(labels)))
        rows = order[:: math.ceil(len(labels) / _MAX_RATED_ROWS)]
        logits = ops.convert_to_numpy(head(ops.convert_to_tensor(embeddings[rows])))
        least = min(1.0, self.train_temperature)
        for temperature in np.linspace(self.train_temperature, least, 11):
            softened = logits.astype("float32") / temperature + head.train_offsets
            cross_entropy, rivals = _cross_entropy_and_rivals(softened, labels[rows])
            if rivals <= self.max_rivals:
                break
        return float(temperature), cross_entropy

    def _learning_rate(
        self, num_images: int, seen_share: float, dim: int, cross_entropy: float
    ) -> float:
        """Returns the peak learning rate.

        A step of Adam moves every weight by about as much, however little there is to learn: so
        the rate is lower where the start leaves less of a loss, and where few images would be
        learnt by heart, or few classes at the others' expense. A logit is a sum over all
        dimensions: with their root the rate falls, so that all backbones learn about as fast.
        A loss beyond that of sets with the right labels is mostly that of wrong ones.
        """
        growth = (num_images / _RATED_IMAGES) ** self.rate_exponent * (_RATED_DIM / dim) ** 0.5
        if seen_share < self.full_rate_share:
            growth *= (seen_share / self.full_rate_share) ** 0.5
        return self.learning_rate * growth * min(cross_entropy, self.max_loss) ** self.loss_exponent


def _check_mapping(mapping: Any) -> None:
    if not isinstance(mapping, CrossModalMapping):
        received = type(mapping).__name__
    elif mapping.rank is not None or not mapping.residual or mapping.use_bias:
        received = f"rank={mapping.rank}, residual={mapping.residual}, use_bias={mapping.use_bias}"
    else:
        return
    raise ValueError(
        "`mapping` must be a `CrossModalMapping` with rank=None, residual=True and use_bias=False "
        f"for `AutoRecipe`; train another one by `TrainingRecipe`. Received: {received}"
    )


def _checked_support(
    head: CMMClassifier, embeddings: Any, labels: Any
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    if not head.built:
        raise ValueError(
            "`head` must have class texts: use `CMMClassifier.from_text_embeddings` or "
            "`assign_text_embeddings`. Received: an unbuilt head"
        )
    embeddings = np.asarray(ops.convert_to_numpy(embeddings), dtype="float32")
    ids = np.asarray(ops.convert_to_numpy(labels))
    dim = head.text_prototypes.embeddings.shape[1]
    if embeddings.ndim != 2 or embeddings.shape[1] != dim or not len(embeddings):
        raise ValueError(
            f"`embeddings` must have shape (images, {dim}), with one image or more. "
            f"Received: an array of shape {embeddings.shape}"
        )
    if not np.isfinite(embeddings).all():
        row = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))[0]
        raise ValueError(f"`embeddings` must be finite numbers. Received: row {row} is not")
    if ids.shape != (len(embeddings),) or ids.dtype.kind not in "iu":
        raise ValueError(
            f"`labels` must be class ids of shape ({len(embeddings)},), integers. "
            f"Received: {ids.dtype} of shape {ids.shape}"
        )
    if ids.min() < 0 or ids.max() >= head.num_classes:
        raise ValueError(
            f"`labels` must lie from 0 to {head.num_classes - 1}. "
            f"Received: from {ids.min()} to {ids.max()}"
        )
    return embeddings, ids.astype("int64")


def _cross_entropy_and_rivals(
    logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> tuple[float, float]:
    """Returns the mean cross-entropy, and how many wrong classes share the error of a row.

    That number is the exponential of the wrong classes' entropy, averaged over the error.
    """
    from scipy.special import entr, log_softmax

    own = np.arange(len(logits)), labels
    logarithms = log_softmax(logits, axis=1)
    cross_entropy = -float(logarithms[own].mean())
    logarithms[own] = -np.inf
    wrong = np.exp(logarithms, out=logarithms)
    errors = wrong.sum(axis=1)
    entropy = (entr(wrong).sum() - entr(errors).sum()) / max(errors.sum(), 1e-30)
    return cross_entropy, float(np.exp(entropy))


def _with_text_logits(
    start: SupportStart,
    images: npt.NDArray[np.floating[Any]],
    texts: npt.NDArray[np.float32],
    scale: float,
    text_scale: float,
) -> tuple[npt.NDArray[np.float32], float]:
    """Returns prototypes whose logits are those of the start plus CLIP's, and their scale.

    `x @ text` is `(x @ map) @ (inverse map @ text)`, so the sum is linear in mapped images. To
    bring its rows to unit length would favour the short ones: instead, their part along the mean
    image, which all images see alike, is kept, and the part across it makes up the length.
    """
    mapped = images @ start.transform
    lengths = np.linalg.norm(mapped, axis=1, keepdims=True)
    text_part = np.linalg.solve(start.transform, texts.T).T  # The map is symmetric.
    rows = scale * start.prototypes + (text_scale * lengths.mean()) * text_part
    new_scale = float(np.linalg.norm(rows, axis=1).mean())
    centre = unit_rows(unit_rows(mapped).mean(axis=0))
    along = (rows @ centre)[:, None]
    across = rows - along * centre
    cosine = np.clip(along / new_scale, -1.0, 1.0)
    prototypes = cosine * centre + np.sqrt(1 - cosine**2) * unit_rows(across)
    return prototypes.astype("float32"), new_scale
