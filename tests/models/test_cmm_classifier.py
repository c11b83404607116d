"""The classifier against its formulas, written out in numpy."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_cmm.layers import CrossModalMapping
from keras_cmm.losses import CrossModalTripletLoss
from keras_cmm.models import CMMClassifier

pytestmark = pytest.mark.backend_neutral

CLASSES, DIM, ROWS = 4, 6, 24
RNG = np.random.default_rng(0)
TEXTS = RNG.normal(size=(CLASSES, DIM)).astype("float32")
LABELS = np.arange(ROWS, dtype="int32") % CLASSES
IMAGES = (TEXTS[LABELS] + RNG.normal(size=(ROWS, DIM))).astype("float32")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def trained_weights(model, seed=1):
    """Move the weights away from where they start, so that every one shows."""
    rng = np.random.default_rng(seed)
    model.mapping.kernel.assign(0.3 * rng.normal(size=(DIM, DIM)))
    model.prototypes.embeddings.assign(TEXTS + 0.3 * rng.normal(size=(CLASSES, DIM)))


def make_model(trained=True, **options):
    model = CMMClassifier.from_text_embeddings(TEXTS, **options)
    if trained:
        trained_weights(model)
    return model


def naive_similarities(model, images=IMAGES):
    kernel = ops.convert_to_numpy(model.mapping.trainable_weights[0])
    mapped = unit(images + images @ kernel)
    return mapped @ unit(ops.convert_to_numpy(model.prototypes.embeddings)).T


def naive_logits(model, images=IMAGES):
    frozen = unit(images) @ unit(TEXTS).T
    mapped = model.alpha * naive_similarities(model, images)
    return model.logit_scale * (model.clip_weight * frozen + mapped)


def naive_cross_entropies(logits, labels=LABELS):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return -log_probabilities[np.arange(len(labels)), labels]


def naive_triplets(similarities, labels=LABELS, margin=0.1):
    own = similarities[np.arange(len(labels)), labels]
    others = np.where(np.eye(CLASSES, dtype=bool)[labels], -np.inf, similarities)
    return np.maximum(0, margin - own + others.max(axis=-1))


def naive_contrastives(mapped, scale, labels=LABELS):
    logits = scale * mapped @ mapped.T
    np.fill_diagonal(logits, -np.inf)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    same = (labels[:, None] == labels) & ~np.eye(len(labels), dtype=bool)
    return -np.where(same, log_probabilities, 0).sum(axis=-1) / np.maximum(same.sum(axis=-1), 1)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("logit_scale", [1.0, 100.0])
def test_fused_logits(alpha, logit_scale):
    model = make_model(alpha=alpha, logit_scale=logit_scale)
    logits = model.predict(IMAGES, verbose=0)
    assert logits.dtype == np.float32
    assert logits.shape == model.compute_output_shape(IMAGES.shape) == (ROWS, CLASSES)
    np.testing.assert_allclose(logits, naive_logits(model), rtol=1e-4, atol=1e-4 * logit_scale)


def test_a_new_classifier_predicts_as_zero_shot_clip_does():
    logits = make_model(trained=False, alpha=0.5).predict(IMAGES, verbose=0)
    np.testing.assert_allclose(logits, 150 * unit(IMAGES) @ unit(TEXTS).T, rtol=1e-4, atol=1e-3)


def test_similarities():
    model = make_model()
    np.testing.assert_allclose(
        ops.convert_to_numpy(model.similarities(IMAGES)), naive_similarities(model), atol=1e-5
    )


@pytest.mark.parametrize("policy", ["bfloat16", "float16", "mixed_bfloat16", "mixed_float16"])
def test_half_precision(policy):
    model = make_model(dtype=policy)
    assert model.mapping.compute_dtype == policy.removeprefix("mixed_")
    logits = model.predict(IMAGES, verbose=0)
    assert logits.dtype == np.float32
    # Half of the logits come from the frozen branch, which is float32 whatever the policy.
    np.testing.assert_allclose(logits, naive_logits(model), atol=1.5)
    assert model(keras.Input((DIM,))).dtype == "float32"
    zero_shot = make_model(dtype=policy, alpha=0.0).predict(IMAGES, verbose=0)
    np.testing.assert_allclose(zero_shot, 100 * unit(IMAGES) @ unit(TEXTS).T, atol=1e-3)
    model.compile()
    history = model.fit(IMAGES, LABELS, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_texts_stay_frozen_when_the_model_is_unfrozen():
    model = make_model()
    assert model.trainable
    model.trainable = False
    assert not model.trainable
    assert model.trainable_variables == []
    model.trainable = True
    assert len(model.trainable_variables) == 2
    model.compile(optimizer=keras.optimizers.Adam(0.01))
    model.fit(IMAGES, LABELS, epochs=2, verbose=0)
    np.testing.assert_allclose(model.text_embeddings, unit(TEXTS), atol=1e-6)


@pytest.mark.parametrize("train_prototypes", [True, False])
def test_prototypes_are_what_they_were_when_the_model_is_unfrozen(train_prototypes):
    model = make_model(train_prototypes=train_prototypes)
    for trainable in (False, True):
        model.trainable = trainable
        assert model.get_config()["train_prototypes"] == train_prototypes
    assert model.prototypes.trainable == train_prototypes
    assert len(model.trainable_variables) == 1 + train_prototypes


def evaluate(model, y=LABELS, **arguments):
    # One batch of 16 and one of 8: means must weigh them by their sizes.
    return model.evaluate(IMAGES, y, batch_size=16, return_dict=True, verbose=0, **arguments)


@pytest.mark.parametrize("triplet_weight", [0.0, 1.0, 5.0])
def test_the_objective_and_its_parts(triplet_weight):
    model = make_model(
        logit_scale=5.0,
        triplet_weight=triplet_weight,
        contrastive_weight=0.5,
        triplet_loss=CrossModalTripletLoss(margin=0.4),
    )
    model.compile()
    cross_entropy = naive_cross_entropies(naive_logits(model)).mean()
    triplet = naive_triplets(naive_similarities(model), margin=0.4).mean()
    results = evaluate(model)
    assert set(results) == {"loss", "cross_entropy", "triplet", "contrastive", "accuracy"}
    assert results["cross_entropy"] == pytest.approx(cross_entropy, rel=1e-4)
    assert results["triplet"] == pytest.approx(triplet, rel=1e-4)
    # It tells images of a batch apart, and a batch of evaluation is anything.
    assert results["contrastive"] == 0.0
    assert results["loss"] == pytest.approx(cross_entropy + triplet_weight * triplet, rel=1e-4)
    hits = naive_logits(model).argmax(axis=-1) == LABELS
    assert results["accuracy"] == pytest.approx(hits.mean())


@pytest.mark.parametrize("weight", [0.0, 0.5])
@pytest.mark.parametrize("alpha", [0.0, 2.0])
def test_the_contrastive_part_of_training(weight, alpha):
    model = make_model(alpha=alpha, logit_scale=5.0, train_temperature=2.0)
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    model.fit(IMAGES, LABELS, verbose=0)
    model.contrastive_weight = weight  # It counts from now on, in steps that are traced already.
    history = model.fit(IMAGES, LABELS, batch_size=16, shuffle=False, verbose=0).history
    results = {name: values[-1] for name, values in history.items()}
    mapped = unit(ops.convert_to_numpy(model.mapping(IMAGES)))
    contrastives = [  # Each image is told from those of its batch.
        naive_contrastives(mapped[rows], 5.0 * alpha / 2.0, LABELS[rows])
        for rows in (np.s_[:16], np.s_[16:])
    ]
    expected = np.concatenate(contrastives).mean() if weight else 0.0
    assert results["contrastive"] == pytest.approx(expected, rel=1e-4)
    total = results["cross_entropy"] + results["triplet"] + weight * expected
    assert results["loss"] == pytest.approx(total, rel=1e-4)


def test_sample_weights_weigh_every_part():
    model = make_model(logit_scale=5.0, contrastive_weight=1.0)
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    weights = np.linspace(0, 2, ROWS).astype("float32")
    history = model.fit(IMAGES, LABELS, ROWS, sample_weight=weights, verbose=0).history
    results = {name: values[-1] for name, values in history.items()}
    cross_entropies = naive_cross_entropies(naive_logits(model))
    triplets = naive_triplets(naive_similarities(model))
    assert results["cross_entropy"] == pytest.approx((weights * cross_entropies).mean(), rel=1e-4)
    assert results["triplet"] == pytest.approx((weights * triplets).mean(), rel=1e-4)
    mapped = unit(ops.convert_to_numpy(model.mapping(IMAGES)))
    contrastives = naive_contrastives(mapped, 5.0)
    assert results["contrastive"] == pytest.approx((weights * contrastives).mean(), rel=1e-4)


def test_class_weights_equal_sample_weights():
    class_weight = {0: 0.0, 1: 1.0, 2: 3.0, 3: 0.5}
    sample_weight = np.array([class_weight[label] for label in LABELS])
    kernels = []
    for weights in ({"class_weight": class_weight}, {"sample_weight": sample_weight}):
        model = make_model()
        model.compile()
        model.fit(IMAGES, LABELS, batch_size=8, epochs=2, shuffle=False, verbose=0, **weights)
        kernels.append(ops.convert_to_numpy(model.mapping.kernel))
    np.testing.assert_allclose(kernels[0], kernels[1], atol=1e-6)


def test_one_hot_labels():
    model = make_model()
    model.compile()
    by_ids = evaluate(model)
    model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    assert evaluate(model, np.eye(CLASSES)[LABELS]) == pytest.approx(by_ids, rel=1e-4)


@pytest.mark.parametrize("floatx", ["float16", "bfloat16"])
def test_training_where_keras_computes_in_another_precision(floatx):
    default = keras.config.floatx()
    keras.config.set_floatx(floatx)
    try:
        model = make_model(trained=False)
        model.compile()
        history = model.fit(IMAGES, LABELS, verbose=0).history
        assert model.predict(IMAGES, verbose=0).dtype == "float32"
    finally:
        keras.config.set_floatx(default)
    assert all(np.isfinite(float(value)) for (value,) in history.values())


def test_labels_in_a_column():
    column, flat = make_model(), make_model()
    column.compile()
    flat.compile()
    assert evaluate(column, LABELS[:, None]) == pytest.approx(evaluate(flat), rel=1e-5)


def test_a_penalty_counts_in_the_loss_and_not_in_its_parts():
    regularizer = keras.regularizers.L2(0.1)
    model = make_model(mapping=CrossModalMapping(kernel_regularizer=regularizer, name="mapping"))
    model.compile()
    plain = make_model()
    plain.compile()
    penalty = 0.1 * float((ops.convert_to_numpy(model.mapping.kernel) ** 2).sum())
    results, expected = evaluate(model), evaluate(plain)
    assert results["loss"] == pytest.approx(expected["loss"] + penalty, rel=1e-4)
    assert results["cross_entropy"] == pytest.approx(expected["cross_entropy"], rel=1e-4)
    assert results["triplet"] == pytest.approx(expected["triplet"], rel=1e-4)


def gradient(function, number, *arguments, delta=1e-6):
    """Return the gradient by argument `number`, by central differences."""
    result = np.zeros_like(arguments[number])
    for index in np.ndindex(result.shape):
        sides = []
        for sign in (1, -1):
            moved = [argument.copy() for argument in arguments]
            moved[number][index] += sign * delta
            sides.append(function(*moved))
        result[index] = (sides[0] - sides[1]) / (2 * delta)
    return result


def naive_descent(
    steps,
    learning_rate,
    triplet_weight=1.0,
    train_prototypes=True,
    train_temperature=1.0,
    train_offsets=0.0,
    contrastive_weight=0.0,
):
    """Return kernel and prototypes after full-batch gradient descent."""
    kernel = np.zeros((DIM, DIM))
    prototypes = TEXTS.astype("float64")
    images = IMAGES.astype("float64")

    def objective(kernel, prototypes):
        mapped = unit(images + images @ kernel)
        similarities = mapped @ unit(prototypes).T
        logits = 5.0 * (unit(images) @ unit(TEXTS.astype("float64")).T + similarities)
        triplet = naive_triplets(similarities, margin=0.4).mean()
        softened = logits / train_temperature + train_offsets
        contrastive = naive_contrastives(mapped, 5.0 / train_temperature).mean()
        parts = naive_cross_entropies(softened).mean() + triplet_weight * triplet
        return parts + contrastive_weight * contrastive

    for _ in range(steps):
        kernel_step = gradient(objective, 0, kernel, prototypes)
        prototypes_step = gradient(objective, 1, kernel, prototypes)
        kernel = kernel - learning_rate * kernel_step
        if train_prototypes:
            prototypes = prototypes - learning_rate * prototypes_step
    return kernel, prototypes


@pytest.mark.parametrize("triplet_weight", [0.0, 2.0])
@pytest.mark.parametrize("train_prototypes", [True, False])
def test_fit_descends_the_objective(triplet_weight, train_prototypes):
    model = make_model(
        trained=False,
        logit_scale=5.0,
        triplet_loss=CrossModalTripletLoss(margin=0.4),
        triplet_weight=triplet_weight,
        train_prototypes=train_prototypes,
    )
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    model.fit(IMAGES, LABELS, batch_size=ROWS, epochs=3, shuffle=False, verbose=0)
    kernel, prototypes = naive_descent(3, 0.1, triplet_weight, train_prototypes)
    np.testing.assert_allclose(ops.convert_to_numpy(model.mapping.kernel), kernel, atol=1e-4)
    np.testing.assert_allclose(
        ops.convert_to_numpy(model.prototypes.embeddings), prototypes, atol=1e-4
    )
    frozen = ops.convert_to_numpy(model.text_prototypes.embeddings)
    np.testing.assert_allclose(frozen, unit(TEXTS), rtol=1e-6)


def test_training_softens_and_offsets_the_logits_and_evaluation_does_not():
    model = make_model(
        trained=False,
        logit_scale=5.0,
        triplet_loss=CrossModalTripletLoss(margin=0.4),
        contrastive_weight=0.5,
        train_temperature=2.0,
    )
    offsets = np.linspace(-1.0, 2.0, CLASSES)
    model.train_offsets = offsets
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    model.fit(IMAGES, LABELS, batch_size=ROWS, epochs=3, shuffle=False, verbose=0)
    kernel, prototypes = naive_descent(
        3, 0.1, train_temperature=2.0, train_offsets=offsets, contrastive_weight=0.5
    )
    np.testing.assert_allclose(ops.convert_to_numpy(model.mapping.kernel), kernel, atol=1e-4)
    np.testing.assert_allclose(
        ops.convert_to_numpy(model.prototypes.embeddings), prototypes, atol=1e-4
    )
    logits = model.predict(IMAGES, verbose=0).astype("float64")
    expected = naive_cross_entropies(logits).mean()
    assert evaluate(model)["cross_entropy"] == pytest.approx(expected, rel=1e-4)


def test_history():
    model = make_model(trained=False)
    model.compile()
    history = model.fit(
        IMAGES, LABELS, epochs=3, batch_size=8, validation_data=(IMAGES, LABELS), verbose=0
    ).history
    names = {"loss", "cross_entropy", "triplet", "contrastive", "accuracy"}
    assert set(history) == names | {f"val_{name}" for name in names}
    np.testing.assert_allclose(
        history["loss"], np.add(history["cross_entropy"], history["triplet"]), rtol=1e-4
    )
    assert history["val_loss"][-1] < history["val_loss"][0]


def test_compile_defaults():
    model = make_model()
    model.compile()
    assert isinstance(model.optimizer, keras.optimizers.AdamW)
    assert float(ops.convert_to_numpy(model.optimizer.learning_rate)) == pytest.approx(1e-3)
    assert model.optimizer.weight_decay == 0.01
    assert isinstance(model.loss, keras.losses.SparseCategoricalCrossentropy)


def test_compile_takes_what_keras_takes():
    model = make_model()
    model.compile("sgd", metrics=[keras.metrics.SparseTopKCategoricalAccuracy(2, name="top_2")])
    assert isinstance(model.optimizer, keras.optimizers.SGD)
    assert set(evaluate(model)) == {"loss", "cross_entropy", "triplet", "contrastive", "top_2"}
    model = make_model()
    model.compile(metrics=None)
    assert set(evaluate(model)) == {"loss", "cross_entropy", "triplet", "contrastive"}


def test_callbacks_see_the_parts():
    model = make_model(trained=False)
    model.compile()
    stop = keras.callbacks.EarlyStopping(monitor="triplet", min_delta=1e9, patience=2, mode="min")
    history = model.fit(IMAGES, LABELS, epochs=10, callbacks=[stop], verbose=0).history
    assert len(history["triplet"]) == 3


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"alpha": 0.5, "logit_scale": 20.0, "triplet_weight": 2.0, "train_prototypes": False},
        {"temperature": 1.5, "train_temperature": 2.0, "contrastive_weight": 0.5},
        {"triplet_loss": CrossModalTripletLoss(0.3, duplicate_groups=[[0, 2]]), "name": "head"},
        {"mapping": CrossModalMapping(rank=2), "dtype": "mixed_bfloat16"},
    ],
    ids=["defaults", "numbers", "temperatures", "triplet_loss", "mapping"],
)
def test_serialization(options):
    model = CMMClassifier(CLASSES, **options)
    config = keras.saving.serialize_keras_object(model)
    restored = keras.saving.deserialize_keras_object(config)
    assert restored.get_config() == model.get_config()
    assert restored.mapping.rank == (2 if "mapping" in options else None)
    for name in set(options) - {"mapping", "triplet_loss", "dtype"}:
        assert getattr(restored, name) == options[name]


@pytest.mark.parametrize("offsets", [np.zeros(CLASSES + 1), [np.nan] * CLASSES, 1.0])
def test_refused_offsets(offsets):
    with pytest.raises(ValueError, match=f"must be {CLASSES} finite numbers, one a class"):
        make_model().train_offsets = offsets


@pytest.mark.parametrize("rank", [None, 2])
def test_save_and_load(tmp_path, rank):
    model = CMMClassifier.from_text_embeddings(TEXTS, mapping=CrossModalMapping(rank=rank))
    model.train_offsets = np.linspace(-1.0, 2.0, CLASSES)
    model.compile()
    model.fit(IMAGES, LABELS, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        restored.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0)
    )
    # The optimizer and the offsets are restored too: both go on alike.
    np.testing.assert_array_equal(restored.train_offsets, model.train_offsets)
    for either in (model, restored):
        either.fit(IMAGES, LABELS, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_allclose(
        restored.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0), rtol=1e-5, atol=1e-4
    )
    assert evaluate(restored) == pytest.approx(evaluate(model), rel=1e-4)


def test_save_and_load_without_compile(tmp_path):
    model = make_model()
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        restored.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0)
    )


def test_weights_of_their_own_file(tmp_path):
    model = make_model()
    model.save_weights(tmp_path / "head.weights.h5")
    restored = CMMClassifier(CLASSES)
    restored.build((None, DIM))
    restored.load_weights(tmp_path / "head.weights.h5")
    np.testing.assert_array_equal(
        restored.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0)
    )


class MeanOutput(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return ops.mean(y_pred, axis=-1)


def test_a_mapping_with_dropout_drops_in_training_alone():
    mapping = keras.Sequential([CrossModalMapping(), keras.layers.Dropout(0.5)])
    loss = MeanOutput()
    model = CMMClassifier.from_text_embeddings(TEXTS, mapping=mapping, triplet_loss=loss)
    # A rate of 0, so that only dropout makes a difference.
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss=loss)
    trained = model.fit(IMAGES, LABELS, batch_size=ROWS, verbose=0).history
    evaluated = model.evaluate(IMAGES, LABELS, batch_size=ROWS, return_dict=True, verbose=0)
    assert evaluated["cross_entropy"] == pytest.approx(naive_logits(model).mean(), rel=1e-3)
    assert evaluated["triplet"] == pytest.approx(naive_similarities(model).mean(), rel=1e-3)
    for name in ("cross_entropy", "triplet"):
        assert abs(trained[name][0] - evaluated[name]) > 1e-3 * abs(evaluated[name])


def test_duplicate_texts_are_found():
    texts = TEXTS[[0, 1, 0, 3]]
    model = CMMClassifier.from_text_embeddings(texts)
    assert model.triplet_loss.duplicate_groups == [[0, 2]]
    model = CMMClassifier.from_text_embeddings(texts, triplet_loss=CrossModalTripletLoss(0.3))
    assert model.triplet_loss.duplicate_groups == [[0, 2]]
    assert model.triplet_loss.margin == 0.3
    # They are the texts': a classifier of the same settings finds its own.
    again = CMMClassifier.from_config(model.get_config())
    assert again.triplet_loss.duplicate_groups is None
    again.assign_text_embeddings(TEXTS[[1, 1, 2, 3]])
    assert again.triplet_loss.duplicate_groups == [[0, 1]]
    again.assign_text_embeddings(TEXTS)
    assert again.triplet_loss.duplicate_groups is None


def test_duplicate_texts_are_saved_with_the_weights(tmp_path):
    repeated = CMMClassifier.from_text_embeddings(TEXTS[[0, 1, 0, 3]])
    repeated.compile(metrics=None)
    expected = repeated.evaluate(IMAGES, LABELS, verbose=0, return_dict=True)
    repeated.save_weights(tmp_path / "repeated.weights.h5")
    model = CMMClassifier.from_text_embeddings(TEXTS)
    model.compile(metrics=None)
    model.evaluate(IMAGES, LABELS, verbose=0)  # Traces a step without groups.
    model.save_weights(tmp_path / "different.weights.h5")
    model.load_weights(tmp_path / "repeated.weights.h5")
    assert model.triplet_loss.duplicate_groups == [[0, 2]]
    got = model.evaluate(IMAGES, LABELS, verbose=0, return_dict=True)
    assert got["triplet"] == pytest.approx(expected["triplet"], rel=1e-5)
    repeated.load_weights(tmp_path / "different.weights.h5")
    assert repeated.triplet_loss.duplicate_groups is None


def test_metrics_of_probabilities_are_refused():
    model = CMMClassifier.from_text_embeddings(TEXTS)
    for argument in ("metrics", "weighted_metrics"):
        with pytest.raises(ValueError, match=f"`{argument}` must be of logits"):
            model.compile(**{argument: [keras.metrics.SparseCategoricalCrossentropy()]})


def test_a_callback_may_load_weights(tmp_path):
    """Keras's BackupAndRestore does, and continues after the epochs that were finished."""

    def fit(epochs, *callbacks):
        model = CMMClassifier.from_text_embeddings(TEXTS[[0, 1, 0, 3]], alpha=0.5)
        model.compile(metrics=None)
        backup = keras.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
        return model, model.fit(
            IMAGES, LABELS, epochs=epochs, callbacks=[backup, *callbacks], verbose=0
        )

    class AnotherAlpha(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.model.alpha = 0.25

    fit(2, AnotherAlpha())
    model, history = fit(4)
    assert history.epoch == [2, 3]
    assert model.alpha == 0.25
    assert model.triplet_loss.duplicate_groups == [[0, 2]]


@pytest.mark.parametrize("name", ["alpha", "logit_scale", "clip_weight"])
def test_numbers_that_are_set_count_at_once(name):
    model = make_model()
    before = model.predict(IMAGES, verbose=0)
    setattr(model, name, 0.1)
    assert getattr(model, name) == 0.1
    after = model.predict(IMAGES, verbose=0)
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, naive_logits(model), rtol=1e-4, atol=1e-4)


