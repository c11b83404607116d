"""What is fuzzed: sound files, how they are read, and when two values are the same."""

import io
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .mutations import ALL

CLASSES = ["ant", "bee", "cat"]
CUT_OR_ZEROS = frozenset({"cut", "zeros"})


@dataclass(frozen=True)
class Target:
    """A format.

    Args:
        samples: Returns sound samples, each `{name: bytes}`.
        read: Reads a folder with the files of a sample. It raises an `InputError`, or returns a
            value that is complete and well formed; otherwise an `AssertionError`.
        exact: The kinds of damage after which a value must be that of the sound files.
        same: Whether the value after damage is that of the sound files.
        seconds: After how long a case counts as one that hangs.
        cases: How many cases the test suite tries.
    """

    samples: object
    read: object
    exact: frozenset
    same: object = lambda value, sound: value == sound
    seconds: float = 20.0
    cases: int = 400


def picture(mode="RGB", size=(41, 30), seed=0):
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), "uint8"))
    smooth = np.asarray(small.resize(size, Image.Resampling.BICUBIC)).astype("int64")
    noisy = (smooth + rng.integers(-9, 10, smooth.shape)).clip(0, 255).astype("uint8")
    return Image.fromarray(noisy).convert(mode)


def saved(image, name, **options):
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010F] = "camera"
    return tags


def images(*files):
    return lambda: [{"a": make()} for make in files]


def read_picture(folder):
    from keras_cmm.clip import read_image

    image = read_image(folder / "a")
    assert image.mode == "RGB"
    assert image.width * image.height <= Image.MAX_IMAGE_PIXELS
    return image.size, zlib.crc32(image.tobytes())


def several(name, **options):
    frames = [picture(seed=seed) for seed in range(3)]
    return saved(frames[0], name, save_all=True, append_images=frames[1:], **options)


PICTURES = {
    "png": Target(
        images(
            *(lambda mode=mode: saved(picture(mode), "PNG") for mode in ("RGB", "LA", "P", "1")),
            lambda: saved(picture("RGBA"), "PNG", exif=exif(6)),
            lambda: several("PNG"),
        ),
        read_picture,
        ALL,
        cases=1500,
    ),
    "jpeg": Target(
        images(
            lambda: saved(picture(), "JPEG", exif=exif(6)),
            lambda: saved(picture("L"), "JPEG"),
            lambda: saved(picture("CMYK"), "JPEG", optimize=True),
            lambda: saved(picture(), "JPEG", progressive=True),
            lambda: saved(picture(), "JPEG", restart_marker_blocks=1),
            lambda: several("MPO"),
        ),
        read_picture,
        CUT_OR_ZEROS,
        cases=1500,
    ),
    "webp": Target(
        images(
            lambda: saved(picture(), "WEBP", exif=exif(8)),
            lambda: saved(picture("RGBA"), "WEBP", lossless=True),
            lambda: several("WEBP"),
        ),
        read_picture,
        CUT_OR_ZEROS,
        cases=2000,
    ),
    "gif": Target(
        images(lambda: saved(picture("P"), "GIF"), lambda: several("GIF")),
        read_picture,
        CUT_OR_ZEROS,
        cases=2000,
    ),
    "avif": Target(images(lambda: saved(picture(), "AVIF")), read_picture, CUT_OR_ZEROS, cases=400),
    "tiff": Target(
        images(
            lambda: saved(picture(), "TIFF"),
            lambda: saved(picture("P"), "TIFF", exif=exif(6)),
            lambda: several("TIFF"),
        ),
        read_picture,
        frozenset(),
        cases=1600,
    ),
    "packed tiff": Target(
        images(
            lambda: saved(picture(), "TIFF", compression="tiff_lzw"),
            lambda: saved(picture(), "TIFF", compression="tiff_deflate"),
            lambda: saved(picture("1"), "TIFF", compression="group4"),
            lambda: saved(picture(), "TIFF", compression="jpeg"),
        ),
        read_picture,
        frozenset({"cut"}),
        cases=1600,
    ),
    "bmp and ppm": Target(
        images(
            lambda: saved(picture(), "BMP"),
            lambda: saved(picture("P"), "BMP"),
            lambda: saved(picture(), "PPM"),
            lambda: b"P3 # text\n3 2\n9\n" + b" 1 2 3" * 6 + b"\n",
            lambda: b"P5 41 30 1023\n" + bytes([2, 7]) * 41 * 30,
        ),
        read_picture,
        frozenset(),
        cases=1200,
    ),
}


def heic():
    import pillow_heif

    file = io.BytesIO()
    pillow_heif.from_pillow(picture(size=(64, 48))).save(file, quality=90)
    return [{"a": file.getvalue()}]


