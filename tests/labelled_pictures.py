"""The same labelled pictures in every form that a source can read."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("green tea", "red fox")


def pictures():
    """Returns `{key: bytes}`, three JPEG files for each of two classes, sorted by key."""
    files = {}
    for seed, name in enumerate(NAMES):
        for number in range(3):
            values = np.random.default_rng(10 * seed + number).integers(
                0, 256, (20, 24, 3), "uint8"
            )
            file = io.BytesIO()
            Image.fromarray(values).save(file, "JPEG")
            files[f"{name}/{number}.jpg"] = file.getvalue()
    return files


def write_folder(folder, files):
    for key, data in files.items():
        path = Path(folder, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return Path(folder)


def write_zip(path, files, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for key, data in files.items():
            archive.writestr(key, data)
    return path


def write_tar(path, files, mode="w"):
    with tarfile.open(path, mode) as archive:
        for key, data in files.items():
            info = tarfile.TarInfo(key)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def webdataset(files, label):
    """Returns the files of a WebDataset; `label` gives suffix and content of a label file."""
    members = {}
    for number, (key, data) in enumerate(files.items()):
        suffix, content = label(key.split("/")[0])
        members[f"{number:06d}.jpg"] = data
        members[f"{number:06d}.{suffix}"] = content
    return members


def as_cls(name):
    return "cls", str(NAMES.index(name)).encode()


def as_json(name):
    return "json", json.dumps({"caption": "...", "label": name}).encode()


def hf_dataset(files, **features):
    import datasets

    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES)), **features}
    rows = {
        "image": [{"bytes": data, "path": Path(key).name} for key, data in files.items()],
        "label": [NAMES.index(key.split("/")[0]) for key in files],
    }
    return datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