def test_numbers_go_with_the_weights():
    model = CMMClassifier.from_text_embeddings(TEXTS, alpha=0.3, temperature=2.0)
    again = CMMClassifier.from_text_embeddings(TEXTS)
    again.set_weights(model.get_weights())
    assert (again.alpha, again.temperature) == (0.3, 2.0)
    np.testing.assert_array_equal(
        again.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0)
    )
    with pytest.raises(ValueError, match=r"`alpha` must be a float >= 0. Received: alpha=-1"):
        again.alpha = -1
    with pytest.raises(ValueError, match=r"`alpha` must be a float >= 0. Received: alpha='1'"):
        CMMClassifier(4, alpha="1")


def test_frozen_prototypes_stay_frozen():
    model = CMMClassifier.from_text_embeddings(TEXTS)
    model.prototypes.trainable = False
    again = CMMClassifier.from_config(model.get_config())
    again.assign_text_embeddings(TEXTS)
    assert len(again.trainable_weights) == len(model.trainable_weights) == 1


def test_a_step_updates_the_state_of_a_mapping_once():
    normalization = keras.layers.BatchNormalization(momentum=0.5)
    model = CMMClassifier.from_text_embeddings(
        TEXTS, mapping=keras.Sequential([normalization, CrossModalMapping()])
    )
    model.compile(optimizer=keras.optimizers.SGD(0.0), metrics=None)
    model.fit(IMAGES, LABELS, batch_size=ROWS, verbose=0)
    np.testing.assert_allclose(
        ops.convert_to_numpy(normalization.moving_mean), 0.5 * IMAGES.mean(axis=0), atol=1e-5
    )


