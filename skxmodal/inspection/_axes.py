"""What every display does before it draws."""

from __future__ import annotations

from typing import Any

from skxmodal._optional import import_optional


def open_axes(ax: Any, *, figsize: tuple[float, float] = (6.0, 4.0)) -> tuple[Any, Any]:
    """The axes to draw on and their figure, new ones where none are given."""
    pyplot = import_optional(
        "matplotlib.pyplot", extra="plot", purpose="Drawing a display"
    )
    if ax is None:
        _, ax = pyplot.subplots(figsize=figsize, layout="constrained")
    return ax, ax.figure
