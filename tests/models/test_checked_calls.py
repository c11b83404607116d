"""What a `CMMClassifier` refuses: data that would train or predict nonsense, without a word."""

import itertools

import keras
import numpy as np
import pytest
from heads import CLASSES, IMAGES, LABELS, ROWS, make_model

from keras_cmm_runtime.errors import InputError

METHODS = ("fit", "evaluate", "train_on_batch", "test_on_batch")
ONE_HOT = np.eye(CLASSES, dtype="float32")[LABELS]


def compiled(**arguments):
    model = make_model()
    model.compile(**arguments)
    return model


def call(model, method, x, y, **arguments):
    if not method.endswith("on_batch"):
        arguments["verbose"] = 0
    return getattr(model, method)(x, y, **arguments)


def changed(array, row, value):
    array = np.array(array)
    array[row] = value
    return array


def objects(array):
    return np.array(array, dtype=object)


BAD_EMBEDDINGS = {
    "NaN": (changed(IMAGES, 3, np.nan), "row 3 has NaN, infinite or too large values"),
    "infinity": (changed(IMAGES, (3, 1), np.inf), "row 3 has NaN, infinite or too large values"),
    "overflow of float16": (
        changed(IMAGES, 3, np.inf).astype("float16"),
        "row 3 has NaN, infinite or too large values",
    ),
    "overflow of float32": (changed(IMAGES.astype("float64"), 3, 1e300), "row 3 has NaN, infinite"),
    "squares that overflow": (changed(IMAGES, 3, 1e20), "row 3 has too large values"),
    "zeros": (changed(IMAGES, 3, 0), "row 3 has only zeros"),
    "nearly zeros": (changed(IMAGES, 3, 1e-16), "row 3 has the length 2.45e-16"),
    "one dimension": (IMAGES[0], r"shape \(rows, 6\), .* Received: an array of shape \(6,\)"),
    "three dimensions": (IMAGES[None], r"Received: an array of shape \(1, 24, 6\)"),
    "wrong width": (IMAGES[:, 1:], r"Received: an array of shape \(24, 5\)"),
    "no width": (IMAGES[:, :0], r"Received: an array of shape \(24, 0\)"),
    "complex": (IMAGES.astype("complex64"), "real numbers. Received: complex64"),
    "texts": (IMAGES.astype(str), "real numbers. Received: str"),
    "truth values": (IMAGES > 0, "real numbers. Received: bool"),
    "objects": (objects(IMAGES), "real numbers. Received: a ndarray of object"),
    "rows that differ": ([[1.0, 2.0], [1.0]], "must be an array, of rows of one length"),
    "masked": (np.ma.masked_greater(IMAGES, 1.0), "must have no masked values"),
    "a dict": ({"x": IMAGES}, "real numbers. Received: a dict of object"),
    "nothing": (None, "Received: None"),
}


@pytest.mark.backend_neutral
@pytest.mark.parametrize(("x", "message"), BAD_EMBEDDINGS.values(), ids=BAD_EMBEDDINGS)
def test_embeddings_without_a_direction(x, message):
    model = compiled()
    before = model.get_weights()
    for method in METHODS:
        with np.errstate(over="ignore"), pytest.raises(InputError, match=message):
            call(model, method, x, LABELS)
    for method in ("predict", "predict_on_batch"):
        with pytest.raises(InputError, match=message):
            getattr(model, method)(x)
    with pytest.raises(InputError, match=message):
        model.fit(IMAGES, LABELS, validation_data=(x, LABELS), verbose=0)
    for weight, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, other)


BAD_LABELS = {
    "too large": (changed(LABELS, 3, CLASSES), "values 0 to 4, such as 4"),
    "negative": (changed(LABELS, 3, -1), "values -1 to 3, such as -1"),
    "between": (changed(LABELS.astype("float32"), 3, 0.5), "such as 0.5"),
    "NaN": (changed(LABELS.astype("float32"), 3, np.nan), "such as nan"),
    "a truth value": ([True, *LABELS[1:].tolist()], "a truth value"),
    "truth values": (LABELS > 1, "a truth value"),
    "complex": (LABELS.astype("complex64"), "dtype complex64"),
    "names": ([f"class {label}" for label in LABELS], r"class_names.index\(label\).*'class 0'"),
    "names of arrays": (LABELS.astype(str), "knows no class names"),
    "too few": (LABELS[1:], "each of the 24 rows of `x`. Received: 23 labels"),
    "soft": (np.full((ROWS, CLASSES), 1 / CLASSES), "soft labels"),
    "one-hot of others": (np.eye(CLASSES + 1)[LABELS], r"shape \(24, 5\)"),
    "objects": (objects([None] * ROWS), "knows no class names"),
    "rows that differ": ([[1], *[[1, 2]] * (ROWS - 1)], "labels must be an array or a list"),
    "one number": (1, "labels must be an array or a list"),
    "nothing": (None, "`y` must hold the labels"),
}


