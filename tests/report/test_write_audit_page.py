"""The page of an audit: what is in it, and how a browser shows it."""

import numpy as np
import pytest
from chromium import CHROMIUM, browse
from made_up import HOSTILE

from keras_cmm.labelling import KINDS, Finding
from keras_cmm.report import AuditContent, write_audit_page
from keras_cmm.report.write_audit_page import MOST_SHOWN

MEASURE = """(page) => {
  const size = (node) => {
    const box = node.getBoundingClientRect();
    return {
      width: box.width,
      height: box.height,
      loaded: node.tagName != "IMG" || node.naturalWidth > 0,
      alt: node.getAttribute("alt"),
    };
  };
  return {
    pictures: [...page.querySelectorAll("figure img")].map(size),
    figures: [...page.querySelectorAll("figure")].map(size),
    rows: page.querySelectorAll("tbody tr").length,
    headings: [...page.querySelectorAll("h2")].map((node) => node.textContent),
    links: [...page.querySelectorAll("nav a")].map(
      (node) => page.querySelector(node.getAttribute("href")) != null),
    pageWidth: page.documentElement.scrollWidth,
    background: getComputedStyle(page.body).backgroundColor,
  };
}"""


def make_content(findings=None):
    rng = np.random.default_rng(0)
    images = {row: rng.integers(0, 256, (60, 50, 3), "uint8") for row in range(4)}
    if findings is None:
        findings = [
            Finding("wrong_label", 0.9, HOSTILE, row=0, label=0, other_label=1),
            Finding("exact_duplicate", 4, "the same file", 1, 0, 1, 0),
            Finding("near_duplicate", 1, "nearly the same", 2, 3, 0, 0),
            Finding("damaged", 0, "cannot be read", row=4, label=1),
            Finding("odd", 0.5, "far", row=3, label=1),
            Finding("silent_name", 0.5, "chance", label=0),
            Finding("alike_classes", 0.5, "told apart for 5 of 10 images", label=0, other_label=1),
        ]
    names = [f"{HOSTILE}/{'long' * 20}{number}.png" for number in range(5)]
    return AuditContent(
        f"Title {HOSTILE}", "Summary", findings, names, [HOSTILE, "bee"], images, "keras-cmm audit"
    )


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize(("width", "theme"), [(1200, "light"), (400, "dark")])
def test_a_browser_shows_every_finding(tmp_path, width, theme):
    write_audit_page(tmp_path / "audit.html", make_content())
    (page,), console = browse([tmp_path / "audit.html"], MEASURE, tmp_path, width, theme)
    assert console == []
    assert page["headings"] == [*KINDS.values(), "How it was run"]
    assert page["links"] == [True] * len(KINDS)
    assert (len(page["figures"]), len(page["pictures"]), page["rows"]) == (4, 6, 3)
    for picture in page["pictures"]:
        assert picture["loaded"]
        assert picture["alt"]
        assert min(picture["width"], picture["height"]) > 60
    assert page["pageWidth"] == width
    assert page["background"] == {"light": "rgb(247, 248, 249)", "dark": "rgb(19, 22, 26)"}[theme]


def test_names_are_text(tmp_path):
    write_audit_page(tmp_path / "audit.html", make_content())
    text = (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "{{" not in text.replace("{{ 7 * 7 }}", "")


def test_many_findings_and_pictures_that_are_gone(tmp_path):
    finding = Finding("odd", 0.5, "far", row=4, label=1)
    content = make_content([finding] * (MOST_SHOWN + 1))
    content.images[4] = tmp_path / "gone.png"
    write_audit_page(tmp_path / "audit.html", content)
    text = (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert text.count("no picture") == MOST_SHOWN
    assert f"the first {MOST_SHOWN} of {MOST_SHOWN + 1}" in text


def test_nothing_was_found(tmp_path):
    write_audit_page(tmp_path / "audit.html", make_content([]))
    assert "Nothing was found." in (tmp_path / "audit.html").read_text(encoding="utf-8")
