"""The loss against its formula, written out with loops."""

import itertools
import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from label_forms import ONLY_TENSORFLOW, label_forms, of_unknown_width

from keras_cmm.layers import ClassPrototypes, CrossModalMapping
from keras_cmm.losses import CrossModalTripletLoss

pytestmark = pytest.mark.backend_neutral

BATCH, CLASSES, DIM = 8, 5, 6
GROUPS = [[0, 3], [2, 4]]
DISTANCES = ("cosine", "euclidean", "squared_euclidean")
NEGATIVES = ("hardest", "semi_hard", "all")
RNG = np.random.default_rng(0)
SIMILARITIES = RNG.uniform(-1, 1, size=(BATCH, CLASSES)).astype("float32")
LABELS = RNG.integers(0, CLASSES, size=BATCH)


def to_distance(similarity, distance):
    if distance == "cosine":
        return 1 - similarity
    squared = 2 - 2 * similarity
    return squared if distance == "squared_euclidean" else math.sqrt(max(squared, 0.0))


def naive(labels, similarities, margin=0.1, distance="cosine", negatives="hardest", groups=()):
    """Returns one value a sample."""
    values = []
    for label, row in zip(labels, np.asarray(similarities).tolist(), strict=True):
        distances = [to_distance(similarity, distance) for similarity in row]
        duplicates = {label}.union(*(group for group in groups if label in group))
        wrong = [d for class_id, d in enumerate(distances) if class_id not in duplicates]
        positive = distances[label]
        if not wrong:
            chosen = []
        elif negatives == "all":
            chosen = wrong
        elif negatives == "hardest":
            chosen = [min(wrong)]
        else:
            farther = [d for d in wrong if d > positive]
            chosen = [min(farther) if farther else max(wrong)]
        hinges = [max(0.0, margin + positive - d) for d in chosen]
        values.append(sum(hinges) / len(hinges) if hinges else 0.0)
    return values


def per_sample(loss, y_true, y_pred):
    loss.reduction = None
    return ops.convert_to_numpy(loss(y_true, y_pred))


@pytest.mark.parametrize(
    ("margin", "distance", "negatives", "groups"),
    list(itertools.product((0.0, 0.1, 0.7), DISTANCES, NEGATIVES, (None, GROUPS))),
)
def test_formula(margin, distance, negatives, groups):
    loss = CrossModalTripletLoss(margin, distance, negatives, groups)
    expected = naive(LABELS, SIMILARITIES, margin, distance, negatives, groups or ())
    np.testing.assert_allclose(per_sample(loss, LABELS, SIMILARITIES), expected, atol=1e-6)


@st.composite
def problems(draw):
    """Draws labels, similarities on a coarse grid, where ties abound, and duplicate groups."""
    classes = draw(st.integers(1, 5))
    group_of = draw(st.lists(st.integers(0, 2), min_size=classes, max_size=classes))
    groups = [[c for c in range(classes) if group_of[c] == group] for group in (1, 2)]
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=4))
    steps = st.lists(st.integers(-4, 4), min_size=classes, max_size=classes)
    rows = draw(st.lists(steps, min_size=len(labels), max_size=len(labels)))
    return labels, np.array(rows, dtype="float32") / 4, [group for group in groups if group]


@settings(max_examples=60)
@given(problems(), st.sampled_from(DISTANCES), st.sampled_from(NEGATIVES))
def test_ties_single_classes_and_groups(problem, distance, negatives):
    labels, similarities, groups = problem
    loss = CrossModalTripletLoss(0.3, distance, negatives, groups)
    expected = naive(labels, similarities, 0.3, distance, negatives, groups)
    values = per_sample(loss, np.array(labels)[:, None], similarities)
    # Euclidean distances are kept off 0, where their slope is infinite.
    np.testing.assert_allclose(values, expected, atol=2e-6)


@pytest.mark.parametrize("y_true", label_forms(LABELS, CLASSES))
def test_forms_of_labels(y_true):
    expected = naive(LABELS, SIMILARITIES)
    values = per_sample(CrossModalTripletLoss(), y_true, SIMILARITIES)
    np.testing.assert_allclose(values, expected, atol=1e-6)


@ONLY_TENSORFLOW
@pytest.mark.parametrize("y_true", [LABELS[:, None], np.eye(CLASSES)[LABELS]], ids=["ids", "hot"])
def test_labels_of_unknown_width(y_true):
    value = of_unknown_width(CrossModalTripletLoss(), y_true, SIMILARITIES)
    assert value == pytest.approx(np.mean(naive(LABELS, SIMILARITIES)), rel=1e-4)


