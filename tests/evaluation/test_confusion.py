import numpy as np

from keras_cmm.evaluation import frequent_confusions

NAMES = ["ant", "bee", "cat", "dog", "eel"]


def test_confusions_are_counted_most_frequent_first():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), 20)
    predictions = np.where(rng.random(100) < 0.5, labels, rng.integers(0, 5, 100))
    confusions = frequent_confusions(predictions, labels, NAMES, most=100)
    for confusion in confusions:
        row, column = NAMES.index(confusion.name), NAMES.index(confusion.taken_for)
        pairs = zip(labels, predictions, strict=True)
        assert confusion.times == sum(pair == (row, column) for pair in pairs)
        assert (confusion.total, row != column) == (20, True)
    times = [confusion.times for confusion in confusions]
    assert times == sorted(times, reverse=True)
    assert sum(times) == np.sum(predictions != labels)
    assert frequent_confusions(predictions, labels, NAMES, most=3) == confusions[:3]


def test_a_perfect_classifier_confuses_nothing():
    assert frequent_confusions(np.arange(5), np.arange(5), NAMES) == []