@pytest.mark.backend_neutral
@pytest.mark.parametrize(("y", "message"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_labels_of_no_class(y, message):
    model = compiled()
    for method in METHODS:
        with pytest.raises(InputError, match=message):
            call(model, method, IMAGES, y)
    with pytest.raises(InputError, match=message):
        model.fit(IMAGES, LABELS, validation_data=(IMAGES, y), verbose=0)


@pytest.mark.parametrize(
    "y",
    [
        LABELS.tolist(),
        LABELS[:, None],
        LABELS.astype("uint8"),
        LABELS.astype("float64"),
        objects(LABELS.tolist()),
        pytest.param(ONE_HOT, marks=pytest.mark.backend_neutral),
        ONE_HOT.astype(bool),
        ONE_HOT.astype(int).tolist(),
        pytest.param(keras.ops.convert_to_tensor(LABELS), marks=pytest.mark.backend_neutral),
    ],
)
def test_labels_of_all_kinds_mean_the_same(y):
    expected = compiled().evaluate(IMAGES, LABELS, verbose=0, return_dict=True)
    model = compiled()
    assert model.evaluate(IMAGES, y, verbose=0, return_dict=True) == expected
    history = model.fit(IMAGES, y, validation_data=(IMAGES, y), epochs=2, verbose=0).history
    assert np.isfinite(history["val_loss"]).all()


@pytest.mark.parametrize(
    "x",
    [
        IMAGES.tolist(),
        IMAGES.astype("float64"),
        objects(IMAGES).astype("float32"),
        pytest.param(keras.ops.convert_to_tensor(IMAGES), marks=pytest.mark.backend_neutral),
        pytest.param(keras.ops.cast(IMAGES, "bfloat16"), marks=pytest.mark.backend_neutral),
    ],
)
def test_embeddings_of_all_kinds(x):
    expected = make_model().predict(IMAGES, verbose=0)
    logits = make_model().predict(x, verbose=0)
    np.testing.assert_allclose(logits, expected, atol=2.0)
    history = compiled().fit(x, LABELS, verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.backend_neutral
def test_no_rows():
    model = compiled()
    assert model.predict(IMAGES[:0], verbose=0).shape == (0, CLASSES)
    assert model.predict_on_batch(IMAGES[:0]).shape == (0, CLASSES)
    for method in METHODS:
        with pytest.raises(InputError, match="one embedding or more"):
            call(model, method, IMAGES[:0], LABELS[:0])


@pytest.mark.backend_neutral
def test_a_loss_of_one_hot_labels_takes_these_and_soft_ones():
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model = compiled(loss=loss)
    soft = 0.9 * ONE_HOT + 0.1 / CLASSES
    for y in (ONE_HOT, soft):
        assert np.isfinite(model.fit(IMAGES, y, verbose=0).history["loss"]).all()
    hard = model.evaluate(IMAGES, ONE_HOT, verbose=0, return_dict=True)
    assert model.evaluate(IMAGES, soft, verbose=0, return_dict=True)["loss"] > hard["loss"]
    for y in (-ONE_HOT, changed(ONE_HOT, 2, np.nan), changed(ONE_HOT, 2, 0)):
        with pytest.raises(InputError, match="one-hot or soft labels: finite numbers >= 0"):
            model.fit(IMAGES, y, verbose=0)


@pytest.mark.backend_neutral
@pytest.mark.parametrize("value", [np.nan, -1.0, np.inf])
def test_weights(value):
    model = compiled()
    weights = changed(np.ones(ROWS), 3, value)
    for method in METHODS:
        with pytest.raises(InputError, match="`sample_weight` must hold finite numbers >= 0"):
            call(model, method, IMAGES, LABELS, sample_weight=weights)
    with pytest.raises(InputError, match="`class_weight` must hold finite numbers >= 0"):
        model.fit(IMAGES, LABELS, class_weight={0: value}, verbose=0)
    with pytest.raises(InputError, match=r"class ids from 0 to 3\. Received: 4"):
        model.fit(IMAGES, LABELS, class_weight={4: 1.0}, verbose=0)


@pytest.mark.backend_neutral
def test_a_row_that_float16_cannot_hold():
    model = make_model(dtype="float16")
    large = changed(IMAGES, 3, 5e4)
    with pytest.raises(InputError, match="row 3 has too large values, of length"):
        model.predict(large, verbose=0)
    assert np.isfinite(make_model().predict(large, verbose=0)).all()


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y
        self.epochs = 0

    def __len__(self):
        return -(-len(self.x) // 5)

    def __getitem__(self, index):
        rows = slice(5 * index, 5 * index + 5)
        return self.x[rows], self.y[rows]

    def on_epoch_end(self):
        self.epochs += 1


def generator(x, y):
    return ((x[i : i + 5], y[i : i + 5]) for i in itertools.chain(*[range(0, len(x), 5)] * 3))


def tf_data(x, y):
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(5)


def torch_loader(x, y):
    data = pytest.importorskip("torch").utils.data
    return data.DataLoader(list(zip(x, y, strict=True)), batch_size=5)


STREAMS = (Batches, generator, tf_data, torch_loader)


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(Batches, marks=pytest.mark.backend_neutral),
        generator,
        pytest.param(tf_data, marks=pytest.mark.backend_neutral),
        torch_loader,
    ],
)
@pytest.mark.parametrize("y", [LABELS, ONE_HOT], ids=["ids", "one-hot"])
def test_data_sets_train_as_arrays_do(stream, y):
    expected, model = compiled(), compiled()
    arguments = {"shuffle": False, "epochs": 2, "verbose": 0}
    expected.fit(IMAGES, LABELS, batch_size=5, **arguments)
    steps = {"steps_per_epoch": 5, "validation_steps": 5} if stream is generator else {}
    model.fit(stream(IMAGES, y), validation_data=stream(IMAGES, y), **steps, **arguments)
    for weight, other in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, atol=1e-5)
    steps = {"steps": 5} if stream is generator else {}
    logits = model.predict(stream(IMAGES, y), verbose=0, **steps)
    np.testing.assert_allclose(logits, expected.predict(IMAGES, verbose=0), atol=1e-3)


@pytest.mark.backend_neutral
@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (changed(IMAGES, 13, np.nan), LABELS, "row 3 has NaN, infinite or too large values"),
        (IMAGES, changed(LABELS, 13, CLASSES), "such as 4"),
        (IMAGES, changed(LABELS, 13, -1), "such as -1"),
        (IMAGES, changed(LABELS.astype("float32"), 13, 0.5), "such as 0.5"),
    ],
)
def test_data_sets_are_checked_while_they_are_read(stream, x, y, message):
    model = compiled()
    with pytest.raises(InputError, match=message):
        model.fit(stream(x, y), shuffle=False, verbose=0)
    with pytest.raises(InputError, match=message):
        model.fit(IMAGES, LABELS, validation_data=stream(x, y), verbose=0)
    with pytest.raises(InputError, match=message):
        model.evaluate(stream(x, y), verbose=0)
    if y is LABELS:
        with pytest.raises(InputError, match=message):
            model.predict(stream(x, y), verbose=0)


