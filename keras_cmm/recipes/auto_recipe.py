"""The default recipe: a closed-form start, then few and small steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops
from scipy.special import softmax

from keras_cmm.layers import CrossModalMapping
from keras_cmm.recipes.closed_form_start import (
    ClosedFormStart,
    closed_form_start,
    rows_of_all_classes,
)
from keras_cmm.recipes.head import Head
from keras_cmm.recipes.logit_adjustment import logit_adjustment
from keras_cmm.recipes.second_tower import second_tower
from keras_cmm.recipes.text_prior import share_text_logits, text_trust
from keras_cmm.recipes.training_recipe import TrainingRecipe, TrainingSet, row_weights
from keras_cmm.utils.lazy_rows import LazyRows
from keras_cmm_runtime.utils.check_number import check_number
from keras_cmm_runtime.utils.unit_rows import unit_rows

# `learning_rate` is the one for this width of embeddings, CLIP ViT-B's, and number of images.
_RATED_DIM = 512
_RATED_IMAGES = 100

# Bounds time and memory: one number needs no more rows, and 84,000 rows of 21,000 classes would
# take gigabytes.
_MAX_RATED_ROWS = 1000

# Bounds time and memory: the mean length of mapped images needs no more rows.
_MAX_MAPPED_ROWS = 20_000

# A start without the wrong labels that the first one saw finds more of them. A third round finds
# few, and takes as long.
_STARTS = 3

# A start is made of its labels, so few of them are as unlikely as its probabilities expect of the
# labels of other images: up to 0.12 of that on DTD and the demo, from 4 images per class on, and
# 0.3 to 0.6 where a fifth are wrong. ImageNet's own labels give 0.86.
_DOUBTED_PART = 0.25

# Parts of the trust in the texts that held-out images are asked about, one after another.
_TRUST_PARTS = (1 / 3, 1 / 9)

# Bounds time: with more images per class it would take a half longer for less. With ten, a third of
# the trust gained 2 points at one of eight places with weak and own texts, and at the others it
# gained 0.5 at most.
_MAX_TRUST_SHOTS = 8

# If fewer of the labels are likely, the start is wrong rather than the labels.
_LEAST_LIKELY = 2 / 3

# Rows times classes above which no label is doubted, since it would take minutes to look at them.
_MAX_DOUBTED = 1 << 31


@dataclass(frozen=True)
class AutoRecipe(TrainingRecipe):
    """The default CMM recipe: a closed-form start, then few and small steps.

    One set of constants serves every data set and number of shots. The shots are the images per
    class, averaged over all classes, and at least 1. `prepare` starts a head in five steps:

    From two images per class on, images whose label the start finds less probable than a guess are
    taken for mislabelled, if there are more of them than right labels give. The head is started
    again without them, twice at most, and they are not trained on.

    1. Text trust. The support set tells how far CLIP's own logits can be trusted, see `text_trust`.
       Texts that are sure of more than they know count for less. Class names that tell nothing,
       such as numbers, count for nothing. With at most 8 images per class, and where images
       of all classes were held out, second heads are trained that trust the texts a third and a
       ninth as far. The texts count for that if it makes the labels of the held-out images more
       probable, by more than two standard errors of the difference.
    2. Closed form. Map and prototypes start at `closed_form_start`, a linear discriminant with the
       texts as prior. Training can only move away from it where the support set asks for it. The
       embeddings of a second encoder start at `second_tower`, which finds how much they count.
    3. Scales. The mapped images' logits are scaled by `shot_scale * shots**shot_exponent`. The
       prototypes take over `text_share / shots` of CLIP's own logits, and `clip_weight` falls by as
       much. So mapped images find their class's prototype without CLIP's help, and the fused logits
       stay nearly the same.
    4. Rows. The texts, moved to the mean image, are trained on beside the images. In training the
       logits are divided by `train_temperature`, so that a sample that is fitted goes on shaping
       the map, and adjusted to the number of rows per class (`logit_adjustment`).
    5. Learning rate. It is in proportion to the error at the start, which is 1 less the geometric
       mean of the right classes' probabilities. A start that leaves little to learn is trained
       little, and a large error, as of wrong labels, is not learnt much faster than a middling one.
       The rate grows with the number of images, because few images are soon learnt by heart.

    A trained head is not started again. It is trained further, at a rate that is lower by the part
    of the start's error that it has learnt.

    `examples/study_recipe.py` measures what each rule does, and what other values give.

    Args:
        learning_rate: float >= 0. The peak learning rate for 100 images of 512 dimensions and an
            error of 1 at the start.
        weight_decay: as in `TrainingRecipe`, like the next four. Decay would undo the start.
        epochs: int >= 1.
        min_steps: int >= 0.
        batch_size: int >= 1.
        max_steps: int >= 1 or `None`. It bounds the cost of many classes.
        rate_exponent: float. The learning rate grows with this power of the number of images.
        text_trust: float in [0, 1] or `None`. How much the texts count for: 1 trusts them in full,
            and 0 not at all. `None` lets the images tell.
        shot_scale: float > 0. Scale of the mapped images' logits at one shot.
        shot_exponent: float. That scale grows with this power of the shots.
        text_share: float in [0, 1). The part of CLIP's logits that the prototypes take over at one
            shot.
        prior_shots: float >= 0. The number of images that the text of a class counts for at the
            start.
        shrinkage_factor: float > 0. Shrinkage of the images' covariance, in units of the most
            likely one.
        text_rows: bool. Train on the texts beside the images.
        train_temperature: float > 0. Training divides the logits by it.
        logit_adjustment: float >= 0. Strength of the logit adjustment, see `logit_adjustment`.

    Example:
        >>> import numpy as np
        >>> from keras_cmm import AutoRecipe, CMMClassifier
        >>> head = CMMClassifier.from_text_embeddings(np.eye(3, 8))
        >>> history = AutoRecipe().fit(head, np.eye(3, 8), [0, 1, 2], verbose=0)
        >>> head.predict(np.eye(3, 8), verbose=0).argmax(axis=1)
        array([0, 1, 2])
    """

    learning_rate: float = 2.5e-4
    weight_decay: float = 0.0
    epochs: int = 1
    min_steps: int = 150
    max_steps: int | None = 150
    rate_exponent: float = 0.25
    text_trust: float | None = None
    shot_scale: float = 20.0
    shot_exponent: float = 0.6
    text_share: float = 0.5
    prior_shots: float = 2.0
    shrinkage_factor: float = 4.0
    text_rows: bool = True
    train_temperature: float = 2.0
    logit_adjustment: float = 1.5

    def __post_init__(self) -> None:
        """Refuses values that no head can be started with."""
        super().__post_init__()
        for name, allowed in (
            ("rate_exponent", ""),
            ("shot_exponent", ""),
            ("shot_scale", "> 0"),
            ("shrinkage_factor", "> 0"),
            ("train_temperature", "> 0"),
            ("prior_shots", ">= 0"),
            ("logit_adjustment", ">= 0"),
            ("text_share", "in [0, 1)"),
        ):
            check_number(name, getattr(self, name), allowed)
        if self.text_trust is not None:
            check_number("text_trust", self.text_trust, "in [0, 1]")

    def closed_form(
        self,
        embeddings: LazyRows,
        labels: npt.NDArray[np.int64],
        text_embeddings: npt.NDArray[np.float32],
    ) -> ClosedFormStart:
        """Returns the closed-form start, see `closed_form_start`."""
        return closed_form_start(
            embeddings, labels, text_embeddings, self.prior_shots, self.shrinkage_factor
        )

    def candidates(
        self,
        head: Head,
        embeddings: LazyRows,
        labels: npt.NDArray[np.int64],
    ) -> list[AutoRecipe]:
        """Returns this recipe, and those that trust the texts less and less."""
        trust = self._trust(head, _of_clip(head, embeddings), labels)
        is_few = len(labels) <= _MAX_TRUST_SHOTS * head.num_classes
        if self.text_trust is None and trust and is_few:
            return [self, *(replace(self, text_trust=part * trust) for part in _TRUST_PARTS)]
        return [self]

    def prepare(
        self,
        head: Head,
        embeddings: npt.NDArray[np.floating[Any]] | LazyRows,
        labels: npt.NDArray[np.int64],
        sample_weight: npt.NDArray[Any] | None = None,
        class_weight: Mapping[int, float] | None = None,
    ) -> TrainingSet:
        """Starts a head from a support set; a trained head stays where it is.

        The arguments are those of `TrainingRecipe.prepare`. Weights do not move the start. The
        texts stand after the images in what is returned.

        Raises:
            ValueError: if the mapping is not residual, of full rank and without bias.
        """
        _check_mapping(head.mapping)
        if head.is_trained:
            return self._resume(head, embeddings, labels, sample_weight, class_weight)
        dim = head.text_embeddings.shape[1]
        of_clip, of_also = slice(0, dim), slice(dim, None)
        given = LazyRows.of(embeddings)
        images, also = given.unit(of_clip), given.unit(of_also)

        # 1. to 3. The start, and what it finds wrong.
        start, trust, share, told = self._start_on_likely_labels(head, images, also, labels)

        # 4. Rows.
        rows = given.unit(of_clip, of_also) if head.also_dim else images
        row_labels, is_told = labels, told
        if self.text_rows:
            mean = unit_rows(images.mean())
            # Texts that are not trusted tell no more of their class than the mean image does.
            text_rows = unit_rows(trust * start.text_rows + (1 - trust) * mean)
            if head.also_dim:
                mean_also = np.tile(unit_rows(also.mean()), (len(text_rows), 1))
                text_rows = np.concatenate([text_rows, mean_also], axis=1)
            rows = rows.followed_by(text_rows)
            row_labels = np.concatenate([labels, np.arange(head.num_classes, dtype="int64")])
            is_told = np.concatenate([told, np.ones(head.num_classes, dtype=bool)])
        weights = row_weights(row_labels, sample_weight, class_weight)
        if not told.all():
            weights = np.where(is_told, 1.0 if weights is None else weights, 0.0)
        head.train_temperature = self.train_temperature
        head.train_offsets = logit_adjustment(
            row_labels, head.num_classes, self.logit_adjustment, weights
        )

        # 5. Learning rate. The prototypes' logits weigh more with the share, and so does each step.
        learning_rate = (1 - share) * self._learning_rate(
            head, rows[is_told], row_labels[is_told], int(np.count_nonzero(told))
        )
        doubtful = int(np.count_nonzero(~told))
        return TrainingSet(rows, row_labels, weights, learning_rate, doubtful, trust)

    def _start_on_likely_labels(
        self,
        head: Head,
        images: LazyRows,
        also: LazyRows,
        labels: npt.NDArray[np.int64],
    ) -> tuple[ClosedFormStart, float, float, npt.NDArray[np.bool_]]:
        """Starts a head, and again without the images whose labels it then finds unlikely.

        Returns:
            The start, the trust in the texts, the part of CLIP's logits that the prototypes take
            over, and which images the last start was made of.
        """
        told = np.ones(len(labels), dtype=bool)
        for number in range(_STARTS):
            some = slice(None) if told.all() else told
            start, trust, share = self._start(head, images[some], also[some], labels[some])
            # At one image per class nothing but the text could speak against a label.
            is_told_enough = len(labels) >= 2 * head.num_classes
            if not is_told_enough or len(labels) * head.num_classes > _MAX_DOUBTED:
                break
            if number == _STARTS - 1:
                break
            unlikely, expected = _unlikely_labels(head, images[some], also[some], labels[some])
            likely = np.count_nonzero(~unlikely)
            is_clean = np.mean(unlikely) <= _DOUBTED_PART * expected
            if is_clean or likely < _LEAST_LIKELY * len(labels):
                break
            told[np.flatnonzero(told)[unlikely]] = False
        return start, trust, share, told

    def _start(
        self,
        head: Head,
        images: LazyRows,
        also: LazyRows,
        labels: npt.NDArray[np.int64],
    ) -> tuple[ClosedFormStart, float, float]:
        """Starts a head, and returns the start, the trust, and the prototypes' part of CLIP."""
        texts = head.text_embeddings
        shots = max(1.0, len(labels) / head.num_classes)

        # 1. Text trust.
        trust = self._trust(head, images, labels)

        # 2. Closed form.
        start = self.closed_form(images, labels, texts)

        # 3. Scales.
        share = trust * self.text_share / shots
        some = rows_of_all_classes(labels, _MAX_MAPPED_ROWS)
        mapped = np.asarray(images[some]) @ start.transform
        prototypes, scale = share_text_logits(
            start.prototypes,
            start.transform,
            mapped,
            texts,
            scale=self.shot_scale * shots**self.shot_exponent,
            text_scale=share * head.logit_scale,
        )
        kernel = start.transform - np.eye(len(start.transform), dtype="float32")
        if head.also_dim:
            second = second_tower(images, also, labels, prototypes)
            length = float(np.linalg.norm(mapped, axis=1).mean())
            # The inputs are scaled by it, so training learns less from what counts for less, and
            # nothing from what counts for nothing.
            of_also = min(1.0, second.weight)
            head.mapping.also_weight.assign(of_also)
            kernel = np.concatenate([kernel, second.kernel * (length / max(of_also, 1e-12))])
        head.mapping.kernel.assign(kernel)
        head.prototypes.embeddings.assign(prototypes)
        head.clip_weight = trust - share
        head.alpha = scale / head.logit_scale
        return start, trust, share

    def _trust(self, head: Head, images: LazyRows, labels: npt.NDArray[np.int64]) -> float:
        """Returns how far the texts are trusted, by the support set alone."""
        if self.text_trust is not None:
            return self.text_trust
        some = rows_of_all_classes(labels, _MAX_RATED_ROWS)
        logits = head.logit_scale * np.asarray(images[some]) @ head.text_embeddings.T
        return text_trust(logits, labels[some])

    def _learning_rate(
        self,
        head: Head,
        rows: LazyRows,
        labels: npt.NDArray[np.int64],
        num_images: int,
    ) -> float:
        """Returns the peak learning rate.

        A step of Adam moves every weight by about the learning rate, however little there is to
        learn. A logit sums over all dimensions, so the rate falls with the root of their number.
        """
        # Every so many rows of sorted classes, so that no class is left out.
        images = np.argsort(labels[:num_images], kind="stable")
        order = np.append(images, np.arange(num_images, len(labels)))
        some = order[:: math.ceil(len(labels) / _MAX_RATED_ROWS)]
        growth = (num_images / _RATED_IMAGES) ** self.rate_exponent
        narrowness = (_RATED_DIM / head.text_embeddings.shape[1]) ** 0.5
        error = self.training_error(head, np.asarray(rows[some]), labels[some])
        return self.learning_rate * growth * narrowness * error

    def training_error(
        self, head: Head, embeddings: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
    ) -> float:
        """Returns 1 less the geometric mean of the right classes' probabilities in training."""
        logits = np.asarray(head.predict(embeddings, batch_size=256, verbose=0))
        logits = logits / head.train_temperature + head.train_offsets
        losses = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        return max(-math.expm1(-float(ops.mean(losses))), 1e-12)

    def _resume(
        self,
        head: Head,
        embeddings: npt.NDArray[np.floating[Any]] | LazyRows,
        labels: npt.NDArray[np.int64],
        sample_weight: npt.NDArray[Any] | None,
        class_weight: Mapping[int, float] | None,
    ) -> TrainingSet:
        """Returns what to train a trained head on, at the rate of what is left to learn."""
        new = head.copy_untrained()
        # The texts count for no more than when the head was started.
        most = min(1.0, head.clip_weight / (1 - self.text_share))
        trust = min(most, self._trust(head, _of_clip(head, embeddings), labels))
        rows = replace(self, text_trust=trust).prepare(
            new, embeddings, labels, sample_weight, class_weight
        )
        head.train_offsets = new.train_offsets
        some = np.random.default_rng(0).permutation(len(rows.labels))[:_MAX_RATED_ROWS]
        error, start_error = (
            self.training_error(each, np.asarray(rows.embeddings[some]), rows.labels[some])
            for each in (head, new)
        )
        left = min(1.0, error / start_error)
        return rows._replace(learning_rate=left * rows.learning_rate)


def _of_clip(head: Head, embeddings: npt.NDArray[np.floating[Any]] | LazyRows) -> LazyRows:
    """Returns CLIP's part of the embeddings, rows of unit length."""
    return LazyRows.of(embeddings).unit(slice(0, head.text_embeddings.shape[1]))


def _unlikely_labels(
    head: Head, images: LazyRows, also: LazyRows, labels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.bool_], float]:
    """Returns which labels a started head finds less probable than a guess would be.

    It also returns the part of labels of which the head's own probabilities expect that.
    """
    unlikely, expected = np.zeros(len(labels), dtype=bool), 0.0
    guess = 1 / head.num_classes
    for first in range(0, len(labels), _MAX_RATED_ROWS):
        block = slice(first, first + _MAX_RATED_ROWS)
        rows = np.concatenate([np.asarray(part[block]) for part in (images, also)], axis=1)
        logits = np.asarray(head.predict(rows, batch_size=256, verbose=0), "float64")
        probabilities = softmax(logits, axis=1)
        unlikely[block] = probabilities[np.arange(len(logits)), labels[block]] < guess
        expected += probabilities[probabilities < guess].sum()
    return unlikely, expected / len(labels)


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
