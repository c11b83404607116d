"""What training prints: a line for an epoch, and not too many of them."""

from __future__ import annotations

from typing import Any

import keras

from keras_cmm.utils.shown_epochs import is_shown


class EpochLines(keras.callbacks.Callback):
    """Prints the metrics after an epoch, for at most 20 epochs, the last one among them.

    A head is trained for some hundred epochs of a step or two. Keras would show a bar for each.
    """

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Prints the line, if it is the turn of this epoch."""
        last = self.params["epochs"]
        if is_shown(epoch, last):
            values = [f"{name}: {float(value):.4f}" for name, value in (logs or {}).items()]
            print(" - ".join([f"Epoch {epoch + 1}/{last}", *values]), flush=True)