@pytest.mark.backend_neutral
@pytest.mark.parametrize("row", [2, 13])
def test_a_bad_batch_loses_no_weights(row):
    model = compiled()
    model.fit(IMAGES, LABELS, verbose=0)
    before = model.get_weights()
    bad = changed(IMAGES, row, np.nan)
    for method in ("evaluate", "predict"):
        with pytest.raises(InputError):
            getattr(model, method)(Batches(bad, LABELS), verbose=0)
    with pytest.raises(InputError):
        model.fit(Batches(changed(IMAGES, 2, np.nan), LABELS), shuffle=False, verbose=0)
    for weight, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, other)

    def breaking():
        yield IMAGES, LABELS
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        model.predict(breaking(), verbose=0)
    new = compiled()
    with pytest.raises(InputError):
        new.fit(Batches(bad, LABELS), shuffle=False, verbose=0)
    assert np.isfinite(new.fit(IMAGES, LABELS, verbose=0).history["loss"]).all()


def test_a_data_set_sees_its_epochs_end():
    batches, others = Batches(IMAGES, LABELS), Batches(IMAGES, LABELS)
    compiled().fit(batches, epochs=3, verbose=0)
    plain = keras.Sequential([keras.layers.Dense(CLASSES)])
    plain.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    plain.fit(others, epochs=3, verbose=0)
    assert batches.epochs == others.epochs >= 3


@pytest.mark.parametrize(("epochs", "lines"), [(2, 2), (20, 20), (50, 17), (150, 19)])
def test_a_line_an_epoch_and_at_most_20(epochs, lines, capsys):
    compiled().fit(IMAGES, LABELS, batch_size=ROWS, epochs=epochs)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == lines
    assert printed[-1].startswith(f"Epoch {epochs}/{epochs} - ")
    assert "loss: " in printed[-1]


def test_bars_for_who_asks_for_them(capsys):
    compiled().fit(IMAGES, LABELS, batch_size=ROWS, epochs=21, verbose=1)
    assert capsys.readouterr().out.count("Epoch ") == 21
    compiled().fit(IMAGES, LABELS, batch_size=ROWS, verbose=0)
    assert capsys.readouterr().out == ""


@pytest.mark.backend_neutral
@pytest.mark.parametrize("kind", ["NaN", "squares that overflow", "zeros", "nearly zeros"])
def test_texts_without_a_direction(kind):
    x, message = BAD_EMBEDDINGS[kind]
    with pytest.raises(InputError, match=message):
        make_model().assign_text_embeddings(x[:CLASSES])


@pytest.mark.backend_neutral
def test_texts_that_are_no_numbers():
    for kind in ("complex", "texts", "objects", "rows that differ", "masked"):
        x, message = BAD_EMBEDDINGS[kind]
        with pytest.raises(InputError, match=message.replace("`x`", "`text_embeddings`")):
            make_model().assign_text_embeddings(x[:CLASSES])
