"""The coordinates of the report's figures."""

import dataclasses
import itertools

import numpy as np
import pytest
from made_up import make_embeddings, make_record, make_records, make_result

from keras_cmm.report import (
    MappedEmbeddings,
    accuracy_figures,
    classifier_figures,
    gap_figures,
    palette,
)


def test_cmm_comes_first_and_keeps_its_colour_in_every_panel():
    records = make_records() + [
        record for record in make_records("other") if record["method"] != "nearest_mean"
    ]
    panels = accuracy_figures.make_panels(records)
    assert [panel.title for panel in panels] == ["Average of 2 data sets", "generated", "other"]
    assert [line.method for line in panels[1].lines] == ["cmm", "nearest_mean"]
    assert {panel.lines[0].style for panel in panels} == {0}
    assert all(panel.references[0].label == "Zero-shot CLIP" for panel in panels)


def test_panels_say_where_classes_had_fewer_images():
    short = {"num_classes": 10, "support_rows": 150}
    records = [make_record("cmm", 16, 1, 70.0, **short), make_record("cmm", 16, 1, 60.0, "other")]
    note = "some classes have fewer training images: generated 16-shot (150 of 160 images)"
    assert [panel.notes for panel in accuracy_figures.make_panels(records)] == [[note], [note], []]


def test_shifts_have_an_average_of_their_own():
    records = [make_record("cmm", 16, 1, 70.0, "imagenet"), make_record("cmm", 16, 1, 60.0, "dtd")]
    records[1:1] = [
        make_record("cmm", 16, 1, top1, name, trained_on="imagenet")
        for name, top1 in (("imagenet_a", 30.0), ("imagenet_r", 50.0))
    ]
    panels = accuracy_figures.make_panels(records)
    assert [(panel.title, panel.lines[0].points[16].mean) for panel in panels] == [
        ("Average of 2 data sets", 65.0),
        ("imagenet", 70.0),
        ("dtd", 60.0),
        ("Average of 2 shifts", 40.0),
        ("imagenet_a", 30.0),
        ("imagenet_r", 50.0),
    ]
    one_of_each = accuracy_figures.make_panels(records[:2])
    assert [panel.title for panel in one_of_each] == ["imagenet", "imagenet_a"]


def test_styles_of_many_methods_differ():
    records = [make_record(f"method_{i}", 4, 1, 50.0) for i in range(36)]
    lines = accuracy_figures.make_panels(records)[0].lines
    assert len({(line.colour, line.marker) for line in lines}) == 36
    assert lines[0].label == "method 0"


def test_accuracy_is_drawn_to_scale():
    records = [make_record("cmm", 1, s, 40.0 + s) for s in (1, 2, 3)]
    records += [make_record("cmm", 16, s, 60.0 + s) for s in (1, 2, 3)]
    chart = accuracy_figures.chart(accuracy_figures.make_panels(records)[0])
    ticks = {float(tick["label"]): tick["y"] for tick in chart["y_ticks"]}
    (low, bottom), (high, top) = min(ticks.items()), max(ticks.items())
    assert low <= 41 < 63 <= high
    for point, mean in zip(chart["lines"][0]["points"], (42.0, 62.0), strict=True):
        for name, value in (("y", mean), ("top", mean + 1), ("bottom", mean - 1)):
            expected = bottom + (value - low) / (high - low) * (top - bottom)
            assert point[name] == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("accuracy", [0.0, 50.0, 100.0])
def test_an_axis_has_a_length(accuracy):
    records = [make_record("cmm", shots, 1, accuracy) for shots in (1, 2)]
    chart = accuracy_figures.chart(accuracy_figures.make_panels(records)[0])
    assert len({tick["y"] for tick in chart["y_ticks"]}) == len(chart["y_ticks"]) > 1
    assert all(np.isfinite(point["y"]) for point in chart["lines"][0]["points"])


