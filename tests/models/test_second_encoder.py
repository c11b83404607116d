"""A head on the embeddings of CLIP and of a second encoder."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_cmm import AutoRecipe, CMMClassifier
from keras_cmm.evaluation import MappedEmbeddings
from keras_cmm.export import head_graph
from keras_cmm.models.head_file import HeadFile
from keras_cmm_runtime.errors import InputError

pytestmark = pytest.mark.backend_neutral

CLASSES, DIM, ALSO = 4, 8, 5
RNG = np.random.default_rng(0)
TEXTS = np.linalg.qr(RNG.normal(size=(DIM, CLASSES)))[0].T.astype("float32")
SEEN = RNG.normal(size=(CLASSES, ALSO))
LABELS = np.arange(16) % CLASSES
IMAGES = (TEXTS[LABELS] + 0.4 * RNG.normal(size=(16, DIM))).astype("float32")
SECOND = (SEEN[LABELS] + 0.4 * RNG.normal(size=(16, ALSO))).astype("float32")
JOINED = np.concatenate([IMAGES, SECOND], axis=1)
RECIPE = AutoRecipe(min_steps=10)
ABOUT = {
    "preprocessing": {},
    "backbone": {"preset": None, "weights": "none", "dtype": "float32"},
    "prompts": {"template": "{}", "descriptions": None},
}


def make_head(**options):
    return CMMClassifier.from_text_embeddings(TEXTS, logit_scale=20.0, also_dim=ALSO, **options)


def train(head, rows=None, x=JOINED, labels=LABELS, **arguments):
    rows = slice(None) if rows is None else rows
    return RECIPE.fit(head, x[rows], labels[rows], verbose=0, **arguments)


def trained_head():
    head = make_head()
    train(head)
    assert float(head.mapping.also_weight) > 0
    return head


def predict(head, x=JOINED):
    return head.predict(x, verbose=0)


def test_a_new_one_is_zero_shot_clip():
    plain = CMMClassifier.from_text_embeddings(TEXTS, logit_scale=20.0)
    np.testing.assert_allclose(predict(make_head()), predict(plain, IMAGES), atol=1e-4)
    # The second encoder has a part in it after training alone.
    head, others = trained_head(), JOINED.copy()
    others[:, DIM:] = RNG.normal(size=(16, ALSO))
    assert np.abs(predict(head) - predict(head, others)).max() > 0.1


def test_saved_as_keras_file(tmp_path):
    head = trained_head()
    head.save(tmp_path / "head.keras")
    again = keras.saving.load_model(tmp_path / "head.keras")
    assert again.also_dim == again.mapping.also_dim == ALSO
    np.testing.assert_array_equal(predict(again), predict(head))
    assert again.temperature == head.temperature


def test_saved_as_a_file_of_the_head(tmp_path):
    head, names = trained_head(), ("a", "b", "c", "d")
    path = tmp_path / "head.safetensors"
    HeadFile.of(head, names, False, **ABOUT).write(path)
    again = HeadFile.read(path).make(path)
    np.testing.assert_array_equal(predict(again), predict(head))
    np.testing.assert_array_equal(again.mapped_centre, head.mapped_centre)
    # Goes on from there.
    train(again)
    damaged = HeadFile.read(path)
    del damaged.tensors["mapping.also_weight"]
    damaged.write(path)
    with pytest.raises(InputError, match="is damaged"):
        HeadFile.read(path)


def test_a_file_of_one_encoder_says_nothing_of_a_second(tmp_path):
    head = CMMClassifier.from_text_embeddings(TEXTS)
    file = HeadFile.of(head, ("a", "b", "c", "d"), False, **ABOUT)
    assert "also" not in json.dumps([file.mapping, file.settings])
    assert "mapping.also_weight" not in file.tensors
    assert len(head.mapping.weights) == 1


def test_it_is_calibrated_on_rows_that_were_held_out():
    head = trained_head()
    assert head.temperature != 1.0
    assert head.held_out_scores is not None
    probabilities = ops.convert_to_numpy(head.probabilities(predict(head)))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
    with_validation = make_head()
    train(with_validation, slice(0, 8), validation_data=(JOINED[8:], LABELS[8:]))
    assert with_validation.temperature != 1.0


@pytest.mark.parametrize("rows", [slice(0, 4), LABELS != 2, [0]], ids=["one shot", "missing", "1"])
def test_few_images(rows):
    head = make_head()
    train(head, rows)
    assert np.isfinite(predict(head)).all()


def test_texts_that_tell_nothing():
    texts = np.tile(RNG.normal(size=(1, DIM)), (CLASSES, 1)) + 0.01 * RNG.normal(
        size=(CLASSES, DIM)
    )
    head = CMMClassifier.from_text_embeddings(texts.astype("float32"), also_dim=ALSO)
    train(head)
    assert (predict(head).argmax(axis=1) == LABELS).mean() > 0.8


def test_labels_weights_and_one_more_fit():
    head = make_head()
    train(head, sample_weight=np.linspace(0.0, 1.0, 16), class_weight=None)
    before = predict(head)
    train(head)
    assert np.abs(predict(head) - before).max() > 0
    assert head.is_trained


def test_classes_come_and_go():
    head = trained_head()
    before = predict(head)
    new = np.concatenate([RNG.normal(size=(3, DIM)), RNG.normal(size=(3, ALSO))], axis=1)
    head.add_class(RNG.normal(size=DIM), new)
    after = predict(head)
    assert after.shape == (16, CLASSES + 1)
    np.testing.assert_array_equal(after[:, :CLASSES], before)
    with pytest.raises(InputError, match="`images` must hold embeddings of shape"):
        head.add_class(RNG.normal(size=DIM), new[:, :DIM])
    head.remove_class(CLASSES)
    np.testing.assert_array_equal(predict(head), before)


def test_a_mapping_of_the_users_own():
    class Wider(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(DIM)

        def build(self, input_shape):
            self.dense.build(input_shape)

        def call(self, inputs):
            return self.dense(inputs)

        def compute_output_shape(self, input_shape):
            return (*input_shape[:-1], DIM)

    head = make_head(mapping=Wider())
    head.compile()
    head.fit(JOINED, LABELS, epochs=1, verbose=0)
    assert predict(head).shape == (16, CLASSES)
    with pytest.raises(ValueError, match="must keep the width of its input, less `also_dim`"):
        make_head(mapping=keras.layers.Dense(DIM + 1))


def test_what_cannot_be_used_is_refused():
    head = make_head()
    with pytest.raises(InputError, match=rf"\(rows, {DIM + ALSO}\)"):
        predict(head, IMAGES)
    with pytest.raises(InputError, match=rf"\(rows, {DIM + ALSO}\)"):
        train(head, x=IMAGES)
    zeros = JOINED.copy()
    zeros[3, DIM:] = 0
    with pytest.raises(InputError, match=r"the second encoder's part.*row 3 has only zeros"):
        train(head, x=zeros)
    with pytest.raises(ValueError, match="`also_dim` must be an int >= 0"):
        CMMClassifier(3, also_dim=-1)


def test_the_modality_gap_is_that_of_clips_part():
    head = trained_head()
    mapped = MappedEmbeddings.from_head(head, JOINED, LABELS)
    np.testing.assert_array_equal(mapped.images, IMAGES)
    before, after = mapped.modality_gaps()
    assert after.own_cosine != before.own_cosine


def test_it_is_not_exported():
    with pytest.raises(InputError, match="second encoder cannot be exported"):
        head_graph.add_head(None, "x", make_head())
