"""Heads that classes are added to and removed from."""

import keras
import numpy as np
import pytest
from heads import CLASSES, DIM, IMAGES, LABELS, TEXTS, make_model, unit
from refusals import refusal

from keras_cmm import AutoRecipe, CMMClassifier

pytestmark = pytest.mark.backend_neutral

NEW_TEXT = np.random.default_rng(7).normal(size=DIM).astype("float32")


def predict(head):
    return head.predict(IMAGES, verbose=0)


@pytest.mark.parametrize("classes", [3, 7])
def test_the_other_classes_keep_their_logits_to_the_bit(classes):
    """A product of another width rounds differently at these widths."""
    rng = np.random.default_rng(classes)
    texts = rng.normal(size=(classes + 2, 64)).astype("float32")
    images = rng.normal(size=(33, 64)).astype("float32")
    head = CMMClassifier.from_text_embeddings(texts[:classes])
    head.mapping.kernel.assign(0.1 * rng.normal(size=(64, 64)))
    head.prototypes.embeddings.assign(texts[:classes] + rng.normal(size=(classes, 64)))
    head.is_trained = True

    def logits():
        return head.predict(images, batch_size=32, verbose=0)  # Batches of 32 rows and of 1.

    before = logits()
    for text in texts[classes:]:
        head.add_class(text)
        np.testing.assert_array_equal(logits()[:, :classes], before)
    grown = logits()
    assert grown.shape == (33, classes + 2)
    head.remove_class(1)
    kept = np.delete(grown, 1, axis=1)
    np.testing.assert_array_equal(logits(), kept)
    weights, head = head.get_weights(), CMMClassifier.from_config(head.get_config())
    head.build((None, 64))
    head.set_weights(weights)
    np.testing.assert_array_equal(logits(), kept)


def test_before_training_it_is_the_head_of_all_texts():
    head = make_model(trained=False)
    head.add_class(NEW_TEXT)
    expected = CMMClassifier.from_text_embeddings(np.append(TEXTS, NEW_TEXT[None], axis=0))
    np.testing.assert_allclose(predict(head), predict(expected), atol=1e-3)
    # And it trains to the same.
    y = np.append(LABELS[:-1], CLASSES)
    for each in (head, expected):
        AutoRecipe().fit(each, IMAGES, y, verbose=0, calibrate=False)
    np.testing.assert_allclose(predict(head), predict(expected), atol=0.05)


def test_a_trained_head_trains_on():
    head = make_model()
    head.compile(optimizer=keras.optimizers.SGD(0.25))
    head.fit(IMAGES, LABELS, epochs=1, verbose=0)
    head.remember_images(IMAGES[3:])
    head.add_class(NEW_TEXT, IMAGES[:3])
    before = predict(head)
    y = np.where(np.arange(len(LABELS)) < 3, CLASSES, LABELS)
    head.fit(IMAGES, y, epochs=2, verbose=0)
    assert isinstance(head.optimizer, keras.optimizers.SGD)
    assert head.optimizer.learning_rate == 0.25
    moved = np.abs(predict(head) - before).max(axis=0)
    assert (moved > 0.1).all()
    assert head.evaluate(IMAGES, y, verbose=0, return_dict=True).keys() >= {"loss", "accuracy"}


def test_a_text_alone_finds_the_images_of_its_class():
    """The place among trained prototypes, which have moved away from the texts."""
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(12, 8)).astype("float32")
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0].astype("float32")
    head = CMMClassifier.from_text_embeddings(texts[:11], clip_weight=0.0)
    head.prototypes.embeddings.assign(texts[:11] @ turn)
    head.is_trained = True
    head.add_class(texts[11])
    assert head.predict(texts[11:] @ turn, verbose=0).argmax() == 11
    assert head.predict(texts[:11] @ turn, verbose=0).argmax(axis=1).tolist() == list(range(11))


def test_images_move_the_prototype_to_them():
    images = IMAGES[LABELS == 1]

    def logit_of_new(images_of_new):
        head = make_model()
        head.is_trained = True
        head.remember_images(IMAGES[LABELS != 1])
        head.add_class(NEW_TEXT, images_of_new)
        return head.predict(unit(images).mean(axis=0)[None], verbose=0)[0, -1]

    assert logit_of_new(images) > logit_of_new(images[:1]) > logit_of_new(None) + 1


def test_frozen_parts_stay_frozen():
    head = make_model(train_prototypes=False)
    trained = [each.path for each in head.trainable_variables]
    head.add_class(NEW_TEXT)
    assert [each.path for each in head.trainable_variables] == trained
    assert len(head.get_weights()) == len(make_model().get_weights())


def test_removing_what_was_added_leaves_the_head_as_it_was():
    head = make_model()
    head.is_trained = True
    head.train_offsets = [0.0, 1.0, 2.0, 3.0]
    before, weights, config = predict(head), head.get_weights(), head.get_config()
    head.add_class(NEW_TEXT)
    assert head.train_offsets[-1] == 1.5
    head.remove_class(CLASSES)
    np.testing.assert_array_equal(predict(head), before)
    for one, other in zip(head.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert head.get_config() == config | {"groups": [[1] * CLASSES]}


def test_classes_of_one_text_are_found_again():
    head = make_model()
    head.add_class(TEXTS[1])
    assert head.triplet_loss.duplicate_groups == [[1, CLASSES]]
    head.remove_class(0)
    assert head.triplet_loss.duplicate_groups == [[0, CLASSES - 1]]
    head.remove_class(0)
    assert not head.triplet_loss.duplicate_groups


def test_what_is_refused():
    head = make_model()
    assert "a recipe of this version has trained" in refusal(head.add_class, NEW_TEXT, IMAGES[:2])
    assert "shape (6,). Received: shape (1, 6)" in refusal(head.add_class, NEW_TEXT[None])
    assert "direction" in refusal(head.add_class, np.zeros(DIM))
    assert "one embedding or more" in refusal(head.add_class, NEW_TEXT, np.zeros((0, DIM)))
    assert "(rows, 6)" in refusal(head.add_class, NEW_TEXT, np.ones((2, DIM + 1)))
    assert "less than the 4 classes" in refusal(head.remove_class, CLASSES)
    assert "an int >= 0" in refusal(head.remove_class, -1)
    assert "class texts before" in refusal(CMMClassifier(3).add_class, NEW_TEXT)
    assert head.num_classes == CLASSES
    pair = CMMClassifier.from_text_embeddings(TEXTS[:2])
    assert "two classes or more" in refusal(pair.remove_class, 0)
