import io
import os
import struct
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images.image_reading import file_bytes, image_name, read_image


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


def test_integers_of_eight_bits_stay_as_they_are(tmp_path):
    values = np.array([[0, 1, 128, 255]], dtype="int32")
    Image.fromarray(values).save(tmp_path / "wide.tif")
    for image in (values, Image.fromarray(values), tmp_path / "wide.tif"):
        assert np.asarray(read_image(image))[0, :, 0].tolist() == [0, 1, 128, 255]
    wide = Image.fromarray(257 * values)
    assert np.asarray(read_image(wide))[0, :, 0].tolist() == [0, 1, 128, 255]


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
        (np.linspace(-1, 1, 48).reshape(4, 4, 3), r"-1 to 1, .* give \(\(x \+ 1\) \* 127\.5\)"),
        (np.full((4, 4, 3), -0.5), r"-0.5 to -0.5, .* give \(\(x \+ 1\) \* 127\.5\)"),
        (np.full((4, 4, 3), np.nan), "Received: nan"),
        (object(), "Received: shape"),
        (io.FileIO(os.devnull), "Received: shape"),
    ],
)
def test_what_is_no_image(array, message):
    with pytest.raises(InputError, match=message):
        read_image(array)


def test_the_advice_for_minus_one_to_one_gives_the_image_back():
    torch = pytest.importorskip("torch")
    values = np.asarray(picture())
    wrong = values / 127.5 - 1
    with pytest.raises(InputError, match=r"\[-1, 1\]; give \(\(x \+ 1\) \* 127.5\)"):
        read_image(wrong)
    np.testing.assert_array_equal(np.asarray(read_image((wrong + 1) * 127.5)), values)
    tensor = torch.from_numpy(wrong.transpose(2, 0, 1).copy())
    with pytest.raises(InputError, match=r"\[0, 1\]. Received: -1 to .* give \(x \+ 1\) / 2"):
        read_image(tensor)
    np.testing.assert_array_equal(np.asarray(read_image((tensor + 1) / 2)), values)


def test_a_file_is_read_alike_from_a_path_its_bytes_and_an_archive(tmp_path):
    picture().save(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "a.png")
    data = (tmp_path / "a.png").read_bytes()
    # zipfile.Path leaves closing the archive to the garbage collector.
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        for image in (str(tmp_path / "a.png"), data, zipfile.Path(archive, "a.png")):
            assert file_bytes(image) == data
            np.testing.assert_array_equal(np.asarray(read_image(image)), np.asarray(picture()))
        absent = zipfile.Path(archive, "absent.png")
        assert image_name(absent) == f"{tmp_path}/a.zip/absent.png"
        with pytest.raises(InputError, match=r"a\.zip/absent\.png: cannot be read"):
            read_image(absent)
    assert file_bytes(picture()) is None
    assert file_bytes(np.zeros((2, 2, 3), "uint8")) is None


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_a_file_may_be_of_another_format_than_its_name_says(tmp_path, name):
    picture().save(tmp_path / "wrong.jpg", name)
    with Image.open(tmp_path / "wrong.jpg") as image:
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "wrong.jpg")), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_every_exif_orientation(tmp_path, suffix, orientation):
    image = picture().resize((64, 32))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / f"a.{suffix}", exif=exif)
    with Image.open(tmp_path / f"a.{suffix}") as stored:
        # Pillow itself turns TIFF, which is lossless, when it loads it.
        values = np.asarray(image if suffix == "tif" else stored)
    # By the standard: where row 0 and column 0 of the stored values appear in the picture.
    expected = {
        1: values,  # top, left
        2: values[:, ::-1],  # top, right
        3: values[::-1, ::-1],  # bottom, right
        4: values[::-1],  # bottom, left
        5: values.swapaxes(0, 1),  # left, top
        6: values.swapaxes(0, 1)[:, ::-1],  # right, top
        7: values.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
        8: values.swapaxes(0, 1)[::-1],  # left, bottom
    }[orientation]
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / f"a.{suffix}")), expected)


