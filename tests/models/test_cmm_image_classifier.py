import shutil
import subprocess
import sys

import keras
import keras_hub
import numpy as np
import pytest
from PIL import Image
from tiny_clip import DIM

import keras_cmm
from keras_cmm import (
    AutoRecipe,
    CMMClassifier,
    CMMImageClassifier,
    InputError,
    TrainingRecipe,
)
from keras_cmm.clip import EmbeddingStore, TextEmbedder, load, logit_scale
from keras_cmm.recipes import fit_temperature, logit_adjustment

NAMES = ["ant", "bee", "cat"]


def make_images(count=12, seed=0):
    """Class 0 is red, 1 green, 2 blue, all noisy, of mixed sizes."""
    rng = np.random.default_rng(seed)
    images, labels = [], []
    for number in range(count):
        label = number * len(NAMES) // count  # sorted by class, as folders are
        image = rng.integers(0, 60, (40 + number, 50, 3))
        image[..., label] += 190
        images.append(image.astype("uint8"))
        labels.append(label)
    return images, np.array(labels)


@pytest.fixture
def model(tiny_preset):
    return CMMImageClassifier.from_preset(tiny_preset, NAMES)


@pytest.fixture(scope="module")
def trained(tiny_preset):
    model = CMMImageClassifier.from_preset(tiny_preset, NAMES)
    model.compile(optimizer=keras.optimizers.Adam(0.05))
    model.fit(*make_images(), epochs=60, verbose=0)
    return model


def test_a_new_classifier_is_zero_shot_clip(model, tiny_preset):
    clip_model = load(tiny_preset)
    prompts = [[f"a photo of a {name}."] for name in NAMES]
    prototypes = TextEmbedder(clip_model).class_prototypes(prompts)
    images, _ = make_images()
    np.testing.assert_allclose(model.text_embeddings, prototypes, atol=1e-6)
    # Both branches see the same cosines, so the fused logits are (1 + alpha) times CLIP's.
    expected = 2 * logit_scale(clip_model.backbone) * model.embed(images) @ prototypes.T
    np.testing.assert_allclose(model.predict(images), expected, atol=1e-4)


def test_fit_learns_from_raw_images(trained):
    images, labels = make_images(seed=1)
    logits = trained.predict(images)
    assert logits.shape == (12, 3)
    assert (logits.argmax(axis=1) == labels).mean() > 0.9
    assert trained.evaluate(images, labels, verbose=0)["accuracy"] > 0.9


def test_fit_returns_the_history_of_the_head(model):
    history = model.fit(*make_images(), epochs=2, verbose=0).history
    assert set(history) == {"loss", "cross_entropy", "triplet", "contrastive", "accuracy"}
    assert len(history["loss"]) == 2


def test_each_image_is_embedded_once(model, monkeypatch):
    seen = []
    embed_pixels = model.embedder.embed_pixels
    monkeypatch.setattr(
        model.embedder, "embed_pixels", lambda pixels: seen.extend(pixels) or embed_pixels(pixels)
    )
    model.fit(*make_images(), epochs=5, verbose=0)
    assert len(seen) == 12


def test_a_store_keeps_embeddings_from_fit_to_fit(model, tiny_preset, tmp_path):
    images, labels = make_images()
    model.embedder.store = EmbeddingStore(tmp_path / "store")
    expected = model.fit(images, labels, epochs=1, verbose=0).history["loss"]
    assert model.embedder.store.taken == 0
    model.fit(images, labels, epochs=1, validation_data=(images, labels), verbose=0)
    assert model.embedder.store.taken == 2 * len(images)

    folder = tmp_path / "model"
    model.save_to_preset(folder)
    saved = CMMImageClassifier.from_preset(folder)
    assert saved.embedder.store is None
    for other in (saved, CMMImageClassifier.from_preset(tiny_preset, NAMES)):
        other.embedder.store = EmbeddingStore(tmp_path / "store")
        other.predict(images)
        assert other.embedder.store.taken == len(images)
    assert other.fit(images, labels, epochs=1, verbose=0).history["loss"] == expected


def test_the_backbone_is_frozen(model):
    before = [keras.ops.convert_to_numpy(weight).copy() for weight in model.backbone.weights]
    model.fit(*make_images(), epochs=3, verbose=0)
    for weight, value in zip(model.backbone.weights, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), value)
    assert len(model.trainable_variables) == 2  # the map and the prototypes


