import numpy as np
import pytest
from small_tasks import (
    CLASSES,
    QUERIES,
    check_contract,
    cross_entropy,
    make_task,
    numerical_gradient,
)

from keras_cmm.methods import LPPlusPlus


def naive_classifier(task, iterations):
    """Returns the weights after gradient descent with numerical gradients."""
    rows, texts = task.embeddings.astype("float64"), task.text_embeddings.astype("float64")
    present = sorted(set(task.labels.tolist()))
    own = {c: [x for x, y in zip(rows, task.labels, strict=True) if y == c] for c in present}
    cosines = [np.mean([x @ texts[c] for x in own[c]]) for c in present]
    visual = np.array([sum(own.get(c, [np.zeros_like(rows[0])])) for c in range(CLASSES)])
    for label in set(range(CLASSES)) - set(present):
        visual[label] = np.mean(visual[present], axis=0)
    multipliers = np.full((CLASSES, 1), 250 * np.mean(cosines))
    trained = np.isin(np.arange(CLASSES), present)[:, None]

    visual_step = 4 * len(rows) / np.linalg.eigvalsh(rows.T @ rows).max()
    multiplier_step = len(rows) / (4 * max(sum((x @ t) ** 2 for x in rows) for t in texts))
    velocity = np.zeros_like(visual)
    for iteration in range(1, iterations + 1):

        def loss(visual, multipliers):
            logits = [
                [x @ (w + a[0] * t) for w, a, t in zip(visual, multipliers, texts, strict=True)]
                for x in rows
            ]
            logits = np.where(trained[:, 0], logits, -1e9)
            return cross_entropy(logits, task.labels)

        by_visual = numerical_gradient(lambda w: loss(w, multipliers), visual)  # noqa: B023
        by_multipliers = numerical_gradient(lambda a: loss(visual, a), multipliers)  # noqa: B023
        velocity = 0.9 * velocity + by_visual
        visual = visual - visual_step * velocity
        if iteration % 10 == 0:
            multipliers = multipliers - multiplier_step * by_multipliers
    return visual + multipliers * texts


@pytest.mark.parametrize("rows", [(4, 3, 4, 0, 4), (1, 1, 1, 1, 1)])
def test_lp_plus_plus_descends_as_the_paper_says(rows):
    task = make_task(rows, shots=max(rows))
    method = LPPlusPlus(iterations=11).fit(task)
    expected = naive_classifier(task, iterations=11)
    assert np.abs(expected - naive_classifier(task, iterations=0)).max() > 0.5
    np.testing.assert_allclose(method.weights_, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        method.predict_logits(QUERIES), QUERIES @ expected.T, rtol=1e-3, atol=5e-3
    )


def test_lp_plus_plus_moves_the_multipliers_every_tenth_iteration():
    task = make_task()
    nine, ten = (LPPlusPlus(iterations=n).fit(task).weights_ for n in (9, 10))
    expected = [naive_classifier(task, iterations=n) for n in (9, 10)]
    np.testing.assert_allclose(ten - nine, expected[1] - expected[0], atol=2e-3)


def test_lp_plus_plus_contract():
    check_contract(LPPlusPlus, tuned=False)


def test_validation_rows_change_nothing():
    logits = [
        LPPlusPlus().fit(make_task(validation=validation)).predict_logits(QUERIES)
        for validation in (True, False)
    ]
    np.testing.assert_array_equal(*logits)
