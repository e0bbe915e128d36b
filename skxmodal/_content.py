"""Identity of captions and pictures by what they hold, not by where they lie."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Kind: TypeAlias = Literal["auto", "text", "picture", "found"]
FileHasher: TypeAlias = Callable[[Sequence[str]], list[bytes]]

DIGEST_SIZE = 20
# A file is hashed part by part, however large it is.
_READ_BYTES = 1 << 18
KINDS = ("auto", "text", "picture", "found")

# Exif's tag for the way a camera was held: it changes what a picture shows.
_ORIENTATION = 0x0112
_MODE_OF_CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}


def content_keys(
    items: Any, *, kind: Kind = "auto", hash_files: FileHasher | None = None
) -> list[bytes]:
    """Key of each item by its content, equal where the content is equal.

    Parameters
    ----------
    items : iterable of length n, or array of n rows
        Captions, pictures (paths, bytes of a file, PIL images, arrays), numbers or
        rows of an array. A column of n strings or objects counts as n items.
    kind : {"auto", "text", "picture", "found"}, default="auto"
        What the items are. In "picture" a string is the path of a file; in "text" it
        is a caption; in "auto" it is itself, while paths, bytes and PIL images are
        pictures, and rows of arrays and numbers are taken as they are. "found" is
        "auto", but for strings that are the path of a file, which stand for it.
    hash_files : callable, default=None
        Takes a list of paths and gives their digests, as :func:`hash_files` does (the
        default). An :class:`~skxmodal.encoders.EmbeddingCache` has one that skips
        files hashed before.

    Returns
    -------
    keys : list of bytes of length n
        BLAKE2b digests of 20 bytes.

    Raises
    ------
    TypeError
        If an item is of a type that ``kind`` has no content for.
    ValueError
        If ``kind`` is unknown, or a picture's file can't be read.

    Examples
    --------
    >>> from skxmodal._content import content_keys
    >>> first, second, third = content_keys(["a dog", "a cat", "a dog"])
    >>> first == third, first == second
    (True, False)
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}.")
    rows = as_items(items)
    keys: list[bytes] = [b""] * len(rows)
    files: list[int] = []
    for row, item in enumerate(rows):
        if _is_file(item, kind):
            files.append(row)
        else:
            keys[row] = _key(item, kind, row)
    if files:
        paths = [os.fspath(rows[row]) for row in files]
        digests = _hash_unique(paths, hash_files or _hash_each, files)
        for row, digest in zip(files, digests, strict=True):
            keys[row] = digest
    return keys


