"""A gallery: distinct items by name, behind an index."""

from __future__ import annotations

import copy
import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from skxmodal._content import group_items
from skxmodal._validation import is_raw
from skxmodal.neighbors._exact import top_k
from skxmodal.neighbors._index import Index, make_index


class Gallery:
    """Unit vectors of distinct items, their ids and keys, and an index over them.

    Parameters
    ----------
    vectors : ndarray of shape (n_items, n_features)
        Unit rows.
    ids : ndarray of shape (n_items,)
        Name of each item, all different.
    keys : list of bytes
        Content of each item, as :func:`skxmodal._content.content_keys` gives it.
    index : str or index object, default="exact"
        What searches the vectors, as :func:`make_index` takes it. An object is
        copied.
    hubness : hubness estimator or None, default=None
        Corrects the scores. A transductive one is fitted to the queries of each
        search, any other to the bank, once.
    bank : ndarray of shape (n_bank, n_features), default=None
        Unit vectors that stand for the queries to come.
    """

    def __init__(
        self,
        vectors: NDArray[Any],
        ids: NDArray[Any],
        keys: list[bytes],
        *,
        index: str | Index = "exact",
        hubness: Any = None,
        bank: NDArray[Any] | None = None,
    ) -> None:
        self.vectors = vectors
        self.ids = ids
        self.keys = keys
        self.hubness = hubness
        self.bank = bank
        self._index_spec = index
        self._build()

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.ids)

    def search(
        self, queries: NDArray[Any], n_neighbors: int
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Find the items with the largest scores for each query."""
        if self.hubness is None:
            return self.index.search(queries, n_neighbors)
        if self.hubness.transductive:
            correction = clone(self.hubness).fit(queries, self.vectors)
            return top_k(
                correction.fold_queries(queries),
                correction.fold_gallery(self.vectors),
                n_neighbors,
            )
        return self.index.search(self._correction.fold_queries(queries), n_neighbors)

    @property
    def _corrected(self) -> bool:
        """Whether the index holds corrected vectors, not plain ones."""
        return self.hubness is not None and not self.hubness.transductive

    def _build(self) -> None:
        """Index the vectors, the correction folded in where there is one."""
        vectors = self.vectors
        if self._corrected:
            self._correction = clone(self.hubness).fit(self.bank, vectors)
            vectors = self._correction.fold_gallery(vectors)
        self.index = make_index(copy.deepcopy(self._index_spec)).fit(vectors)

    def add(self, vectors: NDArray[Any], ids: NDArray[Any], keys: list[bytes]) -> None:
        """Append items whose ids and keys are new."""
        if not len(ids):
            return
        if np.asarray(ids).dtype.kind != self.ids.dtype.kind:
            raise ValueError(
                f"The gallery's ids are like {self.ids.tolist()[0]!r}, the new ones "
                f"like {ids.tolist()[0]!r}. Give ids of one type, with ids=..."
            )
        taken = np.isin(ids, self.ids)
        if taken.any():
            raise ValueError(
                f"The id {ids[taken].tolist()[0]!r} is in the gallery already, for "
                "another item. Remove that first, or give another id."
            )
        self.vectors = np.concatenate([self.vectors, vectors])
        if self._corrected:
            # Some corrections depend on the gallery as a whole.
            self._build()
        else:
            self.index.add(vectors)
        self.ids = np.concatenate([self.ids, ids])
        self.keys = self.keys + keys

    def remove(self, ids: ArrayLike) -> NDArray[np.intp]:
        """Take items out by name; the rows that stay are returned."""
        names = np.atleast_1d(np.asarray(ids))
        unknown = ~np.isin(names, self.ids)
        if unknown.any():
            raise ValueError(
                f"{int(unknown.sum())} of the {len(names)} ids are not in the gallery, "
                f"the first being {names[unknown].tolist()[0]!r}. Nothing was removed."
            )
        gone = np.isin(self.ids, names)
        kept = np.flatnonzero(~gone)
        if not len(kept):
            raise ValueError(
                "That would remove every item of the gallery. Replace the gallery "
                "with index(y) instead. Nothing was removed."
            )
        self.vectors = self.vectors[kept]
        if self._corrected:
            self._build()
        else:
            self.index.remove(np.flatnonzero(gone))
        self.ids = self.ids[kept]
        self.keys = [self.keys[row] for row in kept]
        return kept


def name_items(
    y: Any, first_rows: NDArray[np.intp], names: Any = None, *, start: int = 0
) -> NDArray[Any]:
    """Name of each item: as given, its path, or else its row counted from start."""
    if names is not None:
        chosen = np.asarray(names)[first_rows]
        return chosen.astype(object) if chosen.dtype.kind in "US" else chosen
    items = raw_items(y, first_rows)
    if items is not None:
        return np.array([os.fspath(item) for item in items], dtype=object)
    return first_rows + start


def raw_items(y: Any, rows: NDArray[np.intp]) -> list[Any] | None:
    """The items of the rows as strings, where each is a string or a path."""
    if not is_raw(y):
        return None
    if hasattr(y, "to_numpy"):
        y = y.to_numpy().ravel()
    items = [y[row] for row in rows]
    if all(isinstance(item, str | os.PathLike) for item in items):
        return [os.fspath(item) for item in items]
    return None


def check_ids(keys: list[bytes], ids: ArrayLike | None) -> NDArray[np.intp]:
    """First row of each distinct item, once ids and contents name the same items."""
    first_rows, item_of_row = group_items(keys)
    if ids is None:
        return first_rows
    names = np.asarray(ids)
    if names.shape != (len(keys),):
        raise ValueError(
            f"ids must have one name for each of the {len(keys)} rows of y, got shape "
            f"{names.shape}."
        )
    first_named, name_of_row = group_items(names)
    for row, (item, name) in enumerate(zip(item_of_row, name_of_row, strict=True)):
        by_content, by_name = first_rows[item], first_named[name]
        if by_content != by_name:
            raise ValueError(
                f"Row {row} of y has the content of row {by_content} and the id of "
                f"row {by_name}. Give each content one id, and each id one content."
            )
    return first_rows
