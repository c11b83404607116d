"""`keras-cmm audit`: what to look at again in labelled images."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keras_cmm_cli.audited_images import AuditedImages
from keras_cmm_cli.environment import load_keras
from keras_cmm_cli.images import ImagesGiven, images_options
from keras_cmm_cli.model_path import ModelPath
from keras_cmm_cli.options import batch_size_option, is_given, report_option, seed_option
from keras_cmm_cli.outputs import REPORT, check_apart, check_new_file
from keras_cmm_cli.prompts import prompt_options, read_prompts
from keras_cmm_cli.result_files import checked_style, write_result
from keras_cmm_cli.result_table import format_option, to_csv
from keras_cmm_cli.run_file import command_line
from keras_cmm_cli.saved_model import fetched, load_classifier
from keras_cmm_cli.store import open_store, store_options
from keras_cmm_cli.terminal import Terminal, counted, visible, with_terminal

if TYPE_CHECKING:
    from rich.table import Table

    from keras_cmm import CMMImageClassifier
    from keras_cmm.labelling import Finding

_COLUMNS = (
    *("kind", "image", "split", "class", "other_image", "other_split", "other_class"),
    *("score", "reason"),
)
# How the files begin.
_MARKS = {"json": b'"findings": [', "csv": ",".join(_COLUMNS).encode()}
# Findings of a kind that a table shows.
_MOST_ROWS = 10


@click.command(
    epilog="""\b
Examples:
  keras-cmm audit photos/ --preset clip_vit_base_patch16 --report audit.html --output audit.csv
  keras-cmm audit photos/ --model my_model --report audit.html
  keras-cmm audit photos/