def test_the_backbone_stays_frozen_whatever_is_thawed(tiny_preset):
    model = CMMImageClassifier.from_preset(tiny_preset, NAMES)
    for value, number in ((False, 0), (True, 2)):
        model.trainable = value
        assert model.trainable is value
        assert len(model.trainable_variables) == number
        outer = keras.Sequential([model])
        outer.trainable = value
        assert len(outer.trainable_variables) == number


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


def test_classify_and_embed(trained):
    images, _ = make_images()
    guesses = trained.classify(images, top_k=2)
    assert [len(guess) for guess in guesses] == [2] * 12
    logits = trained.predict(images).astype("float64") / trained.head.temperature
    probabilities = np.exp(logits)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    for guess, row in zip(guesses, probabilities, strict=True):
        assert guess[0][0] == NAMES[row.argmax()]
        assert guess[0][1] == pytest.approx(row.max(), abs=1e-5)
        assert guess[0][1] >= guess[1][1]
    assert trained.classify(images[:1], top_k=9)[0].__len__() == 3
    assert trained.embed(images).shape == (12, DIM)
    assert trained.predict([]).shape == (0, 3)
    with pytest.raises(ValueError, match="top_k=0"):
        trained.classify(images, top_k=0)


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


def test_weights_of_single_batches(model):
    images, labels = make_images(3)
    model.train_on_batch(images, labels, sample_weight=[1.0, 2.0, 1.0])
    for of_a_batch in (model.train_on_batch, model.test_on_batch):
        with pytest.raises(InputError, match="one weight for each of the 3 samples"):
            of_a_batch(images, labels, sample_weight=[1.0, 2.0])


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


def test_direct_call_takes_preprocessed_pixels(trained):
    images, _ = make_images()
    pixels = np.stack([trained.embedder.preprocessor(image) for image in images])
    logits = keras.ops.convert_to_numpy(trained(pixels))
    np.testing.assert_allclose(logits, trained.predict(images), atol=1e-4)


def test_a_bias_of_the_map_is_the_same_in_fit_and_in_a_direct_call(tiny_preset):
    head = CMMClassifier(3, mapping=keras_cmm.CrossModalMapping(use_bias=True))
    model = CMMImageClassifier.from_preset(tiny_preset, NAMES, head=head)
    model.fit(*make_images(), epochs=20, verbose=0)
    assert np.abs(keras.ops.convert_to_numpy(head.mapping.bias)).max() > 0
    test_direct_call_takes_preprocessed_pixels(model)


# Saving


def run_python(code, *arguments):
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr


def test_preset_in_a_new_process_predicts_the_same(trained, tmp_path):
    images, _ = make_images()
    np.savez(tmp_path / "images.npz", *images)
    trained.save_to_preset(str(tmp_path / "model"))
    run_python(
        "import sys, numpy as np, keras_cmm;"
        "images = list(np.load(sys.argv[1]).values());"
        "model = keras_cmm.CMMImageClassifier.from_preset(sys.argv[2]);"
        "np.save(sys.argv[3], model.predict(images))",
        tmp_path / "images.npz",
        tmp_path / "model",
        tmp_path / "logits.npy",
    )
    np.testing.assert_array_equal(np.load(tmp_path / "logits.npy"), trained.predict(images))


def test_keras_file_predicts_the_same_and_goes_on_training(trained, tmp_path):
    images, labels = make_images()
    trained.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(images), trained.predict(images))
    assert again.class_names == tuple(NAMES)
    assert again.evaluate(images, labels, verbose=0) == trained.evaluate(images, labels, verbose=0)
    again.fit(images, labels, epochs=1, verbose=0)
    texts = ["ant", "a photo of a bee."]
    np.testing.assert_array_equal(
        TextEmbedder(again._clip_model()).embed(texts),
        TextEmbedder(trained._clip_model()).embed(texts),
    )


