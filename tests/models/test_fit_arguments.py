import shutil

import keras
import numpy as np
import pytest
from pictures import NAMES, make_images
from PIL import Image
from tiny_clip import DIM

from keras_cmm import (
    CMMImageClassifier,
    InputError,
)


def test_weights_of_single_batches(model):
    images, labels = make_images(3)
    model.train_on_batch(images, labels, sample_weight=[1.0, 2.0, 1.0])
    for of_a_batch in (model.train_on_batch, model.test_on_batch):
        with pytest.raises(InputError, match="one weight for each of the 3 samples"):
            of_a_batch(images, labels, sample_weight=[1.0, 2.0])


def test_embeddings_need_one_label_each(model):
    images, labels = make_images()
    rows = model.embed(images)
    with pytest.raises(InputError, match=r"each of the 12 rows of `x`\. Received: 11 labels"):
        model.fit_embeddings(rows, labels[1:])
    with pytest.raises(InputError, match=r"each of the 11 rows of `x`\. Received: 12 labels"):
        model.fit_embeddings(rows, labels, validation_data=(rows[1:], labels))
    with pytest.raises(InputError, match="3 parts"):
        model.fit_embeddings(rows, labels, validation_data=(rows, labels, labels))
    with pytest.raises(InputError, match="Received: a ndarray"):
        model.fit_embeddings(rows, labels, validation_data=rows)


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
        with pytest.raises(ValueError, match="`validation_split` must be a float in \\[0, 1\\)"):
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
        ({"validation_split": 1.5}, "validation_split=1.5"),
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
    with pytest.raises(InputError, match=rf"of shape \(rows, {DIM}\)"):
        model.fit_embeddings(rows[:, 1:], labels)
    with pytest.raises(InputError, match="row 0 has NaN, infinite"):
        model.fit_embeddings(np.where(rows > 0, rows, np.nan), labels)


def test_labels_are_asked_for(model):
    images, _ = make_images()
    with pytest.raises(InputError, match="`y` must hold the labels"):
        model.fit(images)
    with pytest.raises(InputError, match="Received: images alone"):
        model.fit(iter([np.stack([images[0]] * 2)]))
    with pytest.raises(InputError, match="at least one labelled image"):
        model.fit([], [])
