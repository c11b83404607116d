import numpy as np
import pytest
from PIL import Image

from keras_cmm.clip import read_image
from keras_cmm.errors import InputError


def picture(mode="RGB", size=(12, 8)):
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype="uint8")
    return Image.fromarray(values).convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV"])
def test_modes_become_rgb(mode):
    image = picture(mode)
    np.testing.assert_array_equal(np.asarray(read_image(image)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_are_white(mode):
    image = picture(mode)
    image.putalpha(0)
    assert (np.asarray(read_image(image)) == 255).all()
    image.putalpha(255)
    np.testing.assert_array_equal(np.asarray(read_image(image)), np.asarray(image.convert("RGB")))


def test_half_transparent_black_is_grey():
    image = Image.new("RGBA", (2, 2), (0, 0, 0, 128))
    assert (np.asarray(read_image(image)) == 127).all()


def test_palette_with_a_transparent_entry(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "p.png", transparency=0)
    assert np.asarray(read_image(tmp_path / "p.png")).tolist() == [[[255, 255, 255], [0, 0, 255]]]


def test_sixteen_bit_values_are_scaled(tmp_path):
    values = np.array([[0, 257, 257 * 128, 65535]], dtype="uint16")
    Image.fromarray(values).save(tmp_path / "deep.png")
    assert np.asarray(read_image(tmp_path / "deep.png"))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_exif_orientation_turns_the_image(tmp_path):
    image = picture()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 270 degrees
    image.save(tmp_path / "turned.png", exif=exif)
    expected = np.asarray(image.transpose(Image.Transpose.ROTATE_270))
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "turned.png")), expected)
    np.testing.assert_array_equal(
        np.asarray(read_image(Image.open(tmp_path / "turned.png"))), expected
    )


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert np.asarray(read_image(str(tmp_path / "a.gif")))[0, 0].tolist() == [255, 0, 0]


def test_arrays_of_every_layout():
    values = np.asarray(picture())
    for array in (values, values.astype("int64"), values.astype("float32")):
        np.testing.assert_array_equal(np.asarray(read_image(array)), values)
    np.testing.assert_array_equal(np.asarray(read_image(values.transpose(2, 0, 1))), values)
    grey = np.asarray(read_image(values[..., 0]))
    np.testing.assert_array_equal(grey, np.repeat(values[..., :1], 3, axis=2))
    np.testing.assert_array_equal(np.asarray(read_image(values[..., :1])), grey)
    alpha = np.concatenate([values, np.zeros_like(values[..., :1])], axis=2)
    assert (np.asarray(read_image(alpha)) == 255).all()


def test_torch_tensors_as_torchvision_makes_them():
    torch = pytest.importorskip("torch")
    values = np.asarray(picture())
    tensor = torch.from_numpy(values.transpose(2, 0, 1).copy())
    np.testing.assert_array_equal(np.asarray(read_image(tensor)), values)
    np.testing.assert_array_equal(np.asarray(read_image(tensor.float() / 255)), values)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 5, 2), "uint8"), "Received: shape"),
        (np.zeros((0, 4, 3), "uint8"), "Received: shape"),
        (np.zeros((2, 4, 4, 3), "uint8"), "Received: shape"),
        (np.zeros((4, 4, 3), bool), "dtype bool"),
        (np.full((4, 4, 3), -1.0), "Received: -1 to -1"),
        (np.full((4, 4, 3), 256), "Received: 256 to 256"),
        (np.full((4, 4, 3), 0.5), "multiply them by 255"),
        (np.full((4, 4, 3), np.nan), "Received: nan"),
        (object(), "Received: shape"),
    ],
)
def test_what_is_no_image(array, message):
    with pytest.raises(InputError, match=message):
        read_image(array)


def damaged_files(folder):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), "uint8"))
    image.save(folder / "good.jpg")
    whole = (folder / "good.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("hello")
    (folder / "drawing.jpg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (folder / "folder.jpg").mkdir()
    (folder / "loop.png").symlink_to(folder / "loop.png")
    return sorted(set(folder.iterdir()) - {folder / "good.jpg"})


def test_damaged_files_are_named(tmp_path):
    files = [*damaged_files(tmp_path), tmp_path / "absent.png"]
    assert len(files) == 7
    for file in files:
        with pytest.raises(InputError) as caught:
            read_image(file)
        assert str(caught.value).startswith(f"{file}: ")
        assert "\n" not in str(caught.value)
        assert str(caught.value).count(str(file)) == 1


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    Image.new("RGB", (100, 100)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    with pytest.raises(InputError, match=r"bomb.png: cannot be read as an image"):
        read_image(tmp_path / "bomb.png")