def test_keras_hub_finds_the_class_of_a_saved_classifier(trained, tmp_path):
    trained.save_to_preset(str(tmp_path))
    again = keras_hub.models.ImageClassifier.from_preset(str(tmp_path))
    assert isinstance(again, CMMImageClassifier)
    images, _ = make_images()
    np.testing.assert_array_equal(again.predict(images), trained.predict(images))
    half = CMMImageClassifier.from_preset(tmp_path, dtype="bfloat16")
    assert half.backbone.compute_dtype == "bfloat16"
    assert half.head.compute_dtype == "float32"
    assert (half.predict(images).argmax(axis=1) == trained.predict(images).argmax(axis=1)).all()


def test_custom_compile_arguments_survive_a_keras_file(model, tmp_path):
    model.compile(optimizer=keras.optimizers.SGD(0.25), metrics=["accuracy"])
    model.fit(*make_images(), epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    again.fit(*make_images(), epochs=1, verbose=0)
    assert isinstance(again.head.optimizer, keras.optimizers.SGD)
    assert float(again.head.optimizer.learning_rate) == 0.25


def test_new_classes_on_a_saved_classifier_start_from_their_texts(trained, tmp_path):
    trained.save_to_preset(str(tmp_path))
    other = CMMImageClassifier.from_preset(tmp_path, ["dog", "emu"])
    fresh = TextEmbedder(other._clip_model()).class_prototypes(
        [["a photo of a dog."], ["a photo of a emu."]]
    )
    np.testing.assert_allclose(other.text_embeddings, fresh, atol=1e-6)


def test_num_classes_is_refused(trained, tmp_path):
    """keras-hub drops the head when `num_classes` is given, and says nothing."""
    trained.save_to_preset(str(tmp_path))
    with pytest.raises(ValueError, match="follows from `class_names`"):
        CMMImageClassifier.from_preset(tmp_path, num_classes=3)
    with pytest.raises(ValueError, match="takes no other arguments"):
        CMMImageClassifier.from_preset(tmp_path, template="a {}.")


# Construction


def test_templates_and_descriptions(tiny_preset):
    descriptions = {"ant": ["An ant is small."], "bee": ["A bee hums."], "cat": ["A cat purrs."]}
    model = CMMImageClassifier.from_preset(
        tiny_preset, NAMES, template=["a {}.", "the {}."], descriptions=descriptions
    )
    embedder = TextEmbedder(model._clip_model())
    expected = embedder.class_prototypes(
        [[f"a {name}.", f"the {name}.", *descriptions[name]] for name in NAMES]
    )
    np.testing.assert_allclose(model.text_embeddings, expected, atol=1e-6)
    config = model.get_config()
    assert config["template"] == ["a {}.", "the {}."]
    assert config["descriptions"] == descriptions


def test_own_head(tiny_preset):
    head = CMMClassifier(3, alpha=0.5, triplet_weight=2.0, train_prototypes=False)
    model = CMMImageClassifier.from_preset(tiny_preset, NAMES, head=head)
    assert model.head is head
    assert len(model.trainable_variables) == 1
    own = np.eye(3, DIM, dtype="float32")
    built = CMMClassifier.from_text_embeddings(own)
    model = CMMImageClassifier.from_preset(tiny_preset, NAMES, head=built)
    np.testing.assert_array_equal(model.text_embeddings, own)
    with pytest.raises(ValueError, match="a head of 2 classes"):
        CMMImageClassifier.from_preset(tiny_preset, NAMES, head=CMMClassifier(2))


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


def test_saved_before_its_first_fit_it_is_started_all_the_same(tiny_preset, tmp_path):
    images, labels = make_images()
    model = CMMImageClassifier.from_preset(tiny_preset, NAMES)
    model.save_to_preset(str(tmp_path / "model"))
    model.save(tmp_path / "model.keras")
    model.fit(images, labels, verbose=0)
    for again in (
        CMMImageClassifier.from_preset(str(tmp_path / "model")),
        keras.saving.load_model(tmp_path / "model.keras"),
    ):
        again.fit(images, labels, verbose=0)
        assert type(again.recipe_) is AutoRecipe
        np.testing.assert_allclose(again.predict(images), model.predict(images), atol=1e-4)
        assert again.head.temperature == pytest.approx(model.head.temperature)


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


def test_embeddings_need_one_label_each(model):
    images, labels = make_images()
    rows = model.embed(images)
    with pytest.raises(InputError, match=r"12 embeddings and 11 labels"):
        model.fit_embeddings(rows, labels[1:])
    with pytest.raises(InputError, match=r"11 embeddings and 12 labels"):
        model.fit_embeddings(rows, labels, validation_data=(rows[1:], labels))
    with pytest.raises(InputError, match="3 parts"):
        model.fit_embeddings(rows, labels, validation_data=(rows, labels, labels))
    with pytest.raises(InputError, match="Received: a ndarray"):
        model.fit_embeddings(rows, labels, validation_data=rows)


def test_weights_alone_restore_a_fitted_classifier(trained, tiny_preset, tmp_path):
    images, _ = make_images()
    trained.save_weights(tmp_path / "model.weights.h5")
    again = CMMImageClassifier.from_preset(tiny_preset, NAMES)
    again.predict(images)
    again.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(again.predict(images), trained.predict(images), atol=1e-4)
    assert again.head.temperature == trained.head.temperature
    # And `fit` goes on from there, while the weights of a new classifier leave it to be started.
    alpha = again.head.alpha
    again.fit(*make_images(4), epochs=1, verbose=0)
    assert again.head.alpha == alpha
    new = CMMImageClassifier.from_preset(tiny_preset, NAMES)
    new.save_weights(tmp_path / "new.weights.h5")
    new.load_weights(tmp_path / "new.weights.h5")
    new.fit(*make_images(), epochs=1, verbose=0)
    assert type(new.recipe_) is AutoRecipe


def test_naming_the_classes_of_a_saved_classifier_warns(trained, tmp_path):
    trained.save_to_preset(str(tmp_path))
    with pytest.warns(UserWarning, match="leave out `class_names` to load the saved one"):
        CMMImageClassifier.from_preset(tmp_path, NAMES)


def test_class_weight_by_name_or_id(model, tiny_preset):
    def first_loss(**weights):
        model = CMMImageClassifier.from_preset(tiny_preset, NAMES)
        return model.fit(*make_images(), epochs=1, verbose=0, **weights).history["loss"]

    by_id = first_loss(class_weight={0: 100.0, 1: 1.0, 2: 1.0})
    assert first_loss(class_weight={"ant": 100.0, "bee": 1.0, "cat": 1.0}) == by_id
    assert first_loss() != by_id
    accented = CMMImageClassifier.from_preset(tiny_preset, ["caf\u00e9", "tea"])
    images, labels = make_images()
    for name in ("caf\u00e9", "cafe\u0301"):
        accented.fit(images, labels % 2, epochs=1, verbose=0, class_weight={name: 2.0, "tea": 1.0})
    for unusable, message in (
        ({"dog": 1.0}, "Received: 'dog'"),
        ({17: 1.0}, "Received: 17"),
        ("balanced", "must be a dict .* Received: 'balanced'"),
        ({0: -1.0}, r"finite numbers >= 0. Received: \[-1.0\]"),
        ({0: 1.0, 1: float("nan")}, "finite numbers >= 0"),
        ({"ant": "2"}, "finite numbers >= 0"),
    ):
        with pytest.raises(InputError, match=message):
            model.fit(*make_images(), class_weight=unusable)
    # Before any image is read.
    with pytest.raises(InputError, match="`class_weight` and `sample_weight` cannot be used toge"):
        model.fit(["absent.png"], [0], class_weight={0: 2.0}, sample_weight=np.ones(1))


def test_a_data_set_that_counts_its_classes_in_another_order_is_refused(model, tmp_path):
    images, labels = make_images()
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = tmp_path / ["cat", "bee", "ant"][label]
        folder.mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
    read = keras.utils.image_dataset_from_directory
    model.fit(read(tmp_path, image_size=(32, 32), verbose=False), epochs=1, verbose=0)
    other = read(tmp_path, class_names=["cat", "bee", "ant"], image_size=(32, 32), verbose=False)
    for use in (model.fit, model.evaluate, model.test_on_batch, model.train_on_batch):
        with pytest.raises(InputError, match="in another order"):
            use(other)
    first = read(tmp_path, image_size=(32, 32), verbose=False)
    # Without its first class, the class ids of a data set are those of others.
    shutil.rmtree(tmp_path / "ant")
    fewer = read(tmp_path, image_size=(32, 32), verbose=False)
    with pytest.raises(InputError, match="without some of them"):
        model.fit(first, validation_data=fewer)
    shutil.rmtree(tmp_path / "cat")
    (tmp_path / "ant").mkdir()
    fewer = read(tmp_path, image_size=(32, 32), verbose=False)
    assert fewer.class_names == ["ant", "bee"]
    model.evaluate(fewer, verbose=0)


def test_tf_data_of_paths(model, tmp_path):
    import tensorflow as tf

    images, labels = make_images()
    paths = [str(tmp_path / f"{number}.png") for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    dataset = tf.data.Dataset.from_tensor_slices((paths, labels))
    for each in (dataset, dataset.batch(5)):
        np.testing.assert_array_equal(model.predict(each), model.predict(images))
    encoded = dataset.map(lambda path, label: (tf.io.read_file(path), label))
    np.testing.assert_array_equal(model.predict(encoded.batch(5)), model.predict(images))


def test_classes_that_share_a_text_are_never_negatives(tiny_preset):
    names = ["missile", "bee", "missile "]
    model = CMMImageClassifier.from_preset(tiny_preset, names)
    assert model.head.triplet_loss.duplicate_groups == [[0, 2]]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["ant"], "two names or more"),
        (["ant", "ant"], "Received twice: 'ant'"),
        ("ant", "a list of strings"),
        ([1, 2], "a list of strings"),
        ({"ant", "bee"}, "whose order is that of the class ids"),
        (["ant", " "], "none blank"),
        (["ant", "caf\udce9"], "valid Unicode"),
    ],
)
def test_bad_class_names(tiny_preset, names, message):
    with pytest.raises(InputError, match=message):
        CMMImageClassifier.from_preset(tiny_preset, names)


