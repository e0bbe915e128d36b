"""Warnings that point at the code of who called."""

from __future__ import annotations

import sys
import warnings
from types import FrameType

# Packages whose frames lie between a user's code and a warning.
_BETWEEN = ("skxmodal", "sklearn", "joblib")


def warn_user(message: str, category: type[Warning]) -> None:
    """Warn at the first line outside of this package and of scikit-learn.

    Parameters
    ----------
    message : str
        What to say.
    category : type of Warning
        Its class.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and _package(frame) in _BETWEEN:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