"""
)
@images_options
@click.option("--preset", help="CLIP to judge by; see fit --preset.")
@click.option(
    "--model", type=ModelPath(), help="Model of `fit`, for its CLIP, its classes and their prompts."
)
@format_option
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="File to write all findings to, .csv or .json, in the place of printing them.",
)
@report_option
@prompt_options
@batch_size_option
@store_options
@seed_option
@click.option(
    "--overwrite", is_flag=True, help="Replace the files --output and --report of this command."
)
@with_terminal
def audit(
    terminal: Terminal,
    given: ImagesGiven,
    preset: str | None,
    model: Path | str | None,
    style: str,
    output: Path | None,
    report: Path | None,
    templates: tuple[str, ...],
    descriptions: Path | None,
    batch_size: int | None,
    store: Path | None,
    seed: int,
    overwrite: bool,
) -> None:
    """Find what to look at again in IMAGES_DIR, which has one folder of images a class.

    It finds damaged images and exact copies, within and across classes and splits. With --preset or
    --model it also finds labels that look wrong, near copies, odd images, class names that tell
    nothing, and classes that cannot be told apart. Nothing in IMAGES_DIR is changed.

    IMAGES_DIR may have the folders train, val and test, or be an archive or a list, as for `embed`.
    All splits are looked at together.
    """
    _check_sources(preset, model)
    check_apart(
        {"--output": output, "--report": report},
        (given.images_dir, given.table, descriptions, *([model] if model is not None else [])),
    )
    style = checked_style(style, output, overwrite, _MARKS)
    if report is not None:
        check_new_file(report, overwrite, REPORT)
    with terminal.status("loading Keras"):
        load_keras()
    classifier = None
    if model is not None:
        folder = fetched(model)
        with terminal.status("loading the model"):
            classifier = load_classifier(folder, batch_size, store)
    names = None if classifier is None else classifier.class_names
    images = AuditedImages.open(given, names)
    if preset is not None:
        with terminal.status("loading CLIP"):
            classifier = _new_classifier(preset, images.class_names, templates, descriptions)
        classifier.embedder.batch_size = batch_size
        classifier.embedder.store = open_store(store)
    findings = _findings(terminal, images, classifier, seed)
    if report is not None:
        _report(report, given.path, images, findings)
        terminal.note(f"{report}: the page.")
    rows = [_row(each, images) for each in findings]
    if output is not None:
        write_result(output, _as_json(rows) if style == "json" else _as_csv(rows))
        terminal.note(f"{output}: {counted(len(rows), 'finding', 'findings')}.")
        terminal.result(_as_counts(findings))
    elif style == "table":
        terminal.result(_as_counts(findings))
        if findings:
            terminal.result(_as_table(findings, images))
    else:
        terminal.result(_as_json(rows) if style == "json" else _as_csv(rows))


def _check_sources(preset: str | None, model: Path | str | None) -> None:
    if preset is not None and model is not None:
        raise click.UsageError("--preset and --model exclude each other; give one.")
    for parameter, option in (("templates", "template"), ("descriptions", "descriptions")):
        if preset is None and is_given(parameter):
            raise click.UsageError(f"--{option} needs --preset; a model has prompts of its own.")


def _new_classifier(
    preset: str,
    class_names: Sequence[str],
    templates: tuple[str, ...],
    descriptions: Path | None,
) -> CMMImageClassifier:
    """Returns a classifier that knows the class names alone."""
    from keras_cmm import CMMImageClassifier

    prompts = read_prompts(templates, descriptions, class_names)
    with warnings.catch_warnings():
        # The warning recommends an argument that only Python has.
        warnings.filterwarnings("ignore", ".*makes a new classifier of the saved one's classes")
        return CMMImageClassifier.from_preset(preset, class_names=class_names, **prompts)


def _findings(
    terminal: Terminal, images: AuditedImages, classifier: CMMImageClassifier | None, seed: int
) -> list[Finding]:
    """Returns all findings, kind by kind."""
    from keras_cmm import labelling

    terminal.note(
        f"{counted(len(images.images), 'image', 'images')} of "
        f"{counted(len(images.class_names), 'class', 'classes')}."
    )
    if classifier is None:
        terminal.note(
            "Without --preset or --model, only damaged images and exact copies are looked for."
        )
        with terminal.status("opening images"):
            damaged = images.damaged()
        about_pictures = []
    else:
        embeddings, readable = images.embed(terminal, classifier.embedder)
        if not len(readable):
            raise click.ClickException(f"none of the {len(images.images)} images can be read.")
        damaged = images.damaged(readable)
        splits = images.splits
        texts = classifier.text_embeddings
        with terminal.progress("judging labels") as progress:
            about_pictures = labelling.audit(
                # CLIP's part, where a second encoder's is beside it.
                embeddings[:, : texts.shape[1]],
                images.labels[readable],
                texts,
                classifier.head.logit_scale,
                None if splits is None else [splits[row] for row in readable],
                seed,
                progress,
            )
        with terminal.status("comparing pictures"):
            about_pictures = images.of_files(about_pictures, readable)
    with terminal.status("comparing files"):
        digests = images.digests()
    copies = labelling.exact_duplicates(digests, images.labels, images.splits)
    about_pictures = [
        each
        for each in about_pictures
        if each.other is None or each.row is None or digests[each.row] != digests[each.other]
    ]
    order = list(labelling.KINDS)
    found = [*about_pictures, *copies, *damaged]
    return sorted(found, key=lambda each: order.index(each.kind))


def _report(path: Path, source: Path, images: AuditedImages, findings: Sequence[Finding]) -> None:
    """Writes the page."""
    from keras_cmm.evaluation import versions
    from keras_cmm.report import AuditContent, write_audit_page

    shown = {row for each in findings for row in (each.row, each.other) if row is not None}
    content = AuditContent(
        title=f"What to look at again in {source.name or source}",
        summary=f"{counted(len(images.images), 'image', 'images')} of "
        f"{counted(len(images.class_names), 'class', 'classes')}, "
        f"{counted(len(findings), 'finding', 'findings')}.",
        findings=findings,
        names=images.names,
        class_names=images.class_names,
        images={row: images.images[row] for row in shown},
        command=command_line(),
        versions=versions(),
    )
    write_audit_page(path, content)


def _row(finding: Finding, images: AuditedImages) -> dict[str, Any]:
    """Returns a finding by column; `None` where it has nothing to say."""

    def of(values: Sequence[str] | None, number: int | None) -> str | None:
        return None if values is None or number is None else values[number]

    values = (
        finding.kind,
        of(images.names, finding.row),
        of(images.splits, finding.row),
        of(images.class_names, finding.label),
        of(images.names, finding.other),
        of(images.splits, finding.other),
        of(images.class_names, finding.other_label),
        round(finding.score, 4),
        finding.reason,
    )
    return dict(zip(_COLUMNS, values, strict=True))


def _as_json(rows: Sequence[dict[str, Any]]) -> str:
    return json.dumps({"findings": list(rows)}, indent=1, ensure_ascii=False, allow_nan=False)


def _as_csv(rows: Sequence[dict[str, Any]]) -> str:
    cells = [["" if cell is None else cell for cell in row.values()] for row in rows]
    return to_csv(_COLUMNS, cells)


def _as_counts(findings: Sequence[Finding]) -> str:
    """Returns how much of each kind was found, in one line."""
    if not findings:
        return "Nothing was found."
    counts = Counter(each.kind for each in findings)
    return ", ".join(f"{kind} {number:,}" for kind, number in counts.items())


def _as_table(findings: Sequence[Finding], images: AuditedImages) -> Table:
    """Returns the first findings of each kind."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in ("kind", "image or class", "class", "other", "found"):
        table.add_column(column, overflow="fold")
    seen: Counter[str] = Counter()
    for each in findings:
        seen[each.kind] += 1
        if seen[each.kind] > _MOST_ROWS:
            continue
        row = _row(each, images)
        cells = (
            each.kind if seen[each.kind] == 1 else "",
            row["image"] or row["class"],
            row["class"] if row["image"] else "",
            row["other_image"] or row["other_class"] or "",
            each.reason,
        )
        table.add_row(*(Text(visible(cell)) for cell in cells))
    return table
