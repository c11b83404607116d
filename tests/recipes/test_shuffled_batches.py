import numpy as np

from keras_cmm.recipes import ShuffledBatches

X = np.random.default_rng(0).normal(size=(11, 3))
Y = np.arange(11) % 4
WEIGHTS = np.arange(11.0)


def rows(batches):
    return np.concatenate([x for x, *_ in batches])


def test_a_new_permutation_every_epoch_of_the_seed_alone():
    batches = ShuffledBatches(X, Y, batch_size=4, seed=1)
    again = ShuffledBatches(X, Y, batch_size=4, seed=1)
    epochs = []
    for _ in range(3):
        np.random.random()  # noqa: NPY002
        assert [len(y) for _, y in batches] == [4, 4, 3]
        np.testing.assert_array_equal(rows(batches), rows(again))
        np.testing.assert_array_equal(np.sort(rows(batches), axis=0), np.sort(X, axis=0))
        epochs.append(rows(batches))
        batches.on_epoch_end()
        again.on_epoch_end()
    assert (epochs[0] != epochs[1]).any()
    assert (epochs[1] != epochs[2]).any()
    assert (rows(ShuffledBatches(X, Y, batch_size=4, seed=2)) != epochs[0]).any()


def test_labels_and_weights_stay_with_their_rows():
    batches = ShuffledBatches(X, Y, batch_size=4, seed=1, sample_weight=WEIGHTS)
    for x, y, weight in batches:
        for values, label, number in zip(x, y, weight, strict=True):
            row = int(number)
            np.testing.assert_array_equal(values, X[row])
            assert label == Y[row]


def test_an_epoch_may_be_the_first_steps_of_its_order():
    batches = ShuffledBatches(X, Y, batch_size=2, seed=1, max_steps=3)
    whole = ShuffledBatches(X, Y, batch_size=2, seed=1)
    epochs = []
    for _ in range(2):
        assert len(batches) == 3
        np.testing.assert_array_equal(rows(batches), rows(whole)[:6])
        epochs.append(rows(batches))
        batches.on_epoch_end()
        whole.on_epoch_end()
    assert (epochs[0] != epochs[1]).any()
    assert len(ShuffledBatches(X, Y, batch_size=2, seed=1, max_steps=30)) == 6
