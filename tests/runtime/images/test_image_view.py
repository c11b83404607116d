import io

import numpy as np
import pytest
from PIL import Image

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images import ImagePreprocessor, ImageView


@pytest.fixture
def preprocessor():
    # Larger than the pictures, so that every column and row of a crop is in the view.
    return ImagePreprocessor(image_size=256, interpolation="nearest")


def places(width, height):
    """A picture whose red is the column and whose green is the row of a pixel."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns, rows, np.zeros_like(rows)], axis=-1).astype("uint8")


def seen(preprocessor, picture, number):
    """Left, top, right and bottom edge of a view, and whether it is mirrored."""
    columns, rows, _ = np.moveaxis(preprocessor.pixels(ImageView(picture, number)), -1, 0)
    edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert rows[0, 0] == rows.min()  # never upside down
    return [int(edge) for edge in edges], bool(columns[0, 0] > columns[0, -1])


@pytest.mark.parametrize("size", [(200, 200), (240, 180), (100, 160)])
def test_crops_and_mirrored_ones(preprocessor, size):
    picture = places(*size)
    found = [seen(preprocessor, picture, number) for number in range(1, 101)]
    assert 30 < sum(is_mirrored for _, is_mirrored in found) < 70
    boxes = np.array([edges for edges, _ in found])
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    areas, ratios = widths * heights / np.prod(size), widths / heights
    # A side is a whole number of pixels, so it may be half a pixel off.
    assert 0.49 < areas.min() < 0.6
    assert 0.8 < areas.max() <= 1
    assert ratios.min() > 0.74
    assert ratios.max() < 1.35
    assert ratios.max() - ratios.min() > 0.2
    assert len(np.unique(boxes, axis=0)) > 90


def test_a_long_picture_gives_its_middle(preprocessor):
    assert seen(preprocessor, places(250, 12), 1)[0] == [117, 0, 133, 12]
    assert seen(preprocessor, places(9, 201), 1)[0] == [0, 94, 9, 106]
    assert preprocessor.pixels(ImageView(places(1, 1), 1)).shape == (256, 256, 3)


def test_views_depend_on_the_picture_and_the_number_alone(preprocessor, tmp_path):
    picture = places(90, 80)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    (tmp_path / "any name").write_bytes(file.getvalue())
    forms = [picture, Image.fromarray(picture), file.getvalue(), tmp_path / "any name"]
    views = [preprocessor.pixels(ImageView(form, 3)) for form in forms]
    for view in views[1:]:
        np.testing.assert_array_equal(view, views[0])
    other = picture.copy()
    other[5, 5] += 1
    assert seen(preprocessor, other, 3) != seen(preprocessor, picture, 3)


def test_views_stay_those_of_earlier_versions(preprocessor):
    """Stores keep their embeddings. If this must change, change `VIEW_RECIPE` too."""
    found = [seen(preprocessor, places(200, 160), number) for number in (1, 2, 3)]
    assert [box for box, _ in found] == [[35, 5, 192, 158], [19, 8, 177, 158], [25, 9, 147, 158]]


def test_a_view_is_normalised_as_its_image(preprocessor):
    view = ImageView(places(60, 60), 2)
    np.testing.assert_array_equal(
        preprocessor(view), preprocessor.normalize(preprocessor.pixels(view))
    )


@pytest.mark.parametrize("number", [0, -1, 1.0, True, "1"])
def test_numbers_begin_at_one(number):
    with pytest.raises(InputError, match="`number` must be an int >= 1"):
        ImageView("cat.jpg", number)


def test_errors_name_the_file(preprocessor, tmp_path):
    with pytest.raises(InputError, match=r"none\.jpg: no such file"):
        preprocessor.pixels(ImageView(tmp_path / "none.jpg", 1))
