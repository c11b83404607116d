"""The report as a browser shows it."""

import pytest
from chromium import CHROMIUM, browse
from made_up import make_content

from keras_cmm.report import write_report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

MEASURE = """(page) => {
  const size = (node) => {
    const box = node.getBoundingClientRect();
    return {
      name: node.getAttribute("class") || node.tagName,
      width: box.width,
      height: box.height,
      loaded: node.tagName != "IMG" || node.naturalWidth > 0,
    };
  };
  return {
    figures: [...page.querySelectorAll("figure")].map(size),
    drawings: [...page.querySelectorAll("figure svg, figure img, figure ol")].map(size),
    marks: [...page.querySelectorAll(".chart use, .matrix rect, .cloud path")].map(size),
    pageWidth: page.documentElement.scrollWidth,
    background: getComputedStyle(page.body).backgroundColor,
  };
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_report(folder / "report.html", make_content(classes=70, pictures=8))
    return folder


@pytest.mark.parametrize(("width", "theme"), [(1200, "light"), (400, "dark")])
def test_every_figure_is_shown_and_the_console_is_empty(folder, width, theme):
    (page,), console = browse([folder / "report.html"], MEASURE, folder, width, theme)
    assert console == []
    names = [drawing["name"] for drawing in page["drawings"]]
    assert {name: names.count(name) for name in names} == {
        "chart": 3,
        "IMG": 8,
        "guesses": 8,
        "classes": 1,
        "matrix": 1,
        "cloud": 2,
    }
    assert len(page["marks"]) > 200
    for drawing in page["figures"] + page["drawings"]:
        assert drawing["width"] > 80, drawing
        assert drawing["height"] > 20, drawing
        assert drawing["loaded"], drawing
    for mark in page["marks"]:
        assert mark["width"] + mark["height"] > 0, mark
    assert page["pageWidth"] == width
    assert page["background"] == {"light": "rgb(247, 248, 249)", "dark": "rgb(19, 22, 26)"}[theme]


def test_the_probe_notices_faults(tmp_path):
    """The test above can fail: a blocked picture is an error in the console, and has no size."""
    source = """<!doctype html>
    <meta http-equiv="Content-Security-Policy" content="img-src 'none'">
    <figure><img src="data:image/png;base64,AAAA"></figure><p style="width:3000px">wide</p>"""
    (tmp_path / "faulty.html").write_text(source)
    (page,), console = browse([tmp_path / "faulty.html"], MEASURE, tmp_path)
    assert any("Content Security Policy" in line for line in console)
    assert not page["drawings"][0]["loaded"]
    assert page["pageWidth"] > 1200
