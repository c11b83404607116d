import functools
import shutil

import numpy as np
import pytest
from folders import truncate_as_jpeg, write_photos
from PIL import Image

from keras_cmm.data import EmbeddingSet, ImageList, key_digests


@pytest.fixture
def embed(run, tiny_preset, tmp_path):
    """Runs `embed`; returns click's result and the file."""

    def embed(*arguments, output="out.safetensors"):
        path = tmp_path / output
        return run("embed", *arguments, "--preset", tiny_preset, "--output", path), path

    return embed


@pytest.fixture
def refuse(refuse_output):
    return functools.partial(refuse_output, "embed", output="out.safetensors")


@pytest.fixture
def splits(tmp_path):
    """A folder with train, val and test folders, of different pictures."""
    for seed, (name, images) in enumerate((("train", 6), ("val", 2), ("test", 4))):
        write_photos(tmp_path / "data" / name, images, seed)
    return tmp_path / "data"


def test_rows_are_those_of_the_embedders(embed, shared_photos, tiny_model):
    from keras_cmm.clip import ImageEmbedder, TextEmbedder, logit_scale

    result, path = embed(shared_photos)
    assert result.exit_code == 0
    assert result.stdout == f"{path}: 3 classes, 9 train, 9 test rows\n"
    data = EmbeddingSet.read(path)
    assert data.class_names == ["Blue Jay", "green tea", "red_fox"]
    assert (data.dataset, data.protocol) == ("photos", "split 0.5 seed 1")
    assert data.logit_scale == pytest.approx(logit_scale(tiny_model.backbone))
    assert data.val_embeddings is None
    texts = [[f"a photo of a {name}."] for name in ("Blue Jay", "green tea", "red fox")]
    np.testing.assert_allclose(
        data.text_embeddings, TextEmbedder(tiny_model).class_prototypes(texts), atol=1e-3
    )
    # Each picture is in one of the two splits, under its own class.
    files = sorted(shared_photos.rglob("*.png"), key=str)
    labels = [data.class_names.index(file.parent.name) for file in files]
    expected = ImageEmbedder(tiny_model).embed(files).embeddings
    rows = np.concatenate([data.train_embeddings, data.test_embeddings]).astype("float32")
    row_labels = np.concatenate([data.train_labels, data.test_labels])
    nearest = (expected @ rows.T).argmax(axis=1)
    assert sorted(nearest) == list(range(18))
    np.testing.assert_allclose(rows[nearest], expected, atol=1e-3)
    np.testing.assert_array_equal(row_labels[nearest], labels)


@pytest.mark.parametrize(("fraction", "test_rows"), [("0.01", 1), ("0.34", 2), ("0.99", 5)])
def test_the_split_is_stratified(embed, shared_photos, fraction, test_rows):
    _, path = embed(shared_photos, "--test-fraction", fraction)
    data = EmbeddingSet.read(path)
    assert np.bincount(data.test_labels).tolist() == [test_rows] * 3
    assert np.bincount(data.train_labels).tolist() == [6 - test_rows] * 3


