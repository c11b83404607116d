"""The few-shot classifier on CLIP embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from keras_cmm.layers import ClassPrototypes, CrossModalMapping
from keras_cmm.layers.unit_length import unit_length
from keras_cmm.losses import CrossModalTripletLoss, SupervisedContrastiveLoss
from keras_cmm.models.checked_calls import CheckedCalls
from keras_cmm.models.checks import refuse_probabilities
from keras_cmm.models.duplicate_prototypes import find_duplicate_groups
from keras_cmm.models.head_calibration import HeadCalibration
from keras_cmm.models.head_growth import HeadGrowth
from keras_cmm.models.keras_files import SavedAsKerasFile
from keras_cmm.models.loss_parts import LossParts
from keras_cmm.models.scalar_weight import ScalarWeight
from keras_cmm.recipes import TrainingRecipe, checked_embeddings
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.unknowns import HeldOutScores
from keras_cmm_runtime.utils.check_number import check_int
from keras_cmm_runtime.utils.unit_rows import unit_rows


@keras.saving.register_keras_serializable(package="keras_cmm")
class CMMClassifier(CheckedCalls, HeadCalibration, HeadGrowth, SavedAsKerasFile, keras.Model):
    """Classifies CLIP image embeddings by text prototypes and a cross-modal mapping.

    The fused logits are `logit_scale * (clip_weight * cos(x, T0) + alpha * cos(map(x), T))`. `T0`
    are the frozen text embeddings of the classes. `T` are the class prototypes, which start at `T0`
    and are trained with the map. A new classifier from `from_text_embeddings` predicts the classes
    of zero-shot CLIP. The constructor alone leaves `T0` and `T` random, until
    `assign_text_embeddings` or saved weights set them.

    Training minimises the sum of three losses: the compiled loss (cross-entropy) on the fused
    logits, `triplet_weight` times `triplet_loss` on the mapped images, and `contrastive_weight`
    times a `SupervisedContrastiveLoss` among the mapped images of a batch. The history shows the
    total as `loss` and the three parts as `cross_entropy`, `triplet` and `contrastive`. The
    contrastive loss depends on which images share a batch, so evaluation leaves it out and shows 0.

    `AutoRecipe().fit(model, x, y)` trains better than `model.fit(x, y)` and needs no settings.

    With `also_dim`, each row is an embedding of CLIP followed by one of a second image encoder. The
    mapping takes both into the text space, and CLIP's own logits see CLIP's part alone. So a new
    classifier still predicts the classes of zero-shot CLIP. `AutoRecipe` finds from the images how
    much the second encoder counts.

    The scales, weights and temperatures below may be set at any time. They are saved with the
    model's weights.

    Args:
        num_classes: int, at least 2.
        mapping: a layer from `(batch, dim + also_dim)` to `(batch, dim)`, or `None` for
            `CrossModalMapping(also_dim=also_dim)`.
        alpha: float >= 0. Weight of the mapped images' logits in the fused logits.
        logit_scale: float > 0. CLIP's inverse temperature; 100 for OpenAI's models.
        clip_weight: float >= 0. Weight of CLIP's own logits in the fused logits.
        triplet_loss: a loss of `(y_true, similarities)`, or `None` for `CrossModalTripletLoss()`.
        triplet_weight: float >= 0. Weight of the triplet loss in the objective.
        contrastive_weight: float >= 0. Weight of the contrastive loss in training; the paper has
            none. It takes time and memory that grow with the square of the batch size.
        train_prototypes: bool. Train `T` with the map, or keep it where it starts.
        temperature: float > 0. `probabilities` divides the logits by it; training does not.
        train_temperature: float > 0. Training divides the logits by it before the compiled loss,
            evaluation does not. Above 1, samples that are fitted already still count.
        groups: `None`, or what `add_class` and `remove_class` made; see `ClassPrototypes`.
        also_dim: int >= 0. Width of the embeddings of a second encoder; 0 for none.
        **kwargs: the arguments of `keras.Model`, such as `name` and `dtype`.

    Input shape:
        `(batch, dim + also_dim)`, image embeddings, of any length.

    Output shape:
        `(batch, num_classes)`, float32 logits.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> import numpy as np
        >>> from keras_cmm import CMMClassifier
        >>> rng = np.random.default_rng(0)
        >>> text_embeddings = rng.normal(size=(3, 8)).astype("float32")
        >>> y = np.arange(12) % 3
        >>> x = text_embeddings[y] + rng.normal(size=(12, 8)).astype("float32")
        >>> model = CMMClassifier.from_text_embeddings(text_embeddings)
        >>> model.compile()
        >>> history = model.fit(x, y, epochs=2, verbose=0)
        >>> sorted(history.history)
        ['accuracy', 'contrastive', 'cross_entropy', 'loss', 'triplet']
        >>> model.predict(x, verbose=0).shape
        (12, 3)

    References:
        - [Yang et al., Cross-Modal Mapping, arXiv:2412.20110](https://arxiv.org/abs/2412.20110).
          The defaults of `alpha`, `triplet_weight` and the margin are this project's.
    """

    alpha = ScalarWeight(zero=True)
    logit_scale = ScalarWeight()
    clip_weight = ScalarWeight(zero=True)
    triplet_weight = ScalarWeight(zero=True)
    contrastive_weight = ScalarWeight(zero=True)
    temperature = ScalarWeight()
    train_temperature = ScalarWeight()

    def __init__(
        self,
        num_classes: int,
        mapping: keras.layers.Layer | None = None,
        alpha: float = 1.0,
        logit_scale: float = 100.0,
        clip_weight: float = 1.0,
        triplet_loss: keras.losses.Loss | None = None,
        triplet_weight: float = 1.0,
        contrastive_weight: float = 0.0,
        train_prototypes: bool = True,
        temperature: float = 1.0,
        train_temperature: float = 1.0,
        groups: Sequence[Sequence[int]] | None = None,
        also_dim: int = 0,
        **kwargs: Any,
    ) -> None:
        # The frozen branch and the norms want the inputs as they are, not rounded to a half
        # precision compute dtype; the mapping casts for itself.
        super().__init__(autocast=False, **kwargs)
        check_int("num_classes", num_classes, 2)
        check_int("also_dim", also_dim, 0)
        self.num_classes = int(num_classes)
        self.also_dim = int(also_dim)
        self.alpha = alpha
        self.logit_scale = logit_scale
        self.clip_weight = clip_weight
        self.triplet_weight = triplet_weight
        self.contrastive_weight = contrastive_weight
        self.train_prototypes = train_prototypes
        self.temperature = temperature
        self.train_temperature = train_temperature
        self._train_offsets = self._make_train_offsets()

        # === Layers ===
        self.mapping = mapping or CrossModalMapping(
            also_dim=self.also_dim, dtype=self.dtype_policy, name="mapping"
        )
        self.text_prototypes = ClassPrototypes(
            self.num_classes,
            normalize=False,
            groups=groups,
            trainable=False,
            dtype="float32",
            name="text_prototypes",
        )
        self.prototypes = ClassPrototypes(
            self.num_classes,
            groups=groups,
            trainable=train_prototypes,
            dtype="float32",
            name="prototypes",
        )
        self.triplet_loss = triplet_loss or CrossModalTripletLoss()
        self._finds_duplicate_groups = (
            isinstance(self.triplet_loss, CrossModalTripletLoss)
            and self.triplet_loss.duplicate_groups is None
        )
        if self._finds_duplicate_groups:
            # A copy: the groups of this classifier are not those of another with the same loss.
            self.triplet_loss = self.triplet_loss.from_config(self.triplet_loss.get_config())
        # The embeddings it is given are scaled, so that their products are logits.
        self.contrastive_loss = SupervisedContrastiveLoss(temperature=1.0)
        # Whether a `fit` or `train_on_batch` ended: a recipe then goes on from there.
        self.is_trained = False
        self._loss_parts = LossParts()

    @classmethod
    def from_text_embeddings(
        cls,
        text_embeddings: Any,
        triplet_loss: keras.losses.Loss | None = None,
        **kwargs: Any,
    ) -> CMMClassifier:
        """Builds a classifier whose prototypes start at the classes' text embeddings.

        It is the constructor followed by `assign_text_embeddings`.

        Args:
            text_embeddings: array-like of shape `(classes, dim)`; row `c` is class `c`.
            triplet_loss: as in the constructor.
            **kwargs: the other arguments of the constructor, but for `num_classes`.

        Returns:
            A built classifier.

        Raises:
            InputError: if `text_embeddings` is not of rank 2, or a row has no direction.

        Example:
            >>> from keras_cmm import CMMClassifier
            >>> CMMClassifier.from_text_embeddings([[1.0, 0.0], [0.0, 1.0]]).num_classes
            2
        """
        text_embeddings = _as_text_embeddings(text_embeddings)
        model = cls(len(text_embeddings), triplet_loss=triplet_loss, **kwargs)
        model.assign_text_embeddings(text_embeddings)
        return model

    def assign_text_embeddings(self, text_embeddings: Any) -> None:
        """Starts both sets of prototypes at the classes' text embeddings.

        Builds the model if needed. Classes that share one text embedding are never each other's
        negatives, if the triplet loss is a `CrossModalTripletLoss` without duplicate groups of its
        own. Saved files hold these groups, `get_weights` does not. The mapping stays as it is.

        Args:
            text_embeddings: array-like of shape `(num_classes, dim)`; row `c` is class `c`.

        Raises:
            InputError: if `text_embeddings` does not have that shape, or a row has no direction.

        Example:
            >>> from keras_cmm import CMMClassifier
            >>> model = CMMClassifier(num_classes=3)
            >>> model.assign_text_embeddings([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
            >>> model.triplet_loss.duplicate_groups
            [[0, 2]]
        """
        text_embeddings = _as_text_embeddings(text_embeddings)
        dim = text_embeddings.shape[1]
        if self.built:
            dim = self.text_prototypes.embeddings.shape[1]
        if text_embeddings.shape != (self.num_classes, dim):
            raise InputError(
                f"`text_embeddings` must have shape ({self.num_classes}, {dim}): one row a class, "
                "as wide as the image embeddings. "
                f"Received: an array of shape {text_embeddings.shape}"
            )
        if not self.built:
            self.build((None, dim + self.also_dim))
        self.is_trained = False
        self.held_out_scores = self.mapped_centre = None
        self.text_prototypes.embeddings.assign(unit_rows(text_embeddings))
        self.prototypes.embeddings.assign(text_embeddings)
        self._find_duplicate_groups(text_embeddings)

    @property
    def trainable(self) -> bool:
        """Whether map and prototypes are trained; the text embeddings never are."""
        return bool(keras.Model.trainable.fget(self))

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.Model.trainable.fset(self, value)
        if hasattr(self, "text_prototypes"):
            self.text_prototypes.trainable = False
            self.prototypes.trainable = value and self.train_prototypes

    @property
    def text_embeddings(self) -> npt.NDArray[np.float32]:
        """The frozen text embeddings of the classes, `(num_classes, dim)`, of unit length."""
        return np.array(ops.convert_to_numpy(self.text_prototypes.embeddings))

    @property
    def train_offsets(self) -> npt.NDArray[np.float32]:
        """What training adds to the logits, `(num_classes,)`; zeros if never set.

        Training divides the logits by `train_temperature` first. Evaluation adds nothing. Higher
        values for classes with more images keep training from favouring them, see
        `keras_cmm.recipes.logit_adjustment`.
        """
        return np.array(ops.convert_to_numpy(self._train_offsets))

    @train_offsets.setter
    def train_offsets(self, offsets: Any) -> None:
        offsets = np.asarray(ops.convert_to_numpy(offsets), dtype="float32")
        if offsets.shape != (self.num_classes,) or not np.isfinite(offsets).all():
            raise ValueError(
                f"`train_offsets` must be {self.num_classes} finite numbers, one a class. "
                f"Received: train_offsets={offsets.tolist()}"
            )
        self._train_offsets.assign(offsets)

    def _make_train_offsets(self) -> Any:
        return self.add_weight(
            shape=(self.num_classes,),
            initializer="zeros",
            name="train_offsets",
            trainable=False,
            dtype="float32",
            autocast=False,
        )

    def _find_duplicate_groups(self, text_embeddings: npt.NDArray[np.float32]) -> None:
        if self._finds_duplicate_groups:
            self._set_duplicate_groups(find_duplicate_groups(text_embeddings))

    def _set_duplicate_groups(self, groups: list[list[int]]) -> None:
        if groups == (self.triplet_loss.duplicate_groups or []):
            return
        self.triplet_loss.duplicate_groups = groups or None
        # Traced steps hold the old groups. Set to None, they would leave a running `fit`, whose
        # callback loads weights, with nothing to call.
        if self.train_function is not None:
            self.make_train_function(force=True)
        if self.test_function is not None:
            self.make_test_function(force=True)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights for inputs of `input_shape`, `(batch, dim + also_dim)`."""
        mapped_shape = self.mapping.compute_output_shape(input_shape)
        width = input_shape[-1]
        clip_shape = (*input_shape[:-1], None if width is None else width - self.also_dim)
        if mapped_shape[-1] != clip_shape[-1]:
            raise ValueError(
                "`mapping` must keep the width of its input, less `also_dim`, because the mapped "
                "images are compared with prototypes that start at the text embeddings. "
                f"Received: a mapping from {tuple(input_shape)} to {tuple(mapped_shape)}"
            )
        for layer, shape in (
            (self.mapping, input_shape),
            (self.text_prototypes, clip_shape),
            (self.prototypes, mapped_shape),
        ):
            if not layer.built:
                layer.build(shape)
        self.built = True

    def compile(
        self,
        optimizer: Any = "auto",
        loss: Any = "auto",
        *,
        metrics: Any = "auto",
        **kwargs: Any,
    ) -> None:
        """Configures training, with defaults for what is left out.

        Args:
            optimizer: a Keras optimizer, or `"auto"` for AdamW with learning rate 1e-3 and weight
                decay 0.01.
            loss: a loss of `(y_true, logits)`, or `"auto"` for cross-entropy with class ids. Give
                `keras.losses.CategoricalCrossentropy(from_logits=True)` for one-hot labels. A
                name, such as `"categorical_crossentropy"`, means a loss of probabilities.
            metrics: a list of metrics, or `"auto"` for accuracy (top-1).
            **kwargs: the other arguments of `keras.Model.compile`.

        Raises:
            ValueError: if the loss or a metric is a cross-entropy of probabilities.
        """
        if isinstance(optimizer, str) and optimizer == "auto":
            recipe = TrainingRecipe()
            optimizer = keras.optimizers.AdamW(
                recipe.learning_rate, weight_decay=recipe.weight_decay
            )
        if isinstance(loss, str) and loss == "auto":
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        refuse_probabilities("loss", loss)
        refuse_probabilities("metrics", metrics)
        refuse_probabilities("weighted_metrics", kwargs.get("weighted_metrics"))
        if isinstance(metrics, str) and metrics == "auto":
            metrics = ["accuracy"]
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as `get_compile_config` says, when a saved model is loaded."""
        # Keras itself does this only where `compile` is not overridden.
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def similarities(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the cosines of the mapped images to the prototypes.

        Args:
            inputs: image embeddings of shape `(batch, dim)`.
            training: bool or `None`. Passed on to the mapping.

        Returns:
            Tensor of shape `(batch, num_classes)`.
        """
        return self.prototypes(self.mapping(inputs, training=training))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the fused logits, `(batch, num_classes)`, of image embeddings."""
        mapped = self.mapping(inputs, training=training)
        similarities = self.prototypes(mapped)
        clip_part = inputs[..., : -self.also_dim] if self.also_dim else inputs
        clip_logits = self._clip_weight * self.text_prototypes(clip_part)
        logits = self._logit_scale * (clip_logits + self._alpha * similarities)
        if training:
            # For `compute_loss`: a second call would draw a random mapping (dropout) anew, and
            # update one that has a state twice. Not by `self._x = ...`, which Keras would track.
            self.__dict__["_last_training_call"] = (logits, mapped, similarities)
        return logits

    def probabilities(self, logits: Any) -> Any:
        """Returns the probabilities of the classes, `softmax(logits / temperature)`.

        Args:
            logits: `(batch, num_classes)`, as the model predicts them.

        Returns:
            Tensor of the same shape; each row sums to 1.
        """
        return ops.softmax(ops.cast(logits, "float32") / self._temperature, axis=-1)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Returns the compiled loss plus the weighted triplet and contrastive losses."""
        logits = y_pred / self._train_temperature + self._train_offsets if training else y_pred
        # Keras computes a loss in its `floatx`; the other parts are float32.
        loss = ops.cast(super().compute_loss(x, y, logits, sample_weight, training), "float32")
        last_logits, mapped, similarities = self.__dict__.pop(
            "_last_training_call", (None, None, None)
        )
        if last_logits is not y_pred:
            mapped = self.mapping(x, training=training)
            similarities = self.prototypes(mapped)
        triplet = self.triplet_loss(y, similarities, sample_weight=sample_weight)

        def contrastive_loss() -> Any:
            scale = self._alpha * self._logit_scale / self._train_temperature
            embeddings = ops.sqrt(scale) * unit_length(mapped)
            return self.contrastive_loss(y, embeddings, sample_weight=sample_weight)

        contrastive = zero = ops.zeros((), "float32")
        if training:
            contrastive = ops.cond(self._contrastive_weight > 0, contrastive_loss, lambda: zero)
        penalty = sum(ops.cast(each, "float32") for each in self.losses)
        parts = (loss - penalty, triplet, contrastive)
        self._loss_parts.update_state(parts, ops.shape(y_pred)[0])
        return loss + self._triplet_weight * triplet + self._contrastive_weight * contrastive

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns `(batch, num_classes)` for an input of shape `(batch, dim)`."""
        return (*input_shape[:-1], self.num_classes)

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> keras.KerasTensor:
        """Returns shape and dtype of the logits: float32, whatever the dtype policy."""
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments; the prototypes are saved as weights."""
        triplet_loss = self.triplet_loss
        if self._finds_duplicate_groups:
            # They belong to the texts, and are saved with them.
            loss_config = {**triplet_loss.get_config(), "duplicate_groups": None}
            triplet_loss = triplet_loss.from_config(loss_config)
        names = [key for key, each in vars(CMMClassifier).items() if isinstance(each, ScalarWeight)]
        config = super().get_config()
        config.update(
            {
                "num_classes": self.num_classes,
                "mapping": keras.saving.serialize_keras_object(self.mapping),
                "triplet_loss": keras.saving.serialize_keras_object(triplet_loss),
                # The layer may have been frozen by itself, or with the model for a while.
                "train_prototypes": (
                    self.prototypes.trainable if self.trainable else self.train_prototypes
                ),
                "groups": self.prototypes.get_config()["groups"],
                "also_dim": self.also_dim,
                **{name: getattr(self, name) for name in names},
            }
        )
        return config

    def copy_untrained(self) -> CMMClassifier:
        """Returns a new classifier of the same settings and texts, which knows no image."""
        copy = type(self).from_config(self.get_config())
        copy.assign_text_embeddings(self.text_embeddings)
        return copy

    def save_own_variables(self, store: Any) -> None:
        """Saves, beside the weights, which classes share one text, and what training left."""
        super().save_own_variables(store)
        store["is_trained"] = np.asarray(self.is_trained)
        if (scores := self.held_out_scores) is not None:
            store["held_out_scores"] = np.stack([scores.best, scores.own])
        if self.mapped_centre is not None:
            store["mapped_centre"] = self.mapped_centre
        if self._finds_duplicate_groups:
            group_of = np.arange(self.num_classes)
            for group in self.triplet_loss.duplicate_groups or []:
                group_of[group] = group[0]
            store["duplicate_group_of_class"] = group_of

    def load_own_variables(self, store: Any) -> None:
        """Restores what `save_own_variables` saved."""
        weights = {name: store[name] for name in store.keys()}  # noqa: SIM118, a store of Keras
        self.is_trained = bool(np.asarray(weights.pop("is_trained")))
        # Files of earlier versions have neither.
        scores = weights.pop("held_out_scores", None)
        self.held_out_scores = None if scores is None else HeldOutScores(*np.asarray(scores))
        centre = weights.pop("mapped_centre", None)
        self.mapped_centre = None if centre is None else np.asarray(centre)
        group_of = weights.pop("duplicate_group_of_class", None)
        if self._finds_duplicate_groups and group_of is not None:
            group_of = np.asarray(group_of)
            repeated = np.flatnonzero(np.bincount(group_of) > 1)
            groups = [np.flatnonzero(group_of == group).tolist() for group in repeated]
            self._set_duplicate_groups(groups)
        super().load_own_variables(weights)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> CMMClassifier:
        """Builds a classifier from what `get_config` returned."""
        config = dict(config)
        for name in ("mapping", "triplet_loss"):
            config[name] = keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects
            )
        return cls(**config)


def _as_text_embeddings(text_embeddings: Any) -> npt.NDArray[np.float32]:
    embeddings = checked_embeddings(text_embeddings, "text_embeddings", None)
    return embeddings.astype("float32", copy=False)