def test_clip_weight():
    model = CMMClassifier.from_text_embeddings(TEXTS, alpha=0.0, clip_weight=0.25)
    whole = CMMClassifier.from_text_embeddings(TEXTS, alpha=0.0)
    np.testing.assert_allclose(
        model.predict(TEXTS, verbose=0), 0.25 * whole.predict(TEXTS, verbose=0), rtol=1e-5
    )
    with pytest.raises(ValueError, match=r"`clip_weight` must be a float >= 0. Received: .*-1"):
        CMMClassifier(4, clip_weight=-1)


def test_weights_of_a_subclass_are_loaded_too(tmp_path):
    class WithBias(CMMClassifier):
        def build(self, input_shape):
            super().build(input_shape)
            self.bias = self.add_weight(shape=(self.num_classes,), initializer="zeros")

    model, again = (WithBias.from_text_embeddings(TEXTS) for _ in range(2))
    model.bias.assign(np.arange(4.0))
    model.save_weights(tmp_path / "model.weights.h5")
    again.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(again.bias), np.arange(4.0))


def test_weights_hold_what_fitting_sets(tmp_path):
    numbers = {"alpha": 2.5, "logit_scale": 30.0, "clip_weight": 0.5, "temperature": 1.7}
    model = CMMClassifier.from_text_embeddings(TEXTS, **numbers)
    model.save_weights(tmp_path / "model.weights.h5")
    again = CMMClassifier.from_text_embeddings(TEXTS[::-1])
    again.predict(TEXTS, verbose=0)
    again.load_weights(tmp_path / "model.weights.h5")
    assert {name: getattr(again, name) for name in numbers} == numbers
    np.testing.assert_allclose(
        again.predict(TEXTS, verbose=0), model.predict(TEXTS, verbose=0), rtol=1e-5
    )


