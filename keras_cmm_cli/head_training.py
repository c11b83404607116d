"""Training the head of a classifier, with its progress on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras_cmm_cli.terminal import Terminal, counted

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from keras_cmm import CMMImageClassifier

# Class texts that count for less than this are reported.
_WEAK_TRUST = 0.5


def train_head(
    terminal: Terminal,
    classifier: CMMImageClassifier,
    embeddings: Any,
    labels: npt.NDArray[np.integer],
    epochs: int | None,
    batch_size: int | None,
    seed: int,
) -> dict[str, list[float]]:
    """Trains the head and shows the progress over the epochs; returns the history.

    Args:
        terminal: Where the progress is shown.
        classifier: The classifier.
        embeddings: `(images, dim)`, an array or `LazyRows`.
        labels: `(images,)` class ids.
        epochs: As the option.
        batch_size: As the option.
        seed: As the option.
    """
    import keras

    from keras_cmm.utils import is_shown

    with terminal.progress("training the head") as progress:

        def show(epoch: int, logs: dict[str, float]) -> None:
            progress(epoch + 1, callback.params["epochs"])
            if is_shown(epoch, callback.params["epochs"]):
                values = ", ".join(f"{name} {value:.4f}" for name, value in logs.items())
                terminal.detail(f"epoch {epoch + 1} of {callback.params['epochs']}: {values}")

        callback = keras.callbacks.LambdaCallback(on_epoch_end=show)

        history = classifier.fit_embeddings(
            embeddings,
            # Names, since a class may be called by a number.
            [classifier.class_names[label] for label in labels.tolist()],
            batch_size=batch_size,
            epochs=epochs,
            seed=seed,
            verbose=0,
            callbacks=[callback],
        )
    if doubtful := history.params["doubtful"]:
        terminal.note(
            f"{counted(doubtful, 'training image', 'training images')} left out, since the label "
            "is less probable than a guess; `keras-cmm audit` shows labels that look wrong."
        )
    if (trust := history.params["text_trust"]) < _WEAK_TRUST:
        terminal.note(
            f"the class texts count for {100 * trust:.0f}% only, since the images do not bear them "
            "out; class names or a prompt that say what is seen may help."
        )
    return {name: [float(value) for value in values] for name, values in history.history.items()}
