from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import ops

from keras_cmm import AutoRecipe, CMMClassifier
from keras_cmm.layers import CrossModalMapping
from keras_cmm.recipes import closed_form_start

GENERATOR = np.random.default_rng(5)
TEXTS = np.linalg.qr(GENERATOR.normal(size=(8, 4)))[0].T.astype("float32")
LABELS = np.repeat(np.arange(4), 4)
IMAGES = TEXTS[LABELS] + 0.3 * GENERATOR.normal(size=(16, 8)).astype("float32")
IMAGES /= np.linalg.norm(IMAGES, axis=1, keepdims=True)


def make_head(logit_scale=50.0):
    return CMMClassifier.from_text_embeddings(TEXTS, logit_scale=logit_scale)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def prepare(recipe, head, images, labels):
    """Returns the rows to train on, their class ids and the learning rate."""
    prepared = recipe.prepare(head, images, np.asarray(labels)).used()
    return prepared.embeddings, prepared.labels, prepared.learning_rate


@pytest.mark.backend_neutral
def test_the_head_starts_where_the_support_set_says():
    head = make_head()
    rows, labels, _ = prepare(AutoRecipe(text_share=0.0), head, IMAGES, LABELS)
    start = closed_form_start(IMAGES, LABELS, TEXTS)
    mapped = ops.convert_to_numpy(head.mapping(IMAGES))
    np.testing.assert_allclose(mapped, unit(IMAGES @ start.transform), atol=1e-5)
    np.testing.assert_allclose(
        ops.convert_to_numpy(head.prototypes.embeddings), start.prototypes, atol=1e-5
    )
    # The head's own texts are normalised once more.
    np.testing.assert_allclose(rows, np.concatenate([IMAGES, start.text_rows]), atol=1e-6)
    np.testing.assert_array_equal(labels, [*LABELS, 0, 1, 2, 3])
    assert head.alpha == pytest.approx(20.0 * 4**0.6 / 50.0)
    assert head.logit_scale == 50.0
    assert head.train_temperature == 2.0


@pytest.mark.backend_neutral
def test_prototypes_take_over_a_share_of_clips_logits():
    head = make_head()
    prepare(AutoRecipe(), head, IMAGES, LABELS)
    assert head.clip_weight == pytest.approx(1 - 0.5 / 4)
    start = closed_form_start(IMAGES, LABELS, TEXTS)
    mapped = IMAGES.astype("float64") @ start.transform
    length = np.linalg.norm(mapped, axis=1).mean()
    mean_image = unit(mapped).mean(axis=0)
    # What the share of CLIP's logits and those of the start give the mean image, in its map.
    clip = 50.0 * 0.5 / 4 * length * mean_image @ np.linalg.inv(start.transform) @ TEXTS.T
    expected = 20.0 * 4**0.6 * mean_image @ start.prototypes.T + clip
    prototypes = ops.convert_to_numpy(head.prototypes.embeddings)
    np.testing.assert_allclose(np.linalg.norm(prototypes, axis=1), 1.0, atol=1e-5)
    scale = head.alpha * head.logit_scale
    np.testing.assert_allclose(scale * mean_image @ prototypes.T, expected, rtol=1e-4)


@pytest.mark.backend_neutral
def test_the_share_brings_mapped_images_to_their_prototypes():
    """Where texts tell the classes apart and the images' means do not."""
    rng = np.random.default_rng(3)
    texts = unit(rng.normal(size=(4, 16))).astype("float32")
    labels = np.repeat(np.arange(4), 3)
    images = unit(texts[labels] + 0.3 * rng.normal(size=(12, 16))).astype("float32")
    others = unit(texts[labels] + 0.3 * rng.normal(size=(12, 16))).astype("float32")
    margins = []
    for share in (0.0, 0.9):
        head = CMMClassifier.from_text_embeddings(texts, logit_scale=50.0)
        recipe = AutoRecipe(text_share=share, shot_scale=5.0, prior_shots=0.1, shrinkage_factor=1e9)
        prepare(recipe, head, images, labels)
        cosines = ops.convert_to_numpy(head.similarities(others))
        own = cosines[np.arange(12), labels]
        cosines[np.arange(12), labels] = -np.inf
        margins.append((own - cosines.max(axis=1)).mean())
    assert margins[1] > margins[0]


