"""Images that come as train and test: which of them a command takes, and that it says so."""

import json
import shutil

import pytest
from folders import write_photos
from labelled_pictures import write_tar, write_zip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The same splits as folders, as archives, and as lists with a column of splits."""
    root = tmp_path_factory.mktemp("splits")
    folder = root / "photos"
    for seed, (split, images) in enumerate((("train", 3), ("test", 2))):
        write_photos(folder / split, images, seed)
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}
    write_zip(root / "photos.zip", files)
    write_tar(root / "photos.tar", files)
    rows = [(name, name.split("/")[2], name.split("/")[1]) for name in sorted(files)]
    lines = [",".join(row) for row in [("path", "label", "Data Set"), *rows]]
    (root / "photos.csv").write_text("\n".join(lines))
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = dict(zip(("path", "label", "split"), zip(*rows, strict=True), strict=True))
    parquet.write_table(pyarrow.table(columns), root / "photos.parquet")
    return root


@pytest.mark.parametrize("name", ["photos", "photos.zip", "photos.tar", "photos.csv"])
def test_fit_takes_train_and_evaluate_takes_test(run, data, model_dir, tiny_preset, tmp_path, name):
    path = data / name
    result = run(
        *("fit", path, "--preset", tiny_preset, "--shots", "all", "--epochs", 1, "--no-store"),
        *("--output", tmp_path / "model"),
    )
    assert result.exit_code == 0, result.output
    assert f"{path}: only its split train is used, not the others.\n" in result.stderr
    assert f"{path}: 9 images of 3 classes.\n" in result.stderr
    assert len(json.loads((tmp_path / "model" / "keras_cmm.json").read_text())["images"]) == 9
    result = run("evaluate", model_dir, path, "--format", "json")
    assert f"{path}: only its split test is used, not the others.\n" in result.stderr
    assert json.loads(result.stdout)["images"] == 6
    result = run("evaluate", model_dir, path, "--format", "json", "--split", "train")
    assert json.loads(result.stdout)["images"] == 9


@pytest.mark.parametrize("name", ["photos", "photos.zip", "photos.parquet"])
def test_embed_takes_all(run, data, tiny_preset, tmp_path, name):
    output = tmp_path / "out.safetensors"
    result = run("embed", data / name, "--preset", tiny_preset, "--output", output, "--no-store")
    assert result.stdout == f"{output}: 3 classes, 9 train, 6 test rows\n", result.output


def test_splits_that_are_not_there(run, refused, data, model_dir, photos):
    assert "`split` must be one of 'train', 'test'" in refused(
        "evaluate", model_dir, data / "photos", "--split", "val"
    )
    assert "has no splits; leave out --split" in refused(
        "evaluate", model_dir, photos, "--split", "test"
    )
    assert run("evaluate", model_dir, photos).exit_code == 0


def test_a_test_class_of_its_own_does_not_stop_fit(run, data, tiny_preset, tmp_path):
    folder = shutil.copytree(data / "photos", tmp_path / "photos")
    (folder / "test" / "red_fox").rename(folder / "test" / "wolf")
    result = run(
        *("fit", folder, "--preset", tiny_preset, "--shots", 1, "--epochs", 1, "--no-store"),
        *("--output", tmp_path / "model"),
    )
    assert result.exit_code == 0, result.output


def test_columns_of_other_names(run, refused, data, model_dir, tmp_path):
    text = (data / "photos.csv").read_text().replace("path,label", "File,kind", 1)
    (tmp_path / "other.csv").write_text(text)
    arguments = ("evaluate", model_dir, data, "--csv", tmp_path / "other.csv")
    line = refused(*arguments)
    assert "has the columns 'File', 'kind', 'Data Set'; expected path and label" in line
    assert "--image-column and --label-column" in line
    columns = ("--image-column", "File", "--label-column", "kind")
    result = run(*arguments, *columns, "--format", "json")
    assert json.loads(result.stdout)["images"] == 6
    assert "has no columns; leave out `image`" in refused(
        "evaluate", model_dir, data / "photos", *columns
    )
