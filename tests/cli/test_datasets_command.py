import dataclasses
import json
import shutil

import pytest
from coop_miniatures import folder_names, made_up_wnids, write_miniature

from keras_cmm.data.benchmarks import registry as benchmarks

MINIATURES = ("eurosat", "oxford_pets", "stanford_cars", "fgvc_aircraft", "imagenet", "imagenet_a")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Lets the registry expect what a miniature has: two images of each class in each split."""
    for name in MINIATURES:
        benchmark = benchmarks.get_benchmark(name)
        sizes = dict.fromkeys(benchmark.splits, 2 * benchmark.num_classes)
        small = dataclasses.replace(benchmark, coop_sizes=sizes)
        monkeypatch.setitem(benchmarks.BENCHMARKS, name, small)


@pytest.fixture
def miniature(tmp_path):
    """Writes a miniature; returns its folder."""
    return lambda name: write_miniature(benchmarks.get_benchmark(name), tmp_path, images=2)


@pytest.fixture
def problems(run, tmp_path):
    """Checks a benchmark that is broken; returns the problems that are printed."""

    def problems(name, *options):
        result = run("datasets", "check", name, "--data-dir", tmp_path, *options)
        assert result.exit_code == 1, result.output
        lines = result.stdout.splitlines()
        assert lines
        assert all(line.startswith("- ") and "; " in line for line in lines)
        assert result.stderr == f"{name}, coop: problems found: {len(lines)}.\n"
        return lines

    return problems


def test_list(run):
    text = run("datasets", "list").stdout
    for name in benchmarks.BENCHMARKS:
        assert f" {name} " in text
    assert "50,889" in text


@pytest.mark.parametrize("name", benchmarks.BENCHMARKS)
def test_show(run, name):
    benchmark = benchmarks.get_benchmark(name)
    text = run("datasets", "show", name).stdout
    for part in (*benchmark.sources, *benchmark.traps, benchmark.licence, benchmark.tfds_name):
        assert part in text
    assert f"{benchmark.coop_folder}/{benchmark.coop_split_file}" in text
    if benchmark.class_names:
        assert ", ".join(benchmark.class_names) in text
    else:
        assert "DATASETS.md" in text


def test_names_that_are_not_there(refused, tmp_path):
    assert "did you mean 'eurosat'" in refused("datasets", "show", "eurosta")
    assert "did you mean 'dtd'" in refused("datasets", "check", "dtdd", "--data-dir", tmp_path)
    assert "--data-dir" in refused("datasets", "check", "dtd")
    assert "'zip'" in refused(
        "datasets", "check", "dtd", "--data-dir", tmp_path, "--protocol", "zip"
    )


@pytest.mark.parametrize("name", MINIATURES)
def test_whole(run, tmp_path, miniature, name):
    miniature(name)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    result = run("datasets", "check", name, "--data-dir", tmp_path, "--every-image")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{name}, coop: whole, ")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


# The eight layouts that break most often.


def test_missing_split_file(miniature, problems):
    folder = miniature("eurosat")
    split_file = folder / "split_zhou_EuroSAT.json"
    split_file.rename(folder / "split_zhou_EuroSAT (1).json")
    (line,) = problems("eurosat")
    assert str(split_file) in line
    assert "'split_zhou_EuroSAT (1).json' there has another name" in line
    assert "download it from the link in https://github.com/KaiyangZhou/CoOp" in line


@pytest.mark.parametrize("name", ["eurosat", "oxford_pets", "stanford_cars", "fgvc_aircraft"])
def test_renamed_images(miniature, problems, name):
    images = list(miniature(name).rglob("*.jpg"))
    for number, image in enumerate(images):
        image.rename(image.with_name(f"{number:06d}-copy.jpg"))
    (line,) = problems(name)
    assert f"{len(images):,} of {len(images):,} listed images are missing" in line
    assert "-copy.jpg" in line
    assert "has renamed its files, as copies on Kaggle do; get it again from " in line


def test_half_an_archive(miniature, problems):
    folder = miniature("eurosat")
    classes = sorted(path for path in (folder / "2750").iterdir())
    for path in classes[5:]:
        shutil.rmtree(path)
    (line,) = problems("eurosat")
    assert "30 of 60 listed images are missing" in line
    assert f"all images are missing of {classes[5].name!r}" in line
    assert "not unpacked, or not downloaded, to its end; get it again from https://zenodo" in line


@pytest.mark.parametrize(
    ("name", "folders"),
    [("eurosat", ["2750"]), ("stanford_cars", ["cars_train", "cars_test"])],
)
def test_folders_in_folders_of_their_name(run, tmp_path, miniature, name, folders):
    """As Kaggle's archives make them."""
    folder = miniature(name)
    for inner in folders:
        (folder / inner).rename(folder / "moved")
        (folder / inner).mkdir()
        (folder / "moved").rename(folder / inner / inner)
    result = run("datasets", "check", name, "--data-dir", tmp_path, "--every-image")
    assert result.stdout.startswith(f"{name}, coop: whole, "), result.output
    images = benchmarks.get_benchmark(name).load("test", protocol="coop", data_dir=tmp_path)
    assert all(path.is_file() for path in images.paths)