def test_what_is_no_saved_classifier(tiny_preset, tmp_path):
    with pytest.raises(InputError, match="is no saved CMM classifier"):
        CMMImageClassifier.from_preset(tiny_preset)
    with pytest.raises(InputError, match="holds no model"):
        CMMImageClassifier.from_preset(tmp_path)
    with pytest.raises(InputError, match="is no saved CMM classifier"):
        CMMImageClassifier.from_preset("no_such_preset")


def test_a_damaged_saved_classifier_is_called_so(trained, tmp_path):
    folder = tmp_path / "saved"
    trained.save_to_preset(folder)
    task = folder / "task.json"
    whole = task.read_bytes()
    for damage in (b"", whole[:-20], b"\xff" + whole, b'["CMMImageClassifier"]'):
        task.write_bytes(damage)
        with pytest.raises(InputError, match=r"task\.json: is damaged .*fit the classifier again"):
            CMMImageClassifier.from_preset(folder)


def test_arguments_of_fit_that_make_no_sense(model):
    x, y = make_images()
    with pytest.raises(ValueError, match="always shuffled"):
        model.fit(x, y, shuffle=False)
    model.fit(x, y, epochs=1, shuffle=True, verbose=0)
    with pytest.raises(InputError, match=r"must be images, .* a dict with the keys images"):
        model.fit({"images": x}, y)
    grey = np.zeros((6, 28, 28), "uint8")
    with pytest.raises(InputError, match=r"of shape \(6, 28, 28\); .* needs a channel axis"):
        model.fit(grey, y[::2])
    model.fit(grey[..., None], y[::2], epochs=1, verbose=0)
    with pytest.raises(InputError, match="Received: 3 parts"):
        model.fit(x, y, validation_data=(x, y, np.ones(12)))
    with pytest.raises(ValueError, match="cannot be used with `augmentation`"):
        model.fit(x, y, validation_split=0.5, augmentation=keras.layers.RandomFlip())
    for arguments in ({"epochs": 0}, {"epochs": 2.5}, {"batch_size": 0}):
        with pytest.raises(ValueError, match=r"must be an int >= 1. Received: "):
            model.fit(x, y, **arguments)
    for split in (-0.5, 1.0):
        with pytest.raises(ValueError, match="`validation_split` must be a float >= 0 and < 1"):
            model.fit(x, y, validation_split=split)
    with pytest.raises(ValueError, match="must hold out one sample or more"):
        model.fit(x, y, validation_split=0.05)
    for weight in (-1.0, np.nan):
        with pytest.raises(InputError, match="`sample_weight` must hold finite numbers >= 0"):
            model.fit(x, y, sample_weight=np.full(12, weight))
    for loss in ("sparse_categorical_crossentropy", keras.losses.CategoricalCrossentropy()):
        with pytest.raises(ValueError, match="`loss` must be of logits"):
            model.compile(loss=loss)
    for metric in ("sparse_categorical_crossentropy", keras.metrics.CategoricalCrossentropy()):
        with pytest.raises(ValueError, match="`metrics` must be of logits"):
            model.compile(metrics=["accuracy", metric])
    for metric in (
        "categorical_accuracy",
        "AUC",
        keras.metrics.TopKCategoricalAccuracy(2),
        keras.metrics.F1Score(),
        keras.metrics.Precision(),
        keras.metrics.Recall(),
    ):
        for argument in ("metrics", "weighted_metrics"):
            with pytest.raises(ValueError, match=f"`{argument}` must take class ids and logits"):
                model.compile(**{argument: [metric]})
    with pytest.raises(ValueError, match="`loss` must take class ids"):
        model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    metric = keras.metrics.SparseCategoricalCrossentropy(from_logits=True)
    top_2 = keras.metrics.SparseTopKCategoricalAccuracy(2)
    recall = keras.metrics.MeanMetricWrapper(lambda y, logits: logits[:, 0], name="own_recall")

    class OwnF1Score(keras.metrics.F1Score):
        def update_state(self, y, logits, sample_weight=None):
            super().update_state(keras.ops.one_hot(y, 3), logits)

    own = ["accuracy", metric, top_2, "sparse_categorical_accuracy", recall, OwnF1Score()]
    model.compile(metrics=own)
    assert model.evaluate(x, y, verbose=0)["f1_score"].shape == (3,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epoch": 5}, "unexpected keyword argument 'epoch'"),
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"seed": -1}, "seed=-1"),
        ({"validation_split": 1.5}, "Received: 1.5"),
        ({"validation_split": 0.01}, "0.01, with 3 samples"),
        ({"sample_weight": [1.0, 1.0]}, "for each of the 3 samples"),
        ({"y": [0, 1, 3]}, "values 0 to 3"),
        ({"y": ["ant", "bee", "dog"]}, "label 'dog'"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"augmentation": lambda pixels: pixels}])
