import json
import tarfile
import warnings

import numpy as np
import pytest
from coop_miniatures import write_miniature

from keras_cmm.clip import read_image
from keras_cmm.data import BENCHMARKS, TFDSSource, get_benchmark
from keras_cmm.data.benchmarks.tfds_layout import rows_of_part
from keras_cmm_runtime.errors import InputError

tf = pytest.importorskip("tensorflow")
tfds = pytest.importorskip("tensorflow_datasets")

from keras_cmm.data.benchmarks.tfds_builders import FGVCAircraft, UCF101MiddleFrames  # noqa: E402

EACH = pytest.mark.parametrize("benchmark", BENCHMARKS.values(), ids=BENCHMARKS)
IMAGES = 24


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A folder with made-up names for the WordNet ids that TFDS has for ImageNet."""
    folder = tmp_path_factory.mktemp("tfds")
    wnids = tfds.builder("imagenet_v2", data_dir=folder).info.features["label"].names
    (folder / "imagenet").mkdir()
    names = [f"{wnid} thing {label}\n" for label, wnid in enumerate(wnids)]
    (folder / "imagenet" / "classnames.txt").write_text("".join(names))
    return folder


def load(benchmark, split, data_dir):
    with pytest.warns(UserWarning, match=f"{benchmark.name}, {split}: has {IMAGES} images of"):
        return benchmark.load(split, protocol="tfds", data_dir=data_dir)


@EACH
def test_tfds_mocks(benchmark, data_dir):
    with tfds.testing.mock_data(num_examples=IMAGES):
        keys = []
        for split, (theirs, start, stop) in benchmark.tfds_splits.items():
            source = load(benchmark, split, data_dir)
            assert all(f"-{theirs}.tfrecord" in key for key in source.keys())  # noqa: SIM118
            if benchmark.num_classes != 200:
                assert len(source.class_names) == benchmark.num_classes
            if (start, stop) == (0, 1) and benchmark.name != "caltech101":
                assert len(source) == IMAGES
            keys += source.keys()
            if source.keys():
                _, image, label = next(iter(source))
                assert label == source.labels[0]
                assert read_image(image).mode == "RGB"
        assert len(keys) == len(set(keys))


class Downloads:
    """What a builder of TFDS asks for, as empty files and folders."""

    def __init__(self, folder):
        self.manual_dir = folder
        self.folder = tfds.core.Path(folder)

    def download_and_extract(self, urls):
        return tf.nest.map_structure(lambda url: self.folder, urls)

    download = extract = download_and_extract

    def iter_archive(self, path):
        return iter(())


@EACH
def test_tfds_makes_the_splits_of_our_table(benchmark, tmp_path):
    # The mock takes any name for a split, so the builder is asked for those that it makes.
    for part in ("train", "val"):
        tarfile.open(tmp_path / f"ILSVRC2012_img_{part}.tar", "w").close()
    for part in ("Training", "Testing"):
        (tmp_path / f"{part}_01.txt").touch()
    (tmp_path / "split_zhou_UCF101.json").write_text(
        json.dumps({"train": [["a", 0, "a"]], "val": [], "test": []})
    )
    builder = tfds.builder(benchmark.tfds_name, data_dir=tmp_path / "none")
    made = builder._split_generators(Downloads(tmp_path))
    names = set(made) if isinstance(made, dict) else {str(split.name) for split in made}
    assert set(benchmark.tfds_sizes) == names


@EACH
def test_class_names_are_clips(benchmark, data_dir):
    builder = tfds.builder(benchmark.tfds_name, data_dir=data_dir)
    names = [benchmark.tfds_class_name(name) for name in builder.info.features["label"].names]
    kept = [name for name in names if name]
    if benchmark.num_classes != 200:
        assert len(kept) == benchmark.num_classes
    if benchmark.class_names is not None:
        assert sorted(kept) == sorted(benchmark.class_names)
    if not benchmark.is_imagenet:
        assert len(set(kept)) == len(kept)


@pytest.mark.parametrize(
    ("benchmark", "theirs", "ours"),
    [
        ("stanford_cars", "Acura Integra Type R 2001", "2001 Acura Integra Type R"),
        ("sun397", "/a/apse/indoor", "indoor apse"),
        ("sun397", "/a/abbey", "abbey"),
        ("caltech101", "faces_easy", ""),
        ("eurosat", "SeaLake", "Sea or Lake"),
    ],
)
def test_class_names_that_coop_changes(benchmark, theirs, ours):
    assert get_benchmark(benchmark).tfds_class_name(theirs) == ours


def test_dropped_classes_of_caltech(data_dir):
    benchmark = get_benchmark("caltech101")
    with tfds.testing.mock_data(num_examples=400):
        with warnings.catch_warnings(action="ignore"):
            source = benchmark.load("test", protocol="tfds", data_dir=data_dir)
        plain = TFDSSource("caltech101", "test", data_dir=data_dir)
        taken = source.take([5, 0])
        rows = list(taken)
    theirs = [plain.class_names[label] for label in plain.labels]
    kept = [name for name in theirs if name not in ("background_google", "faces_easy")]
    assert len(kept) < len(theirs)
    assert [source.class_names[label] for label in source.labels] == [
        benchmark.tfds_class_name(name) for name in kept
    ]
    assert taken.labels.tolist() == source.labels[[5, 0]].tolist()
    assert taken.keys() == [source.keys()[5], source.keys()[0]]
    assert [(key, str(image), label) for key, image, label in rows] == list(
        zip(taken.keys(), taken.keys(), taken.labels.tolist(), strict=True)
    )


@pytest.mark.parametrize("name", ["imagenet_a", "imagenet_r"])
def test_classes_without_images_are_masked(name, data_dir):
    benchmark = get_benchmark(name)
    with tfds.testing.mock_data(num_examples=IMAGES):
        source = load(benchmark, "test", data_dir)
        ids = benchmark.imagenet_classes(protocol="tfds", data_dir=data_dir)
    assert source.class_names == tuple(f"thing {label}" for label in ids)
    assert sorted(set(source.labels.tolist())) == list(range(len(ids)))


def test_a_name_missing_from_classnames(data_dir, tmp_path):
    lines = (data_dir / "imagenet" / "classnames.txt").read_text().splitlines()
    (tmp_path / "imagenet").mkdir()
    (tmp_path / "imagenet" / "classnames.txt").write_text("\n".join(lines[1:]))
    with (
        tfds.testing.mock_data(num_examples=3),
        pytest.raises(InputError, match="has no name for 'n01440764'; download"),
    ):
        get_benchmark("imagenet_sketch").load("test", protocol="tfds", data_dir=tmp_path)


def test_parts_of_classes():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 500)
    keys = [f"image {number}" for number in range(500)]
    parts = [rows_of_part(labels, keys, *part) for part in ((0, 0.5), (0.5, 0.7), (0.7, 1))]
    assert sorted(np.concatenate(parts).tolist()) == list(range(500))
    counts = np.bincount(labels)
    for part, share in zip(parts, (0.5, 0.2, 0.3), strict=True):
        assert np.abs(np.bincount(labels[part]) - share * counts).max() <= 1
    # Whatever the order of the images, the same ones are taken.
    order = rng.permutation(500)
    shuffled = rows_of_part(labels[order], [keys[row] for row in order], 0, 0.5)
    assert {keys[order[row]] for row in shuffled} == {keys[row] for row in parts[0]}


def test_what_is_not_prepared(tmp_path):
    benchmark = get_benchmark("eurosat")
    with pytest.raises(InputError, match="eurosat"):
        benchmark.load("test", protocol="tfds", data_dir=tmp_path)
    (problem,) = benchmark.check(protocol="tfds", data_dir=tmp_path)
    assert "is not prepared there; run" in problem


@pytest.fixture(scope="module")
def dummy_data(tmp_path_factory):
    """Dummy data of both builders, from miniatures in CoOp's layout."""
    folder = tmp_path_factory.mktemp("dummy")
    write_miniature(get_benchmark("ucf101"), folder)
    aircraft = write_miniature(get_benchmark("fgvc_aircraft"), folder)
    archive = folder / "fgvc-aircraft-2013b"
    archive.mkdir()
    aircraft.rename(archive / "data")
    return folder