def test_shots_stand_on_a_logarithmic_axis():
    records = [make_record("cmm", shots, 1, 50.0) for shots in (16, 1, 4)]
    ticks = accuracy_figures.chart(accuracy_figures.make_panels(records)[0])["x_ticks"]
    assert [tick["label"] for tick in ticks] == ["1", "4", "16"]
    places = [tick["x"] for tick in ticks]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1])


def test_a_perfect_classifier_scores_100_in_every_class():
    result = make_result(3)
    result = dataclasses.replace(result, probabilities=np.eye(3)[result.labels])
    assert [score.accuracy for score in classifier_figures.class_scores(result)] == [100.0] * 3


def test_every_picture_is_in_the_matrix():
    result = make_result(70, rows_per_class=4)
    matrix = classifier_figures.matrix_chart(result)
    assert sum(cell["count"] for cell in matrix["cells"]) == 280
    wrong = sum(cell["count"] for cell in matrix["cells"] if not cell["right"])
    assert wrong == np.sum(result.predictions != result.labels)


def test_the_projection_shows_the_gap_close():
    embeddings = make_embeddings(20)
    closed = MappedEmbeddings(
        embeddings.images,
        embeddings.texts[embeddings.labels],
        embeddings.texts,
        embeddings.labels,
    )
    before, after, variance = gap_figures.project(closed)
    assert 0 < variance <= 1
    distances = [
        np.linalg.norm(p.images.mean(axis=0) - p.texts.mean(axis=0)) for p in (before, after)
    ]
    assert distances[0] > 0.5
    assert distances[1] == pytest.approx(0, abs=1e-4)
    # The same axes: texts did not move, so neither do their points.
    np.testing.assert_allclose(before.texts, after.texts, atol=1e-5)
    np.testing.assert_allclose(after.means, after.texts, atol=1e-5)


def test_points_lie_inside_the_chart():
    embeddings = make_embeddings(6)
    before, after, _ = gap_figures.project(embeddings)
    for chart in gap_figures.charts((before, after)):
        points = np.array(chart["images"] + chart["texts"])
        assert points.min() > 0
        assert (points < [chart["width"], chart["height"]]).all()


def test_a_class_without_pictures_has_no_link():
    embeddings = make_embeddings(4)
    kept = embeddings.labels != 1
    embeddings = MappedEmbeddings(
        embeddings.images[kept],
        embeddings.mapped_images[kept],
        embeddings.texts,
        embeddings.labels[kept],
    )
    before, after, _ = gap_figures.project(embeddings)
    chart = gap_figures.charts((before, after))[0]
    assert (len(chart["links"]), len(chart["texts"])) == (3, 4)


def linear_rgb(colour):
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def luminance(colour):
    return float(np.dot(linear_rgb(colour), [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize(("theme", "surface"), [(0, "#ffffff"), (1, "#1a1e24")])
def test_contrast(theme, surface):
    """WCAG 2.2: 4.5:1 for text, 3:1 for graphics."""
    for name, pair in palette.css_variables().items():
        if name == "rule":
            continue
        dark, light = sorted([luminance(pair[theme]), luminance(surface)])
        least = 3.0 if name.startswith("series") else 4.5
        assert (light + 0.05) / (dark + 0.05) >= least, name


# Full protanopia, deuteranopia and tritanopia on linear RGB: Machado et al., IEEE TVCG 2009.
COLOUR_VISION = {
    "common": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
# Linear sRGB to XYZ over the white point: D65.
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
TO_XYZ = TO_XYZ / TO_XYZ.sum(axis=1, keepdims=True)


def lab(rgb):
    xyz = TO_XYZ @ np.clip(rgb, 0, 1)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", list(COLOUR_VISION))
@pytest.mark.parametrize("theme", [0, 1])
def test_colours_stay_apart(theme, vision):
    """A CIELAB distance of 15 is several times what is just noticeable (2.3)."""
    for colours in (palette.SERIES, (palette.RIGHT, palette.WRONG)):
        seen = [lab(COLOUR_VISION[vision] @ linear_rgb(pair[theme])) for pair in colours]
        for a, b in itertools.combinations(seen, 2):
            assert np.linalg.norm(a - b) > 15
