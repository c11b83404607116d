"""The content of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keras_cmm.evaluation import MappedEmbeddings
from keras_cmm.report.classifier_result import ClassifierResult
from keras_cmm.report.gallery_picture import GalleryPicture


@dataclass(frozen=True, eq=False)
class ReportContent:
    """What a report shows. All but the title is optional; a section without content is left out.

    Args:
        title: Heading of the report.
        summary: One or two sentences under the heading.
        records: Records of `keras_cmm.evaluation.run_benchmark`, shown as accuracy over shots.
        classifier_name: Name of the classifier in its sections, such as "CMM, 16 shots".
        classifier: Predictions of the final classifier, shown as overall accuracy, accuracy by
            class and confusions.
        embeddings: Embeddings before and after the mapping, shown as the modality gap.
        gallery: Test pictures with guesses.
        command: The exact command that made the report.
        versions: Version of each package. Defaults to the versions in the records.
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
