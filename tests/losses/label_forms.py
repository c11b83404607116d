"""The forms in which both losses accept labels."""

import keras
import numpy as np
import pytest

ONLY_TENSORFLOW = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="only TensorFlow has labels of unknown width"
)


def label_forms(labels, classes):
    """Returns the same labels as ids of several types and shapes, one-hot and soft."""
    one_hot = np.eye(classes, dtype="float32")[labels]
    return [
        pytest.param(labels.astype("int32"), id="ids"),
        pytest.param(labels.astype("int64")[:, None], id="column"),
        pytest.param(labels.astype("float32"), id="float ids"),
        pytest.param(one_hot, id="one-hot"),
        # Of soft labels the largest entry counts.
        pytest.param(0.8 * one_hot + 0.2 / classes, id="soft"),
    ]


def of_unknown_width(loss, y_true, y_pred):
    """Returns the value in a graph that does not know batch size and width of the labels."""
    import tensorflow as tf

    width = y_pred.shape[1]
    signature = [tf.TensorSpec((None, None), "float32"), tf.TensorSpec((None, width), "float32")]
    return float(tf.function(loss, input_signature=signature)(y_true.astype("float32"), y_pred))
