"""Everything a report can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keras_cmm.evaluation import MappedEmbeddings
from keras_cmm.report.classifier_result import ClassifierResult
from keras_cmm.report.gallery_picture import GalleryPicture


@dataclass(frozen=True, eq=False)
class ReportContent:
    """What a report shows. Everything but the title may be left out, and so is its section.

    Args:
        title: Heading of the report.
        summary: A sentence or two under the heading.
        records: Records of `keras_cmm.evaluation.run_benchmark`, shown as accuracy over shots.
        classifier_name: What the sections on the classifier call it, e.g. "CMM, 16 shots".
        classifier: The final classifier's predictions: overall and per-class accuracy, confusions.
        embeddings: Embeddings before and after the mapping: the modality gap.
        gallery: Test pictures with guesses.
        command: The exact command that made the report.
        versions: Version of each package; the records' versions where there are none.
        hyperparameters: Hyper-parameters of the final classifier.

    Example:
        >>> ReportContent("Insects", command="keras-cmm fit insects").records
        ()
    """

    title: str
    summary: str = ""
    records: Sequence[Mapping[str, Any]] = ()
    classifier_name: str = "the classifier"
    classifier: ClassifierResult | None = None
    embeddings: MappedEmbeddings | None = None
    gallery: Sequence[GalleryPicture] = ()
    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
