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
    MeanOutput,
    evaluate,
    make_model,
    naive_logits,
    naive_similarities,
    naive_triplets,
    unit,
)
from keras import ops

from keras_cmm.layers import CrossModalMapping
from keras_cmm.losses import CrossModalTripletLoss
from keras_cmm.models import CMMClassifier

pytestmark = pytest.mark.backend_neutral


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


@pytest.mark.parametrize("offsets", [np.zeros(CLASSES + 1), [np.nan] * CLASSES, 1.0])
def test_refused_offsets(offsets):
    with pytest.raises(ValueError, match=f"must be {CLASSES} finite numbers, one a class"):
        make_model().train_offsets = offsets


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


def test_metrics_of_probabilities_are_refused():
    model = CMMClassifier.from_text_embeddings(TEXTS)
    for argument in ("metrics", "weighted_metrics"):
        with pytest.raises(ValueError, match=f"`{argument}` must be of logits"):
            model.compile(**{argument: [keras.metrics.SparseCategoricalCrossentropy()]})


@pytest.mark.parametrize("name", ["alpha", "logit_scale", "clip_weight"])
def test_numbers_that_are_set_count_at_once(name):
    model = make_model()
    before = model.predict(IMAGES, verbose=0)
    setattr(model, name, 0.1)
    assert getattr(model, name) == 0.1
    after = model.predict(IMAGES, verbose=0)
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, naive_logits(model), rtol=1e-4, atol=1e-4)


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
        *(
            ({"alpha": value}, "`alpha` must be a (finite )?float >= 0. Received: alpha=")
            for value in (float("inf"), True, 1e39)
        ),
        ({"num_classes": True}, "`num_classes` must be an int >= 2. Received: num_classes=True"),
        ({"temperature": 1e-46}, "`temperature` must be a float > 0. Received: temperature=1e-46"),
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
    with pytest.raises(ValueError, match=r"`text_embeddings` must .* shape"):
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