def run_test_case(case):
    """Runs a test case of unittest, which a class made in a fixture is not collected for."""
    import unittest

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    problems = result.errors + result.failures
    assert not problems, problems[0][1]
    return result.testsRun


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("builder", "example_dir"), [(FGVCAircraft, "."), (UCF101MiddleFrames, "ucf101")]
)
def test_the_builder_test_case_of_tfds(builder, example_dir, dummy_data):
    count = len(builder(data_dir=dummy_data / "none").info.features["label"].names)

    class Case(tfds.testing.DatasetBuilderTestCase):
        DATASET_CLASS = builder
        EXAMPLE_DIR = str(dummy_data / example_dir)
        SPLITS = {"train": count, "validation": count, "test": count}  # noqa: RUF012
        # TFDS keeps checksums for its own downloads only.
        SKIP_CHECKSUMS = True

    assert run_test_case(Case) >= 5


def test_a_benchmark_from_our_builder_is_coops(dummy_data, tmp_path):
    builder = UCF101MiddleFrames(data_dir=tmp_path)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=dummy_data / "ucf101")
    )
    benchmark = get_benchmark("ucf101")
    with warnings.catch_warnings(action="ignore"):
        ours = benchmark.load("val", protocol="tfds", data_dir=tmp_path)
        coop = benchmark.load("val", protocol="coop", data_dir=dummy_data)
    assert ours.class_names == coop.class_names
    assert sorted(ours.labels.tolist()) == sorted(coop.labels.tolist())
    problems = benchmark.check(protocol="tfds", data_dir=tmp_path)
    assert len(problems) == 3
    assert "'train' of ucf101_middle_frames has 101 images; expected 7,639; remove" in problems[0]
