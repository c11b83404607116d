import matplotlib as mpl
import pytest
from made_up import make_content, make_record, make_result
from PIL import Image

from keras_cmm.report import ReportContent, write_plots
from keras_cmm_runtime.errors import InputError


def test_every_figure(tmp_path):
    settings = dict(mpl.rcParams)
    paths = write_plots(tmp_path, make_content(name="$x_{ 日本"))
    assert [path.name for path in paths] == [
        "accuracy.png",
        "class_accuracy.png",
        "confusions.png",
        "modality_gap.png",
    ]
    for path in paths:
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 400
            # More than one flat colour.
            assert len(picture.convert("L").getcolors()) > 10
    assert dict(mpl.rcParams) == settings


def test_only_what_there_is(tmp_path):
    assert write_plots(tmp_path, ReportContent("Title")) == []
    zero_shot = ReportContent("Title", records=[make_record("zero_shot", 0, 0, 40.0)])
    assert write_plots(tmp_path, zero_shot) == []
    many = ReportContent("Title", classifier=make_result(200, rows_per_class=1))
    assert [path.name for path in write_plots(tmp_path, many)] == ["class_accuracy.png"]


def test_a_folder_that_is_not_there(tmp_path):
    content = ReportContent("Title", classifier=make_result(3))
    with pytest.raises(InputError, match="does not exist"):
        write_plots(tmp_path / "absent", content)
