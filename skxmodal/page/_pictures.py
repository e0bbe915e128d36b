"""Pictures on their way to and from the page."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from skxmodal._optional import import_optional
from skxmodal._pictures import (
    PictureError,
    check_file,
    open_picture,
    readable_formats,
)

if TYPE_CHECKING:
    from PIL.Image import Image

SMALL, LARGE = 320, 1600
_KEPT = 2000
# Each may hold a picture of a hundred million pixels, whole.
_DRAWN_AT_ONCE = 2
_LARGEST_FILE = 2**30
_QUALITY = 85


class NotServed(Exception):
    """A picture that the page doesn't show, and why."""


class Thumbnails:
    """Pictures of the gallery as WebP, drawn when they are asked for.

    Parameters
    ----------
    paths : list of pathlib.Path
        File of each picture of the gallery.
    keys : list of bytes
        Content of each picture when the model was fitted.
    content_key : callable
        Content of a file, given its bytes.
    """

    def __init__(
        self,
        paths: list[Path],
        keys: list[bytes],
        content_key: Callable[[bytes], bytes],
    ) -> None:
        self._paths = paths
        self._keys = keys
        self._content_key = content_key
        self._small = lru_cache(maxsize=_KEPT)(self._draw)
        self._threads = ThreadPoolExecutor(
            _DRAWN_AT_ONCE, thread_name_prefix="pictures"
        )

    def submit(self, item: int, side: int) -> Future[bytes]:
        """Have :meth:`draw` done as soon as few others are being drawn."""
        return self._threads.submit(self.draw, item, side)

    def close(self) -> None:
        """Draw no more."""
        self._threads.shutdown(cancel_futures=True)

    def draw(self, item: int, side: int) -> bytes:
        """Draw a picture whose longer side is no longer than `side`.

        Raises
        ------
        NotServed
            If its file is gone, or no longer the one that the model was fitted to.
        """
        return self._small(item, side) if side <= SMALL else self._draw(item, side)

    def _draw(self, item: int, side: int) -> bytes:
        data = _read(self._paths[item])
        if self._content_key(data) != self._keys[item]:
            raise NotServed("The file is not the one that the model was fitted to.")
        try:
            picture = _opened_small(data, side)
        except PictureError:
            raise NotServed("The file can't be read as a picture here.") from None
        picture.thumbnail((side, side))
        stream = io.BytesIO()
        picture.save(stream, format="WEBP", quality=_QUALITY)
        return stream.getvalue()


def _read(path: Path) -> bytes:
    try:
        # A pipe put in the file's place would keep its reader for ever.
        check_file(path)
        if path.stat().st_size > _LARGEST_FILE:
            raise NotServed("The file is too large to be shown.")
        return path.read_bytes()
    except (OSError, PictureError):
        raise NotServed("The file is not there any more.") from None


def _opened_small(data: bytes, side: int) -> Image:
    """The picture, a JPEG no larger than it must be to be drawn so small."""
    image_module = import_optional(
        "PIL.Image", extra="encoders", purpose="Opening pictures"
    )
    try:
        with image_module.open(io.BytesIO(data), formats=("JPEG",)) as picture:
            picture.draft(picture.mode, (side, side))
            return open_picture(picture)
    except (image_module.UnidentifiedImageError, image_module.DecompressionBombError):
        return open_picture(data)


def check_upload(data: bytes, *, max_pixels: int) -> None:
    """Check by its header that an upload is a picture of no more than some pixels.

    Raises
    ------
    PictureError
        If it is not.
    """
    image_module = import_optional(
        "PIL.Image", extra="encoders", purpose="Opening pictures"
    )
    formats = readable_formats()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", image_module.DecompressionBombWarning)
            with image_module.open(io.BytesIO(data), formats=formats) as picture:
                width, height = picture.size
    except image_module.DecompressionBombError:
        width, height = max_pixels, 2
    except Exception:
        # Decoders meet damaged files with errors of any kind.
        raise PictureError(
            "That file is no picture that can be read. Give a JPEG, PNG, WebP, AVIF, "
            "GIF, BMP or TIFF."
        ) from None
    if width * height > max_pixels:
        raise PictureError(
            f"That picture has more than {max_pixels / 1e6:.0f} million pixels. Make "
            "it smaller first."
        )
