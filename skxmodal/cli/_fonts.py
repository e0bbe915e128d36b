"""A font that has the letters of a text, among those that are installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

FontOfSize = Callable[[int], Any]

# No script has this one: a font draws it as it draws all that it lacks.
_NO_CHARACTER = "\U0010fffe"
_SIZE = 16


def font_for(text: str) -> tuple[FontOfSize, str]:
    """Choose the font that lacks the fewest characters of a text.

    Parameters
    ----------
    text : str
        All that will be drawn.

    Returns
    -------
    font : callable
        From a size in pixels to a font of Pillow. Pillow's own where that has all, else
        the first installed one that lacks least.
    lacking : str
        The characters that it lacks, each once.
    """
    from PIL import ImageFont

    chosen: FontOfSize = ImageFont.load_default
    lacking = _lacking(chosen(_SIZE), text)
    for font in _installed() if lacking else ():
        try:
            less = _lacking(font(_SIZE), text)
        except OSError:  # a format that Pillow does not read
            continue
        if len(less) < len(lacking):
            chosen, lacking = font, less
        if not lacking:
            break
    return chosen, lacking


def _installed() -> Iterator[FontOfSize]:
    """Fonts that matplotlib finds; its own DejaVu Sans comes first."""
    if importlib.util.find_spec("matplotlib") is None:
        return
    from matplotlib import font_manager
    from PIL import ImageFont

    own = font_manager.findfont("DejaVu Sans")
    for path in dict.fromkeys([own, *sorted(font_manager.findSystemFonts())]):
        yield partial(ImageFont.truetype, path)


def _lacking(font: Any, text: str) -> str:
    box = _drawn(font, _NO_CHARACTER)
    letters = sorted({letter for letter in text if not letter.isspace()})
    return "".join(letter for letter in letters if _drawn(font, letter) == box)


def _drawn(font: Any, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)