def test_mistakes_in_arguments_are_found_before_an_image_is_read(
    model, arguments, message, options
):
    arguments = {"y": [0, 1, 2], "validation_data": (["absent.png"], [0])} | arguments
    if "validation_split" in arguments:
        del arguments["validation_data"]
    with pytest.raises((TypeError, ValueError), match=message):
        model.fit(["absent.png"] * 3, **arguments, **options)


def test_callbacks_that_set_the_learning_rate_need_an_optimizer_of_ones_own(model):
    callbacks = [
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.5 * rate),
        keras.callbacks.ReduceLROnPlateau("loss"),
    ]
    for each in (*callbacks, callbacks, keras.callbacks.CallbackList(callbacks)):
        with pytest.raises(ValueError, match="cannot be used with the default optimizer"):
            model.fit(["absent.png"], [0], callbacks=each)
    model.compile(optimizer=keras.optimizers.AdamW(0.5))
    model.fit(*make_images(3), epochs=2, callbacks=callbacks, verbose=0)
    assert float(model.head.optimizer.learning_rate) == 0.125


def test_embeddings_that_cannot_be_used(model):
    images, labels = make_images()
    rows = model.embed(images)
    with pytest.raises(InputError, match=rf"must have shape \(images, {DIM}\)"):
        model.fit_embeddings(rows[:, 1:], labels)
    with pytest.raises(InputError, match="must be finite"):
        model.fit_embeddings(np.where(rows > 0, rows, np.nan), labels)


def test_labels_are_asked_for(model):
    images, _ = make_images()
    with pytest.raises(InputError, match="`y` must hold the labels"):
        model.fit(images)
    with pytest.raises(InputError, match="Received: images alone"):
        model.fit(iter([np.stack([images[0]] * 2)]))
    with pytest.raises(InputError, match="at least one labelled image"):
        model.fit([], [])


def test_import_is_light():
    run_python(
        "import sys, keras_cmm;"
        "heavy = {'keras_hub', 'tensorflow', 'tensorflow_datasets'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
