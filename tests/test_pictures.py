"""Pictures in every form people have them in."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from skxmodal._pictures import (
    PictureError,
    check_image,
    open_picture,
    readable_formats,
)

# Exif's orientation, and what undoes it, by numpy alone.
UPRIGHT = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).transpose(1, 0, 2),
    8: lambda pixels: np.rot90(pixels),
}


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def as_bytes(picture: Image.Image, format: str, **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def opened(item) -> np.ndarray:
    picture = open_picture(item)
    assert picture.mode == "RGB"
    return np.asarray(picture)


def test_forms_of_one_picture_agree(pixels, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    data = path.read_bytes()
    forms = [
        path,
        str(path),
        data,
        bytearray(data),
        memoryview(data),
        Image.open(path),
        pixels,
        pixels[::-1][::-1],
        np.asfortranarray(pixels),
        np.dstack([pixels, np.full((5, 7), 255, np.uint8)]),
    ]
    for form in forms:
        np.testing.assert_array_equal(opened(form), pixels)


def test_a_link_to_a_picture_is_a_picture(pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "b").symlink_to(tmp_path / "a.png")
    np.testing.assert_array_equal(opened(tmp_path / "b"), pixels)


def test_the_given_image_is_not_changed(pixels):
    given = Image.fromarray(pixels)
    result = open_picture(given)
    result.putpixel((0, 0), (1, 2, 3))
    np.testing.assert_array_equal(np.asarray(given), pixels)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1)])
def test_grey_arrays(shape):
    grey = np.arange(35, dtype=np.uint8).reshape(shape)
    np.testing.assert_array_equal(
        opened(grey), np.repeat(grey.reshape(5, 7, 1), 3, axis=2)
    )


@pytest.mark.parametrize("orientation", list(UPRIGHT))
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_exif_orientation_is_applied(pixels, orientation, format):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = as_bytes(Image.fromarray(pixels), format, exif=exif)
    np.testing.assert_array_equal(opened(data), UPRIGHT[orientation](pixels))


def test_exif_orientation_of_a_jpeg(pixels):
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = as_bytes(Image.fromarray(pixels), "JPEG", quality=95)
    turned = as_bytes(Image.fromarray(pixels), "JPEG", quality=95, exif=exif)
    np.testing.assert_array_equal(opened(turned), np.rot90(opened(plain), -1))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_unknown_orientation_is_none(pixels, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = as_bytes(Image.fromarray(pixels), "PNG", exif=exif)
    np.testing.assert_array_equal(opened(data), pixels)


def test_damaged_exif_does_not_lose_the_picture(pixels):
    data = as_bytes(
        Image.fromarray(pixels), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\xff"
    )
    with pytest.warns(UserWarning, match="Corrupt EXIF"):
        assert opened(data).shape == pixels.shape


def test_transparency_is_laid_over_white():
    rgba = np.zeros((1, 3, 4), dtype=np.uint8)
    rgba[0, :, 0] = 200
    rgba[0, :, 3] = 0, 128, 255
    expected = np.array([[[255, 255, 255], [227, 127, 127], [200, 0, 0]]])
    assert np.abs(opened(rgba).astype(int) - expected).max() <= 1
    for mode in ("RGBa", "RGBA"):
        converted = Image.fromarray(rgba).convert(mode)
        assert np.abs(opened(converted).astype(int) - expected).max() <= 2


def test_grey_with_transparency():
    values = np.array([[[100, 0], [100, 255]]], dtype=np.uint8)
    bands = [Image.fromarray(values[..., band]) for band in (0, 1)]
    picture = Image.merge("LA", bands)
    expected = [[[255] * 3, [100] * 3]]
    np.testing.assert_array_equal(opened(picture), expected)
    np.testing.assert_array_equal(opened(as_bytes(picture, "PNG")), expected)


def test_palettes_with_and_without_transparency():
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putpixel((1, 0), 1)
    np.testing.assert_array_equal(
        opened(as_bytes(picture, "PNG")), [[[10, 20, 30], [200, 100, 50]]]
    )
    np.testing.assert_array_equal(
        opened(as_bytes(picture, "PNG", transparency=0)),
        [[[255, 255, 255], [200, 100, 50]]],
    )


def test_a_transparent_colour_of_an_rgb_png():
    picture = Image.new("RGB", (2, 1), (1, 2, 3))
    picture.putpixel((1, 0), (9, 9, 9))
    data = as_bytes(picture, "PNG", transparency=(1, 2, 3))
    np.testing.assert_array_equal(opened(data), [[[255] * 3, [9] * 3]])


def test_cmyk():
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for item in (cmyk, as_bytes(cmyk, "JPEG", quality=100), as_bytes(cmyk, "TIFF")):
        red = opened(item)[8, 8].astype(int)
        assert np.abs(red - [255, 0, 0]).max() <= 3


def test_sixteen_bit_grey_is_scaled():
    values = np.array([[0, 128, 32768, 65407, 65535]], dtype=np.uint16)
    expected = np.rint(values / 257).astype(np.uint8)[..., None].repeat(3, axis=2)
    picture = Image.fromarray(values)
    for item in (picture, as_bytes(picture, "PNG"), as_bytes(picture, "TIFF")):
        np.testing.assert_array_equal(opened(item), expected)
    # A dark picture stays dark: its values aren't taken for 8 bits.
    dark = Image.fromarray(np.full((2, 2), 200, dtype=np.uint16))
    assert opened(as_bytes(dark, "PNG")).max() == 1


def test_one_bit_and_other_modes(pixels):
    black_and_white = Image.fromarray(pixels).convert("1")
    np.testing.assert_array_equal(
        opened(black_and_white)[..., 0], np.asarray(black_and_white) * 255
    )
    for mode in ("YCbCr", "HSV"):
        assert opened(Image.fromarray(pixels).convert(mode)).shape == pixels.shape


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation(format):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = as_bytes(
        frames[0], format, save_all=True, append_images=frames[1:], **options
    )
    assert Image.open(io.BytesIO(data)).n_frames == 3
    np.testing.assert_array_equal(opened(data)[0, 0], [255, 0, 0])


def damaged_files(folder: Path) -> dict[str, Path]:
    rng = np.random.default_rng(0)
    whole = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    contents = {
        "empty.jpg": b"",
        "text.png": b"this is no picture",
        "half.jpg": as_bytes(whole, "JPEG")[:1500],
        "nearly.jpg": as_bytes(whole, "JPEG")[:-300],
        "half.png": as_bytes(whole, "PNG")[:1500],
        "half.gif": as_bytes(whole.quantize(), "GIF")[:900],
        "half.webp": as_bytes(whole, "WEBP")[:700],
    }
    flipped = bytearray(as_bytes(whole, "PNG"))
    flipped[len(flipped) // 2] ^= 0xFF
    contents["flipped.png"] = bytes(flipped)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


def test_damaged_files_name_row_and_path(tmp_path):
    files = damaged_files(tmp_path)
    assert len(files) == 8
    for path in files.values():
        with pytest.raises(PictureError, match="can't be decoded") as caught:
            open_picture(path, row=7)
        assert str(caught.value).startswith(f"Row 7: the picture {str(path)!r}")
        assert (caught.value.row, caught.value.path) == (7, str(path))
        with pytest.raises(PictureError, match="Row 3: the picture can't be decoded"):
            open_picture(path.read_bytes(), row=3)


def test_a_mislabelled_file_is_what_it_holds(pixels, tmp_path):
    (tmp_path / "a.jpg").write_bytes(as_bytes(Image.fromarray(pixels), "PNG"))
    np.testing.assert_array_equal(opened(tmp_path / "a.jpg"), pixels)


def test_paths_that_lead_to_no_file(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    cases = {
        tmp_path / "missing.jpg": "does not exist",
        tmp_path / "loop": "does not exist",
        tmp_path: "not a regular file",
        tmp_path / "pipe": "not a regular file",
        "": "not a regular file",
        "a\0b.jpg": "does not exist",
        "https://example.org/a.jpg": "address.*Download",
    }
    for path, message in cases.items():
        with pytest.raises(PictureError, match=f"Row 2: .*{message}"):
            open_picture(path, row=2)


def test_a_decompression_bomb_is_refused_with_the_limits_name(monkeypatch, pixels):
    data = as_bytes(Image.fromarray(pixels), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(PictureError, match=r"Row 4.*PIL\.Image\.MAX_IMAGE_PIXELS"):
        open_picture(data, row=4)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 7, 3)), "dtype uint8.*float64"),
        (np.zeros((5, 7), dtype=np.int64), "dtype uint8.*int64"),
        (np.zeros((5, 7), dtype=bool), "dtype uint8.*bool"),
        (np.zeros((3, 5, 7), dtype=np.uint8), r"\(3, 5, 7\).*transpose\(1, 2, 0\)"),
        (np.zeros((5, 7, 2), dtype=np.uint8), r"shape \(5, 7, 2\)"),
        (np.zeros(5, dtype=np.uint8), r"shape \(5,\)"),
        (np.zeros((2, 5, 7, 3), dtype=np.uint8), r"shape \(2, 5, 7, 3\)"),
        (np.zeros((0, 7, 3), dtype=np.uint8), "no pixels"),
    ],
)
def test_arrays_that_are_no_pictures(array, message):
    with pytest.raises(PictureError, match=message):
        open_picture(array, row=0)


def test_pixels_without_an_agreed_range_are_refused():
    with pytest.raises(PictureError, match="floats"):
        open_picture(Image.new("F", (2, 2)))
    with pytest.raises(PictureError, match="outside 0 to 65535"):
        open_picture(Image.new("I", (2, 2), -1))


@pytest.mark.parametrize("item", [None, 3, 2.5, float("nan"), ["a.jpg"], {"a": 1}])
def test_other_types_are_refused(item):
    with pytest.raises(TypeError, match="Row 5: expected a picture"):
        open_picture(item, row=5)


def test_formats_that_run_programs_or_are_two_at_once_are_refused(pixels, tmp_path):
    (tmp_path / "a.jpg").write_bytes(as_bytes(Image.fromarray(pixels), "EPS"))
    for format in ("EPS", "SGI", "PCX", "ICO"):
        data = as_bytes(Image.fromarray(pixels), format)
        with pytest.raises(PictureError, match="none of the formats AVIF, BMP, "):
            open_picture(data)
    with pytest.raises(PictureError, match=r"none of the formats.*on_error='nan'"):
        open_picture(tmp_path / "a.jpg")


@pytest.mark.parametrize("format", ["PPM", "JPEG2000", "AVIF"])
def test_formats_that_are_read(format, pixels):
    if format == "AVIF" and "AVIF" not in readable_formats():
        return
    assert opened(as_bytes(Image.fromarray(pixels), format)).shape == pixels.shape


@pytest.mark.parametrize("progressive", [True, False])
def test_a_jpeg_of_very_many_scans_is_refused(progressive, pixels, tmp_path):
    data = as_bytes(Image.fromarray(pixels), "JPEG", progressive=progressive)
    assert opened(data).shape == pixels.shape
    # The last scan a hundred times more.
    start = data.rindex(b"\xff\xda")
    many = data[:-2] + data[start:-2] * 100 + data[-2:]
    (tmp_path / "many.jpg").write_bytes(many)
    for item in (many, tmp_path / "many.jpg", Image.open(io.BytesIO(many))):
        with pytest.raises(PictureError, match=r"1\d\d scans, more than 100"):
            open_picture(item)


def test_a_tile_far_larger_than_its_picture_is_refused():
    # A TIFF by hand: 16 x 16 grey pixels, cut from one tile.
    def tiff(side: int) -> bytes:
        tags = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 277: 1}
        tags |= {322: side, 323: side, 324: 256, 325: side * side}
        entries = [struct.pack("<HHII", tag, 4, 1, v) for tag, v in tags.items()]
        head = struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + b"".join(entries)
        return head.ljust(256, b"\0") + bytes(range(256)) * (min(side, 64) ** 2 // 256)

    assert opened(tiff(64)).shape == (16, 16, 3)
    with pytest.raises(PictureError, match="tiles are of 8192 x 8192 pixels"):
        open_picture(tiff(8192))


def test_sixteen_bit_grey_with_a_transparent_value():
    values = np.array([[0, 257, 65535]], dtype=np.uint16)
    data = as_bytes(Image.fromarray(values), "PNG")
    # Pillow writes no such chunk for 16 bits.
    transparency = b"tRNS" + (257).to_bytes(2, "big")
    chunk = b"\0\0\0\2" + transparency + zlib.crc32(transparency).to_bytes(4, "big")
    place = data.index(b"IDAT") - 4
    data = data[:place] + chunk + data[place:]
    np.testing.assert_array_equal(opened(data)[0, :, 0], [0, 255, 255])


def test_integers_of_no_known_range_are_refused():
    values = np.array([[0, 128, 255]], dtype=np.uint8)
    with pytest.raises(PictureError, match=r"8 bits or of 16.*convert\('L'\)"):
        open_picture(Image.fromarray(values).convert("I"))
    wide = Image.fromarray(values.astype(np.int32) * 257)
    np.testing.assert_array_equal(opened(wide)[..., 0], values)
    assert opened(Image.new("I", (2, 2), 0)).max() == 0


def test_an_image_without_pixels_is_refused():
    for check in (open_picture, check_image):
        with pytest.raises(PictureError, match=r"Row 3: .*no pixels"):
            check(Image.new("RGB", (0, 4)), row=3)


def test_the_error_survives_a_pickle():
    error = pickle.loads(pickle.dumps(PictureError("bad", row=3, path="a.jpg")))
    assert (str(error), error.row, error.path) == ("bad", 3, "a.jpg")


@st.composite
def damaged(draw) -> bytes:
    """The bytes of a small picture, some of them changed, lost or doubled."""
    rng = np.random.default_rng(draw(st.integers(0, 5)))
    pixels = rng.integers(0, 256, (9, 11, 3), dtype=np.uint8)
    format = draw(st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "ICO"]))
    mode = draw(st.sampled_from(["RGB", "L", "P", "1"]))
    mode = "RGB" if format in ("JPEG", "WEBP") else mode
    data = bytearray(as_bytes(Image.fromarray(pixels).convert(mode), format))
    for place in draw(st.lists(st.integers(0, len(data) - 1), max_size=8)):
        data[place] = draw(st.integers(0, 255))
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, len(data)))
    kind = draw(st.sampled_from(["keep", "cut", "lose", "double"]))
    if kind == "cut":
        return bytes(data[:end])
    if kind == "lose":
        return bytes(data[:start] + data[end:])
    return bytes(data[:end] + data[start:]) if kind == "double" else bytes(data)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=5 * settings().max_examples, deadline=None)
@given(data=damaged())
def test_damaged_bytes_give_a_picture_or_the_documented_error(data):
    refused = ""
    try:
        picture = open_picture(data, row=0)
    except PictureError as error:
        refused = str(error)
    if refused:
        assert refused.startswith("Row 0: the picture ")
    else:
        assert picture.mode == "RGB"
        assert np.asarray(picture).size > 0
