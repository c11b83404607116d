import json
import warnings

import numpy as np
import pytest
from coop_miniatures import folder_names, made_up_wnids, write_classnames, write_miniature
from paths import SHARED

from keras_cmm.clip import PROMPT_TEMPLATES, read_image
from keras_cmm.data import BENCHMARKS, ImageSource, get_benchmark, read_coop_split
from keras_cmm_runtime.errors import InputError

SPLITS = SHARED / "splits"

# As CoOp's paper (arXiv:2109.01134, table 6) and the papers of the shifts have them.
SIZES = {
    "imagenet": (1000, 1281167, None, 50000),
    "caltech101": (100, 4128, 1649, 2465),
    "oxford_pets": (37, 2944, 736, 3669),
    "stanford_cars": (196, 6509, 1635, 8041),
    "oxford_flowers": (102, 4093, 1633, 2463),
    "food101": (101, 50500, 20200, 30300),
    "fgvc_aircraft": (100, 3334, 3333, 3333),
    "sun397": (397, 15880, 3970, 19850),
    "dtd": (47, 2820, 1128, 1692),
    "eurosat": (10, 13500, 5400, 8100),
    "ucf101": (101, 7639, 1898, 3783),
    "imagenetv2": (1000, None, None, 10000),
    "imagenet_sketch": (1000, None, None, 50889),
    "imagenet_a": (200, None, None, 7500),
    "imagenet_r": (200, None, None, 30000),
}
EACH = pytest.mark.parametrize("benchmark", BENCHMARKS.values(), ids=BENCHMARKS)
# The others have no list of images: what is missing there, `datasets check` counts.
LISTED = pytest.mark.parametrize("benchmark", [b for b in BENCHMARKS.values() if not b.is_imagenet])


@pytest.fixture(scope="module")
def miniatures(tmp_path_factory):
    """A data folder with miniatures of all the benchmarks."""
    data_dir = tmp_path_factory.mktemp("data")
    for benchmark in BENCHMARKS.values():
        write_miniature(benchmark, data_dir)
    return data_dir


def load(benchmark, split, data_dir):
    with pytest.warns(UserWarning, match=f"{benchmark.name}, {split}: has .* datasets check"):
        return benchmark.load(split, protocol="coop", data_dir=data_dir)


def load_all(benchmark, data_dir):
    with warnings.catch_warnings(action="ignore"):
        return [
            benchmark.load(split, protocol="coop", data_dir=data_dir) for split in benchmark.splits
        ]


def test_sizes():
    assert {
        name: (
            each.num_classes,
            *(each.coop_sizes.get(split) for split in ("train", "val", "test")),
        )
        for name, each in BENCHMARKS.items()
    } == SIZES


@EACH
def test_what_is_known(benchmark):
    assert benchmark.prompt_template in PROMPT_TEMPLATES
    assert benchmark.sources
    assert benchmark.licence
    assert set(benchmark.tfds_splits) == set(benchmark.coop_sizes)
    for split, start, stop in benchmark.tfds_splits.values():
        assert split in benchmark.tfds_sizes
        assert 0 <= start < stop <= 1
    if benchmark.class_names is not None:
        assert len(set(benchmark.class_names)) == benchmark.num_classes


@EACH
def test_parts_of_one_tfds_split_do_not_overlap(benchmark):
    for one, (split, start, stop) in benchmark.tfds_splits.items():
        for other, (other_split, other_start, other_stop) in benchmark.tfds_splits.items():
            if one != other and split == other_split:
                assert stop <= other_start or other_stop <= start


@pytest.mark.shared
@pytest.mark.parametrize("name", ["caltech101", "oxford_pets", "dtd", "eurosat"])
def test_the_real_split_files(name):
    benchmark = get_benchmark(name)
    path = SPLITS / benchmark.coop_split_file
    if not path.is_file():
        pytest.skip(f"needs {path.name} in ../shared/splits")
    names, splits = read_coop_split(path)
    assert names == benchmark.class_names
    assert {split: len(rows) for split, rows in splits.items()} == benchmark.coop_sizes


