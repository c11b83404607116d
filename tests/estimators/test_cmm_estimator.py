import pickle

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import estimator_checks_generator

from keras_cmm import AutoRecipe, CMMClassifier, TrainingRecipe
from keras_cmm.estimators import CMMEstimator
from keras_cmm_runtime import InputError

QUICK = AutoRecipe(epochs=1, min_steps=1)
RNG = np.random.default_rng(0)
TEXTS = RNG.normal(size=(3, 8)).astype("float32")
IDS = np.arange(24) % 3
IMAGES = (TEXTS[IDS] + 0.4 * RNG.normal(size=(24, 8))).astype("float32")
NAMES = np.array(["cat", "dog", "emu"])


# scikit-learn's data there has a row of zeros.
EXCEPTIONS = {"check_estimators_dtypes": "a row of zeros has no direction"}


# One call of `check_estimator` would stop at the first that fails.
@pytest.mark.parametrize(
    ("estimator", "check"),
    list(
        estimator_checks_generator(
            CMMEstimator(recipe=QUICK), expected_failed_checks=EXCEPTIONS, mark="xfail"
        )
    ),
    ids=lambda value: getattr(value, "func", value).__name__ if callable(value) else "",
)
def test_it_is_an_estimator_of_scikit_learn(estimator, check):
    check(estimator)


def test_it_is_the_classifier_trained_by_the_recipe():
    recipe = TrainingRecipe(epochs=2, min_steps=1)
    estimator = CMMEstimator(TEXTS, recipe=recipe, logit_scale=20.0, random_state=3)
    probabilities = estimator.fit(IMAGES, NAMES[IDS]).predict_proba(IMAGES)
    head = CMMClassifier.from_text_embeddings(TEXTS, logit_scale=20.0)
    recipe.fit(head, IMAGES, IDS, seed=3, verbose=0)
    expected = head.probabilities(head.predict(IMAGES, verbose=0))
    np.testing.assert_allclose(probabilities, np.asarray(expected), atol=1e-6)
    assert (estimator.predict(IMAGES) == NAMES[probabilities.argmax(axis=1)]).all()


def test_texts_belong_to_labels_in_whatever_order():
    by_name = dict(zip(NAMES[::-1], TEXTS[::-1], strict=True)) | {"fox": TEXTS[0]}
    one = CMMEstimator(by_name, recipe=QUICK).fit(IMAGES, NAMES[IDS])
    other = CMMEstimator(TEXTS, recipe=QUICK).fit(IMAGES, NAMES[IDS])
    np.testing.assert_allclose(one.predict_proba(IMAGES), other.predict_proba(IMAGES), atol=1e-6)


def test_a_label_without_a_text():
    with pytest.raises(InputError, match="none for 'emu'"):
        CMMEstimator(dict(zip(NAMES[:2], TEXTS, strict=False))).fit(IMAGES, NAMES[IDS])


def test_it_answers_alike_after_pickling_and_in_cross_validation():
    estimator = CMMEstimator(TEXTS, recipe=QUICK).fit(IMAGES, IDS)
    again = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_allclose(again.predict_proba(IMAGES), estimator.predict_proba(IMAGES))
    assert cross_val_score(CMMEstimator(TEXTS, recipe=QUICK), IMAGES, IDS, cv=3).mean() > 0.8