def test_lists():
    value = CrossModalTripletLoss(margin=0.2)([0, 1], [[0.5, 0.4, -0.3], [0.0, 0.9, 0.1]])
    assert float(value) == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        ("sum_over_batch_size", np.mean(naive(LABELS, SIMILARITIES, 0.7))),
        ("mean", np.mean(naive(LABELS, SIMILARITIES, 0.7))),
        ("sum", np.sum(naive(LABELS, SIMILARITIES, 0.7))),
        ("none", naive(LABELS, SIMILARITIES, 0.7)),
        (None, naive(LABELS, SIMILARITIES, 0.7)),
    ],
)
def test_reductions(reduction, expected):
    value = CrossModalTripletLoss(0.7, reduction=reduction)(LABELS, SIMILARITIES)
    np.testing.assert_allclose(ops.convert_to_numpy(value), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "sample_weight", [2.5, np.arange(BATCH, dtype="float32"), np.arange(BATCH)[:, None]]
)
def test_sample_weight(sample_weight):
    values = np.array(naive(LABELS, SIMILARITIES, 0.7))
    loss = CrossModalTripletLoss(0.7, reduction="sum")
    value = loss(LABELS, SIMILARITIES, sample_weight=sample_weight)
    expected = (values * np.reshape(sample_weight, -1)).sum()
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_mask():
    rows = RNG.normal(size=(BATCH, DIM)).astype("float32")
    rows[[1, 4]] = 0
    texts = RNG.normal(size=(CLASSES, DIM)).astype("float32")
    inputs = keras.Input((DIM,))
    similarities = ClassPrototypes.from_embeddings(texts)(keras.layers.Masking()(inputs))
    model = keras.Model(inputs, similarities)
    model.compile(loss=CrossModalTripletLoss(0.7))
    values = np.array(naive(LABELS, model.predict(rows, verbose=0), 0.7))
    expected = np.delete(values, [1, 4]).mean()
    evaluated = model.evaluate(rows, LABELS, verbose=0)
    assert evaluated == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 1e-2), ("float16", 1e-3)])
def test_similarities_in_half_precision(dtype, tolerance):
    similarities = ops.cast(ops.convert_to_tensor(SIMILARITIES), dtype)
    value = CrossModalTripletLoss(0.7)(LABELS, similarities)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    expected = np.mean(naive(LABELS, SIMILARITIES, 0.7))
    assert float(value) == pytest.approx(expected, abs=tolerance)


def test_large_class_ids_survive_a_half_precision_floatx():
    # bfloat16 holds integers up to 256 only.
    similarities = np.zeros((1, 400), dtype="float32")
    similarities[0, 301] = 1.0
    floatx = keras.config.floatx()
    keras.config.set_floatx("bfloat16")
    try:
        value = CrossModalTripletLoss()(np.array([301]), similarities)
    finally:
        keras.config.set_floatx(floatx)
    assert float(value) == 0.0


def fit_mapping(loss, rows, labels, texts):
    """Returns the kernel and the losses of a mapping trained by the triplet loss alone."""
    inputs = keras.Input((DIM,))
    mapping = CrossModalMapping()
    prototypes = ClassPrototypes.from_embeddings(texts, trainable=False)
    model = keras.Model(inputs, prototypes(mapping(inputs)))
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss)
    history = model.fit(rows, labels, epochs=3, batch_size=4, verbose=0).history
    return ops.convert_to_numpy(mapping.kernel), history["loss"]


def test_duplicate_prototypes_teach_nothing_without_groups():
    """The trap: the hardest negative equals the positive."""
    rng = np.random.default_rng(1)
    texts = rng.normal(size=(3, DIM))[[0, 0, 1, 2]]
    labels = np.zeros(8, dtype="int32")
    rows = (texts[labels] + 0.1 * rng.normal(size=(8, DIM))).astype("float32")
    # Wide enough that no other class satisfies it.
    margin = 2.0
    kernel, losses = fit_mapping(CrossModalTripletLoss(margin), rows, labels, texts)
    np.testing.assert_allclose(losses, margin, rtol=1e-6)
    np.testing.assert_allclose(kernel, 0.0, atol=1e-6)

    grouped = CrossModalTripletLoss(margin, duplicate_groups=[[0, 1]])
    kernel, losses = fit_mapping(grouped, rows, labels, texts)
    assert losses[-1] < losses[0]
    assert np.abs(kernel).max() > 1e-3


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("negatives", NEGATIVES)
def test_training_brings_the_loss_down(distance, negatives):
    rng = np.random.default_rng(1)
    rows, texts = rng.normal(size=(20, DIM)).astype("float32"), rng.normal(size=(CLASSES, DIM))
    loss = CrossModalTripletLoss(0.3, distance, negatives)
    kernel, losses = fit_mapping(loss, rows, np.arange(20) % CLASSES, texts)
    assert losses[-1] < losses[0]
    assert np.isfinite(kernel).all()