@pytest.mark.parametrize("groups", [[], [[1, 3]]])
def test_given_groups_stay(groups):
    loss = CrossModalTripletLoss(duplicate_groups=groups)
    model = CMMClassifier.from_text_embeddings(TEXTS[[0, 1, 0, 3]], triplet_loss=loss)
    assert model.triplet_loss.duplicate_groups == groups


def test_a_triplet_loss_of_ones_own():
    model = CMMClassifier.from_text_embeddings(TEXTS, triplet_loss=MeanOutput())
    model.compile()
    assert evaluate(model)["triplet"] == pytest.approx(naive_similarities(model).mean(), rel=1e-4)


def test_assign_text_embeddings_after_training():
    model = make_model()
    model.compile()
    model.fit(IMAGES, LABELS, verbose=0)
    kernel = ops.convert_to_numpy(model.mapping.kernel).copy()
    texts = TEXTS[[1, 1, 2, 3]]
    model.assign_text_embeddings(texts)
    np.testing.assert_array_equal(ops.convert_to_numpy(model.mapping.kernel), kernel)
    np.testing.assert_array_equal(ops.convert_to_numpy(model.prototypes.embeddings), texts)
    frozen = ops.convert_to_numpy(model.text_prototypes.embeddings)
    np.testing.assert_allclose(frozen, unit(texts), rtol=1e-6)
    # Training and evaluation know the new groups, even where they were traced with the old ones.
    similarities = naive_similarities(model)
    similarities = np.where(
        (LABELS[:, None] < 2) & (np.arange(CLASSES) < 2) & (np.arange(CLASSES) != LABELS[:, None]),
        -np.inf,
        similarities,
    )
    expected = naive_triplets(similarities).mean()
    assert evaluate(model)["triplet"] == pytest.approx(expected, rel=1e-4, abs=1e-6)
    model.assign_text_embeddings(TEXTS)
    assert model.triplet_loss.duplicate_groups is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 1}, "`num_classes` must be an int >= 2. Received: num_classes=1"),
        ({"num_classes": 2.0}, "`num_classes` must be an int >= 2. Received: num_classes=2.0"),
        ({"alpha": -1}, "`alpha` must be a float >= 0. Received: alpha=-1"),
        ({"alpha": float("nan")}, "`alpha` must be a float >= 0. Received: alpha=nan"),
        ({"logit_scale": 0}, "`logit_scale` must be a float > 0. Received: logit_scale=0"),
        (
            {"train_temperature": 0.0},
            "`train_temperature` must be a float > 0. Received: train_temperature=0.0",
        ),
        ({"triplet_weight": -2}, "`triplet_weight` must be a float >= 0. Received: tripl.*=-2"),
        (
            {"contrastive_weight": -2},
            "`contrastive_weight` must be a float >= 0. Received: con.*=-2",
        ),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        CMMClassifier(**{"num_classes": CLASSES} | arguments)


