"""A model for parts of images that needs neither Keras nor time."""

import functools
import os
import signal
from pathlib import Path

import numpy as np
import pyarrow

from keras_cmm_runtime.images import ImagePreprocessor
from keras_cmm_runtime.scale import ShardWorker

DIM = 4


class StubShardModel:
    """Embeds an image by the mean of its colours.

    The process dies at a part whose first pixel is that of `deadly`, if the file `trigger` is there
    or, with `once`, removes it first.
    """

    batch_size = 3
    preprocessor = ImagePreprocessor(image_size=8)

    def __init__(self, trigger=None, once=True):
        self.trigger = trigger
        self.once = once

    def columns(self, pixels, readable):
        if self.trigger is not None and Path(self.trigger).exists():
            if self.once:
                Path(self.trigger).unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        rows = np.zeros((len(readable), DIM), "float16")
        rows[:, 3] = 1
        if len(pixels):
            rows[np.asarray(readable), :3] = pixels.mean(axis=(1, 2)) / 255
        mask = pyarrow.array(~np.asarray(readable, bool))
        return {
            "embedding": pyarrow.FixedSizeListArray.from_arrays(
                pyarrow.array(rows.reshape(-1)), DIM, mask=mask
            )
        }


class MakeStubWorker:
    """Makes a worker of the stub, in whatever process."""

    def __init__(self, output, **options):
        self.output = output
        self.options = options

    def __call__(self):
        return ShardWorker(functools.partial(StubShardModel, **self.options), self.output)


def no_model():
    raise ValueError("no such model")


class MakeFailingWorker(MakeStubWorker):
    def __call__(self):
        return ShardWorker(no_model, self.output)
