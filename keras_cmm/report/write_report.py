"""The report as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_cmm.evaluation import MappedEmbeddings, frequent_confusions
from keras_cmm.report import accuracy_figures, classifier_figures, gap_figures, palette
from keras_cmm.report.classifier_result import ClassifierResult
from keras_cmm.report.page_environment import page_environment
from keras_cmm.report.report_content import ReportContent
from keras_cmm_runtime.utils.files import replacing


def write_report(path: str | Path, content: ReportContent) -> None:
    """Writes a report as one self-contained HTML file.

    The file runs no script and loads nothing, because figures are inline SVG and pictures are data
    URIs.

    Args:
        path: The file to write; an existing one is replaced.
        content: What to show.

    Raises:
        InputError: If the file cannot be written or a picture of the gallery cannot be read. Then
            nothing is written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from keras_cmm.report import ReportContent, write_report
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "report.html"
        ...     write_report(path, ReportContent("Ants & bees"))
        ...     "<h1>Ants &amp; bees</h1>" in path.read_text(encoding="utf-8")
        True
    """
    html = page_environment().get_template("report.html").render(_variables(content))
    with replacing(Path(path)) as file:
        file.write(html.encode())


def _variables(content: ReportContent) -> dict[str, Any]:
    versions = content.versions
    if not versions and content.records:
        versions = content.records[0]["versions"]
    variables = {
        "content": content,
        "colours": palette.css_variables(),
        "num_colours": len(palette.SERIES),
        "panels": [
            (panel, accuracy_figures.chart(panel))
            for panel in accuracy_figures.make_panels(content.records)
        ],
        "right_pictures": [picture for picture in content.gallery if picture.is_right],
        "wrong_pictures": [picture for picture in content.gallery if not picture.is_right],
        "versions": versions,
        "overall": [],
        "scores": [],
        "gap": [],
    }
    if content.classifier is not None:
        variables |= _classifier_variables(content.classifier)
    if content.embeddings is not None:
        variables |= _gap_variables(content.embeddings)
    sections = {
        "accuracy": ("Accuracy over shots", variables["panels"]),
        "gallery": ("Test pictures", content.gallery),
        "classes": ("Accuracy by class", variables["scores"]),
        "confusions": ("Confusions", variables["scores"]),
        "gap": ("The modality gap", variables["gap"]),
        "run": ("How it was run", content.command or content.hyperparameters or versions),
    }
    shown = {name: title for name, (title, present) in sections.items() if present}
    return variables | {"sections": shown}


def _classifier_variables(result: ClassifierResult) -> dict[str, Any]:
    scores = classifier_figures.class_scores(result)
    half = classifier_figures.MAX_CLASSES // 2
    many = len(scores) > classifier_figures.MAX_CLASSES
    return {
        "overall": classifier_figures.overall_numbers(result),
        "scores": scores,
        "shown_scores": scores[:half] + scores[-half:] if many else scores,
        "name_width": min(22, max(len(name) for name in result.class_names) + 1),
        "max_classes": classifier_figures.MAX_CLASSES,
        "matrix": classifier_figures.matrix_chart(result),
        "confusions": frequent_confusions(result.predictions, result.labels, result.class_names),
    }


def _gap_variables(embeddings: MappedEmbeddings) -> dict[str, Any]:
    gaps = embeddings.modality_gaps()
    before, after, variance = gap_figures.project(embeddings)
    charts = gap_figures.charts((before, after))
    return {
        "gap": list(zip(("Before", "After"), charts, gaps, strict=True)),
        "gap_rows": gap_figures.table_rows(gaps),
        "variance": variance,
    }
