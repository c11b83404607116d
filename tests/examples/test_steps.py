import sys
from types import SimpleNamespace

import numpy as np
import pytest
from keras import ops
from paths import NOTEBOOKS

from keras_cmm.evaluation import measure_modality_gap


@pytest.fixture
def steps(monkeypatch):
    monkeypatch.syspath_prepend(NOTEBOOKS)
    # The notebooks' tests import it anew for each.
    monkeypatch.delitem(sys.modules, "steps", raising=False)
    import steps

    return steps


@pytest.mark.parametrize("classes", [slice(None), [0, 1, 3]])
def test_classes_of_one_text_are_left_out_before_and_after(steps, classes, capsys):
    rng = np.random.default_rng(0)
    texts, prototypes = rng.normal(size=(2, 4, 8)).astype("float32")
    texts[1] = texts[0]
    labels = np.array([0, 1, 2, 2])
    images = rng.normal(size=(4, 8)).astype("float32")
    images += prototypes[classes][labels]
    # The closest wrong prototype of each but for its own text's.
    prototypes[1] = prototypes[0] + 0.1
    head = SimpleNamespace(
        mapping=ops.convert_to_tensor, prototypes=SimpleNamespace(embeddings=prototypes)
    )
    model = SimpleNamespace(head=head, text_embeddings=texts)
    before, after = steps.gaps(model, images, labels, classes)
    groups = [[0, 1]]
    assert before == measure_modality_gap(images, texts[classes], labels, groups)
    assert after == measure_modality_gap(images, prototypes[classes], labels, groups)
    assert after != measure_modality_gap(images, prototypes[classes], labels)
    assert f"{after.hardest_wrong_cosine:.3f}" in capsys.readouterr().out
