"""Finding what is wrong with a benchmark on disk, and how to mend it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from keras_cmm.data.benchmarks.benchmark_facts import BenchmarkFacts
from keras_cmm.data.benchmarks.coop_layout import (
    DATASETS_MD,
    folder_names,
    image_names,
    missing_list,
    read_aircraft,
    read_imagenet_names,
)
from keras_cmm.data.benchmarks.tfds_layout import prepared_sizes
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.sources.coop_split import read_coop_split, refuse_shared_images
from keras_cmm_runtime.sources.folders import listed_files, see_through
from keras_cmm_runtime.utils import listed

_ARCHIVES = (".zip", ".tar", ".gz", ".tgz")
_CLASS_NAMES = 1000
# The archive has these folders, and CoOp's splits leave them out.
_NO_CLASSES = {"BACKGROUND_Google", "Faces_easy"}
_SAMPLE = 500


def check_coop(benchmark: BenchmarkFacts, data_dir: Path, every_image: bool) -> list[str]:
    """Looks for what is missing, unexpected or damaged.

    Args:
        benchmark: The benchmark.
        data_dir: The folder that holds `benchmark.coop_folder`.
        every_image: Whether to read every image, or 500 of them.

    Returns:
        One sentence for each problem, with its mend.
    """
    folder = data_dir / benchmark.coop_folder
    if not folder.is_dir():
        return [_no_folder(benchmark, data_dir, folder)]
    if not any(folder.iterdir()):
        return [f"{folder}: is empty; {_get(benchmark)}."]
    if benchmark.is_imagenet:
        problems, images = _check_class_folders(benchmark, data_dir, folder)
    else:
        problems, images = _check_lists(benchmark, folder)
    return problems + _unreadable(images, every_image)


def check_tfds(benchmark: BenchmarkFacts, data_dir: Path) -> list[str]:
    """Compares the number of images that TFDS has prepared with the number expected.

    Args:
        benchmark: The benchmark.
        data_dir: The folder of TFDS's data sets.

    Returns:
        One sentence for each problem, with its mend.
    """
    try:
        sizes = prepared_sizes(benchmark, data_dir)
    except InputError as error:
        return [str(error)]
    return [
        f"{data_dir}: the split {split!r} of {benchmark.tfds_name} has {sizes.get(split, 0):,} "
        f"images; expected {expected:,}; remove it there and prepare it again."
        for split, expected in benchmark.tfds_sizes.items()
        if sizes.get(split, 0) != expected
    ]


def _check_lists(benchmark: BenchmarkFacts, folder: Path) -> tuple[list[str], list[Path]]:
    """Checks a set whose images are listed in files; returns the problems and the images."""
    images = folder / benchmark.coop_images
    splits: dict[str, list[tuple[str, int]]] = {}
    problems = []
    try:
        if benchmark.coop_layout == "aircraft":
            for split in benchmark.splits:
                names, splits[split] = read_aircraft(folder, split)
            refuse_shared_images(f"{folder}: images_variant_*.txt", splits)
        else:
            split_file = folder / benchmark.coop_split_file
            if not split_file.is_file():
                near = [path.name for path in sorted(folder.glob("*split_zhou*"))]
                hint = f" ({listed(near)} there has another name)" if near else ""
                raise InputError(f"{split_file}{hint}: {missing_list(split_file.name)}")
            names, splits = read_coop_split(split_file)
    except InputError as error:
        problems.append(str(error))
        if not images.is_dir():
            problems.append(f"{images}: no such folder; {_get(benchmark)}.")
        return problems, []
    sizes = {split: len(rows) for split, rows in splits.items()}
    if len(names) != benchmark.num_classes or sizes != benchmark.coop_sizes:
        problems.append(
            f"{folder / benchmark.coop_split_file}: is another version: it lists "
            f"{len(names)} classes and {_counts(sizes)} images; expected {benchmark.num_classes} "
            f"and {_counts(benchmark.coop_sizes)}; replace it with the one that {DATASETS_MD} "
            "links to."
        )
    elif (known := benchmark.class_names) is not None and names != known:
        label = next(label for label, name in enumerate(names) if name != known[label])
        problems.append(
            f"{folder / (benchmark.coop_split_file or 'variants.txt')}: names its classes "
            f"otherwise: class {label} is {names[label]!r}; expected {known[label]!r}; replace it "
            f"with the one that {DATASETS_MD} links to."
        )
    paths = [path for rows in splits.values() for path, _ in rows]
    files = list(listed_files(images, paths))
    return problems + _check_listed(benchmark, images, paths, files), files


def _check_listed(
    benchmark: BenchmarkFacts, images: Path, paths: Sequence[str], files: Sequence[Path]
) -> list[str]:
    missing = [path for path, file in zip(paths, files, strict=True) if not file.is_file()]
    if missing:
        deeper = _find_deeper(images, paths[0])
        if deeper is not None and len(missing) == len(paths):
            return [
                f"{images}: the images are not there but in {deeper}; move what is in it to "
                f"{images}."
            ]
    if not images.is_dir():
        return [f"{images}: no such folder; {_get(benchmark)}."]
    problems = []
    known = {PurePosixPath(path).parts[0] for path in paths if "/" in path}
    extra = sorted(set(folder_names(see_through(images))) - known - _NO_CLASSES)
    if extra and known and benchmark.coop_images != ".":
        problems.append(
            f"{images}: holds folders of no class, {listed(extra)}; remove them, or rename them to "
            "what the list of images calls them."
        )
    if missing:
        problems.append(_missing_images(benchmark, images, paths, missing))
    return problems


def _missing_images(
    benchmark: BenchmarkFacts, images: Path, paths: Sequence[str], missing: Sequence[str]
) -> str:
    expected = Counter(str(PurePosixPath(path).parent) for path in paths)
    lost = Counter(str(PurePosixPath(path).parent) for path in missing)
    places = listed_files(images, [f"{path}/" for path in lost])
    names = {path: set(_image_names(place)) for path, place in zip(lost, places, strict=True)}
    wanted: dict[str, set[str]] = {path: set() for path in lost}
    for path in paths:
        parent = str(PurePosixPath(path).parent)
        if parent in wanted:
            wanted[parent].add(PurePosixPath(path).name)
    others = {path: names[path] - wanted[path] for path in lost}
    total = f"{len(missing):,} of {len(paths):,} listed images are missing, such as {missing[0]!r}"
    # At least as many other images are there: someone has renamed the files.
    renamed = [path for path in lost if len(others[path]) >= lost[path]]
    if renamed:
        example = min(others[renamed[0]])
        return (
            f"{images}: {total}, but there are others in their place, such as {example!r}: this "
            f"copy has renamed its files, as copies on Kaggle do; {_get(benchmark)}."
        )
    whole = [path for path in lost if lost[path] == expected[path] and path != "."]
    classes = f"; all images are missing of {listed(whole)}" if whole else ""
    return (
        f"{images}: {total}{classes}: the archive was not unpacked, or not downloaded, to its end; "
        f"{_get(benchmark)}."
    )


def _check_class_folders(
    benchmark: BenchmarkFacts, data_dir: Path, folder: Path
) -> tuple[list[str], list[Path]]:
    """Checks ImageNet or a shift of it; returns the problems and the images."""
    problems: list[str] = []
    wnids: list[str] = []
    try:
        wnids = list(read_imagenet_names(benchmark, data_dir))
        if len(wnids) != _CLASS_NAMES:
            problems.append(
                f"{folder}: classnames.txt is another version: it names {len(wnids)} classes; "
                f"expected {_CLASS_NAMES}; replace it with the one that {DATASETS_MD} links to."
            )
    except InputError as error:
        problems.append(str(error))
    if benchmark.coop_layout == "numbers":
        wnids = [str(number) for number in range(_CLASS_NAMES)]
    images: list[Path] = []
    for split, expected in benchmark.coop_sizes.items():
        place = folder / benchmark.coop_images
        if benchmark.name == "imagenet":
            place = place / ("train" if split == "train" else "val")
        images += _check_one_split(benchmark, place, set(wnids), expected, problems)
    return problems, images


def _check_one_split(
    benchmark: BenchmarkFacts, place: Path, known: set[str], expected: int, problems: list[str]
) -> list[Path]:
    if not place.is_dir():
        near = folder_names(place.parent) if place.parent.is_dir() else []
        hint = f" (there is {listed(near)})" if near else ""
        problems.append(
            f"{place}: no such folder{hint}; unpack the images and rename their folder to it, or "
            f"{_get(benchmark)}."
        )
        return []
    folders = folder_names(place)
    loose = len(image_names(place))
    if loose:
        problems.append(
            f"{place}: {loose:,} images lie directly in it; sort them into one folder a class."
        )
    deeper = [place / name for name in folders if known & set(folder_names(place / name))]
    if deeper and not known & set(folders):
        problems.append(
            f"{place}: the folders of the classes are not there but in {deeper[0]}; move what is "
            f"in it to {place}."
        )
        return []
    extra = [name for name in folders if known and name not in known]
    if extra:
        problems.append(
            f"{place}: holds folders of no class of ImageNet, {listed(extra)}; remove them, or "
            f"rename them as the archive had them, such as {min(known)!r}."
        )
    inside = {name: image_names(place / name) for name in folders if not known or name in known}
    empty = [name for name, files in inside.items() if not files]
    if empty:
        problems.append(f"{place}: the folders {listed(empty)} hold no images; {_get(benchmark)}.")
    if len(inside) != benchmark.num_classes:
        problems.append(
            f"{place}: has {len(inside):,} classes; expected {benchmark.num_classes:,}; "
            f"{_get(benchmark)}."
        )
    images = [place / name / file for name, files in inside.items() for file in files]
    if len(images) != expected:
        problems.append(
            f"{place}: has {len(images):,} images; expected {expected:,}: the archive was not "
            f"unpacked, or not downloaded, to its end, or files were added; {_get(benchmark)}."
        )
    return images


def _no_folder(benchmark: BenchmarkFacts, data_dir: Path, folder: Path) -> str:
    if not data_dir.is_dir():
        return f"{data_dir}: no such folder; give the one that holds {benchmark.coop_folder!r}."
    inside = [benchmark.coop_split_file, benchmark.coop_images, "images_variant_test.txt"]
    if any(name not in ("", ".") and (data_dir / name).exists() for name in inside):
        return (
            f"{data_dir}: is the folder of {benchmark.title} itself; rename it to "
            f"{benchmark.coop_folder!r} and give the folder above it."
        )
    archives = [path.name for path in data_dir.iterdir() if path.suffix in _ARCHIVES]
    hint = f" (there is {listed(sorted(archives))}, which must be unpacked)" if archives else ""
    return f"{folder}: no such folder{hint}; {_get(benchmark)}."


def _find_deeper(images: Path, path: str) -> Path | None:
    """Finds an image in a folder near the one where it should be."""
    above = images.parent
    for pattern in ("", "*/", "*/*/", "*/*/*/"):
        for found in sorted(above.glob(f"{pattern}{PurePosixPath(path).parts[0]}")):
            if found.parent != images and (found.parent / path).is_file():
                return found.parent
    return None


def _unreadable(images: Sequence[Path], every_image: bool) -> list[str]:
    from keras_cmm.clip import read_image

    step = 1 if every_image else max(1, len(images) // _SAMPLE)
    reasons = []
    for number, image in enumerate(images):
        try:
            if image.stat().st_size == 0:
                reasons.append(f"{image}: is empty")
            elif number % step == 0:
                read_image(image)
        except InputError as error:
            reasons.append(str(error).rstrip("."))
        except OSError:
            continue  # A missing image is a problem of its own, which is listed already.
    if not reasons:
        return []
    more = f" and {len(reasons) - 1} more" if len(reasons) > 1 else ""
    return [f"{reasons[0]}{more}; replace what cannot be read from the original archive."]


def _get(benchmark: BenchmarkFacts) -> str:
    return f"get it again from {benchmark.sources[0]}"


def _counts(sizes: Mapping[str, int]) -> str:
    return " / ".join(f"{count:,}" for count in sizes.values())


def _image_names(folder: Path) -> list[str]:
    return image_names(folder) if folder.is_dir() else []
