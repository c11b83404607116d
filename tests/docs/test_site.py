"""The documentation: it builds without a warning, its links lead somewhere, a browser shows it."""

import importlib.util
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from chromium import CHROMIUM, browse
from paths import PROJECT

MEASURE = """(page) => ({
  title: page.title,
  width: page.documentElement.scrollWidth,
  theme: page.documentElement.dataset.theme,
  brokenPictures: [...page.images].filter((image) => !image.naturalWidth).map((image) => image.src),
})"""


class Links(HTMLParser):
    """The anchors of a page, its links, and the files that it is shown with."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links, self.files = set(), [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors.update(values[name] for name in ("id", "name") if values.get(name))
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        elif tag in ("link", "script", "img", "iframe", "source"):
            self.files += [values[name] for name in ("href", "src") if values.get(name)]


def pages_of(folder):
    """Lists the pages of the site, without the theme's own files."""
    return sorted(path for path in folder.rglob("*.html") if "_static" not in path.parts)


def broken_links(folder):
    """Lists links and files of the pages in a folder that are not there, or not in the folder."""
    folder = folder.resolve()
    pages = {path: Links(path) for path in pages_of(folder)}
    broken = []
    for path, page in pages.items():
        for link in page.links + page.files:
            url = urlsplit(link)
            is_elsewhere = url.scheme in ("http", "https") and link in page.links
            if is_elsewhere or url.scheme == "data":
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            has_anchor = target in pages and unquote(url.fragment) in pages[target].anchors
            if url.scheme or not target.is_file() or (url.fragment and not has_anchor):
                broken.append(f"{path.relative_to(folder)}: {link}")
    return broken


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if any(importlib.util.find_spec(name) is None for name in ("sphinx", "myst_nb")):
        pytest.skip("the extra `docs` is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "docs", str(folder)]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return folder


def test_links_lead_somewhere(site):
    assert broken_links(site) == []


def test_broken_links_are_noticed(tmp_path):
    (tmp_path / "a.html").write_text(
        '<h1 id="here">A</h1><a href="b.html#there">1</a><a href="b.html#nowhere">2</a>'
        '<a href="c.html">3</a><a href="https://example.org">4</a><a href="#here">5</a>'
        '<script src="https://example.org/a.js"></script>'
    )
    (tmp_path / "b.html").write_text('<p id="there">B</p>')
    assert broken_links(tmp_path) == [
        "a.html: b.html#nowhere",
        "a.html: c.html",
        "a.html: https://example.org/a.js",
    ]


def test_no_page_names_a_folder_of_the_machine(site):
    for path in pages_of(site):
        assert str(Path.home()) not in path.read_text(encoding="utf-8"), path


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize(("width", "theme"), [(1200, "light"), (1200, "dark"), (400, "light")])
def test_pages_in_chromium(site, tmp_path, width, theme):
    paths = pages_of(site)
    pages, console = browse(paths, MEASURE, tmp_path, width, theme)
    # The theme tells of its doings.
    assert [line for line in console if '"[PST]: ' not in line] == []
    assert len(pages) == len(paths) > 30
    for path, page in zip(paths, pages, strict=True):
        assert re.search("keras-cmm", page["title"]), path
        assert page["width"] == width, path
        assert page["theme"] == theme, path
        assert page["brokenPictures"] == [], path
