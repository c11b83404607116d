"""The 11 benchmarks and 4 distribution shifts of ImageNet that the field reports.

Sizes, split files and prompt templates are CoOp's (https://github.com/KaiyangZhou/CoOp), sizes in
tensorflow-datasets are those of version 4.9.10. Links were gathered in 2026 and not all could be
tried; where one is known to be dead, the entry says so.
"""

import difflib

from keras_cmm.data.benchmarks.benchmark import Benchmark
from keras_cmm.errors import InputError

# Where TFDS has no validation split: a fifth of the training images of each class.
_TRAIN = ("train", 0.0, 0.8)
_VAL = ("train", 0.8, 1.0)
_TEST = ("test", 0.0, 1.0)

_NAMES_TRAP = (
    "Class names are read from imagenet/classnames.txt under both protocols; OpenAI's names call "
    "two classes 'missile' and two 'sunglasses'."
)
_NO_LICENCE = "none is stated; the images are from the web, use them for research only"

_CALTECH = {
    "airplanes": "airplane",
    "faces": "face",
    "leopards": "leopard",
    "motorbikes": "motorbike",
    "background_google": "",
    "faces_easy": "",
}
_EUROSAT = {
    "AnnualCrop": "Annual Crop Land",
    "HerbaceousVegetation": "Herbaceous Vegetation Land",
    "Highway": "Highway or Road",
    "Industrial": "Industrial Buildings",
    "Pasture": "Pasture Land",
    "PermanentCrop": "Permanent Crop Land",
    "Residential": "Residential Buildings",
    "SeaLake": "Sea or Lake",
}


def _caltech_name(name: str) -> str:
    return _CALTECH.get(name, name)


def _eurosat_name(name: str) -> str:
    return _EUROSAT.get(name, name)


def _car_name(name: str) -> str:
    """Puts the year first: "Acura RL Sedan 2012" is "2012 Acura RL Sedan" to CLIP."""
    model, _, year = name.rpartition(" ")
    return f"{year} {model}"


def _scene_name(name: str) -> str:
    """Drops the letter and puts the kind first: "/a/apse/indoor" is "indoor apse" to CLIP."""
    return " ".join(reversed(name.split("/")[2:]))


