import keras
import numpy as np
import pytest
from pictures import NAMES, make_images
from PIL import Image

from keras_cmm import (
    AutoRecipe,
    CMMClassifier,
    CMMImageClassifier,
    InputError,
    TrainingRecipe,
)
from keras_cmm.recipes import fit_temperature, logit_adjustment


def test_fit_returns_the_history_of_the_head(model):
    history = model.fit(*make_images(), epochs=2, verbose=0).history
    assert set(history) == {"loss", "cross_entropy", "triplet", "contrastive", "accuracy"}
    assert len(history["loss"]) == 2


def test_fit_shuffles(model, monkeypatch):
    """keras-hub never shuffles. Batches must mix the sorted classes."""
    batches = []
    train_on = model.head.compute_loss

    def spy(x, y, y_pred, *args, **kwargs):
        batches.append(keras.ops.convert_to_numpy(y).ravel().tolist())
        return train_on(x, y, y_pred, *args, **kwargs)

    monkeypatch.setattr(model.head, "compute_loss", spy)
    model.compile(optimizer=keras.optimizers.SGD(0.0), run_eagerly=True)
    _, labels = make_images()
    rows = sorted([*labels.tolist(), 0, 1, 2])  # and one text a class
    model.fit(*make_images(), epochs=2, batch_size=15, verbose=0)
    batches = batches[-2:]  # Keras builds on a batch of its own first
    assert [sorted(batch) for batch in batches] == [rows] * 2
    assert batches[0] != rows
    assert batches[0] != batches[1]


def test_fit_depends_on_the_seed_alone(tiny_preset):
    logits = []
    for seed in (3, 3, 4):
        model = CMMImageClassifier.from_preset(tiny_preset, NAMES)
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        model.fit(*make_images(), epochs=3, batch_size=4, seed=seed, verbose=0)
        logits.append(model.predict(make_images()[0]))
        np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.testing.assert_array_equal(logits[0], logits[1])
    assert (logits[0] != logits[2]).any()


def test_every_kind_of_input_gives_the_same_classifier(tiny_preset, tmp_path):
    tf = pytest.importorskip("tensorflow")
    torch = pytest.importorskip("torch")
    images, labels = make_images()
    images = [np.asarray(Image.fromarray(image).resize((48, 40))) for image in images]
    stack = np.stack(images)
    paths = [tmp_path / f"{number}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    tensors = torch.utils.data.TensorDataset(torch.from_numpy(stack), torch.from_numpy(labels))
    inputs = {
        "array": (stack, labels),
        "list": (images, labels.tolist()),
        "names": (images, [NAMES[label] for label in labels]),
        "one-hot": (images, np.eye(3)[labels]),
        "paths": ([str(path) for path in paths], labels),
        "pictures": ([Image.open(path) for path in paths], labels),
        "tf.data": (tf.data.Dataset.from_tensor_slices((stack, labels)).batch(5), None),
        "loader": (torch.utils.data.DataLoader(tensors, batch_size=5), None),
    }
    results = {}
    for name, (x, y) in inputs.items():
        model = CMMImageClassifier.from_preset(tiny_preset, NAMES)
        model.fit(x, y, epochs=3, verbose=0)
        results[name] = model.predict(x)
    for name, logits in results.items():
        np.testing.assert_allclose(logits, results["array"], atol=1e-3, err_msg=name)


def test_validation_data_class_weight_and_callbacks(model):
    x, y = make_images()
    stop = keras.callbacks.EarlyStopping("val_loss", patience=0, min_delta=100.0)
    history = model.fit(
        x, y, epochs=9, validation_data=make_images(6, seed=2), class_weight={0: 1.0, 1: 2.0, 2: 0},
        callbacks=[stop], verbose=0,
    ).history  # fmt: skip
    assert {"val_loss", "val_accuracy"} <= set(history)
    assert len(history["loss"]) == 2


def test_sample_weights_stay_with_their_samples(tiny_preset):
    """Wrong labels of weight zero must teach nothing, in whatever order the samples come."""
    x, y = make_images()
    noisy_x, noisy_y = [*x, *x], np.concatenate([y, (y + 1) % 3])
    weights = np.concatenate([np.ones(len(y)), np.zeros(len(y))])
    model = CMMImageClassifier.from_preset(tiny_preset, NAMES)
    model.compile(optimizer=keras.optimizers.Adam(0.05))
    model.fit(noisy_x, noisy_y, epochs=60, sample_weight=weights, verbose=0)
    assert model.evaluate(x, y, verbose=0)["accuracy"] > 0.9


def test_validation_split_has_every_class(model, monkeypatch):
    """Keras splits off the end; our data is sorted by class there."""
    fit = model.head.fit
    seen = {}

    def spy(batches, validation_data, **kwargs):
        seen["train"] = np.concatenate([y for _, y in batches])
        seen["validation"] = validation_data[1]
        return fit(batches, validation_data=validation_data, **kwargs)

    monkeypatch.setattr(model.head, "fit", spy)
    history = model.fit(*make_images(30), epochs=1, validation_split=0.5, verbose=0).history
    assert "val_loss" in history
    assert len(seen["train"]) == 15 + 3  # and one text a class
    assert len(seen["validation"]) == 15
    assert set(seen["train"]) == set(seen["validation"]) == {0, 1, 2}


@pytest.mark.parametrize("augmentation", [None, keras.layers.RandomFlip()], ids=["none", "flip"])
def test_the_learning_rate_ends_at_zero(model, augmentation):
    options = {"batch_size": 3, "augmentation": augmentation, "verbose": 0}
    model.fit(*make_images(), epochs=3, steps_per_epoch=2, **options)
    assert int(model.head.optimizer.iterations) == 6
    assert float(model.head.optimizer.learning_rate) == pytest.approx(0.0, abs=1e-9)
    model.fit(*make_images(), epochs=3, initial_epoch=1, **options)
    # Without an augmentation, there is a row of text a class beside the images.
    assert int(model.head.optimizer.iterations) == (10 if augmentation is None else 8)
    assert float(model.head.optimizer.learning_rate) == pytest.approx(0.0, abs=1e-9)


def test_own_optimizer_loss_and_metrics(model):
    model.compile(
        optimizer=keras.optimizers.SGD(0.1),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseTopKCategoricalAccuracy(k=2, name="top_2")],
    )
    history = model.fit(*make_images(), epochs=2, verbose=0).history
    assert "top_2" in history
    assert isinstance(model.head.optimizer, keras.optimizers.SGD)
    optimizer = model.head.optimizer
    model.fit(*make_images(), epochs=1, verbose=0)
    assert model.head.optimizer is optimizer
    assert int(optimizer.iterations) == 3