PICTURES["heic"] = Target(heic, read_picture, CUT_OR_ZEROS, cases=200)


def embeddings():
    from keras_cmm.data import EmbeddingSet

    rng = np.random.default_rng(0)
    fields = {
        "train_embeddings": rng.normal(size=(12, 8)).astype("float32"),
        "train_labels": np.arange(12, dtype="int32") % 3,
        "test_embeddings": rng.normal(size=(6, 8)).astype("float32"),
        "test_labels": np.arange(6, dtype="int32") % 3,
        "text_embeddings": rng.normal(size=(3, 8)).astype("float32"),
        "class_names": CLASSES,
        "dataset": "insects",
        "backbone": "none",
    }
    samples = []
    for dtype in ("float16", "float32"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "a.safetensors")
            EmbeddingSet(**fields).write(path, dtype)
            samples.append({"a.safetensors": path.read_bytes()})
    return samples


def read_embeddings(folder):
    from keras_cmm.data import EmbeddingSet

    data = EmbeddingSet.read(folder / "a.safetensors")
    classes = len(data.class_names)
    value = [tuple(data.class_names)]
    for part in ("train", "test"):
        rows = np.asarray(getattr(data, f"{part}_embeddings"), dtype="float32")
        labels = np.asarray(getattr(data, f"{part}_labels"))
        assert np.isfinite(rows).all()
        assert len(rows) == len(labels)
        assert labels.min() >= 0
        assert labels.max() < classes
        value += [rows.tobytes(), labels.tobytes()]
    texts = np.asarray(data.text_embeddings, dtype="float32")
    assert np.isfinite(texts).all()
    assert len(texts) == classes
    return (*value, texts.tobytes())


KEYS = [bytes([number]) * 16 for number in range(1, 26)]


def space(folder):
    from keras_cmm.clip import EmbeddingStore

    return EmbeddingStore(folder, shard_size=10).space({"model": "a"}, 8)


def store():
    from keras_cmm_runtime.embeddings.embedding_space import KEY_TYPE

    rows = np.random.default_rng(0).normal(size=(25, 8)).astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        table = space(Path(folder))
        table.append(np.array(KEYS).astype(KEY_TYPE), rows)
        paths = [
            path for path in Path(folder).rglob("*") if path.suffix in (".json", ".safetensors")
        ]
        return [{path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}]


def read_store(folder):
    """Returns the embeddings that are found by their keys."""
    from keras_cmm_runtime.embeddings.embedding_space import KEY_TYPE

    table = space(folder)
    table.refresh()
    keys = np.array(KEYS).astype(KEY_TYPE)
    rows = table.find(keys)
    found = rows >= 0
    values = table.read(keys[found], rows[found])
    return dict(zip(np.flatnonzero(found).tolist(), map(bytes, values), strict=True))


def is_part(value, sound):
    """Whether all that is found is right. What is not found is made anew."""
    return value.items() <= sound.items()


def model():
    import keras_cmm

    classifier = keras_cmm.CMMImageClassifier.from_preset("emoji_clip_tiny", CLASSES)
    with tempfile.TemporaryDirectory() as folder:
        classifier.save_to_preset(folder)
        paths = [path for path in Path(folder).rglob("*") if path.is_file()]
        return [{path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}]


def read_model(folder):
    import keras_cmm

    classifier = keras_cmm.CMMImageClassifier.from_preset(str(folder))
    image = np.asarray(picture(size=(64, 64)))
    return tuple(classifier.class_names), classifier.predict([image]).tobytes()


def pieces():
    """Samples of the tokenizers of SigLIP, SigLIP 2 and MetaCLIP 2."""
    # The helpers of the other tests write them.
    from transformers_families import save_metaclip_2, save_siglip_2, sentence_pieces

    samples = [
        {"spiece.model": sentence_pieces("t5")},
        {"tokenizer.model": sentence_pieces("gemma")},
        {"sentencepiece.bpe.model": sentence_pieces("xlm")},
    ]
    for save, name in ((save_siglip_2, "siglip"), (save_metaclip_2, "metaclip")):
        with tempfile.TemporaryDirectory() as folder:
            save(Path(folder))
            content = Path(folder, "tokenizer.json").read_bytes()
            samples.append({f"{name}/tokenizer.json": content})
    return samples