@pytest.mark.parametrize("shape", [(DIM,), (CLASSES + 1, DIM), (CLASSES, DIM - 1)])
def test_bad_text_embeddings(shape):
    with pytest.raises(ValueError, match="`text_embeddings` must have shape"):
        make_model().assign_text_embeddings(np.ones(shape))


def test_a_mapping_must_keep_the_width():
    mapping = CrossModalMapping(units=3, residual=False)
    with pytest.raises(ValueError, match="`mapping` must keep the width"):
        CMMClassifier.from_text_embeddings(TEXTS, mapping=mapping)


def test_two_classifiers_with_one_loss_keep_their_own_groups():
    loss = CrossModalTripletLoss(margin=0.2)
    first = CMMClassifier.from_text_embeddings([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], loss)
    second = CMMClassifier.from_text_embeddings([[1.0, 0.0], [0.0, 1.0]], loss)
    assert first.triplet_loss.duplicate_groups == [[0, 2]]
    assert second.triplet_loss.duplicate_groups is None
    assert loss.duplicate_groups is None
    assert first.triplet_loss.margin == second.triplet_loss.margin == 0.2


def test_a_tensor_of_the_backend_is_as_good_as_an_array():
    text = keras.Variable([[1.0, 0.0], [0.0, 1.0]])
    assert CMMClassifier.from_text_embeddings(text.value).num_classes == 2
    assert CMMClassifier(np.int64(3)).num_classes == 3