def test_augmentation_embeds_new_pixels_every_epoch(model, monkeypatch):
    seen = []
    embed_pixels = model.embedder.embed_pixels
    monkeypatch.setattr(
        model.embedder, "embed_pixels", lambda pixels: seen.append(pixels) or embed_pixels(pixels)
    )
    darken = []

    def augmentation(pixels):
        darken.append(pixels.shape)
        assert pixels.dtype == np.float32
        assert 0 <= pixels.min() <= pixels.max() <= 255
        return pixels / (1 + len(darken))

    history = model.fit(*make_images(), epochs=3, augmentation=augmentation, verbose=0).history
    # Keras may take one batch more, to learn its shape.
    assert darken[:3] == [(12, 32, 32, 3)] * 3
    assert len(darken) <= 4
    assert seen[0].max() > seen[1].max() > seen[2].max()
    assert len(history["loss"]) == 3
    seen.clear()
    model.fit(*make_images(), epochs=2, augmentation=keras.layers.RandomFlip(), verbose=0)
    assert (seen[0] != seen[1]).any()


def test_single_batches(model):
    images, labels = make_images()
    names = [NAMES[label] for label in labels]
    before = model.predict_on_batch(images)
    np.testing.assert_array_equal(before, model.predict(images))
    measured = model.test_on_batch(images, names, return_dict=True)
    assert measured == pytest.approx(model.evaluate(images, names, verbose=0), abs=1e-5)
    with pytest.raises(InputError, match="must be class names or class ids from 0 to 2"):
        model.train_on_batch(images, names, class_weight={"dog": 1.0})
    losses = [model.train_on_batch(images, names) for _ in range(20)]
    assert model.test_on_batch(images, names)[0] < losses[0][0]
    only_ants = model.test_on_batch(images, names, sample_weight=(labels == 0).astype("float32"))
    assert only_ants != model.test_on_batch(images, names)
    # A `fit` goes on from there: it does not put the head to the start of a first one.
    alpha = model.head.alpha
    model.fit(images, names, epochs=1, verbose=0)
    assert model.head.alpha == alpha