def test_a_pil_image_is_not_changed(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture().save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        assert read_image(image).size == (8, 12)
        assert image.size == (12, 8)


def png(width, height, bits, colour, rows, *chunks):
    """Returns a PNG file of a kind that Pillow does not write."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *(chunk(name, content) for name, content in chunks),
            chunk(b"IDAT", data),
            chunk(b"IEND", b""),
        ]
    )


def test_sixteen_bit_rgb():
    values = np.array([[0, 257, 65535], [32768, 1000, 60000]], dtype=">u2")
    image = read_image(png(2, 1, 16, 2, [values.tobytes()]))
    np.testing.assert_array_equal(np.asarray(image)[0], values >> 8)


def test_sixteen_bit_with_alpha():
    grey = np.array([[65535, 0], [0, 65535]], dtype=">u2")
    assert np.asarray(read_image(png(2, 1, 16, 4, [grey.tobytes()])))[0, :, 0].tolist() == [255, 0]
    rgba = np.array([[0, 257, 65535, 65535], [0, 0, 0, 0]], dtype=">u2")
    pixels = np.asarray(read_image(png(2, 1, 16, 6, [rgba.tobytes()])))
    assert pixels[0].tolist() == [[0, 1, 255], [255, 255, 255]]


def test_a_transparent_colour_of_rgb_and_grey():
    rgb = bytes([1, 2, 3, 9, 9, 9])
    key = (b"tRNS", struct.pack(">HHH", 1, 2, 3))
    assert np.asarray(read_image(png(2, 1, 8, 2, [rgb], key)))[0].tolist() == [[255] * 3, [9] * 3]
    key = (b"tRNS", struct.pack(">H", 7))
    assert np.asarray(read_image(png(2, 1, 8, 0, [b"\7\5"], key)))[0, :, 0].tolist() == [255, 5]
    key = (b"tRNS", struct.pack(">H", 0))
    assert np.asarray(read_image(png(2, 1, 1, 0, [b"\x40"], key)))[0, :, 0].tolist() == [255, 255]


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_palettes_of_few_colours(bits):
    palette = (b"PLTE", bytes([10, 20, 30, 200, 100, 50]))
    row = bytes([1 << (8 - 2 * bits)])  # two pixels: entry 0, entry 1
    image = read_image(png(2, 1, bits, 3, [row], palette))
    assert np.asarray(image)[0].tolist() == [[10, 20, 30], [200, 100, 50]]


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_first_frame_of_any_animation(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    path = tmp_path / f"a.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    with Image.open(path) as image:
        assert image.n_frames == 3
    assert np.asarray(read_image(path))[0, 0].tolist() == [255, 0, 0]


def test_cmyk_jpeg(tmp_path):
    picture().resize((64, 64)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.mode == "CMYK"
        inks = np.asarray(image).astype("float64") / 255
    expected = 255 * (1 - inks[..., :3]) * (1 - inks[..., 3:])
    assert np.abs(np.asarray(read_image(tmp_path / "a.jpg")) - expected).max() <= 1.5


def test_float_tiff(tmp_path):
    values = np.arange(12, dtype="float32").reshape(3, 4) * 20
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert np.asarray(read_image(tmp_path / "a.tif"))[..., 0].tolist() == values.tolist()
    Image.fromarray(values / 255).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a\.tif: .*multiply them by 255"):
        read_image(tmp_path / "a.tif")
    Image.fromarray(np.full((2, 2), 70_000, "int32")).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a\.tif: .*\[0, 65535\]"):
        read_image(tmp_path / "a.tif")


def test_the_limit_on_pixels(tmp_path, monkeypatch):
    """Between the limit and twice the limit, Pillow itself only warns."""
    Image.new("RGB", (100, 100)).save(tmp_path / "bomb.png")
    for limit in (9999, 5000, 4000):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        for action in ("error", "ignore"):
            with warnings.catch_warnings():
                warnings.simplefilter(action, Image.DecompressionBombWarning)
                with pytest.raises(InputError, match=rf"bomb\.png: .*more than {limit:,} pixels"):
                    read_image(tmp_path / "bomb.png")
    for limit in (10_000, None):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert read_image(tmp_path / "bomb.png").size == (100, 100)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (bytes(1000), "zeros only"),
        (b"\n<!DOCTYPE html><p>Not found", "a web page"),
        (b"<?xml version='1.0'?>\n<svg/>", "an SVG drawing"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"hello", "of no known image format"),
    ],
)
def test_what_a_file_is_instead_of_an_image(tmp_path, content, words):
    (tmp_path / "a.jpg").write_bytes(content)
    for image, name in ((tmp_path / "a.jpg", str(tmp_path / "a.jpg")), (content, "bytes")):
        with pytest.raises(InputError, match=words) as caught:
            read_image(image)
        assert str(caught.value).startswith(f"{name}: cannot be read as an image (")


def test_names_stay_on_one_line(tmp_path):
    path = tmp_path / "two\nlines.png"
    path.touch()
    with pytest.raises(InputError, match=r"two\\nlines\.png: cannot be read"):
        read_image(path)
    assert image_name(os.fsdecode(b"caf\xe9.png")) == "caf\\udce9.png"
    assert image_name("café, 你好.png") == "café, 你好.png"


def test_the_users_own_picture_is_not_changed():
    picture = Image.new("RGB", (8, 6))
    read_image(picture).putpixel((0, 0), (1, 2, 3))
    assert picture.getpixel((0, 0)) == (0, 0, 0)