def read_pieces(folder):
    from keras_cmm.clip.inputs import (
        check_tokenizer,
        read_metaclip_2_tokenizer,
        read_siglip_tokenizer,
        tokenize,
    )

    for inner in ("siglip", "metaclip"):
        folder = folder / inner if (folder / inner).is_dir() else folder
    is_metaclip = folder.name == "metaclip" or (folder / "sentencepiece.bpe.model").is_file()
    tokenizer = (read_metaclip_2_tokenizer if is_metaclip else read_siglip_tokenizer)(folder)
    check_tokenizer(tokenizer, 400, folder)
    ids = tokenize(tokenizer, ["a cat", "", "naïve dogs"], 16)
    assert ids.min() >= 0
    assert ids.max() < 400
    return ids.tobytes()


def siglip():
    """A SigLIP folder as transformers saves it, without the weights' list of digests."""
    from transformers_families import save_siglip

    with tempfile.TemporaryDirectory() as folder:
        save_siglip(Path(folder))
        paths = [path for path in Path(folder).iterdir() if path.is_file()]
        return [{path.name: path.read_bytes() for path in paths}]


def read_siglip(folder):
    from keras_cmm import clip

    loaded = clip.load(folder)
    rows = clip.TextEmbedder(loaded).embed(["a cat"])
    images = clip.ImageEmbedder(loaded).embed([picture()]).embeddings
    assert rows.shape[1] == images.shape[1] == loaded.backbone.projection_dim
    return rows.tobytes(), images.tobytes()


def archive(form):
    def make():
        # The helpers of the other tests write them.
        from labelled_pictures import as_cls, pictures, webdataset, write_tar, write_zip

        write = write_zip if form == "zip" else write_tar
        samples = []
        for files in (pictures(), webdataset(pictures(), as_cls)):
            with tempfile.TemporaryDirectory() as folder:
                path = write(Path(folder, f"a.{form}"), files)
                samples.append({path.name: path.read_bytes()})
        return samples

    def read(folder):
        from keras_cmm.data import ArchiveSource
        from keras_cmm_runtime.errors import InputError

        images = ArchiveSource.from_file(folder / f"a.{form}", ["green tea", "red fox"])
        content = {}
        for key, stored in zip(images.keys(), images.images, strict=True):
            try:
                content[key] = zlib.crc32(stored.read_bytes())
            except InputError:
                content[key] = None
        return content

    return make, read


def same_members(value, sound):
    """Whether the members that have their right name have their right bytes or are refused."""
    return all(value[key] in (sound[key], None) for key in value.keys() & sound.keys())


def all_members(value, sound):
    return value.keys() == sound.keys() and same_members(value, sound)


def csv():
    rows = "\n".join(f"{number}.png;{'ant' if number % 2 else 'bee'}" for number in range(20))
    pictures = {f"{number}.png": b"" for number in range(20)}
    return [
        {"a.csv": f"path;label\n{rows}\n".encode(), **pictures},
        {"a.csv": f"\ufeffpath,label\n{rows}\n".replace(";", ",").encode(), **pictures},
    ]


def parquet():
    import pyarrow
    import pyarrow.parquet

    names = [f"{number}.png" for number in range(20)]
    labels = ["ant" if number % 2 else "bee" for number in range(20)]
    samples = []
    for options in ({}, {"compression": "zstd"}, {"use_dictionary": False, "compression": "none"}):
        file = io.BytesIO()
        table = pyarrow.table({"path": names, "label": labels})
        pyarrow.parquet.write_table(table, file, **options)
        samples.append({"a.parquet": file.getvalue(), **dict.fromkeys(names, b"")})
    return samples


def read_list(name):
    def read(folder):
        from keras_cmm.data import open_images

        found = open_images(folder / name)
        assert all(path.is_file() for path in found.paths)
        assert set(found.labels.tolist()) <= set(range(len(found.class_names)))
        return found.keys(), found.labels.tolist(), found.class_names

    return read


zip_samples, read_zip = archive("zip")
tar_samples, read_tar = archive("tar")

DATA = {
    "embeddings": Target(embeddings, read_embeddings, frozenset({"cut", "insert"}), cases=1600),
    "store": Target(store, read_store, ALL, is_part, cases=1200),
    "zip": Target(zip_samples, read_zip, ALL, same_members, cases=1200),
    "tar": Target(tar_samples, read_tar, frozenset({"cut"}), all_members, cases=1000),
    "csv": Target(csv, read_list("a.csv"), frozenset(), cases=800),
    "parquet": Target(parquet, read_list("a.parquet"), frozenset(), cases=800),
    "model": Target(model, read_model, ALL, seconds=120.0, cases=6),
    "pieces": Target(pieces, read_pieces, frozenset(), cases=150),
    "siglip": Target(siglip, read_siglip, frozenset(), seconds=120.0, cases=20),
}
TARGETS = PICTURES | DATA
