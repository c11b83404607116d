import shutil

import numpy as np
import pytest
from pictures import NAMES, make_images
from PIL import Image

from keras_cmm import CMMImageClassifier, InputError
from keras_cmm.explain import SUPPORT_FILE


def test_an_explanation_agrees_with_the_prediction(trained):
    images, _ = make_images()
    for image in images[::5]:
        explanation = trained.explain(image)
        ((best, probability), (second, _)) = trained.classify(image, top_k=2)[0]
        assert explanation.class_name == explanation.predicted_class == best
        assert explanation.probability == pytest.approx(probability, rel=1e-5)
        shares = explanation.shares
        assert (shares.class_name, shares.rival) == (best, second)
        assert shares.text + shares.images == shares.margin
        ordered = np.sort(trained.predict(image)[0])
        assert shares.margin == pytest.approx(ordered[-1] - ordered[-2], rel=1e-4, abs=1e-4)
        assert explanation.heat_map.shape == image.shape[:2]
        assert explanation.heat_map.dtype == np.float32
        assert np.isfinite(explanation.heat_map).all()
        assert explanation.heat_map.any()


def test_another_class_is_compared_with_the_predicted_one(trained):
    images, labels = make_images()
    other = NAMES[labels[0] - 1]
    explanation = trained.explain(images[0], other)
    assert explanation.class_name == other
    assert explanation.shares.rival == explanation.predicted_class == NAMES[labels[0]]
    assert explanation.shares.margin < 0
    assert explanation.probability < 0.5


def test_the_heat_map_is_aligned_with_the_picture(trained):
    """What is cut off has no heat; the heat of what is seen stays where it is."""
    # Resizing mixes an edge with what is beside it, so both have the same there.
    square = Image.new("RGB", (64, 64), "white")
    square.paste(Image.fromarray(make_images()[0][0]).resize((48, 48)), (8, 8))
    wide = Image.new("RGB", (128, 64), "white")
    wide.paste(square, (32, 0))
    heat, middle = (trained.explain(each, NAMES[0]).heat_map for each in (wide, square))
    assert heat.shape == (64, 128)
    assert not heat[:, :32].any()
    assert not heat[:, 96:].any()
    np.testing.assert_allclose(heat[:, 32:96], middle, atol=1e-5 * np.abs(middle).max())
    assert np.corrcoef(heat[:, 28:92].ravel(), middle.ravel())[0, 1] < 0.99


def test_a_training_image_is_nearest_to_itself(trained):
    images, labels = make_images()
    for number in (0, 7):
        first, *others = trained.explain(images[number], nearest=3, heat_map=False).nearest
        assert first.similarity == pytest.approx(1, abs=1e-3)
        assert first.name == f"image {number}"
        assert first.class_name == NAMES[labels[number]]
        assert len(others) == 2
        assert all(first.similarity >= other.similarity for other in others)


def test_paths_name_the_training_images(model, tmp_path):
    images, labels = make_images()
    paths = [tmp_path / f"{number}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    model.fit(paths, labels, epochs=1, verbose=0, validation_split=0.25)
    assert len(model.support_images) == 9
    assert set(model.support_images.names) < set(map(str, paths))
    for name, label in zip(model.support_images.names, model.support_images.classes, strict=True):
        assert NAMES[labels[paths.index(tmp_path / name)]] == label


def test_images_of_weight_zero_are_not_kept(model):
    images, labels = make_images()
    weights = np.ones(len(images))
    weights[3] = 0
    model.fit(images, labels, sample_weight=weights, epochs=1, verbose=0)
    assert "image 3" not in model.support_images.names
    assert len(model.support_images) == len(images) - 1


def test_saved_models_with_and_without_training_images(trained, tmp_path):
    image = make_images()[0][0]
    trained.save_to_preset(tmp_path / "with")
    again = CMMImageClassifier.from_preset(tmp_path / "with")
    assert again.explain(image, heat_map=False).nearest == trained.explain(image).nearest

    changed = shutil.copytree(tmp_path / "with", tmp_path / "changed")
    (changed / SUPPORT_FILE).unlink()
    with pytest.raises(InputError, match=rf"{SUPPORT_FILE}: is missing"):
        CMMImageClassifier.from_preset(changed)

    again.support_images = None
    again.save_to_preset(tmp_path / "without")
    assert not (tmp_path / "without" / SUPPORT_FILE).exists()
    explanation = CMMImageClassifier.from_preset(tmp_path / "without").explain(image)
    assert explanation.nearest is None
    assert "keeps no embeddings of its training images" in explanation.nearest_missing
    assert explanation.as_dict()["nearest"] is None
    assert explanation.heat_map.any()


def test_the_drawing(trained, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (300, 20, 3), "uint8")  # very narrow
    explanation = trained.explain(image)
    assert explanation.draw().size[0] == 1200
    explanation.save(tmp_path / "why.png")
    with Image.open(tmp_path / "why.png") as saved:
        assert saved.format == "PNG"
        assert saved.text["Software"] == "keras-cmm explanation"
        colours = np.asarray(saved.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) > 100
    plain = trained.explain(image, heat_map=False)
    assert plain.heat_map is None
    assert plain.as_dict()["heat_map"] is None
    with pytest.raises(InputError, match="no heat map to draw"):
        plain.draw()


def test_mistakes(trained):
    image = make_images()[0][0]
    with pytest.raises(InputError, match=r"one of the 3 classes: 'ant', 'bee', 'cat'.*'dog'"):
        trained.explain(image, "dog")
    with pytest.raises(ValueError, match="`nearest`"):
        trained.explain(image, nearest=0)
    with pytest.raises(InputError, match=r"absent\.png"):
        trained.explain("absent.png")
