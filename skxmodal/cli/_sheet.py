"""A picture of a query with its first hits."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from typing import Any

from skxmodal._optional import import_optional
from skxmodal._paths import whole_file

_TILE, _GAP, _MARGIN = 224, 28, 40
_TITLE_SIZE, _CAPTION_SIZE, _RANK_SIZE = 36, 22, 18
_CAPTION_LINES = 2
_LINE = 30
_INK, _GREY, _FRAME = "#1a1a1a", "#777777", "#dddddd"


def draw_hits(
    query: str, pictures: list[Path], captions: list[str], output: Path
) -> str:
    """Write a PNG of a query and its first pictures, the best on the left.

    Parameters
    ----------
    query : str
        The title.
    pictures : list of pathlib.Path
        The pictures, best first, in one row.
    captions : list of str
        What stands below each.
    output : pathlib.Path
        The PNG file.

    Returns
    -------
    undrawn : str
        Characters that no font found here has.
    """
    import_optional("PIL", extra="encoders", purpose="Drawing the hits")
    from PIL import Image, ImageDraw

    from skxmodal._pictures import open_picture
    from skxmodal.cli._fonts import font_for

    width = 2 * _MARGIN + len(pictures) * (_TILE + _GAP) - _GAP
    font, undrawn = font_for("".join((query, *captions)))
    title_font = font(_TITLE_SIZE)
    title = _wrap(f"“{query}”", title_font, width - 2 * _MARGIN, lines=3)
    top = _MARGIN + len(title) * (_TITLE_SIZE + 12) + 20
    height = top + _TILE + 16 + _RANK_SIZE + 10 + _CAPTION_LINES * _LINE + _MARGIN
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for i, line in enumerate(title):
        place = (_MARGIN, _MARGIN + i * (_TITLE_SIZE + 12))
        draw.text(place, line, font=title_font, fill=_INK)
    caption_font, rank_font = font(_CAPTION_SIZE), font(_RANK_SIZE)
    for i, (path, caption) in enumerate(zip(pictures, captions, strict=True)):
        left = _MARGIN + i * (_TILE + _GAP)
        picture = open_picture(path)
        picture.thumbnail((_TILE - 16, _TILE - 16), Image.Resampling.LANCZOS)
        corner = (
            left + (_TILE - picture.width) // 2,
            top + (_TILE - picture.height) // 2,
        )
        sheet.paste(picture, corner)
        box = (left, top, left + _TILE, top + _TILE)
        draw.rounded_rectangle(box, radius=10, outline=_FRAME, width=2)
        centre, below = left + _TILE // 2, top + _TILE + 14
        draw.text((centre, below), str(i + 1), font=rank_font, fill=_GREY, anchor="ma")
        lines = _wrap(caption, caption_font, _TILE, lines=_CAPTION_LINES)
        for j, line in enumerate(lines):
            place = (centre, below + _RANK_SIZE + 10 + j * _LINE)
            draw.text(place, line, font=caption_font, fill=_INK, anchor="ma")
    with whole_file(output) as stream:
        sheet.save(stream, format="PNG")
    return undrawn


def stack(sheets: list[Path], output: Path) -> None:
    """Write one PNG of several sheets, one below the other.

    Parameters
    ----------
    sheets : list of pathlib.Path
        PNG files that :func:`draw_hits` wrote, of one width.
    output : pathlib.Path
        The PNG file, of 256 colours to be small.
    """
    from PIL import Image

    opened = [Image.open(path).convert("RGB") for path in sheets]
    size = max(sheet.width for sheet in opened), sum(sheet.height for sheet in opened)
    whole = Image.new("RGB", size, "white")
    top = 0
    for sheet in opened:
        whole.paste(sheet, (0, top))
        top += sheet.height
    with whole_file(output) as stream:
        whole.quantize(256).save(stream, format="PNG", optimize=True)


def _wrap(text: str, font: Any, width: int, *, lines: int) -> list[str]:
    """Break a text at spaces; what does not fit in the lines ends in an ellipsis."""
    wrapped = [""]
    words = text.split()
    for i, word in enumerate(words):
        longer = f"{wrapped[-1]} {word}".strip()
        if not wrapped[-1] or font.getlength(longer) <= width:
            wrapped[-1] = longer
        elif len(wrapped) < lines:
            wrapped.append(word)
        else:
            wrapped[-1] = f"{wrapped[-1]} {' '.join(words[i:])}"
            break
    return [_shorten(line, font, width) for line in wrapped]


def _shorten(line: str, font: Any, width: int) -> str:
    if font.getlength(line) <= width:
        return line
    ends = range(1, len(line) + 1)
    end = bisect_right(ends, width, key=lambda end: font.getlength(f"{line[:end]}…"))
    return f"{line[:end].rstrip()}…"