@EACH
def test_the_coop_path_reads_a_miniature(benchmark, miniatures):
    seen = set()
    for split in benchmark.splits:
        source = load(benchmark, split, miniatures)
        assert isinstance(source, ImageSource)
        assert len(source.class_names) == benchmark.num_classes
        assert source.labels.tolist() == list(range(benchmark.num_classes))
        assert read_image(next(iter(source.images))).size == (8, 8)
        if benchmark.class_names:
            assert source.class_names == benchmark.class_names
        files = {str(path) for path in source.images}
        assert len(files) == benchmark.num_classes
        assert not files & seen
        seen |= files
    with pytest.raises(InputError, match=f"{benchmark.name}: has no split 'training'"):
        benchmark.load("training", protocol="coop", data_dir=miniatures)


@LISTED
def test_a_missing_image_is_named_with_the_mend(benchmark, tmp_path):
    write_miniature(benchmark, tmp_path)
    lost = load(benchmark, "test", tmp_path).paths[3]
    lost.unlink()
    with pytest.raises(InputError, match="there is no such file; ") as caught:
        benchmark.load("test", protocol="coop", data_dir=tmp_path)
    assert str(lost) in str(caught.value)
    assert "complete the download" in str(caught.value) or "unpack" in str(caught.value)


@EACH
def test_a_missing_list_is_named_with_the_mend(benchmark, tmp_path):
    folder = write_miniature(benchmark, tmp_path)
    lists = [path for path in tmp_path.glob("*/*") if path.suffix in (".txt", ".json")]
    assert lists
    for path in lists:
        content = path.read_text()
        path.unlink()
        with pytest.raises(InputError, match=r"no such file; (download|it comes)") as caught:
            load_all(benchmark, tmp_path)
        assert str(path) in str(caught.value)
        path.write_text(content)
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"no such folder; give the folder that holds") as caught:
        benchmark.load("test", protocol="coop", data_dir=tmp_path)


def test_the_numbers_of_imagenet_v2_are_not_sorted_as_text(miniatures):
    source = load(get_benchmark("imagenetv2"), "test", miniatures)
    for path, label in zip(source.images, source.labels, strict=True):
        assert int(path.parent.name) == label
    assert source.class_names[2] == "thing 2"
    assert source.class_names[657] == source.class_names[744] == "missile"


def test_a_class_without_a_folder_moves_no_other(tmp_path):
    benchmark = get_benchmark("imagenet_sketch")
    folder = write_miniature(benchmark, tmp_path)
    (gone,) = (folder / "images" / made_up_wnids()[5]).iterdir()
    gone.unlink()
    gone.parent.rmdir()
    source = load(benchmark, "test", tmp_path)
    assert len(source.class_names) == 1000
    assert source.labels.tolist() == [label for label in range(1000) if label != 5]


@pytest.mark.parametrize("name", ["imagenet_a", "imagenet_r"])
def test_200_classes_of_imagenet(name, miniatures):
    benchmark = get_benchmark(name)
    source = load(benchmark, "test", miniatures)
    ids = benchmark.imagenet_classes(protocol="coop", data_dir=miniatures)
    assert [made_up_wnids()[label] for label in ids] == folder_names(benchmark)
    imagenet = load(get_benchmark("imagenet"), "test", miniatures)
    assert source.class_names == tuple(imagenet.class_names[label] for label in ids)


def test_all_classes_of_imagenet(miniatures):
    ids = get_benchmark("imagenetv2").imagenet_classes(protocol="coop", data_dir=miniatures)
    assert np.array_equal(ids, np.arange(1000))
    with pytest.raises(InputError, match="dtd: is not a version of ImageNet"):
        get_benchmark("dtd").imagenet_classes(protocol="coop", data_dir=miniatures)


