"""A made-up report with every section, for tests."""

import itertools

import numpy as np

from keras_cmm.report import ClassifierResult, GalleryPicture, MappedEmbeddings, ReportContent

HOSTILE = "<script>alert('x')</script>\"' & $\\frac$ {{ 7 * 7 }}"


def make_record(method, shots, seed, top1, dataset="generated", **changes):
    return {
        "dataset": dataset,
        "protocol": "embeddings",
        "backbone": "none",
        "method": method,
        "shots": shots,
        "seed": seed,
        "top1": top1,
        "fit_seconds": 0.1,
        "predict_seconds": 0.01,
        "hyperparameters": {"alpha": 1.0, "selection": "fixed"},
        "versions": {"keras_cmm": "0.0", "python": "3"},
    } | changes


def make_records(dataset="generated"):
    rng = np.random.default_rng(0)
    records = [make_record("zero_shot", 0, 0, 40.0, dataset)]
    for method, shots, seed in itertools.product(["nearest_mean", "cmm"], [1, 4, 16], [1, 2, 3]):
        top1 = 40.0 + 2 * shots + rng.normal()
        records.append(make_record(method, shots, seed, top1, dataset))
    return records


def make_result(classes, rows_per_class=6, extra_names=()):
    rng = np.random.default_rng(0)
    names = [f"class {i}" for i in range(classes - len(extra_names))] + list(extra_names)
    labels = np.repeat(np.arange(classes), rows_per_class)
    logits = rng.normal(size=(len(labels), classes))
    logits[np.arange(len(labels)), labels] += 2
    probabilities = np.exp(logits)
    return ClassifierResult(names, labels, probabilities / probabilities.sum(axis=1, keepdims=True))


def make_embeddings(classes, rows_per_class=6, dim=8):
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(classes, dim)) + 3
    labels = np.repeat(np.arange(classes), rows_per_class)
    images = texts[labels] + rng.normal(size=(len(labels), dim)) - 6
    return MappedEmbeddings(images, 0.5 * (images + texts[labels]), texts, labels)


def make_gallery(count, names, size=64):
    rng = np.random.default_rng(0)
    gallery = []
    for i in range(count):
        image = rng.integers(0, 256, size=(size, size, 3), dtype="uint8")
        other = names[(i + 1) % len(names)]
        own = names[i % len(names)]
        guesses = [(own, 0.7), (other, 0.2)] if i % 2 else [(other, 0.6), (own, 0.3)]
        gallery.append(GalleryPicture(image, own, guesses))
    return gallery


def make_content(classes=30, pictures=8, name=HOSTILE):
    result = make_result(classes, extra_names=[name])
    return ReportContent(
        title=f"Report {name}",
        summary=f"Summary {name}",
        records=make_records() + make_records(dataset=name),
        classifier_name=name,
        classifier=result,
        embeddings=make_embeddings(classes),
        gallery=make_gallery(pictures, [name, *result.class_names[:3]]),
        command=f"keras-cmm fit {name}",
        hyperparameters={"alpha": 1.0, name: [1, name]},
    )