def test_the_split_depends_on_the_seed(embed, shared_photos):
    first, same, other = (
        EmbeddingSet.read(embed(shared_photos, "--seed", seed, output=f"{name}.safetensors")[1])
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    np.testing.assert_array_equal(first.test_embeddings, same.test_embeddings)
    assert (first.test_embeddings != other.test_embeddings).any()


def test_folders_of_splits(embed, run, splits):
    result, path = embed(splits, "--dataset", "colours")
    assert result.stdout.endswith(": 3 classes, 18 train, 6 val, 12 test rows\n")
    data = EmbeddingSet.read(path)
    assert (data.dataset, data.protocol) == ("colours", "folders")
    result = run("benchmark", path, "--methods", "nearest_mean", "--shots", 1, "--seeds", 1)
    assert result.stdout.startswith("colours (")


def test_copies_of_training_images_are_left_out(embed, splits):
    """Of whatever name and class, and in the validation images too."""
    copied = splits / "train" / "red_fox" / "0.png"
    for copy in ("test/red_fox/a.png", "test/Blue Jay/b.png", "val/red_fox/c.png"):
        (splits / copy).write_bytes(copied.read_bytes())
    Image.open(copied).save(splits / "test" / "red_fox" / "d.bmp")
    result, _ = embed(splits)
    assert result.stdout.endswith(": 3 classes, 18 train, 6 val, 12 test rows\n")
    assert "left out 3 of the 15 test images, which are copies of training" in result.stderr
    assert "left out 1 of the 7 val images, which is a copy of training" in result.stderr


def test_copies_in_a_folder_that_is_split(embed, photos):
    for path in sorted((photos / "red_fox").iterdir()):
        path.with_stem(f"{path.stem} copy").write_bytes(path.read_bytes())
    result, path = embed(photos)
    data = EmbeddingSet.read(path)
    same = data.test_embeddings.astype("float32") @ data.train_embeddings.astype("float32").T
    assert same.max() < 0.9999
    assert "copies of training images" in result.stderr


def test_only_copies_to_test_on(refuse, splits):
    shutil.rmtree(splits / "test")
    shutil.copytree(splits / "train", splits / "test")
    assert "all test images are copies of training images" in refuse(splits)


def test_pictures_that_look_like_training_images(embed, splits):
    picture = Image.open(splits / "train" / "red_fox" / "0.png")
    picture.save(splits / "test" / "red_fox" / "again.jpg", quality=95)
    result, _ = embed(splits)
    assert result.stdout.endswith(": 3 classes, 18 train, 6 val, 13 test rows\n")
    assert "1 of the 13 test images looks like training images, such as" in result.stderr
    assert "red_fox/again.jpg and red_fox/0.png" in result.stderr


def test_other_folders_beside_splits(embed, splits):
    (splits / "unlabelled").mkdir()
    result, _ = embed(splits)
    assert result.exit_code == 0
    assert "Warning: " in result.stderr
    assert "not 'unlabelled'." in result.stderr


def test_a_test_folder_with_a_class_of_its_own(refuse, splits):
    (splits / "test" / "red_fox").rename(splits / "test" / "wolf")
    assert "'wolf'" in refuse(splits)


def test_csv_and_prompts(embed, photos, tmp_path):
    lines = [f"{path},{path.parent.name}" for path in photos.rglob("*.png")]
    table = tmp_path / "pictures.csv"
    table.write_text("\n".join(["path,label", *lines]))
    _, path = embed("--csv", table, "--template", "dtd", "--batch-size", 5)
    data = EmbeddingSet.read(path)
    assert data.dataset == "pictures"
    assert len(data.train_labels) + len(data.test_labels) == 18


def test_a_truncated_image(embed, refuse, photos):
    broken = truncate_as_jpeg(photos / "red_fox" / "2.png")
    result, path = embed(photos)
    assert result.exit_code == 0
    assert str(broken) in result.stderr
    data = EmbeddingSet.read(path)
    assert len(data.train_labels) + len(data.test_labels) == 17
    assert str(broken) in refuse(photos, "--strict", output="strict.safetensors")


def test_a_class_of_one_image(embed, photos):
    for number in range(1, 6):
        (photos / "red_fox" / f"{number}.png").unlink()
    result, path = embed(photos)
    assert "Warning: class 'red_fox' has one image" in result.stderr
    data = EmbeddingSet.read(path)
    assert np.bincount(data.train_labels).tolist() == [3, 3, 1]
    assert np.bincount(data.test_labels, minlength=3).tolist() == [3, 3, 0]


def test_classes_of_one_image_each(refuse, tmp_path):
    photos = write_photos(tmp_path / "photos", 1)
    assert "no class has an image to test with" in refuse(photos)


def test_bad_input(refuse, shared_photos, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "there are no images in it" in refuse(tmp_path / "empty")
    assert "'no_such_preset'" in refuse(shared_photos, preset="no_such_preset")
    (tmp_path / "labels.csv").write_text("path\nx.png\n")
    line = refuse("--csv", tmp_path / "labels.csv", "--overwrite", output="labels.csv")
    assert "labels.csv: is an input; give another name to --output." in line
    assert (tmp_path / "labels.csv").read_text() == "path\nx.png\n"
    assert "expected path and label" in refuse("--csv", tmp_path / "labels.csv")
    assert "'two {} {}'" in refuse(shared_photos, "--template", "two {} {}")


def test_outputs_that_cannot_be(embed, refuse, shared_photos, tmp_path):
    result, path = embed(shared_photos)
    assert "--overwrite" in refuse(shared_photos)
    result, _ = embed(shared_photos, "--overwrite", "--seed", 2)
    assert result.exit_code == 0
    assert EmbeddingSet.read(path).protocol == "split 0.5 seed 2"
    assert "does not exist" in refuse(shared_photos, output="none/out.safetensors")
    assert "is a folder" in refuse(shared_photos, output=".")


def test_the_notes_are_the_command(embed, shared_photos, monkeypatch):
    monkeypatch.setattr("sys.argv", ["keras-cmm", "embed", "my photos", "--seed", "1"])
    _, path = embed(shared_photos)
    assert EmbeddingSet.read(path).notes == "Made by: keras-cmm embed 'my photos' --seed 1"


def test_draws_depend_on_the_names_of_the_images(embed, splits):
    _, path = embed(splits)
    data = EmbeddingSet.read(path)
    for part, keys in (("train", data.train_keys), ("val", data.val_keys)):
        names = ImageList.from_folder(splits / part).keys()
        np.testing.assert_array_equal(keys, key_digests(names))


def test_further_encoders(embed, refuse, run, splits):
    from keras_cmm.clip import ImageEmbedder, load

    result, path = embed(splits, "--also", "emoji_clip_tiny")
    assert result.exit_code == 0, result.output
    further = EmbeddingSet.read(path).further("emoji_clip_tiny")
    embedder = ImageEmbedder(load("emoji_clip_tiny"))
    for split in ("train", "val", "test"):
        images = ImageList.from_folder(splits / split).images
        expected = embedder.embed(images).embeddings
        np.testing.assert_allclose(getattr(further, split), expected, atol=1e-3)
    methods = ("--methods", "zero_shot,cmm", "--shots", 1, "--seeds", 1, "-q")
    compared = run("benchmark", path, "--also", "emoji_clip_tiny", *methods)
    assert compared.exit_code == 0, compared.output
    path.unlink()
    twice = ("--also", "emoji_clip_tiny", "--also", "emoji_clip_tiny")
    assert "the names of --also must differ" in refuse(splits, *twice)
