import numpy as np
import pytest

from keras_cmm.evaluation import measure_modality_gap


def naive_gap(images, texts, labels):
    """The same in plain loops: centroid distance, own cosine, hardest wrong cosine."""

    def unit(row):
        return [value / sum(v * v for v in row) ** 0.5 for value in row]

    images, texts = [unit(row) for row in images], [unit(row) for row in texts]
    own, hardest = [], []
    for image, label in zip(images, labels, strict=True):
        cosines = [sum(a * b for a, b in zip(image, text, strict=True)) for text in texts]
        own.append(cosines[label])
        wrong = [
            cosine
            for cosine, text in zip(cosines, texts, strict=True)
            if any(abs(a - b) > 1e-6 for a, b in zip(text, texts[label], strict=True))
        ]
        hardest.append(max(wrong))
    squares = 0.0
    for axis in range(len(texts[0])):
        image_mean = sum(image[axis] for image in images) / len(images)
        text_mean = sum(text[axis] for text in texts) / len(texts)
        squares += (image_mean - text_mean) ** 2
    return squares**0.5, sum(own) / len(own), sum(hardest) / len(hardest)


@pytest.mark.parametrize("duplicates", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_against_a_naive_loop(duplicates, dtype):
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(5, 7)).astype(dtype)
    if duplicates:
        texts[3] = texts[1]
    labels = rng.integers(0, 5, size=40)
    images = (texts[labels] + 2 * rng.normal(size=(40, 7)) + 1).astype(dtype)
    expected = naive_gap(images.tolist(), texts.tolist(), labels.tolist())
    assert measure_modality_gap(images, texts, labels) == pytest.approx(expected, abs=1e-5)


def test_length_does_not_matter():
    rng = np.random.default_rng(1)
    images, texts, labels = rng.normal(size=(6, 4)), rng.normal(size=(3, 4)), np.arange(6) % 3
    expected = measure_modality_gap(images, texts, labels)
    assert measure_modality_gap(5 * images, 3 * texts, labels) == pytest.approx(expected)


def test_no_wrong_text():
    rows = np.array([[1.0, 0.0], [1.0, 0.0]])
    gap = measure_modality_gap(rows, rows, np.array([0, 1]))
    assert gap.own_cosine == 1.0
    assert np.isnan(gap.hardest_wrong_cosine)


def test_prototypes_of_one_text_that_training_has_driven_apart():
    texts = np.eye(3, 4)
    texts[2] = [0.0, 0.9, 0.1, 0.0]
    gap = measure_modality_gap(texts, texts, np.arange(3))
    assert gap.hardest_wrong_cosine > 0.6
    gap = measure_modality_gap(texts, texts, np.arange(3), duplicate_groups=[[1, 2]])
    assert gap.hardest_wrong_cosine == 0.0
