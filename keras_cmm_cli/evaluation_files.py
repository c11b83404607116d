"""The files that `evaluate` writes: a report, the wrong images, and the confusion matrix."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keras_cmm_cli.environment import load_keras
from keras_cmm_cli.outputs import FIGURE, REPORT, check_apart, check_new_file
from keras_cmm_cli.reporting import gallery
from keras_cmm_cli.result_table import to_csv
from keras_cmm_cli.terminal import Terminal, counted

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from keras_cmm_runtime.sources import ImageSource

_CORNER = "class \\ predicted"
_MISTAKES = ("image", "class", "predicted", "probability")


@dataclass(frozen=True)
class EvaluationFiles:
    """The files to write, each `None` if it is not asked for.

    Args:
        report: The HTML report.
        mistakes: The CSV of the images that were named wrong.
        confusions: The confusion matrix, as `.csv` or `.png`.
        overwrite: Whether files of this command may be replaced.
    """

    report: Path | None
    mistakes: Path | None
    confusions: Path | None
    overwrite: bool

    def check(self, inputs: Iterable[str | Path | None]) -> None:
        """Raises an error of click if a file cannot be written, before the work starts."""
        marks = {
            "--report": REPORT,
            "--mistakes": ",".join(_MISTAKES).encode(),
            "--confusions": FIGURE if self._draws else _CORNER.encode(),
        }
        outputs = dict(zip(marks, (self.report, self.mistakes, self.confusions), strict=True))
        if self.confusions is not None and not (self._draws or _is(self.confusions, ".csv")):
            raise click.UsageError(
                f"{self.confusions}: --confusions takes a name that ends in .csv or .png."
            )
        check_apart(outputs, inputs)
        for option, path in outputs.items():
            if path is not None:
                check_new_file(path, self.overwrite, marks[option])
        needs_keras = "--report" if self.report else "--confusions" if self._draws else None
        if needs_keras and importlib.util.find_spec("keras_cmm") is None:
            raise click.UsageError(
                f"{needs_keras} draws figures, which keras-cmm-runtime alone cannot; install "
                "keras-cmm."
            )

    @property
    def _draws(self) -> bool:
        return self.confusions is not None and _is(self.confusions, ".png")

    def write(
        self,
        terminal: Terminal,
        images: ImageSource,
        logits: npt.NDArray[np.float32],
        best: Sequence[Sequence[tuple[str, float]]],
        matrix: Sequence[Sequence[int]],
        facts: dict[str, Any],
    ) -> None:
        """Writes the files, each whole or not at all.

        Args:
            terminal: Where each file is named.
            images: The test images that could be read.
            logits: Their logits, shape `(images, classes)`.
            best: For each image some classes with their probabilities, best first.
            matrix: The confusion matrix: row = true class, column = predicted class.
            facts: Arguments of `ReportContent`: the title, the summary, the command.
        """
        from keras_cmm_runtime.utils import replacing

        if self.mistakes is not None:
            rows = mistakes(images, best)
            with replacing(self.mistakes) as file:
                file.write(to_csv(_MISTAKES, rows).encode() + b"\n")
            terminal.note(f"{self.mistakes}: {counted(len(rows), 'wrong image', 'wrong images')}.")
        if self.confusions is not None and not self._draws:
            names = images.class_names
            table = [(name, *row) for name, row in zip(names, matrix, strict=True)]
            with replacing(self.confusions) as file:
                file.write(to_csv((_CORNER, *names), table).encode() + b"\n")
            terminal.note(f"{self.confusions}: the confusion matrix.")
        if self.report is None and not self._draws:
            return
        with terminal.status("loading Keras"):
            load_keras()
        from keras_cmm.report import ClassifierResult, ReportContent, write_confusions, write_report

        result = ClassifierResult(images.class_names, images.labels, logits)
        if self.confusions is not None and self._draws:
            write_confusions(self.confusions, result)
            terminal.note(f"{self.confusions}: the confusion matrix.")
        if self.report is not None:
            shown = gallery(images.class_names, best, images.labels, images.images)
            write_report(self.report, ReportContent(**facts, classifier=result, gallery=shown))
            terminal.note(f"{self.report}: the report.")


def mistakes(
    images: ImageSource, best: Sequence[Sequence[tuple[str, float]]]
) -> list[tuple[str, str, str, str]]:
    """Returns a row of `--mistakes` for each wrong image, the surest first.

    Args:
        images: The images.
        best: For each image at least the most probable class, with its probability.
    """
    wrong = [
        (probability, name, images.class_names[label], guess)
        for name, label, ((guess, probability), *_) in zip(
            images.keys(), images.labels.tolist(), best, strict=True
        )
        if guess != images.class_names[label]
    ]
    return [
        (name, label, guess, f"{probability:.6f}")
        for probability, name, label, guess in sorted(wrong, key=lambda row: -row[0])
    ]


def _is(path: Path, suffix: str) -> bool:
    return path.suffix.lower() == suffix