def test_single_batches_after_a_fit_go_on_learning(model):
    images, labels = make_images()
    model.fit(images, labels, verbose=0)
    before = model.predict(images)
    model.train_on_batch(images, labels)
    optimizer = model.head.optimizer
    model.train_on_batch(images, labels)
    assert model.head.optimizer is optimizer
    assert np.abs(model.predict(images) - before).max() > 1e-3


def test_single_batches_weigh_classes(tiny_preset):
    images, labels = make_images()
    predictions = []
    by_sample = np.array([3.0, 1.0, 0.5], "float32")[labels]
    for weights in (
        {"class_weight": {"ant": 3.0, "cat": 0.5}},
        {"sample_weight": by_sample},
    ):
        model = CMMImageClassifier.from_preset(tiny_preset, NAMES)
        model.train_on_batch(images, labels, **weights)
        predictions.append(model.predict(images))
    np.testing.assert_allclose(predictions[0], predictions[1], atol=1e-5)


def test_the_first_fit_starts_in_closed_form_and_later_ones_go_on(model):
    images, labels = make_images()
    model.fit(images, labels, epochs=1, verbose=0)
    assert type(model.recipe_) is AutoRecipe
    expected = CMMClassifier.from_text_embeddings(
        model.text_embeddings, logit_scale=model.head.logit_scale
    )
    AutoRecipe().prepare(expected, model.embed(images), labels)
    assert model.head.alpha == pytest.approx(expected.alpha, rel=1e-3)
    assert model.head.clip_weight == pytest.approx(expected.clip_weight, abs=1e-3)
    assert expected.alpha != 1.0
    assert expected.clip_weight != 1.0
    before = keras.ops.convert_to_numpy(model.head.mapping.kernel).copy()
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    model.fit(*make_images(seed=8), epochs=1, verbose=0)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model.head.mapping.kernel), before)


def test_own_and_saved_heads_are_not_started_anew(tiny_preset, trained, tmp_path):
    head = CMMClassifier(3, alpha=0.5, triplet_weight=2.0)
    own = CMMImageClassifier.from_preset(tiny_preset, NAMES, head=head)
    trained.save_to_preset(str(tmp_path / "model"))
    saved = CMMImageClassifier.from_preset(str(tmp_path / "model"))
    assert saved.head.temperature == trained.head.temperature
    for model, recipe in ((own, TrainingRecipe), (saved, AutoRecipe)):
        alpha = model.head.alpha
        model.fit(*make_images(), epochs=1, verbose=0)
        assert type(model.recipe_) is recipe
        assert model.head.alpha == alpha


@pytest.mark.parametrize("options", [{}, {"augmentation": lambda pixels: pixels, "epochs": 2}])
def test_later_fits_train_by_what_is_left_to_learn(tiny_preset, tmp_path, options):
    images, labels = make_images()
    model = CMMImageClassifier.from_preset(tiny_preset, NAMES)
    model.fit(images, labels, verbose=0)
    rate = model.recipe_.learning_rate
    temperature = model.head.temperature
    logits = model.predict(images)
    model.save_to_preset(str(tmp_path))
    saved = CMMImageClassifier.from_preset(str(tmp_path))
    for again in (model, saved):
        again.fit(images, labels, verbose=0, **options)
        assert type(again.recipe_) is AutoRecipe
        assert 0 < again.recipe_.learning_rate < rate
        assert again.head.temperature == temperature
        assert np.abs(again.predict(images) - logits).max() < 0.3 * np.abs(logits).max()
    # What the head is wrong about, it learns at a start's rate, and no faster.
    wrong = (labels + 1) % 3
    model.fit(images, wrong, verbose=0, **options)
    new = CMMImageClassifier.from_preset(tiny_preset, NAMES)
    new.fit(images, wrong, verbose=0, **options)
    assert model.recipe_.learning_rate == pytest.approx(new.recipe_.learning_rate)


def test_the_temperature_is_fitted_on_rows_that_were_not_trained_on(tiny_preset):
    images, labels = make_images()
    wrong = (labels + 1) % 3
    model = CMMImageClassifier.from_preset(tiny_preset, NAMES)
    model.fit(images, labels, validation_data=(images, wrong), epochs=300, verbose=0)
    assert model.head.temperature > 2.0
    logits = model.predict(images)
    assert (logits.argmax(axis=1) == labels).all()
    one_shot = CMMImageClassifier.from_preset(tiny_preset, NAMES)
    one_shot.fit([images[row] for row in (0, 4, 8)], labels[[0, 4, 8]], verbose=0)
    assert one_shot.head.temperature == 1.0


