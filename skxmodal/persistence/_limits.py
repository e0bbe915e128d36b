"""How much larger than its files a model may be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skxmodal.persistence._errors import PersistenceError

_ALWAYS_ALLOWED = 2**26
_MOST_A_BYTE = 64


def most_decoded(n_bytes: int) -> int:
    """Most bytes that may be made of files of `n_bytes`."""
    return _ALWAYS_ALLOWED + _MOST_A_BYTE * n_bytes


def check_padding(items: Sequence[str], where: str) -> int:
    """Bytes of an array of the texts, which pads each to the longest.

    Raises
    ------
    PersistenceError
        If nearly all of them are padding, so that a small file becomes a large array.
    """
    longest = max(map(len, items), default=0)
    n_bytes = len(items) * longest * np.dtype("U1").itemsize
    # A text is stored as its bytes and a length of eight.
    if n_bytes > most_decoded(sum(map(len, items)) + 8 * len(items)):
        raise PersistenceError(
            f"{where} is an array of {len(items)} texts, each padded to {longest} "
            "characters. Make it an array of objects: array.astype(object)."
        )
    return n_bytes