@pytest.mark.backend_neutral
def test_a_heads_own_loss_weights_stay():
    head = make_head()
    head.triplet_weight, head.contrastive_weight = 0.5, 0.25
    prepare(AutoRecipe(), head, IMAGES, LABELS)
    assert (head.triplet_weight, head.contrastive_weight) == (0.5, 0.25)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("shot_scale", -1.0, "a float > 0"),
        ("train_temperature", 0, "a float > 0"),
        ("prior_shots", float("nan"), "a float >= 0"),
        ("text_share", 1.0, r"a float in \[0, 1\)"),
        ("text_trust", -0.1, r"a float in \[0, 1\]"),
        ("shot_exponent", float("inf"), "a finite float"),
        ("rate_exponent", float("nan"), "a float"),
        ("weight_decay", float("inf"), "a finite float >= 0"),
        ("learning_rate", True, "a float >= 0"),
        ("epochs", True, "an int >= 1"),
        ("epochs", 0, "an int >= 1"),
    ],
)
def test_constants_out_of_range(name, value, expected):
    with pytest.raises(ValueError, match=f"`{name}` must be {expected}. Received: {name}={value}"):
        AutoRecipe(**{name: value})


@pytest.mark.backend_neutral
def test_alpha_counts_in_a_head_that_predicted_before():
    head = make_head()
    before = head.predict(IMAGES, verbose=0)
    prepare(AutoRecipe(text_share=0.0), head, IMAGES, LABELS)
    expected = 50.0 * IMAGES @ TEXTS.T + 20.0 * 4**0.6 * ops.convert_to_numpy(
        head.similarities(IMAGES)
    )
    after = head.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(after, expected, atol=1e-3)
    assert np.abs(after - before).max() > 1.0


