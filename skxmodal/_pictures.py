"""One way to open a picture, whatever it is given as."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skxmodal._optional import import_optional

if TYPE_CHECKING:
    from PIL.Image import Image

# Decoders that read pixels and nothing else: Pillow's EPS, for one, runs a program.
# HEIF is there where a plugin of Pillow's reads it.
FORMATS = (
    "AVIF",
    "BMP",
    "GIF",
    "HEIF",
    "JPEG",
    "JPEG2000",
    "PNG",
    "PPM",
    "TIFF",
    "WEBP",
)
# Each scan of a JPEG goes over the whole picture; usual files have up to a dozen.
_MOST_SCANS = 100
_START_OF_SCAN = b"\xff\xda"
# A tile is decoded whole, however small the picture that it is cut to.
_TILE_PIXELS = 1 << 24
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_ORIENTATION = 0x0112
_MODE_OF_CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}
_ACCEPTED = (
    "a path, the bytes of a file, a PIL image, or a uint8 array of shape (H, W), "
    "(H, W, 3) or (H, W, 4)"
)


class TakesTooLong(ValueError):
    """A file is made such that decoding it takes far longer than its pixels need."""


class PictureError(ValueError):
    """A picture that can't be read, with where it stands.

    Parameters
    ----------
    message : str
        What is wrong and what to do.
    row : int or None, default=None
        The picture's row among the items given.
    path : str or None, default=None
        The picture's file, where it has one.
    """

    def __init__(
        self, message: str, *, row: int | None = None, path: str | None = None
    ) -> None:
        super().__init__(message)
        self.row = row
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross processes by pickle, which would lose the keyword arguments.
        return _rebuild_error, (str(self), self.row, self.path), self.__dict__


def _rebuild_error(message: str, row: int | None, path: str | None) -> PictureError:
    return PictureError(message, row=row, path=path)


def open_picture(item: Any, *, row: int | None = None) -> Image:
    """Open a picture as 8-bit RGB, the way up it was taken.

    Exif orientation is applied; transparency is laid over white; 16-bit grey is scaled
    to 8; of an animation the first frame is taken.

    Parameters
    ----------
    item : str, path, bytes, PIL image or uint8 array
        The picture: the path of a file, a file's bytes, an image, or an array of shape
        (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).
    row : int or None, default=None
        Its row among the items given, named in errors.

    Returns
    -------
    picture : PIL.Image.Image
        A new image of mode RGB.

    Raises
    ------
    PictureError
        If the file is missing, in none of the formats read (AVIF, BMP, GIF, JPEG, JPEG
        2000, PNG, PPM, TIFF, WebP, and HEIF with a plugin) or can't be decoded whole,
        has more pixels than Pillow's limit against decompression bombs, is made to take
        long, or the array is no picture.
    TypeError
        If the item is of a type that holds no picture.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal._pictures import open_picture
    >>> open_picture(np.zeros((4, 6), dtype=np.uint8)).size
    (6, 4)
    """
    image_module = import_optional(
        "PIL.Image", extra="encoders", purpose="Opening pictures"
    )
    if isinstance(item, str | os.PathLike):
        path = check_file(item, row=row)
        with (
            _explained(row, path),
            image_module.open(path, formats=readable_formats()) as picture,
        ):
            return _as_rgb(picture)
    if isinstance(item, bytes | bytearray | memoryview):
        with (
            _explained(row, None),
            image_module.open(io.BytesIO(item), formats=readable_formats()) as picture,
        ):
            return _as_rgb(picture)
    if isinstance(item, image_module.Image):
        with _explained(row, None):
            return _as_rgb(item)
    if isinstance(item, np.ndarray):
        pixels = check_pixels(item, row=row)
        return _as_rgb(image_module.fromarray(pixels))
    raise TypeError(
        f"{_row(row)}expected a picture ({_ACCEPTED}), got "
        f"{type(item).__name__} ({item!r:.60})."
    )


def readable_formats() -> list[str]:
    """Formats that pictures are read from, of those that this Pillow knows."""
    image_module = import_optional(
        "PIL.Image", extra="encoders", purpose="Opening pictures"
    )
    image_module.init()
    return [name for name in FORMATS if name in image_module.OPEN]


def check_image(image: Image, *, row: int | None = None) -> None:
    """Check that an image is whole and not empty. It is decoded, if it wasn't yet.

    Parameters
    ----------
    image : PIL.Image.Image
        The image.
    row : int or None, default=None
        Its row among the items given, named in errors.

    Raises
    ------
    PictureError
        If the image has no pixels or can't be decoded.
    """
    with _explained(row, None):
        _load(image)


@contextmanager
def _explained(row: int | None, path: str | None) -> Iterator[None]:
    """Turn the errors of decoders into those that name the picture."""
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except PictureError:
        raise
    except UnidentifiedImageError as error:
        raise PictureError(
            f"{_where(row, path)}can't be decoded (it is damaged, or in none of the "
            f"formats {', '.join(readable_formats())}). Convert it or leave it out"
            + _or_as_nan(path),
            row=row,
            path=path,
        ) from error
    except Image.DecompressionBombError as error:
        raise PictureError(
            f"{_where(row, path)}has more pixels than twice "
            f"PIL.Image.MAX_IMAGE_PIXELS ({Image.MAX_IMAGE_PIXELS:,}), Pillow's "
            "limit against decompression bombs. Make the picture smaller or, if you "
            "trust it, raise that limit.",
            row=row,
            path=path,
        ) from error
    except Exception as error:
        # Decoders meet damaged files with errors of any kind.
        raise PictureError(
            f"{_where(row, path)}can't be decoded ({_reason(error)}). Give the "
            "picture again or leave it out" + _or_as_nan(path),
            row=row,
            path=path,
        ) from error


def check_file(item: str | os.PathLike[str], *, row: int | None = None) -> str:
    """Check that a path leads to a regular file, so that opening it can't hang.

    Parameters
    ----------
    item : str or path
        The path.
    row : int or None, default=None
        Its row among the items given, named in errors.

    Returns
    -------
    path : str
        The path.

    Raises
    ------
    PictureError
        If there is no file, or it is a folder or a device.
    """
    path = os.fspath(item)
    try:
        if Path(path).is_file():
            return path
        there = Path(path).exists()
        reason = ""
    except (OSError, ValueError) as error:
        there, reason = False, str(error)
    if path.startswith(("http://", "https://")):
        problem = "is an address, not a file. Download the picture first"
    elif reason:
        problem = f"can't be found ({reason}). Check its path and who may read it"
    elif there:
        problem = "is not a regular file. Give the path of a picture's file"
    else:
        problem = "does not exist. Give the path of an existing file"
    raise PictureError(f"{_where(row, path)}{problem}.", row=row, path=path)


def check_pixels(pixels: NDArray[Any], *, row: int | None = None) -> NDArray[np.uint8]:
    """Check that an array is a picture: uint8, of 1, 3 or 4 channels, not empty.

    Parameters
    ----------
    pixels : ndarray
        The array.
    row : int or None, default=None
        Its row among the items given, named in errors.

    Returns
    -------
    pixels : ndarray of shape (H, W), (H, W, 3) or (H, W, 4)
        The same pixels.

    Raises
    ------
    PictureError
        If the array's type or shape is no picture's.
    """
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.ndim not in (2, 3) or channels not in _MODE_OF_CHANNELS:
        hint = ""
        if pixels.ndim == 3 and pixels.shape[0] in (1, 3, 4):
            hint = " Channels come last: pass pixels.transpose(1, 2, 0)."
        raise PictureError(
            f"{_row(row)}expected a picture of shape (H, W), (H, W, 3) or (H, W, 4), "
            f"got an array of shape {pixels.shape}.{hint}",
            row=row,
        )
    if pixels.dtype != np.uint8:
        raise PictureError(
            f"{_row(row)}expected a picture of dtype uint8, values 0 to 255, got "
            f"{pixels.dtype}. Scale its values and convert: "
            "(255 * pixels).round().astype('uint8') where they run from 0 to 1.",
            row=row,
        )
    if pixels.size == 0:
        raise PictureError(
            f"{_row(row)}a picture of shape {pixels.shape} has no pixels.", row=row
        )
    return np.ascontiguousarray(pixels)


def _as_rgb(picture: Image) -> Image:
    """A new RGB image, turned the right way up."""
    _load(picture)
    turned = _turn(picture)
    if turned.mode.startswith("I"):
        turned = _scale_to_8_bits(turned, of_file=bool(picture.format))
    if turned.mode == "F":
        raise ValueError("its pixels are floats, of which no range is agreed")
    if "transparency" in turned.info or turned.mode in (
        "RGBA",
        "LA",
        "PA",
        "La",
        "RGBa",
    ):
        return _over_white(turned)
    return turned.convert("RGB")


def _load(picture: Image) -> None:
    """Decode a picture, unless its header says that this would take far too much."""
    if 0 in picture.size:
        raise ValueError(f"its size is {picture.size}, so it has no pixels")
    if getattr(picture, "fp", None) is not None:
        if picture.format in ("JPEG", "MPO"):
            _check_scans(picture)
        elif picture.format == "TIFF":
            _check_tiles(picture)
    picture.load()


def _check_scans(picture: Any) -> None:
    place = picture.fp.tell()
    picture.fp.seek(0)
    # The two bytes stand nowhere else but in metadata, whose thumbnails have few.
    n_scans = picture.fp.read().count(_START_OF_SCAN)
    picture.fp.seek(place)
    if n_scans > _MOST_SCANS:
        raise TakesTooLong(f"it has {n_scans} scans, more than {_MOST_SCANS}")


def _check_tiles(picture: Any) -> None:
    width, height = picture.size
    tile = picture.tag_v2.get(_TILE_WIDTH, 0), picture.tag_v2.get(_TILE_LENGTH, 0)
    if tile[0] * tile[1] > max(2 * width * height, _TILE_PIXELS):
        raise ValueError(
            f"its tiles are of {tile[0]} x {tile[1]} pixels, the picture of {width} x "
            f"{height}"
        )


def _turn(picture: Image) -> Image:
    from PIL.Image import Transpose

    upright = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        orientation = picture.getexif().get(_ORIENTATION, 1)
    except Exception:
        # Damaged metadata says nothing of the pixels, which are whole.
        orientation = 1
    turn = upright.get(orientation)
    return picture if turn is None else picture.transpose(turn)


def _over_white(picture: Image) -> Image:
    from PIL import Image

    # Premultiplied modes have no direct way to RGBA but through their own plain one.
    plain = {"La": "LA", "RGBa": "RGBA"}.get(picture.mode)
    layer = (picture.convert(plain) if plain else picture).convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


def _scale_to_8_bits(picture: Image, *, of_file: bool) -> Image:
    from PIL import Image

    values = np.asarray(picture)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its 32-bit pixels are outside 0 to 65535")
    if picture.mode == "I" and not of_file and 0 < values.max() < 256:
        raise ValueError(
            "its 32-bit pixels may be of 8 bits or of 16. Make it picture.convert('L') "
            "or picture.convert('I;16')"
        )
    # 65535 = 257 x 255, so that black stays 0 and white becomes 255.
    scaled = (values.astype(np.uint32) + 128) // 257
    grey = Image.fromarray(scaled.astype(np.uint8))
    transparent = picture.info.get("transparency")
    if transparent is not None:
        grey.putalpha(Image.fromarray(np.uint8(255) * (values != transparent)))
    return grey


def _row(row: int | None) -> str:
    return "" if row is None else f"Row {row}: "


def _where(row: int | None, path: str | None) -> str:
    return _row(row) + ("the picture " if path is None else f"the picture {path!r} ")


def _or_as_nan(path: str | None) -> str:
    return ", or pass on_error='nan' to keep its row as NaN." if path else "."


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
