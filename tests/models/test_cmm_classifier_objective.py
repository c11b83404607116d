import keras
import numpy as np
import pytest
from heads import (
    CLASSES,
    DIM,
    IMAGES,
    LABELS,
    ROWS,
    TEXTS,
    evaluate,
    make_model,
    naive_contrastives,
    naive_cross_entropies,
    naive_logits,
    naive_similarities,
    naive_triplets,
    unit,
)
from keras import ops

from keras_cmm.layers import CrossModalMapping
from keras_cmm.losses import CrossModalTripletLoss

pytestmark = pytest.mark.backend_neutral


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


def test_callbacks_see_the_parts():
    model = make_model(trained=False)
    model.compile()
    stop = keras.callbacks.EarlyStopping(monitor="triplet", min_delta=1e9, patience=2, mode="min")
    history = model.fit(IMAGES, LABELS, epochs=10, callbacks=[stop], verbose=0).history
    assert len(history["triplet"]) == 3