def test_the_gradient_is_finite_where_image_and_text_coincide():
    texts = np.eye(DIM, dtype="float32")[:CLASSES]
    inputs = keras.Input((DIM,))
    mapping = CrossModalMapping()
    prototypes = ClassPrototypes.from_embeddings(texts)
    model = keras.Model(inputs, prototypes(mapping(inputs)))
    model.compile(optimizer="sgd", loss=CrossModalTripletLoss(2.0, distance="euclidean"))
    model.fit(texts, np.arange(CLASSES), verbose=0)
    for weight in model.weights:
        assert np.isfinite(ops.convert_to_numpy(weight)).all()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"margin": 0.5, "distance": "euclidean", "negatives": "semi_hard"},
        {"duplicate_groups": ((0, 1), (2, 4)), "reduction": "sum", "name": "triplet"},
        {"dtype": "bfloat16"},
    ],
    ids=str,
)
def test_serialization(options):
    loss = CrossModalTripletLoss(**options)
    restored = keras.losses.deserialize(keras.losses.serialize(loss))
    assert restored.get_config() == loss.get_config()
    for name in set(options) - {"duplicate_groups"}:
        assert getattr(restored, name) == options[name]
    if "duplicate_groups" in options:
        assert restored.duplicate_groups == [[0, 1], [2, 4]]


def test_a_model_of_ones_own(tmp_path):
    """The layers and the loss wired by hand, with an output of its own for the similarities."""
    rng = np.random.default_rng(2)
    texts = rng.normal(size=(CLASSES, DIM)).astype("float32")
    labels = np.arange(40, dtype="int32") % CLASSES
    images = (texts[labels] + rng.normal(size=(40, DIM))).astype("float32")

    inputs = keras.Input((DIM,))
    mapped = CrossModalMapping(rank=2)(inputs)
    similarities = ClassPrototypes.from_embeddings(texts, name="similarities")(mapped)
    logits = keras.layers.Rescaling(10.0, name="logits")(similarities)
    model = keras.Model(inputs, {"logits": logits, "similarities": similarities})
    model.compile(
        optimizer=keras.optimizers.Adam(0.02),
        loss={
            "logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "similarities": CrossModalTripletLoss(margin=0.3, duplicate_groups=[[0, 1]]),
        },
        loss_weights={"logits": 1.0, "similarities": 0.5},
        metrics={"logits": "accuracy"},
    )
    targets = {"logits": labels, "similarities": labels}
    # In one batch: on TensorFlow Keras gives each batch the same weight in an output's loss.
    options = {"batch_size": len(images), "return_dict": True, "verbose": 0}
    before = model.evaluate(images, targets, **options)
    expected = naive(labels, model.predict(images, verbose=0)["similarities"], 0.3, groups=[[0, 1]])
    assert before["similarities_loss"] == pytest.approx(np.mean(expected), rel=1e-4)
    assert before["loss"] == pytest.approx(
        before["logits_loss"] + 0.5 * before["similarities_loss"], rel=1e-5
    )
    model.fit(images, targets, epochs=10, verbose=0)
    after = model.evaluate(images, targets, **options)
    assert after["loss"] < before["loss"]
    assert after["similarities_loss"] < before["similarities_loss"]

    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    assert restored.loss["similarities"].duplicate_groups == [[0, 1]]
    np.testing.assert_array_equal(
        restored.predict(images, verbose=0)["logits"], model.predict(images, verbose=0)["logits"]
    )
    again = restored.evaluate(images, targets, **options)
    assert again == pytest.approx(after, rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"margin": -1}, "`margin` must be a float >= 0. Received: margin=-1"),
        ({"margin": float("nan")}, "`margin` must be a float >= 0. Received: margin=nan"),
        ({"margin": float("inf")}, "`margin` must be a float >= 0. Received: margin=inf"),
        ({"margin": True}, "`margin` must be a float >= 0. Received: margin=True"),
        ({"duplicate_groups": [[0.5, 1]]}, "`duplicate_groups` must hold class ids"),
        ({"margin": "wide"}, "`margin` must be a float >= 0. Received: margin='wide'"),
        ({"distance": "l1"}, "`distance` must be one of .* Received: distance='l1'"),
        ({"negatives": "easy"}, "`negatives` must be one of .* Received: negatives='easy'"),
        ({"duplicate_groups": [[0, 1], [1, 2]]}, "`duplicate_groups` must be disjoint"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        CrossModalTripletLoss(**arguments)


@pytest.mark.parametrize("class_id", [-1, CLASSES])
def test_groups_of_classes_that_do_not_exist(class_id):
    loss = CrossModalTripletLoss(duplicate_groups=[[0, class_id]])
    message = f"`duplicate_groups` must hold class ids from 0 to 4. Received: {class_id}"
    with pytest.raises(ValueError, match=message):
        loss(LABELS, SIMILARITIES)


def test_bad_shapes():
    loss = CrossModalTripletLoss()
    with pytest.raises(ValueError, match=r"`y_pred` must be cosine .* shape \(8,\)"):
        loss(LABELS, SIMILARITIES[:, 0])
    with pytest.raises(ValueError, match=r"`y_true` must be class ids .* shape \(8, 3\)"):
        loss(np.ones((BATCH, 3)), SIMILARITIES)
