"""The findings of an audit as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_cmm.labelling import KINDS, Finding
from keras_cmm.report import palette
from keras_cmm.report.audit_content import AuditContent
from keras_cmm.report.page_environment import page_environment
from keras_cmm.report.thumbnail import thumbnail
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.files import replacing

MOST_SHOWN = 60
"""Findings of a kind that a page shows; a page of all would be too large to open."""

_ADVICE = {
    "wrong_label": "Classifiers that were made without the picture name it otherwise. Look at "
    "each: the label may be right all the same.",
    "exact_duplicate": "The files are the same, byte by byte. Of a picture in two classes one "
    "label is wrong. A picture in two splits makes a test too good.",
    "near_duplicate": "The pictures look the same, in another size or format, for instance.",
    "damaged": "These files cannot be read. Training leaves them out.",
    "odd": "They are far from all others, and the classifiers are not sure of them: perhaps they "
    "are of none of the classes.",
    "silent_name": "CLIP finds nothing of the name in the pictures. A name that says what they "
    "show, or a description, gives a better start.",
    "alike_classes": "Classifiers confuse the two as often as not. Join them, or give more "
    "pictures that show how they differ.",
}


def write_audit_page(path: str | Path, content: AuditContent) -> None:
    """Writes the findings of an audit as one self-contained HTML file.

    The file runs no script and loads nothing: pictures are data URIs. Of each kind it shows the
    first 60 findings.

    Args:
        path: The file to write; an existing one is replaced.
        content: What to show.

    Raises:
        InputError: If the file cannot be written. Then nothing is written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from keras_cmm.report import AuditContent, write_audit_page
        >>> content = AuditContent("Ants & bees", "", [], [], ["ant", "bee"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "audit.html"
        ...     write_audit_page(path, content)
        ...     "<h1>Ants &amp; bees</h1>" in path.read_text(encoding="utf-8")
        True
    """
    sections = [
        {
            "kind": kind,
            "heading": heading,
            "advice": _ADVICE[kind],
            "total": len(found),
            "shown": [_shown(finding, content) for finding in found[:MOST_SHOWN]],
        }
        for kind, heading in KINDS.items()
        if (found := [each for each in content.findings if each.kind == kind])
    ]
    html = (
        page_environment()
        .get_template("audit.html")
        .render(
            content=content,
            sections=sections,
            colours=palette.css_variables(),
            num_colours=len(palette.SERIES),
        )
    )
    with replacing(Path(path)) as file:
        file.write(html.encode())


def _shown(finding: Finding, content: AuditContent) -> dict[str, Any]:
    """Returns a finding in words and pictures."""

    def name_of(label: int | None) -> str:
        return "" if label is None else content.class_names[label]

    rows = [row for row in (finding.row, finding.other) if row is not None]
    return {
        "class_name": name_of(finding.label),
        "other_class": name_of(finding.other_label),
        "reason": finding.reason,
        "pictures": [(content.names[row], _picture(content.images.get(row))) for row in rows],
    }


def _picture(image: Any) -> str:
    if image is None:
        return ""
    try:
        return thumbnail(image)
    except InputError:  # it was moved since
        return ""
