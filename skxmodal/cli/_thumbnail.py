"""Small pictures among characters, for terminals with colours."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from skxmodal._pictures import PictureError, open_picture
from skxmodal.cli import _kitty

if TYPE_CHECKING:
    from PIL import Image
    from rich.console import Console
    from rich.text import Text

# A character is about twice as high as wide and shows two pixels, one above the other.
_COLUMNS, _LINES = 24, 10


def artist(console: Console) -> Callable[[Path], Text] | None:
    """Choose how to draw pictures on a console.

    Parameters
    ----------
    console : rich.console.Console
        Where the drawn text will be printed next.

    Returns
    -------
    draw : callable or None
        Takes a picture's path and gives text of no more than 24 columns and 10 lines,
        empty where the picture can't be read. None where the console is no terminal,
        or one with too few colours or characters.
    """
    if (
        not console.is_terminal
        or console.is_dumb_terminal
        or console.legacy_windows
        or not console.encoding.startswith("utf")
        or console.color_system not in ("truecolor", "256")
    ):
        return None
    draw = _half_blocks
    if console.color_system == "truecolor" and _kitty.is_named(os.environ):
        draw = _kitty.Artist(console, _COLUMNS, _LINES)
    return lambda path: _draw(path, draw)


def _draw(path: Path, draw: Callable[[Image.Image], Text]) -> Text:
    from rich.text import Text

    try:
        return draw(open_picture(path))
    except PictureError:
        return Text()


def _half_blocks(picture: Image.Image) -> Text:
    """Draw with a colour above and one below in each character."""
    from rich.style import Style
    from rich.text import Text

    picture.thumbnail((_COLUMNS, 2 * _LINES))
    lines = []
    for top in range(0, picture.height, 2):
        line = Text()
        for column in range(picture.width):
            above = _hex(picture.getpixel((column, top)))
            if top + 1 < picture.height:
                below = _hex(picture.getpixel((column, top + 1)))
                line.append("▀", Style.parse(f"{above} on {below}"))
            else:
                line.append("▀", Style.parse(above))
        lines.append(line)
    return Text("\n").join(lines)


def _hex(pixel: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*pixel)
