"""Which rows of an array are equal, without a digest of each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxmodal._content import Kind, content_keys, group_items

# Columns that tell most rows apart.
_N_SAMPLED = 8
_BYTES_AT_ONCE = 1 << 22


def group_by_content(
    items: Any, *, kind: Kind = "auto"
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Number the distinct items by content, in order of first appearance.

    It is ``group_items(content_keys(items))``, quicker for rows of numbers: rows are
    sorted by a few columns, and each is then compared with the first that agrees there.

    Parameters
    ----------
    items : iterable of length n, or array of n rows
        What :func:`~skxmodal._content.content_keys` takes.
    kind : {"auto", "text", "picture", "found"}, default="auto"
        What the items are, as there.

    Returns
    -------
    first_rows : ndarray of shape (n_items,)
        The first row of each item, ascending.
    item_of_row : ndarray of shape (n,)
        The number of each row's item.

    Raises
    ------
    TypeError
        If an item has no content.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal._rows import group_by_content
    >>> group_by_content(np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]]))
    (array([0, 1]), array([0, 1, 0]))
    """
    found = _group_rows(items) if _are_rows(items) else None
    return group_items(content_keys(items, kind=kind)) if found is None else found


def _are_rows(items: Any) -> bool:
    return (
        isinstance(items, np.ndarray)
        and items.ndim == 2
        and items.dtype.kind in "biufc"
        and min(items.shape) > 0
    )


def _group_rows(
    rows: NDArray[Any],
) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """First rows and numbers, or None where the sampled columns don't suffice."""
    columns = np.linspace(0, rows.shape[1] - 1, _N_SAMPLED).astype(np.intp)
    sample = np.ascontiguousarray(rows[:, np.unique(columns)])
    # As bytes, so that NaN equals itself and 0.0 is not -0.0, as in a digest.
    whole = np.dtype((np.void, sample.dtype.itemsize * sample.shape[1]))
    _, first, number = np.unique(
        sample.view(whole).ravel(), return_index=True, return_inverse=True
    )
    owner = first[number]
    copies = np.flatnonzero(owner != np.arange(len(rows)))
    at_once = max(1, _BYTES_AT_ONCE // (rows.dtype.itemsize * rows.shape[1]))
    for start in range(0, len(copies), at_once):
        some = copies[start : start + at_once]
        if _bytes(rows[some]) != _bytes(rows[owner[some]]):
            return None
    first_rows = np.sort(first)
    return first_rows, np.searchsorted(first_rows, owner)


def _bytes(rows: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(rows).tobytes()
