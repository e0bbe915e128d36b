"""Errors of scikit-learn's checks, with the rows they are about and what to do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.utils.validation import _num_samples, check_consistent_length

from skxmodal._validation import is_dask

_LARGEST = int(np.finfo(np.float64).max)
_NO_FLOATS = (
    str,
    bytes,
    complex,
    dt.date,
    dt.timedelta,
    np.complexfloating,
    np.datetime64,
    np.timedelta64,
)
_NOT_FINITE = ("contains NaN", "contains infinity")


@contextmanager
def rows_named(**sides: Any) -> Iterator[None]:
    """Add to an error about numbers which rows hold them.

    Parameters
    ----------
    **sides : array-like of shape (n_samples, ...) or None
        What is checked inside the block, by the name that the caller knows it by.

    Raises
    ------
    ValueError
        The error of the block, in words of its own where numbers are complex, not
        finite or no numbers; or, before the block, if a value is masked or would
        become a number that it is not: a text, a date, a number of more than 64 bits.
    """
    for name, rows in sides.items():
        check_kind(rows, name)
    try:
        yield
    except ValueError as error:
        for name, rows in sides.items():
            message = _explained(str(error), name, rows)
            if message:
                raise ValueError(message) from error
        raise


def check_kind(rows: Any, name: str) -> None:
    """Check that no value is masked, a text, a date or beyond float64.

    NumPy makes numbers of all of these without a word.

    Raises
    ------
    ValueError
        If there is such a value.
    """
    if not isinstance(rows, np.ndarray | list | tuple) and not _is_odd_frame(rows):
        return
    if np.ma.is_masked(rows):
        masked = np.ma.getmaskarray(rows).reshape(len(rows), -1).any(axis=1)
        raise ValueError(
            f"{name} has masked values in {masked.sum()} of {len(rows)} rows, the "
            f"first in row {masked.argmax()}. Leave those rows out, on both sides, or "
            f"fill them: {name}.filled(value)."
        )
    try:
        values = np.asarray(rows)
    except (TypeError, ValueError, RuntimeError):
        return
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind in "USMm" or (kind == "f" and size > 8):
        raise ValueError(
            f"{name} has dtype {values.dtype}, from row 0 on. Give embeddings: numbers "
            f"of at most 64 bits, such as {name}.astype(float) where that is meant."
        )
    if kind == "O" and values.ndim:
        _check_objects(values, name)


def _check_objects(values: np.ndarray, name: str) -> None:
    for row, numbers in enumerate(values):
        for value in np.ravel(numbers):
            if not _is_float(value):
                raise ValueError(
                    f"{value!r:.40} is no number of 64 bits. Row {row} of {name} is "
                    "the first that holds something other than numbers. Give "
                    "embeddings: rows of numbers alone."
                )


def _is_odd_frame(rows: Any) -> bool:
    """Whether a frame has columns of other things than numbers."""
    dtypes = getattr(rows, "dtypes", None)
    if dtypes is None or not hasattr(rows, "columns") or is_dask(rows):
        return False
    return any(
        not dtype.is_numeric()
        if hasattr(dtype, "is_numeric")
        else getattr(dtype, "kind", "O") not in "biuf"
        for dtype in dtypes
    )


def _is_float(value: Any) -> bool:
    if isinstance(value, int):
        return abs(value) <= _LARGEST
    return not isinstance(value, _NO_FLOATS)


def check_pairing(X: Any, y: Any, groups: Any = None) -> None:
    """Check that both sides have as many rows.

    Raises
    ------
    ValueError
        If the numbers of rows differ.
    """
    try:
        check_consistent_length(X, y, groups)
    except ValueError as error:
        counts = [f"X has {_num_samples(X)} rows", f"y {_num_samples(y)}"]
        if groups is not None:
            counts.append(f"groups {_num_samples(groups)}")
        raise ValueError(
            f"{error}: {', '.join(counts)}. Row i of y must be the partner of row i "
            "of X: give as many rows of one as of the other."
        ) from error


def _explained(message: str, name: str, rows: Any) -> str | None:
    try:
        values = np.asarray(rows)
    except (TypeError, ValueError, RuntimeError):
        return None
    if values.ndim == 0:
        return None
    if message.startswith("Complex data"):
        return _about_complex(values, name)
    if any(words in message for words in _NOT_FINITE):
        return _about_not_finite(values, name, message.partition("\n")[0])
    if message.startswith("could not convert"):
        return _about_words(values, name, message)
    return None


def _about_complex(values: np.ndarray, name: str) -> str | None:
    if values.dtype.kind != "c":
        return None
    return (
        f"Complex data not supported: {name} has dtype {values.dtype}. Give real "
        f"columns, such as numpy.hstack([{name}.real, {name}.imag])."
    )


def _about_not_finite(values: np.ndarray, name: str, message: str) -> str | None:
    try:
        numbers = values.astype(np.float64) if values.dtype.kind == "O" else values
        finite = np.isfinite(numbers).reshape(len(numbers), -1).all(axis=1)
    except (TypeError, ValueError):
        return None
    bad = np.flatnonzero(~finite)
    if not len(bad):
        return None
    return (
        f"{message} {len(bad)} of the {len(finite)} rows of {name} hold such a number, "
        f"row {bad[0]} the first. Leave those rows out, on both sides."
    )


def _about_words(values: np.ndarray, name: str, message: str) -> str | None:
    for row, numbers in enumerate(values):
        try:
            np.asarray(numbers, dtype=np.float64)
        except (TypeError, ValueError):
            return (
                f"{message}. Row {row} of {name} is the first that holds something "
                f"other than numbers. Give embeddings: rows of numbers alone."
            )
    return None
