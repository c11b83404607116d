import subprocess
import sys

import keras
import keras_hub
import numpy as np
import pytest
from pictures import NAMES, make_images

from keras_cmm import (
    AutoRecipe,
    CMMImageClassifier,
    InputError,
)
from keras_cmm.clip import TextEmbedder


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


def test_import_is_light():
    run_python(
        "import sys, keras_cmm;"
        "heavy = {'keras_hub', 'tensorflow', 'tensorflow_datasets'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