def group_items(
    keys_or_groups: ArrayLike | Iterable[Any],
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Number the distinct items in order of first appearance.

    Parameters
    ----------
    keys_or_groups : array-like of shape (n,)
        A key or a group of each row: bytes, strings, numbers.

    Returns
    -------
    first_rows : ndarray of shape (n_items,)
        The first row of each item, ascending.
    item_of_row : ndarray of shape (n,)
        The number of each row's item.

    Raises
    ------
    ValueError
        If the groups are not one-dimensional, or one is NaN.

    Examples
    --------
    >>> from skxmodal._content import group_items
    >>> first_rows, item_of_row = group_items(["cat", "dog", "cat", "bird"])
    >>> first_rows, item_of_row
    (array([0, 1, 3]), array([0, 1, 0, 2]))
    """
    if hasattr(keys_or_groups, "to_numpy"):
        keys_or_groups = keys_or_groups.to_numpy()
    if isinstance(keys_or_groups, np.ndarray):
        if keys_or_groups.ndim != 1:
            raise ValueError(
                "Expected one group for each row, an array of shape (n,), got shape "
                f"{keys_or_groups.shape}."
            )
        keys_or_groups = keys_or_groups.tolist()
    number: dict[Any, int] = {}
    item_of_row: list[int] = []
    first_rows: list[int] = []
    for row, key in enumerate(keys_or_groups):  # type: ignore[arg-type]
        if key != key:
            raise ValueError(
                f"Row {row} has the group {key!r}, which equals nothing, itself "
                "included. Give every row a group."
            )
        item = number.setdefault(key, len(first_rows))
        if item == len(first_rows):
            first_rows.append(row)
        item_of_row.append(item)
    return (
        np.asarray(first_rows, dtype=np.intp),
        np.asarray(item_of_row, dtype=np.intp),
    )


def hash_file(path: str | os.PathLike[str]) -> bytes:
    """Digest of a file's bytes.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    digest : bytes
        BLAKE2b digest of 20 bytes, equal to that of the same bytes given as an item.

    Raises
    ------
    OSError
        If the file can't be read.
    """
    state = blake2b(digest_size=DIGEST_SIZE, person=b"file")
    with Path(path).open("rb", buffering=0) as stream:
        while part := stream.read(_READ_BYTES):
            state.update(part)
    return state.digest()


def _hash_bytes(data: bytes | bytearray | memoryview) -> bytes:
    return blake2b(data, digest_size=DIGEST_SIZE, person=b"file").digest()


def _hash_each(paths: Sequence[str]) -> list[bytes]:
    return [hash_file(path) for path in paths]


def _hash_unique(
    paths: list[str], hash_files: FileHasher, rows: list[int]
) -> list[bytes]:
    """Digest of each path, every distinct path read once."""
    distinct = list(dict.fromkeys(paths))
    try:
        digests = dict(zip(distinct, hash_files(distinct), strict=True))
    except OSError as error:
        path = os.fspath(error.filename) if error.filename else distinct[0]
        row = rows[paths.index(path)] if path in paths else rows[0]
        raise ValueError(
            f"Row {row}: the picture {path!r} can't be read "
            f"({error.strerror or error}). Give the path of an existing file."
        ) from error
    return [digests[path] for path in paths]


def as_items(items: Any) -> Sequence[Any]:
    """The items as a sequence, the rows of a table as rows of an array."""
    if isinstance(items, str | bytes | os.PathLike):
        raise TypeError(
            f"Expected an iterable of items, got one {type(items).__name__}. "
            "Give a list of one item."
        )
    if hasattr(items, "to_numpy"):
        items = items.to_numpy()
    if isinstance(items, np.ndarray):
        if items.ndim == 0:
            raise TypeError("Expected an iterable of items, got an array of no axes.")
        if items.ndim == 2 and items.shape[1] == 1 and items.dtype.kind in "OUST":
            items = items[:, 0]
        # An array of strings or objects gives Python's own, others rows or numbers.
        return items.tolist() if items.ndim == 1 else items
    return items if isinstance(items, list | tuple) else list(items)


def _is_file(item: Any, kind: Kind) -> bool:
    if isinstance(item, str):
        # Path.is_file raises for captions that are too long to be a name.
        found = kind == "found" and os.path.isfile(item)  # noqa: PTH113
        return found or kind == "picture"
    return kind != "text" and isinstance(item, os.PathLike)


def _key(item: Any, kind: Kind, row: int) -> bytes:
    if kind == "text":
        if not isinstance(item, str):
            raise TypeError(_wrong_type("a string", item, row))
        return _digest(b"text", item.encode("utf-8", "surrogatepass"))
    if isinstance(item, bytes | bytearray | memoryview):
        return _hash_bytes(item)
    if _is_pil(item):
        return _key_of_pil(item)
    if kind == "picture":
        return _key_of_pixels(item, row)
    if isinstance(item, str):
        return _digest(b"text", item.encode("utf-8", "surrogatepass"))
    if isinstance(item, int | float | np.integer | np.floating | np.bool_):
        # 1, 1.0 and np.int8(1) are one number.
        whole = not isinstance(item, float | np.floating) or float(item).is_integer()
        number = int(item) if whole else float(item)
        return _digest(b"number", repr(number).encode())
    return _key_of_row(item, row)


def _digest(person: bytes, *parts: bytes) -> bytes:
    state = blake2b(digest_size=DIGEST_SIZE, person=person)
    for part in parts:
        state.update(part)
    return state.digest()


def _is_pil(item: Any) -> bool:
    # By name, so that Pillow needn't be there for captions and arrays.
    return any(
        base.__name__ == "Image" and base.__module__ == "PIL.Image"
        for base in type(item).__mro__
    )


def _key_of_pil(picture: Any) -> bytes:
    palette = picture.getpalette("RGBA") if picture.mode in ("P", "PA") else None
    extras = (
        palette,
        picture.info.get("transparency"),
        picture.getexif().get(_ORIENTATION, 1),
    )
    plain = extras == (None, None, 1)
    header = f"{picture.mode} {picture.size}" + ("" if plain else repr(extras))
    return _digest(b"pixels", header.encode(), picture.tobytes())


def _key_of_pixels(item: Any, row: int) -> bytes:
    pixels = _array(item, row, "a picture (a path, bytes, a PIL image or an array)")
    header = f"{pixels.dtype} {pixels.shape}"
    if pixels.dtype == np.uint8 and pixels.ndim in (2, 3):
        height, width = pixels.shape[:2]
        channels = pixels.shape[2] if pixels.ndim == 3 else 1
        if channels in _MODE_OF_CHANNELS:
            header = f"{_MODE_OF_CHANNELS[channels]} {(width, height)}"
    return _digest(b"pixels", header.encode(), np.ascontiguousarray(pixels).tobytes())


def _key_of_row(item: Any, row: int) -> bytes:
    values = _array(item, row, "a string, a number, a picture or a row of numbers")
    if values.dtype.kind == "f" and values.dtype.itemsize <= 8:
        values = _in_fewest_bits(values)
    header = f"{values.dtype} {values.shape}".encode()
    return _digest(b"row", header, np.ascontiguousarray(values).tobytes())


def _in_fewest_bits(values: NDArray[Any]) -> NDArray[Any]:
    """The values in single precision where it holds them, else in double."""
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    wide = values.astype(np.float64, copy=False)
    # As bytes, in which NaN equals itself.
    same = single.astype(np.float64).tobytes() == wide.tobytes()
    return single if same else wide


def _array(item: Any, row: int, expected: str) -> NDArray[Any]:
    if item is None or not (
        isinstance(item, list | tuple) or hasattr(item, "__array__")
    ):
        raise TypeError(_wrong_type(expected, item, row))
    values = np.asarray(item)
    if values.dtype.kind not in "biufc" or values.ndim == 0:
        raise TypeError(_wrong_type(expected, item, row))
    return values


def _wrong_type(expected: str, item: Any, row: int) -> str:
    return f"Row {row}: expected {expected}, got {type(item).__name__} ({item!r:.60})."