@pytest.mark.parametrize("deeper", ["EuroSAT_RGB", "EuroSAT/2750"])
def test_wrong_depth(miniature, problems, deeper):
    folder = miniature("eurosat")
    (folder / "2750").rename(folder / "moved")
    (folder / deeper).parent.mkdir(parents=True, exist_ok=True)
    (folder / "moved").rename(folder / deeper)
    (line,) = problems("eurosat")
    assert f"but in {folder / deeper}; move what is in it to {folder / '2750'}." in line


@pytest.mark.parametrize("name", ["eurosat", "imagenet_a", "fgvc_aircraft"])
def test_empty(miniature, problems, name):
    folder = miniature(name)
    shutil.rmtree(folder)
    folder.mkdir()
    (line,) = problems(name)
    assert f"{folder}: is empty; get it again from " in line


def test_extra_classes(miniature, problems):
    folder = miniature("eurosat")
    (folder / "2750" / "Glacier").mkdir()
    (folder / "2750" / ".hidden").mkdir()
    (line,) = problems("eurosat")
    assert "holds folders of no class, 'Glacier'; remove them, or rename" in line


def test_wrong_version_of_the_split_file(miniature, problems):
    folder = miniature("eurosat")
    path = folder / "split_zhou_EuroSAT.json"
    rows = json.loads(path.read_text())
    rows["test"].pop()
    path.write_text(json.dumps(rows))
    (line,) = problems("eurosat")
    assert "is another version: it lists 10 classes and 20 / 20 / 19 images" in line
    assert "expected 10 and 20 / 20 / 20; replace it with the one that https://github.com" in line


def test_train_images_among_the_test_images(miniature, problems):
    path = miniature("eurosat") / "split_zhou_EuroSAT.json"
    rows = json.loads(path.read_text())
    rows["test"] = rows["train"]
    path.write_text(json.dumps(rows))
    (line,) = problems("eurosat")
    assert f"{path}: the image {rows['train'][0][0]!r} is in train and in test" in line
    assert "download the file again" in line


def test_aircraft_train_images_among_the_validation_images(miniature, problems):
    folder = miniature("fgvc_aircraft")
    train = (folder / "images_variant_train.txt").read_text()
    (folder / "images_variant_val.txt").write_text(train)
    (line,) = problems("fgvc_aircraft")
    assert f"{folder}: images_variant_*.txt: the image '0000001.jpg' is in train and" in line


def test_rotated_class_names(miniature, problems):
    path = miniature("eurosat") / "split_zhou_EuroSAT.json"
    names = benchmarks.get_benchmark("eurosat").class_names
    rows = json.loads(path.read_text())
    for split in rows.values():
        for row in split[2:]:
            row[2] = names[1 + row[1] % 9]
    path.write_text(json.dumps(rows))
    (line,) = problems("eurosat")
    assert f"{path}: names its classes otherwise: class 1 is {names[2]!r}; expected" in line
    assert f"expected {names[1]!r}; replace it with the one that https://github.com" in line


def test_another_order_of_the_variants(miniature, problems):
    path = miniature("fgvc_aircraft") / "variants.txt"
    first, second, *others = path.read_text().splitlines()
    path.write_text("\n".join([second, first, *others]))
    (line,) = problems("fgvc_aircraft")
    assert f"{path}: names its classes otherwise: class 0 is {second!r}; expected" in line


