"""Pictures in the graphics protocol of kitty, placed by characters.

The terminal is sent a picture under a number, and draws it wherever it meets a
placeholder character in the colour of that number. The placeholders are text: they
stand in tables, scroll and are erased like any other.
"""

from __future__ import annotations

import hashlib
import io
from base64 import standard_b64encode
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image
    from rich.console import Console
    from rich.text import Text

_PLACEHOLDER = "\U0010eeee"
# Marks over a placeholder that number its line and its column, in the protocol's order.
_NUMBERS = (
    "\u0305\u030d\u030e\u0310\u0312\u033d\u033e\u033f\u0346\u034a\u034b\u034c"
    "\u0350\u0351\u0352\u0357\u035b\u0363\u0364\u0365\u0366\u0367\u0368\u0369"
)
_TERMINALS = ("xterm-kitty", "xterm-ghostty")
_PIXELS_PER_COLUMN = 16
_CHUNK = 4096


def is_named(environment: Mapping[str, str]) -> bool:
    """Whether the environment names a terminal that knows placeholders.

    Terminals are never asked: the answer of one would be read as typed, and of another
    never come. Inside tmux and screen TERM is theirs, and the answer is no.
    """
    return environment.get("TERM") in _TERMINALS


class Artist:
    """Send pictures to a terminal, and give the characters that show them.

    Parameters
    ----------
    console : rich.console.Console
        A terminal that knows the protocol, of 16 million colours.
    columns, lines : int
        Most characters of a picture; no more than 24.
    """

    def __init__(self, console: Console, columns: int, lines: int) -> None:
        self._console = console
        self._size = columns, lines

    def __call__(self, picture: Image.Image) -> Text:
        """Send a picture; the text shows it where it is printed."""
        from rich.color import Color
        from rich.style import Style
        from rich.text import Text

        columns, lines = self._size
        # A character is about twice as high as wide.
        scale = min(columns / picture.width, 2 * lines / picture.height)
        columns = max(1, round(picture.width * scale))
        lines = max(1, round(picture.height * scale / 2))
        largest = (_PIXELS_PER_COLUMN * columns, 2 * _PIXELS_PER_COLUMN * lines)
        picture.thumbnail(largest)
        stream = io.BytesIO()
        picture.save(stream, format="PNG")
        data = stream.getvalue()
        # The same picture has the same number: it never takes another one's place.
        name = hashlib.blake2b(data, digest_size=3).digest()
        number = max(1, int.from_bytes(name, "big"))
        for command in _commands(data, number, columns, lines):
            self._console.file.write(command)
        colour = Style(color=Color.from_rgb(*number.to_bytes(3, "big")))
        rows = [
            "".join(
                _PLACEHOLDER + _NUMBERS[line] + _NUMBERS[column]
                for column in range(columns)
            )
            for line in range(lines)
        ]
        return Text("\n".join(rows), style=colour)


def _commands(data: bytes, number: int, columns: int, lines: int) -> Iterator[str]:
    """Commands that hand over a PNG in pieces; q=2 forbids every answer."""
    text = standard_b64encode(data).decode("ascii")
    keys = f"a=T,U=1,f=100,q=2,i={number},c={columns},r={lines},"
    for start in range(0, len(text), _CHUNK):
        more = int(start + _CHUNK < len(text))
        yield f"\x1b_G{keys}m={more};{text[start : start + _CHUNK]}\x1b\\"
        keys = "q=2,"
