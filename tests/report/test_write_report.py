import dataclasses
import html.parser
import re
import subprocess
import sys

import numpy as np
import pytest
from made_up import (
    HOSTILE,
    make_content,
    make_embeddings,
    make_gallery,
    make_record,
    make_records,
    make_result,
)

from keras_cmm.evaluation import summarize, top_1, wilson_interval
from keras_cmm.report import GalleryPicture, MappedEmbeddings, ReportContent, write_report
from keras_cmm_runtime.errors import InputError


class Page(html.parser.HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text.append(data)

    def values(self, name):
        return [value for key, value in self.attributes if key == name]

    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture
def write(tmp_path):
    def write_and_read(content):
        write_report(tmp_path / "report.html", content)
        return Page((tmp_path / "report.html").read_text(encoding="utf-8"))

    return write_and_read


def test_names_can_hold_anything(write):
    page = write(make_content())
    assert "script" not in page.tags
    assert not any(key.startswith("on") for key, _ in page.attributes)
    assert page.words().count(HOSTILE) > 10
    assert f"{HOSTILE}, taken for class 0" in page.values("alt")
    assert "49" not in {text.strip() for text in page.text}


def test_nothing_is_loaded(write):
    page = write(make_content())
    links = [value for name in ("src", "href") for value in page.values(name)]
    assert len(links) > 20
    assert all(link.startswith(("#", "data:")) for link in links)
    assert not {"iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert not re.search(r"@import|url\(", " ".join(page.text))


def test_ids_that_are_linked_exist_once(write):
    page = write(make_content())
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in page.values("href") if link.startswith("#")} <= set(ids)


ONE_SECTION = {
    "accuracy": {"records": make_records()},
    "gallery": {"gallery": make_gallery(2, ["ant", "bee"])},
    "classes": {"classifier": make_result(4)},
    "gap": {"embeddings": make_embeddings(4)},
    "run": {"command": "keras-cmm"},
}


@pytest.mark.parametrize("section", [None, *ONE_SECTION])
def test_every_section_may_be_left_out(write, section):
    page = write(ReportContent("Title", **ONE_SECTION.get(section, {})))
    expected = {section} if section else set()
    # The classifier has two sections, and records bring versions and hyper-parameters.
    expected |= {"classes": {"confusions"}, "accuracy": {"run"}}.get(section, set())
    shown = set(page.values("id")) & {*ONE_SECTION, "confusions"}
    assert shown == expected


def test_the_table_shows_every_mean_and_deviation(write):
    records = make_records()
    words = write(ReportContent("Title", records=records)).words()
    for row in summarize(records):
        assert f"{row['mean']:.1f}" in words
        assert row["seeds"] == 1 or f"± {row['std']:.1f}" in words


def test_one_seed_has_no_deviation(write):
    records = [make_record("cmm", 4, 1, 50.0)]
    assert "±" not in write(ReportContent("Title", records=records)).words().split("bold.")[1]


def test_one_run_on_few_images_has_an_interval(write):
    records = [make_record("cmm", 4, 1, 50.0, test_rows=12)]
    assert "50.0 (25.4\u201374.6)" in write(ReportContent("Title", records=records)).words()


def test_several_data_sets_are_averaged_and_one_is_not(write):
    one, two = make_records(), make_records(dataset="other")
    assert "Average of 2 data sets" in write(ReportContent("Title", records=one + two)).words()
    assert "Average" not in write(ReportContent("Title", records=one)).words()
    apart = [record | {"backbone": "another"} for record in two]
    assert "Average" not in write(ReportContent("Title", records=one + apart)).words()


def test_zero_shot_alone_is_a_table(write):
    page = write(ReportContent("Title", records=[make_record("zero_shot", 0, 0, 43.2)]))
    assert "Zero-shot CLIP 43.2" in page.words()
    assert "chart" not in page.values("class")


def test_overall_numbers(write):
    result = make_result(8)
    words = write(ReportContent("Title", classifier=result)).words()
    assert f"Top-1 accuracy {top_1(result.probabilities, result.labels):.1f}" in words
    right = int((result.predictions == result.labels).sum())
    low, high = wilson_interval(right, len(result.labels))
    assert f"95% interval {low:.1f}\u2013{high:.1f}" in words
    assert "Top-5 accuracy" in words
    assert "Top-5" not in write(ReportContent("Title", classifier=make_result(5))).words()


def test_classes_without_pictures_are_left_out(write):
    result = make_result(4)
    kept = result.labels != 2
    result = dataclasses.replace(
        result, labels=result.labels[kept], probabilities=result.probabilities[kept]
    )
    page = write(ReportContent("Title", classifier=result))
    assert "1 classes without a test picture" in page.words()
    assert "Classes 3 of 4" in page.words()
    assert not any(title.startswith("class 2: ") for title in page.values("title"))


def test_a_thousand_classes_make_no_matrix(write, tmp_path):
    page = write(ReportContent("Title", classifier=make_result(1000, rows_per_class=2)))
    assert "matrix" not in page.values("class")
    assert "A matrix of 1000 classes cannot be read" in page.words()
    assert (tmp_path / "report.html").stat().st_size < 200_000


def test_right_and_wrong_pictures_are_apart(write):
    gallery = make_gallery(5, ["ant", "bee"])
    words = write(ReportContent("Title", gallery=gallery)).words()
    right = sum(picture.is_right for picture in gallery)
    assert 0 < right < 5
    assert f"Named right · {right} of" in words
    assert f"Named wrong · {5 - right} of" in words


def test_size(tmp_path):
    result = make_result(70, rows_per_class=24)
    content = ReportContent(
        "Title",
        records=make_records(),
        classifier=result,
        embeddings=make_embeddings(70, rows_per_class=24, dim=64),
        gallery=make_gallery(48, result.class_names, size=400),  # Noise: the worst to compress.
    )
    write_report(tmp_path / "report.html", content)
    assert (tmp_path / "report.html").stat().st_size < 3_000_000


def test_a_bad_picture_leaves_the_old_report(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    picture = GalleryPicture(b"no picture", "ant", [("ant", 1.0)])
    with pytest.raises(InputError, match="cannot be read"):
        write_report(path, ReportContent("Title", gallery=[picture]))
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        write_report(tmp_path / "absent" / "report.html", ReportContent("Title"))


def test_trained_prototypes_are_those_of_the_numbers_after(write):
    before = make_embeddings(4)
    rng = np.random.default_rng(5)
    trained = MappedEmbeddings(
        before.images, before.images, before.texts, before.labels, rng.normal(size=(4, 8))
    )
    words = write(ReportContent("Title", embeddings=trained)).words()
    row = re.search(r"Mean cosine to the own text (\S+) (\S+)", words)
    assert row.group(1) != row.group(2)
    assert "trained class prototypes" in words


def test_heavy_libraries_are_imported_at_first_use():
    # Keras itself imports matplotlib and scikit-learn where they are installed.
    code = (
        "import sys, keras; before = set(sys.modules); import keras_cmm.report; "
        "print({'jinja2', 'matplotlib', 'sklearn'} & (set(sys.modules) - before))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == "set()"