def test_prompts_of_classes_that_share_a_name(miniatures):
    benchmark = get_benchmark("imagenet")
    prompts = benchmark.prompts(load(benchmark, "test", miniatures).class_names)
    names = list(prompts)
    assert len(names) == 1000
    assert (names[656], names[657], names[744]) == ("thing 656", "missile (657)", "missile (744)")
    assert prompts["missile (657)"] == prompts["missile (744)"] == ["a photo of a missile."]
    assert prompts["thing 656"] == ["a photo of a thing 656."]


@pytest.mark.parametrize(
    "line", ["tench", "n01440764", "n0144076 tench", "n01440764 tench", "x01440764 tench"]
)
def test_what_is_no_file_of_class_names(tmp_path, line):
    benchmark = get_benchmark("imagenet_sketch")
    write_miniature(benchmark, tmp_path)
    path = tmp_path / "imagenet" / "classnames.txt"
    path.write_text(f"n01440764 great white\n{line}\n")
    with pytest.raises(InputError, match=r"line 2: .*such as 'n01440764 tench'; download"):
        benchmark.load("test", protocol="coop", data_dir=tmp_path)


def test_class_names_beside_the_shift_come_first(tmp_path):
    benchmark = get_benchmark("imagenet_sketch")
    folder = write_miniature(benchmark, tmp_path)
    text = (tmp_path / "imagenet" / "classnames.txt").read_text()
    (folder / "classnames.txt").write_text(text.replace("thing 3\n", "other\n"))
    assert load(benchmark, "test", tmp_path).class_names[3] == "other"


def test_folders_that_are_no_classes(tmp_path):
    benchmark = get_benchmark("imagenet_a")
    folder = write_miniature(benchmark, tmp_path)
    (folder / "imagenet-a" / "goldfish").mkdir()
    with pytest.raises(InputError, match="'goldfish', which are no classes of ImageNet; expected"):
        benchmark.load("test", protocol="coop", data_dir=tmp_path)


def test_a_variant_that_is_not_in_the_list(tmp_path):
    benchmark = get_benchmark("fgvc_aircraft")
    folder = write_miniature(benchmark, tmp_path)
    (folder / "images_variant_val.txt").write_text("0000001 Zeppelin\n")
    with pytest.raises(InputError, match=r"images_variant_val.txt, line 1: '0000001 Zeppelin'"):
        benchmark.load("val", protocol="coop", data_dir=tmp_path)


def test_a_split_file_that_leaks_is_not_loaded(tmp_path):
    benchmark = get_benchmark("eurosat")
    path = write_miniature(benchmark, tmp_path) / benchmark.coop_split_file
    rows = json.loads(path.read_text())
    rows["test"][3] = rows["train"][3]
    path.write_text(json.dumps(rows))
    with pytest.raises(InputError, match=r"'Highway.* is in train and in test") as caught:
        benchmark.load("test", protocol="coop", data_dir=tmp_path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_whole_set_is_loaded_without_warning(tmp_path, monkeypatch):
    benchmark = get_benchmark("eurosat")
    write_miniature(benchmark, tmp_path)
    monkeypatch.setitem(benchmark.coop_sizes, "test", 10)
    with warnings.catch_warnings(action="error"):
        assert len(benchmark.load("test", protocol="coop", data_dir=tmp_path)) == 10


def test_names():
    assert repr(get_benchmark("dtd")) == "Benchmark('dtd')"
    with pytest.raises(InputError, match=r"'imagenet_v2'.*did you mean 'imagenetv2'"):
        get_benchmark("imagenet_v2")
    with pytest.raises(ValueError, match="`protocol` must be"):
        get_benchmark("dtd").load("test", protocol="other", data_dir=".")


def test_made_up_class_names_are_as_the_real_file(tmp_path):
    write_classnames(tmp_path)
    lines = (tmp_path / "imagenet" / "classnames.txt").read_text().splitlines()
    assert len(lines) == 1000
    assert made_up_wnids() == sorted(made_up_wnids())