_ALL = (
    Benchmark(
        name="imagenet",
        title="ImageNet",
        num_classes=1000,
        coop_sizes={"train": 1281167, "test": 50000},
        prompt_template="imagenet",
        coop_folder="imagenet",
        coop_images="images",
        coop_layout="wnids",
        coop_split_file="",
        tfds_name="imagenet2012",
        tfds_sizes={"train": 1281167, "validation": 50000},
        tfds_splits={"train": ("train", 0.0, 1.0), "test": ("validation", 0.0, 1.0)},
        sources=(
            "https://image-net.org/download.php (account needed): ILSVRC2012_img_train.tar and "
            "ILSVRC2012_img_val.tar",
        ),
        licence="ImageNet's terms of access: non-commercial research and education only",
        traps=(
            "It is tested on its validation images, and has no validation split of its own.",
            "The validation archive unpacks to 50,000 loose files; they must be sorted into one "
            "folder a class, images/val/<WordNet id>.",
            _NAMES_TRAP,
        ),
    ),
    Benchmark(
        name="caltech101",
        title="Caltech101",
        num_classes=100,
        coop_sizes={"train": 4128, "val": 1649, "test": 2465},
        prompt_template="caltech101",
        coop_folder="caltech-101",
        coop_images="101_ObjectCategories",
        coop_layout="split_file",
        coop_split_file="split_zhou_Caltech101.json",
        tfds_name="caltech101",
        tfds_sizes={"train": 3059, "test": 6085},
        tfds_splits={"train": _TRAIN, "val": _VAL, "test": _TEST},
        sources=(
            "https://data.caltech.edu/records/mzrjq-6wc02: caltech-101.zip, which holds "
            "101_ObjectCategories.tar.gz",
        ),
        licence="CC BY 4.0",
        traps=(
            "100 classes: BACKGROUND_Google and Faces_easy are left out.",
            "The zip holds a tar.gz that must be unpacked too.",
            "The address at vision.caltech.edu in older instructions is dead.",
        ),
        tfds_class_name=_caltech_name,
    ),
    Benchmark(
        name="oxford_pets",
        title="OxfordPets",
        num_classes=37,
        coop_sizes={"train": 2944, "val": 736, "test": 3669},
        prompt_template="oxford_pets",
        coop_folder="oxford_pets",
        coop_images="images",
        coop_layout="split_file",
        coop_split_file="split_zhou_OxfordPets.json",
        tfds_name="oxford_iiit_pet",
        tfds_sizes={"train": 3680, "test": 3669},
        tfds_splits={"train": _TRAIN, "val": _VAL, "test": _TEST},
        sources=("https://www.robots.ox.ac.uk/~vgg/data/pets/: images.tar.gz",),
        licence="CC BY-SA 4.0",
        traps=("Some .jpg files are really PNG or GIF; they are read by content.",),
        tfds_class_name=str.lower,
    ),
    Benchmark(
        name="stanford_cars",
        title="StanfordCars",
        num_classes=196,
        coop_sizes={"train": 6509, "val": 1635, "test": 8041},
        prompt_template="stanford_cars",
        coop_folder="stanford_cars",
        coop_images=".",
        coop_layout="split_file",
        coop_split_file="split_zhou_StanfordCars.json",
        tfds_name="cars196",
        tfds_sizes={"train": 8144, "test": 8041},
        tfds_splits={"train": _TRAIN, "val": _VAL, "test": _TEST},
        sources=(
            "copies of the original archives, such as Kaggle's "
            "jessicali9530/stanford-cars-dataset, with cars_train/ and cars_test/",
        ),
        licence="none is stated; the authors gave it for non-commercial research",
        traps=(
            "The original address at ai.stanford.edu is dead, and with it the download of TFDS.",
            "Copies may hold cars_train/cars_train/*.jpg, one folder too deep, or files that are "
            "renamed or sorted by class, which no list fits any more.",
        ),
        tfds_class_name=_car_name,
    ),
    Benchmark(
        name="oxford_flowers",
        title="Flowers102",
        num_classes=102,
        coop_sizes={"train": 4093, "val": 1633, "test": 2463},
        prompt_template="oxford_flowers",
        coop_folder="oxford_flowers",
        coop_images="jpg",
        coop_layout="split_file",
        coop_split_file="split_zhou_OxfordFlowers.json",
        tfds_name="oxford_flowers102",
        tfds_sizes={"train": 1020, "validation": 1020, "test": 6149},
        tfds_splits={
            "train": ("train", 0.0, 1.0),
            "val": ("validation", 0.0, 1.0),
            "test": _TEST,
        },
        sources=("https://www.robots.ox.ac.uk/~vgg/data/flowers/102/: 102flowers.tgz",),
        licence=_NO_LICENCE,
        traps=(
            "TFDS has the official split: 10 training images a class, so 16 shots are 10 there.",
            "Copies that are sorted into train/, valid/ and test/ have lost the names' places.",
        ),
    ),
    Benchmark(
        name="food101",
        title="Food101",
        num_classes=101,
        coop_sizes={"train": 50500, "val": 20200, "test": 30300},
        prompt_template="food101",
        coop_folder="food-101",
        coop_images="images",
        coop_layout="split_file",
        coop_split_file="split_zhou_Food101.json",
        tfds_name="food101",
        tfds_sizes={"train": 75750, "validation": 25250},
        tfds_splits={"train": _TRAIN, "val": _VAL, "test": ("validation", 0.0, 1.0)},
        sources=("https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/: food-101.tar.gz",),
        licence="the images are Foodspotting's; scientific fair use only",
        traps=(
            "CoOp splits anew and does not keep the official test images; TFDS calls those "
            "'validation'.",
        ),
    ),
    Benchmark(
        name="fgvc_aircraft",
        title="FGVCAircraft",
        num_classes=100,
        coop_sizes={"train": 3334, "val": 3333, "test": 3333},
        prompt_template="fgvc_aircraft",
        coop_folder="fgvc_aircraft",
        coop_images="images",
        coop_layout="aircraft",
        coop_split_file="",
        tfds_name="fgvc_aircraft",
        tfds_sizes={"train": 3334, "validation": 3333, "test": 3333},
        tfds_splits={
            "train": ("train", 0.0, 1.0),
            "val": ("validation", 0.0, 1.0),
            "test": _TEST,
        },
        sources=(
            "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/: fgvc-aircraft-2013b.tar.gz; "
            "its folder data/ becomes fgvc_aircraft/",
        ),
        licence="for non-commercial research only",
        traps=(
            "The classes are the 100 variants, not the 70 families or 30 manufacturers.",
            "The lowest 20 pixels of each image are a banner with the author's name; CoOp keeps "
            "it.",
            "It is not in TFDS; its builder is "
            "keras_cmm.data.benchmarks.tfds_builders.FGVCAircraft.",
        ),
    ),
    Benchmark(
        name="sun397",
        title="SUN397",
        num_classes=397,
        coop_sizes={"train": 15880, "val": 3970, "test": 19850},
        prompt_template="sun397",
        coop_folder="sun397",
        coop_images="SUN397",
        coop_layout="split_file",
        coop_split_file="split_zhou_SUN397.json",
        tfds_name="sun397/standard-part1-120k",
        tfds_sizes={"train": 19850, "test": 19850},
        tfds_splits={"train": _TRAIN, "val": _VAL, "test": _TEST},
        sources=("https://vision.princeton.edu/projects/2010/SUN/: SUN397.tar.gz (39 GB)",),
        licence=_NO_LICENCE,
        traps=(
            "The server is slow and often away; an archive that broke off unpacks without the "
            "last letters of the alphabet.",
            "To prepare it, TFDS needs opencv.",
        ),
        tfds_class_name=_scene_name,
    ),
    Benchmark(
        name="dtd",
        title="DTD",
        num_classes=47,
        coop_sizes={"train": 2820, "val": 1128, "test": 1692},
        prompt_template="dtd",
        coop_folder="dtd",
        coop_images="images",
        coop_layout="split_file",
        coop_split_file="split_zhou_DescribableTextures.json",
        tfds_name="dtd",
        tfds_sizes={"train": 1880, "validation": 1880, "test": 1880},
        tfds_splits={
            "train": ("train", 0.0, 1.0),
            "val": ("validation", 0.0, 1.0),
            "test": _TEST,
        },
        sources=("https://www.robots.ox.ac.uk/~vgg/data/dtd/: dtd-r1.0.1.tar.gz",),
        licence="for research only",
        traps=("CoOp splits anew; TFDS has the first of the ten official partitions.",),
    ),
    Benchmark(
        name="eurosat",
        title="EuroSAT",
        num_classes=10,
        coop_sizes={"train": 13500, "val": 5400, "test": 8100},
        prompt_template="eurosat",
        coop_folder="eurosat",
        coop_images="2750",
        coop_layout="split_file",
        coop_split_file="split_zhou_EuroSAT.json",
        tfds_name="eurosat/rgb",
        tfds_sizes={"train": 27000},
        # The shares of CoOp's split.
        tfds_splits={
            "train": ("train", 0.0, 0.5),
            "val": ("train", 0.5, 0.7),
            "test": ("train", 0.7, 1.0),
        },
        sources=("https://zenodo.org/records/7711810: EuroSAT_RGB.zip",),
        licence="MIT",
        traps=(
            "Newer archives call the folder EuroSAT_RGB; CoOp calls it 2750.",
            "The address at madm.dfki.de in older instructions, which TFDS has too, is dead.",
            "Not EuroSAT_MS or EuroSATallBands: those are 13-channel TIFFs.",
        ),
        tfds_class_name=_eurosat_name,
    ),
    Benchmark(
        name="ucf101",
        title="UCF101",
        num_classes=101,
        coop_sizes={"train": 7639, "val": 1898, "test": 3783},
        prompt_template="ucf101",
        coop_folder="ucf101",
        coop_images="UCF-101-midframes",
        coop_layout="split_file",
        coop_split_file="split_zhou_UCF101.json",
        tfds_name="ucf101_middle_frames",
        tfds_sizes={"train": 7639, "validation": 1898, "test": 3783},
        tfds_splits={
            "train": ("train", 0.0, 1.0),
            "val": ("validation", 0.0, 1.0),
            "test": _TEST,
        },
        sources=("the link to UCF-101-midframes.zip in CoOp's DATASETS.md",),
        licence=_NO_LICENCE,
        traps=(
            "One frame a video, from its middle; frames taken otherwise give other numbers.",
            "TFDS has the videos only: the builder of the frames is "
            "keras_cmm.data.benchmarks.tfds_builders.UCF101MiddleFrames; it splits as CoOp does.",
        ),
    ),
    Benchmark(
        name="imagenetv2",
        title="ImageNetV2",
        num_classes=1000,
        coop_sizes={"test": 10000},
        prompt_template="imagenet_v2",
        coop_folder="imagenetv2",
        coop_images="imagenetv2-matched-frequency-format-val",
        coop_layout="numbers",
        coop_split_file="",
        tfds_name="imagenet_v2/matched-frequency",
        tfds_sizes={"test": 10000},
        tfds_splits={"test": _TEST},
        sources=(
            "https://huggingface.co/datasets/vaishaal/ImageNetV2: "
            "imagenetv2-matched-frequency.tar.gz",
        ),
        licence="MIT",
        traps=(
            "Of the three versions the field takes matched-frequency.",
            "The folders are numbers from 0 to 999: in the order of their names as text, class 2 "
            "is 10. The numbers follow the WordNet ids.",
            "The Amazon S3 address in older instructions is closed.",
            _NAMES_TRAP,
        ),
    ),
    Benchmark(
        name="imagenet_sketch",
        title="ImageNet-Sketch",
        num_classes=1000,
        coop_sizes={"test": 50889},
        prompt_template="imagenet_sketch",
        coop_folder="imagenet-sketch",
        coop_images="images",
        coop_layout="wnids",
        coop_split_file="",
        tfds_name="imagenet_sketch",
        tfds_sizes={"test": 50889},
        tfds_splits={"test": _TEST},
        sources=(
            "https://github.com/HaohanWang/ImageNet-Sketch: ImageNet-Sketch.zip; its folder "
            "sketch/ becomes images/",
        ),
        licence="MIT",
        traps=("The archive unpacks to sketch/, CoOp calls the folder images/.", _NAMES_TRAP),
    ),
    Benchmark(
        name="imagenet_a",
        title="ImageNet-A",
        num_classes=200,
        coop_sizes={"test": 7500},
        prompt_template="imagenet_a",
        coop_folder="imagenet-adversarial",
        coop_images="imagenet-a",
        coop_layout="wnids",
        coop_split_file="",
        tfds_name="imagenet_a",
        tfds_sizes={"test": 7500},
        tfds_splits={"test": _TEST},
        sources=("https://github.com/hendrycks/natural-adv-examples: imagenet-a.tar",),
        licence="MIT",
        traps=(
            "It is scored among its 200 classes, which are taken from the images there are.",
            _NAMES_TRAP,
        ),
    ),
    Benchmark(
        name="imagenet_r",
        title="ImageNet-R",
        num_classes=200,
        coop_sizes={"test": 30000},
        prompt_template="imagenet_r",
        coop_folder="imagenet-rendition",
        coop_images="imagenet-r",
        coop_layout="wnids",
        coop_split_file="",
        tfds_name="imagenet_r",
        tfds_sizes={"test": 30000},
        tfds_splits={"test": _TEST},
        sources=("https://github.com/hendrycks/imagenet-r: imagenet-r.tar",),
        licence="MIT",
        traps=(
            "It is scored among its 200 classes, which are taken from the images there are; they "
            "are not those of ImageNet-A.",
            _NAMES_TRAP,
        ),
    ),
)

BENCHMARKS: dict[str, Benchmark] = {benchmark.name: benchmark for benchmark in _ALL}


def get_benchmark(name: str) -> Benchmark:
    """Returns the benchmark of a name.

    Args:
        name: A key of `BENCHMARKS`, such as "dtd".

    Returns:
        The benchmark.

    Raises:
        InputError: If there is none of that name.

    Example:
        >>> get_benchmark("dtd").coop_sizes["test"]
        1692
    """
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    near = difflib.get_close_matches(name, BENCHMARKS, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise InputError(f"{name!r}: is no benchmark{hint}; there are {', '.join(BENCHMARKS)}.")