def test_every_fit_adjusts_the_logits_to_its_own_images(tiny_preset):
    images, labels = make_images()
    model = CMMImageClassifier.from_preset(tiny_preset, NAMES)

    def offsets(rows, **options):
        rows = list(rows)
        model.fit([images[row] for row in rows], labels[rows], epochs=1, verbose=0, **options)
        return model.head.train_offsets

    # A fit trains on a text row a class, too.
    first = logit_adjustment(np.array([0, 0, 0, 1, 1, 2]), 3, 1.5)
    np.testing.assert_allclose(offsets([0, 1, 4]), first, rtol=1e-6)
    second = logit_adjustment(np.array([0, 0, 1, 1, 1, 1, 2, 2]), 3, 1.5)
    np.testing.assert_allclose(offsets([0, 4, 5, 6, 8]), second, rtol=1e-6)
    np.testing.assert_array_equal(offsets(range(len(labels))), np.zeros(3))
    # Weights that balance the classes leave nothing to adjust.
    for balance in (
        {"class_weight": {0: 2.0, 1: 1.0, 2: 2.0}},
        {"sample_weight": np.array([3.0, 1.0, 1.0, 1.0, 3.0])},
    ):
        np.testing.assert_allclose(offsets([0, 4, 5, 6, 8], **balance), np.zeros(3), atol=1e-6)


def test_a_first_fit_that_was_broken_off_is_made_anew(tiny_preset):
    images, labels = make_images()

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    broken, model = (CMMImageClassifier.from_preset(tiny_preset, NAMES) for _ in range(2))
    with pytest.raises(KeyboardInterrupt):
        broken.fit(images, labels, callbacks=[Interrupt()], verbose=0)
    with pytest.raises(TypeError):
        broken.fit(images, labels, epoch=3, verbose=0)
    for one in (broken, model):
        one.fit(images, labels, verbose=0)
    assert type(broken.recipe_) is AutoRecipe
    np.testing.assert_allclose(broken.predict(images), model.predict(images), atol=1e-4)


def test_every_fit_with_validation_data_calibrates_the_head_that_it_trained(tiny_preset):
    images, labels = make_images()
    validation = (images, (labels + 1) % 3)
    model = CMMImageClassifier.from_preset(tiny_preset, NAMES)
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    for options in ({}, {"augmentation": lambda pixels: pixels}):
        model.head.temperature = 1.0
        model.fit(images, labels, validation_data=validation, epochs=1, verbose=0, **options)
        expected = fit_temperature(model.predict(images), validation[1])
        assert model.head.temperature == pytest.approx(expected, rel=1e-3)


def test_the_second_head_is_trained_as_the_first(tiny_preset):
    images, labels = make_images()
    labels[::4] = (labels[::4] + 1) % 3  # so that some are told wrongly
    temperatures = []
    for optimizer in (keras.optimizers.SGD(0.0), keras.optimizers.Adam(0.1)):
        model = CMMImageClassifier.from_preset(tiny_preset, NAMES)
        model.compile(optimizer=optimizer)
        model.fit(images, labels, verbose=0)
        temperatures.append(model.head.temperature)
        assert model.head.optimizer is optimizer
    assert temperatures[0] != pytest.approx(temperatures[1], rel=0.05)


@pytest.mark.parametrize("options", [{}, {"augmentation": lambda pixels: pixels, "epochs": 1}])
def test_a_sample_of_weight_zero_is_as_if_it_were_not_there(tiny_preset, options):
    images, labels = make_images()
    weights = np.repeat([1.0, 0.0], len(labels))
    models = [CMMImageClassifier.from_preset(tiny_preset, NAMES) for _ in range(2)]
    models[0].fit(images, labels, sample_weight=np.ones(len(labels)), verbose=0, **options)
    models[1].fit(
        [*images, *images],
        np.concatenate([labels, (labels + 1) % 3]),
        sample_weight=weights,
        verbose=0,
        **options,
    )
    assert models[0].head.alpha == pytest.approx(models[1].head.alpha)
    np.testing.assert_allclose(models[0].predict(images), models[1].predict(images), atol=0.01)
    with pytest.raises(InputError, match="not all 0"):
        models[0].fit(images, labels, sample_weight=np.zeros(len(labels)))
