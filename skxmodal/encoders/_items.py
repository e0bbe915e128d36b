"""The items given to an encoder, as a list of checked rows."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from skxmodal._pictures import check_file, check_image, check_pixels


def as_texts(items: Any, start: int = 0) -> list[str]:
    """Texts as a list of plain strings.

    Parameters
    ----------
    items : list, tuple, array, column or other iterable of n strings
        The texts. A frame must have one column.
    start : int, default=0
        Row of the first, from which errors count.

    Returns
    -------
    texts : list of str of length n
        The same texts.

    Raises
    ------
    TypeError
        If ``items`` is one bare string, or an item is no string.
    ValueError
        If there are no items, or more than one column.
    """
    rows = _as_rows(items, "texts", "[text]")
    for row, item in enumerate(rows, start):
        if not isinstance(item, str):
            raise TypeError(
                f"Row {row}: expected a string, got {type(item).__name__} "
                f"({item!r:.60}). {_advice_for_text(item)}"
            )
    return [str(item) for item in rows]


def as_pictures(items: Any, start: int = 0) -> list[Any]:
    """Pictures as a list, each of a type that holds a picture.

    Parameters
    ----------
    items : list, tuple, array, column or other iterable of n pictures
        The pictures. An array of shape (n, H, W, 3) holds n of them.
    start : int, default=0
        Row of the first, from which errors count.

    Returns
    -------
    pictures : list of length n
        The same pictures.

    Raises
    ------
    TypeError
        If ``items`` is one bare picture, or an item is no picture.
    ValueError
        If there are no items, more than one column, or it isn't clear which axis of
        an array runs over pictures.
    """
    if isinstance(items, np.ndarray) and items.dtype != object and items.ndim == 3:
        raise ValueError(
            f"An array of shape {items.shape} may be one picture or several grey "
            "ones. Pass [picture] for one, list(pictures) for several."
        )
    rows = _as_rows(items, "pictures", "[picture]")
    for row, item in enumerate(rows, start):
        if not is_picture(item):
            raise TypeError(
                f"Row {row}: expected a picture (a path, the bytes of a file, a PIL "
                "image, or a uint8 array of shape (H, W), (H, W, 3) or (H, W, 4)), "
                f"got {type(item).__name__} ({item!r:.60}). Leave the row out."
            )
    return rows


def check_picture(item: Any, row: int) -> None:
    """Check what can be known of a picture before its file is decoded.

    Parameters
    ----------
    item : str, path, bytes, PIL image or uint8 array
        The picture.
    row : int
        Its row among the items given, named in errors.

    Raises
    ------
    PictureError
        If its file doesn't exist, its image can't be decoded, or its array has no
        picture's type or shape.
    """
    if isinstance(item, str | os.PathLike):
        check_file(item, row=row)
    elif isinstance(item, np.ndarray):
        check_pixels(item, row=row)
    elif not isinstance(item, bytes | bytearray | memoryview):
        check_image(item, row=row)


def is_picture(item: Any) -> bool:
    """Whether an object is of a type that holds a picture.

    Parameters
    ----------
    item : object
        Any object.

    Returns
    -------
    holds : bool
        True for paths, bytes, arrays and PIL images.
    """
    if isinstance(
        item, str | os.PathLike | bytes | bytearray | memoryview | np.ndarray
    ):
        return True
    # By name, so that Pillow needn't be imported to tell a number from a picture.
    return any(
        base.__name__ == "Image" and base.__module__ == "PIL.Image"
        for base in type(item).__mro__
    )


def _as_rows(items: Any, plural: str, example: str) -> list[Any]:
    if isinstance(items, str | bytes | bytearray | os.PathLike) or (
        not isinstance(items, np.ndarray) and is_picture(items)
    ):
        raise TypeError(
            f"Expected a list of {plural}, got one {type(items).__name__} "
            f"({items!r:.60}). Pass {example} to encode one."
        )
    if isinstance(items, dict | set | frozenset) or not isinstance(items, Iterable):
        raise TypeError(
            f"Expected a list of {plural}, got {type(items).__name__}. Pass a list, "
            "a tuple, an array or a column, whose rows have an order."
        )
    if hasattr(items, "to_numpy"):
        items = items.to_numpy()
    if isinstance(items, np.ndarray):
        items = _rows_of_array(items, plural)
    rows = list(items)
    if not rows:
        raise ValueError(f"Expected at least one item, got no {plural} (0 sample(s)).")
    return rows


def _rows_of_array(items: np.ndarray[Any, Any], plural: str) -> Any:
    if items.ndim == 0:
        raise TypeError(
            f"Expected a list of {plural}, got an array of no dimensions. Pass an "
            "array of shape (n,)."
        )
    if items.ndim == 2 and items.dtype.kind in "OUST":
        if items.shape[1] != 1:
            raise ValueError(
                f"Expected one column of {plural}, got {items.shape[1]} columns. "
                "Select one."
            )
        items = items[:, 0]
    # Python's own strings and objects, not numpy's scalars of them.
    return items.tolist() if items.ndim == 1 else items


def _advice_for_text(item: Any) -> str:
    if isinstance(item, bytes):
        return "Decode it: text.decode('utf-8')."
    # Pandas' own missing values compare to nothing, so they are told by name.
    missing = type(item).__name__ in ("NoneType", "NAType", "NaTType")
    if missing or (isinstance(item, float) and item != item):
        return "Fill or drop missing texts before encoding."
    return "Convert it with str() if it is meant as text."
