"""HEIC photos are listed if they can be read."""

import pytest

from keras_cmm.data import ImageList
from keras_cmm_runtime.sources import folders


@pytest.mark.parametrize("is_installed", [True, False])
def test_photos_of_phones(tmp_path, monkeypatch, is_installed):
    monkeypatch.setattr(folders, "_reads_heif", lambda: is_installed)
    for name in ("cat/1.png", "cat/2.HEIC", "dog/1.png", "dog/2.hif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    if is_installed:
        assert len(ImageList.from_folder(tmp_path)) == 4
    else:
        with pytest.warns(UserWarning, match=r"1 \.heic, 1 \.hif\); .*keras-cmm\[heif\]"):
            assert len(ImageList.from_folder(tmp_path)) == 2