@pytest.mark.backend_neutral
@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[:, 1:], LABELS, r"`x` must hold embeddings of shape \(rows, 8\)"),
        (IMAGES[:0], LABELS[:0], "of one image or more"),
        (IMAGES * np.nan, LABELS, "Received: row 0 has NaN, infinite or too large values"),
        (IMAGES * (LABELS != 2)[:, None], LABELS, "Received: row 8 has only zeros"),
        (IMAGES, LABELS[1:], "one label for each of the 16 rows of `x`. Received: 15 labels"),
        (IMAGES, LABELS + 0.5, "such as 0.5"),
        (IMAGES, LABELS == 1, "a truth value"),
        (IMAGES, LABELS - 1, "values -1 to 2, such as -1"),
        (IMAGES, ["ant"] * 16, r"class_names.index\(label\)"),
    ],
)
def test_support_sets_that_cannot_be_used(images, labels, message):
    head = make_head()
    before = head.get_weights()
    with pytest.raises(ValueError, match=message):
        AutoRecipe().fit(head, images, labels)
    for weight, value in zip(head.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.parametrize("labels", [LABELS.tolist(), np.eye(4)[LABELS], LABELS.astype("float32")])
def test_labels_of_all_kinds_train_alike(labels):
    heads = [make_head(), make_head()]
    for head, each in zip(heads, (LABELS, labels), strict=True):
        AutoRecipe(min_steps=2).fit(head, IMAGES, each, validation_data=(IMAGES, each), verbose=0)
    for weight, other in zip(*(head.get_weights() for head in heads), strict=True):
        np.testing.assert_array_equal(weight, other)


def test_without_text_rows():
    rows, labels, _ = prepare(AutoRecipe(text_rows=False), make_head(), IMAGES, LABELS)
    np.testing.assert_allclose(rows, IMAGES, atol=1e-6)
    np.testing.assert_array_equal(labels, LABELS)


def test_a_trained_head_is_trained_further_by_what_is_left_to_learn():
    # At a high scale there is nothing left to learn here.
    head, recipe = make_head(5.0), AutoRecipe(shot_scale=1.0, learning_rate=1e-2)
    first = recipe.fit(head, IMAGES, LABELS, verbose=0).params["learning_rate"]
    temperature, before = head.temperature, head.predict(IMAGES, verbose=0)
    second = recipe.fit(head, IMAGES, LABELS, verbose=0).params["learning_rate"]
    assert 0 < second < 0.7 * first
    assert head.temperature == temperature
    after = head.predict(IMAGES, verbose=0)
    assert 0 < np.abs(after - before).max() < 0.3 * np.abs(before).max()
    # It learns labels that it finds wrong at the rate of a start, and no faster.
    wrong = (LABELS + 1) % 4
    third = recipe.fit(head, IMAGES, wrong, verbose=0).params["learning_rate"]
    start = recipe.fit(make_head(5.0), IMAGES, wrong, verbose=0).params["learning_rate"]
    assert third == pytest.approx(start, rel=1e-3)


@pytest.mark.backend_neutral
def test_new_texts_make_a_head_untrained():
    head, recipe = make_head(), AutoRecipe(min_steps=5)
    fitted = []
    for scale in (1.0, 10.0):  # Images need not be of unit length.
        head.assign_text_embeddings(TEXTS)
        assert not head.is_trained
        recipe.fit(head, scale * IMAGES, LABELS, verbose=0)
        assert head.is_trained
        fitted.append([*head.get_weights(), head.alpha, head.clip_weight, head.temperature])
    for first, second in zip(*fitted, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-4)


@pytest.mark.backend_neutral
@pytest.mark.parametrize(
    ("mapping", "received"),
    [
        (CrossModalMapping(rank=2), "rank=2, residual=True"),
        (CrossModalMapping(residual=False), "rank=None, residual=False"),
        (CrossModalMapping(use_bias=True), "use_bias=True"),
        (keras.layers.Dense(8), "Dense"),
    ],
)
def test_a_mapping_that_cannot_start_in_closed_form(mapping, received):
    head = CMMClassifier.from_text_embeddings(TEXTS, mapping=mapping)
    with pytest.raises(ValueError, match=received):
        AutoRecipe().fit(head, IMAGES, LABELS)


def test_shots_are_the_mean_over_all_classes_and_at_least_one():
    head = make_head()
    prepare(AutoRecipe(text_share=0.0), head, IMAGES[:8], LABELS[:8])
    assert head.alpha == pytest.approx(20.0 * 2.0**0.6 / 50.0)
    prepare(AutoRecipe(text_share=0.0), head, IMAGES[:1], LABELS[:1])
    assert head.alpha == pytest.approx(20.0 / 50.0)


@pytest.mark.backend_neutral
def test_logits_are_adjusted_to_the_rows_of_the_classes():
    head = make_head()
    prepare(AutoRecipe(logit_adjustment=2.0), head, IMAGES, LABELS)
    np.testing.assert_array_equal(head.train_offsets, np.zeros(4))
    prepare(AutoRecipe(logit_adjustment=2.0), head, IMAGES[:5], np.array([0, 0, 0, 1, 1]))
    rows = np.array([4, 3, 1, 1])
    np.testing.assert_allclose(head.train_offsets, 2.0 * np.log(rows / rows.mean()), rtol=1e-6)
    prepare(
        AutoRecipe(logit_adjustment=2.0, text_rows=False), head, IMAGES[:3], np.array([0, 0, 1])
    )
    rows = np.array([2, 1, 1, 1])  # A class without rows is taken for one with one.
    np.testing.assert_allclose(head.train_offsets, 2.0 * np.log(rows / rows.mean()), rtol=1e-6)


@pytest.mark.backend_neutral
def test_training_keeps_what_is_right_and_changes_the_head():
    head = make_head(logit_scale=5.0)  # At a high scale there is nothing left to learn here.
    recipe = AutoRecipe(min_steps=20, shot_scale=1.0)
    prepare(recipe, head, IMAGES, LABELS)
    start = ops.convert_to_numpy(head.mapping.kernel).copy()
    assert len(recipe.fit(head, IMAGES, LABELS, verbose=0).history["loss"]) == 20
    assert (head.predict(IMAGES, verbose=0).argmax(axis=1) == LABELS).all()
    assert np.abs(ops.convert_to_numpy(head.mapping.kernel) - start).max() > 1e-4


def started(texts, images, labels, **options):
    """Returns a started head, its learning rate, and the error that training starts at."""
    head = CMMClassifier.from_text_embeddings(texts, logit_scale=50.0)
    rows, labels, rate = prepare(AutoRecipe(learning_rate=1e-3, **options), head, images, labels)
    logits = ops.convert_to_numpy(head(rows)) / head.train_temperature + head.train_offsets
    logits -= logits.max(axis=1, keepdims=True)
    own = logits[np.arange(len(labels)), labels]
    return head, rate, -np.expm1((own - np.log(np.exp(logits).sum(axis=1))).mean())


def test_texts_that_tell_something_count_in_full():
    trusting, default = make_head(), make_head()
    prepare(AutoRecipe(text_trust=1.0), trusting, IMAGES, LABELS)
    prepare(AutoRecipe(), default, IMAGES, LABELS)
    for weight, other in zip(trusting.get_weights(), default.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)


def test_texts_that_mislead_count_for_nothing():
    head = make_head()
    labels = (LABELS + 1) % 4
    rows, _, _ = prepare(AutoRecipe(), head, IMAGES, labels)
    assert head.clip_weight == 0.0
    mean = unit(IMAGES.mean(axis=0, keepdims=True))
    np.testing.assert_allclose(rows[16:], np.repeat(mean, 4, axis=0), atol=1e-6)
    start = closed_form_start(IMAGES, labels, TEXTS)
    prototypes = ops.convert_to_numpy(head.prototypes.embeddings)
    np.testing.assert_allclose(prototypes, start.prototypes, atol=1e-5)
    prepare(AutoRecipe(text_trust=1.0), head, IMAGES, labels)
    assert head.clip_weight > 0.5


def test_texts_count_by_the_part_of_clips_logits_that_is_likeliest():
    rng = np.random.default_rng(2)
    images = unit(TEXTS[LABELS] + 0.7 * rng.normal(size=(16, 8))).astype("float32")
    # One image looks mislabelled, and does not count.
    weights = AutoRecipe(text_share=0.0).prepare(make_head(), images, LABELS).sample_weight
    told = weights[:16] != 0
    assert told.sum() == 15
    parts = np.linspace(0.0, 0.5, 5001)
    logits = 50.0 * images[told].astype("float64") @ TEXTS.T
    losses = []
    for part in parts:
        powers = np.exp(part * logits)
        losses.append(-np.log(powers[np.arange(15), LABELS[told]] / powers.sum(axis=1)).mean())
    likeliest = parts[np.argmin(losses)]
    assert 0.02 < likeliest < 0.4
    weight = likeliest**2
    head = make_head()
    recipe = AutoRecipe(text_share=0.0)
    prepare(recipe, head, images, LABELS)
    assert head.clip_weight == pytest.approx(weight, abs=1e-3)
    # What the prototypes take over is a share of what the texts count for.
    rows, _, _ = prepare(replace(recipe, text_share=0.8), head, images, LABELS)
    assert head.clip_weight == pytest.approx((1 - 0.8 / 4) * weight, abs=1e-3)
    # And their rows lie that far from the mean image.
    mean = unit(images.mean(axis=0, keepdims=True))
    text_rows = closed_form_start(images, LABELS, TEXTS).text_rows
    expected = unit(mean + weight * (text_rows - mean))
    np.testing.assert_allclose(rows[15:], expected, atol=2e-3)
    prepare(replace(recipe, text_trust=0.9), head, images, LABELS)
    assert head.clip_weight == 0.9


def test_a_large_set_is_rated_by_all_its_classes_in_whatever_order(monkeypatch):
    monkeypatch.setattr("keras_cmm.recipes.auto_recipe._MAX_RATED_ROWS", 5)
    images = np.where(LABELS[:, None] == 0, -IMAGES, IMAGES)  # Of one class, texts tell nothing.
    mixed = np.arange(16).reshape(4, 4).T.ravel()  # One class after the other, again and again.
    rates, weights = [], []
    for order in (np.arange(16), mixed):
        head = make_head()
        rates.append(prepare(AutoRecipe(), head, images[order], LABELS[order])[2])
        weights.append(head.clip_weight)
    assert rates[0] == pytest.approx(rates[1], rel=1e-3)
    assert weights[0] == pytest.approx(weights[1], rel=1e-3)
    assert weights[0] > 0


def test_the_learning_rate_falls_as_the_embeddings_widen():
    images = np.tile(np.eye(4, dtype="float32"), (25, 1))  # 100 images
    for dim, expected in ((128, 2e-3), (512, 1e-3), (2048, 5e-4)):
        wide = np.pad(images, ((0, 0), (0, dim - 4)))
        texts = np.ones((4, dim))
        for share in (0.0, 0.9):
            _, rate, error = started(texts, wide, np.arange(100) % 4, text_share=share)
            # At 25 shots.
            fall = 1 - share / 25
            assert rate == pytest.approx(fall * expected * error, rel=1e-3)


def test_the_learning_rate_grows_with_the_images():
    for number in (4, 16):
        every = 16 // number
        options = {"rate_exponent": 0.5, "text_share": 0.0}
        _, rate, error = started(TEXTS, IMAGES[::every], LABELS[::every], **options)
        growth = (number / 100) ** 0.5 * (512 / 8) ** 0.5
        assert rate == pytest.approx(1e-3 * growth * error, rel=1e-3)


def test_the_learning_rate_falls_where_the_start_leaves_little_to_learn():
    errors = []
    for noise in (0.1, 1.0):
        generator = np.random.default_rng(3)
        images = unit(TEXTS[LABELS] + noise * generator.normal(size=(16, 8))).astype("float32")
        options = {"rate_exponent": 0.0, "text_share": 0.0}
        _, rate, error = started(TEXTS, images, LABELS, **options)
        assert rate == pytest.approx(1e-3 * (512 / 8) ** 0.5 * error, rel=1e-3)
        errors.append(error)
    assert errors[0] < errors[1] / 2


def test_the_error_of_many_rows_is_that_of_some_of_every_class():
    labels = np.arange(4).repeat(1000)  # Sorted: the first thousand are of one class.
    images = unit(TEXTS[labels] + 0.5 * GENERATOR.normal(size=(4000, 8))).astype("float32")
    options = {"rate_exponent": 0.0, "text_share": 0.0, "train_temperature": 300.0}
    _, rate, error = started(TEXTS, images, labels, **options)
    assert rate == pytest.approx(1e-3 * (512 / 8) ** 0.5 * error, rel=0.1)


WRONG = [0, 9, 18, 27]


def mislabelled_support_set(per_class=6, classes=6, dim=16):
    generator = np.random.default_rng(3)
    texts = np.linalg.qr(generator.normal(size=(dim, classes)))[0].T.astype("float32")
    labels = np.repeat(np.arange(classes), per_class)
    images = unit(texts[labels] + 0.08 * generator.normal(size=(len(labels), dim)))
    given = labels.copy()
    given[WRONG] = (given[WRONG] + 1) % classes
    return texts, images.astype("float32"), given, labels


def test_images_with_wrong_labels_are_not_trained_on():
    texts, images, given, labels = mislabelled_support_set()
    head = CMMClassifier.from_text_embeddings(texts, logit_scale=50.0)
    history = AutoRecipe().fit(head, images, given, calibrate=False, verbose=0)
    assert history.params["doubtful"] == 4
    assert (head.predict(images, verbose=0).argmax(axis=1) == labels).all()
    clean = CMMClassifier.from_text_embeddings(texts, logit_scale=50.0)
    right = np.delete(np.arange(len(labels)), WRONG)
    history = AutoRecipe().fit(clean, images[right], given[right], calibrate=False, verbose=0)
    assert history.params["doubtful"] == 0
    for weight, other in zip(head.get_weights(), clean.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, atol=1e-5)


def test_doubtful_images_keep_their_place_and_weigh_nothing():
    texts, images, given, _ = mislabelled_support_set()
    head = CMMClassifier.from_text_embeddings(texts, logit_scale=50.0)
    prepared = AutoRecipe().prepare(head, images, given, class_weight={0: 2.0})
    assert len(prepared.labels) == len(images) + len(texts)
    weights = prepared.sample_weight
    np.testing.assert_array_equal(np.flatnonzero(weights == 0.0), WRONG)
    np.testing.assert_array_equal(weights[1:6], 2.0)
    assert len(prepared.used().labels) == len(prepared.labels) - 4


def test_no_label_is_doubted_where_most_would_be():
    """Texts that are trusted although they mislead find most labels unlikely."""
    head = CMMClassifier.from_text_embeddings(TEXTS, logit_scale=100.0)
    wrong = (LABELS + 1) % 4
    prepared = AutoRecipe(text_trust=1.0).prepare(head, IMAGES, wrong)
    assert (prepared.doubtful, prepared.sample_weight) == (0, None)
