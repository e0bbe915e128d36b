"""Uploads that would take minutes or gigabytes to decode."""

import contextlib
import io
import time

import numpy as np
import pytest
from PIL import Image

from skxmodal._pictures import PictureError, open_picture
from skxmodal.page._uploads import Uploads

LARGE = 12_000_000


def saved(picture, kind, **options):
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def many_scans(side, n_scans):
    """A small file that is decoded once for each of its scans."""
    whole = saved(Image.new("L", (side, side)), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * n_scans + whole[-2:]


@contextlib.contextmanager
def decoding(**limits):
    uploads = Uploads(**{"max_pixels": LARGE, **limits})
    try:
        yield uploads
    finally:
        uploads.close()


@pytest.fixture(scope="module")
def uploads():
    with decoding() as uploads:
        yield uploads


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "RGBA"), ("JPEG", "RGB"), ("PNG", "I;16"), ("GIF", "P")]
)
def test_pixels_are_those_of_the_picture(uploads, kind, mode):
    values = np.arange(60 * 40 * 4, dtype=np.uint8).reshape(60, 40, 4)
    picture = Image.fromarray(values).convert("RGB" if mode == "P" else "RGBA")
    picture = Image.new("I;16", (40, 60), 9000) if mode == "I;16" else picture
    picture = picture.convert(mode)
    data = saved(picture, kind)
    pixels = uploads.decode(data).result()
    np.testing.assert_array_equal(pixels, np.asarray(open_picture(data)))


def test_a_picture_that_takes_too_long_is_given_up_and_the_next_is_decoded():
    # Fewer scans than are refused, of more pixels than the page takes.
    slow = many_scans(9000, 80)
    small = saved(Image.new("RGB", (8, 8)), "PNG")
    with decoding(cpu_seconds=1, max_pixels=90_000_000) as uploads:
        start = time.monotonic()
        with pytest.raises(PictureError, match="too much time or memory"):
            uploads.decode(slow).result()
        assert time.monotonic() - start < 120
        assert uploads.decode(small).result().shape == (8, 8, 3)


def test_a_picture_of_many_scans_is_refused_before_it_is_decoded(uploads):
    slow = many_scans(2000, 6000)
    assert len(slow) < 1_000_000
    uploads.decode(saved(Image.new("L", (8, 8)), "PNG")).result()
    process = uploads._process
    with pytest.raises(PictureError, match="too much time or memory"):
        uploads.decode(slow).result()
    assert uploads._process is process
    assert process.poll() is None


def test_a_picture_that_takes_too_much_memory_is_given_up():
    large = saved(Image.new("RGB", (4000, 3000)), "PNG")
    with decoding(max_bytes=50_000_000) as uploads:
        with pytest.raises(PictureError, match="too much time or memory"):
            uploads.decode(large).result()
        small = saved(Image.new("RGB", (8, 8)), "PNG")
        assert uploads.decode(small).result().shape == (8, 8, 3)


@pytest.mark.parametrize("mode", ["RGBA", "I;16", "LA", "CMYK"])
def test_the_largest_picture_is_within_the_limits(uploads, mode):
    kind = "TIFF" if mode == "CMYK" else "PNG"
    data = saved(Image.new(mode, (4000, 3000)), kind)
    assert uploads.decode(data).result().shape == (3000, 4000, 3)


def test_a_process_that_is_killed_is_replaced(uploads):
    small = saved(Image.new("RGB", (8, 8)), "PNG")
    uploads.decode(small).result()
    killed = uploads._process
    killed.kill()
    killed.wait()
    assert uploads.decode(small).result().shape == (8, 8, 3)
    assert uploads._process is not killed


def test_the_process_ends_with_its_server():
    small = saved(Image.new("RGB", (300, 200)), "PNG")
    refused = {
        b"no picture": "no picture that can be read",
        small[: len(small) // 2]: "damaged",
        saved(Image.new("L", (4001, 3000)), "PNG"): "more than 12 million pixels",
    }
    with decoding() as uploads:
        assert uploads.decode(small).result().shape == (200, 300, 3)
        process = uploads._process
        for data, reason in refused.items():
            with pytest.raises(PictureError, match=reason):
                uploads.decode(data).result()
        assert uploads._process is process
        # As the system closes it where the server is killed.
        process.stdin.close()
        assert process.wait(timeout=60) == 0
