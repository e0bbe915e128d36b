"""Lines of text on a sheet of hits."""

from __future__ import annotations

import pytest

from skxmodal.cli._fonts import font_for
from skxmodal.cli._sheet import _wrap

WIDTH = 224


@pytest.mark.parametrize("lines", [1, 2, 3])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "a dog",
        "two dogs run over wet sand beside the sea",
        "a very long caption " * 20,
        "word " * 20_000,
        "w" * 200,
        "two dogs and a " + "w" * 200,
    ],
)
def test_lines_fit_and_what_is_left_out_is_marked(text, lines):
    font = font_for(text)[0](22)
    wrapped = _wrap(text, font, WIDTH, lines=lines)
    assert 1 <= len(wrapped) <= lines
    assert all(font.getlength(line) <= WIDTH for line in wrapped)
    words = text.strip()
    if font.getlength(words) <= WIDTH:
        assert wrapped == [words]
    shown = " ".join(wrapped)
    if shown != words:
        assert words.startswith(shown[: shown.index("…")])


def test_as_much_is_drawn_as_fits():
    font = font_for("w")[0](22)
    (line,) = _wrap("w" * 200, font, WIDTH, lines=1)
    assert line == "w" * (len(line) - 1) + "…"
    assert font.getlength(f"w{line}") > WIDTH