@pytest.mark.parametrize("content", [b"", b"<html>Too many requests</html>" + bytes(99)])
def test_unreadable_images(miniature, problems, content):
    images = list(miniature("eurosat").rglob("*.jpg"))
    images[-1].write_bytes(content)
    (line,) = problems("eurosat")
    assert str(images[-1]) in line
    assert "replace what cannot be read from the original archive" in line
    images[-2].write_bytes(content)
    (line,) = problems("eurosat")
    assert " and 1 more; " in line


def test_unreadable_split_file(miniature, problems):
    path = miniature("eurosat") / "split_zhou_EuroSAT.json"
    path.write_bytes(path.read_bytes()[:1000])
    (line,) = problems("eurosat")
    assert f"{path}: is not JSON" in line
    assert "download it again" in line


# Where the folder is, and the sets without split files.


def test_no_folder(miniature, problems, tmp_path, run):
    folder = miniature("eurosat")
    result = run("datasets", "check", "eurosat", "--data-dir", folder)
    assert (result.exit_code, "rename it to 'eurosat'" in result.stdout) == (1, True)
    result = run("datasets", "check", "eurosat", "--data-dir", tmp_path / "none")
    assert (result.exit_code, "no such folder; give the one" in result.stdout) == (1, True)
    folder.rename(tmp_path / "other")
    (tmp_path / "EuroSAT_RGB.zip").touch()
    (line,) = problems("eurosat")
    assert "there is 'EuroSAT_RGB.zip', which must be unpacked" in line


def test_aircraft_without_lists_and_images(miniature, problems):
    folder = miniature("fgvc_aircraft")
    shutil.rmtree(folder / "images")
    (line,) = problems("fgvc_aircraft")
    assert f"{folder / 'images'}: no such folder; get it again" in line
    (folder / "variants.txt").unlink()
    first, second = problems("fgvc_aircraft")
    assert f"{folder / 'variants.txt'}: no such file; it comes in the archive" in first
    assert "images: no such folder" in second


def test_half_of_a_shift(miniature, problems):
    folder = miniature("imagenet_a") / "imagenet-a"
    for name in folder_names(benchmarks.get_benchmark("imagenet_a"))[100:]:
        shutil.rmtree(folder / name)
    classes, images = problems("imagenet_a")
    assert "has 100 classes; expected 200; get it again from https://github.com" in classes
    assert "has 200 images; expected 400" in images


def test_a_shift_one_folder_too_deep(miniature, problems):
    folder = miniature("imagenet_a") / "imagenet-a"
    folder.rename(folder.with_name("moved"))
    folder.mkdir()
    folder.with_name("moved").rename(folder / "imagenet-a")
    (line,) = problems("imagenet_a")
    assert f"but in {folder / 'imagenet-a'}; move what is in it to {folder}." in line


def test_a_shift_under_the_name_of_its_archive(miniature, problems):
    folder = miniature("imagenet_a") / "imagenet-a"
    folder.rename(folder.with_name("images"))
    (line,) = problems("imagenet_a")
    assert f"{folder}: no such folder (there is 'images'); unpack" in line


def test_validation_images_that_are_not_sorted(miniature, problems):
    folder = miniature("imagenet") / "images" / "val"
    first = folder / made_up_wnids()[0]
    for image in first.iterdir():
        image.rename(folder / image.name)
    first.rmdir()
    (folder / made_up_wnids()[1]).rename(folder / "goldfish")
    lines = problems("imagenet")
    assert "2 images lie directly in it; sort them into one folder a class" in lines[0]
    assert "folders of no class of ImageNet, 'goldfish'; remove them, or rename" in lines[1]
    assert "has 998 classes; expected 1,000" in lines[2]
    assert "has 1,996 images; expected 2,000" in lines[3]


def test_class_names_of_imagenet(miniature, problems):
    path = miniature("imagenet_a").parent / "imagenet" / "classnames.txt"
    path.write_text("".join(f"{line}\n" for line in path.read_text().splitlines()[:999]))
    (line,) = problems("imagenet_a")
    assert "classnames.txt is another version: it names 999 classes; expected 1000" in line
    path.unlink()
    (line,) = problems("imagenet_a")
    assert f"{path}: no such file; download CLIP's class names" in line


def test_an_empty_class_folder(miniature, problems):
    folder = miniature("imagenet_a") / "imagenet-a" / made_up_wnids()[0]
    for image in folder.iterdir():
        image.unlink()
    empty, count = problems("imagenet_a")
    assert f"the folders {folder.name!r} hold no images; get it again" in empty
    assert "has 398 images; expected 400" in count
