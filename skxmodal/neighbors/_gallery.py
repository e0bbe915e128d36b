"""A gallery: distinct items by name, behind an index."""

from __future__ import annotations

import copy
import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from skxmodal._content import group_items
from skxmodal._validation import as_column, as_labels, is_raw
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
        self.index = self._built(vectors)

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
        assert self._correction is not None
        return self.index.search(self._correction.fold_queries(queries), n_neighbors)

    @property
    def _corrected(self) -> bool:
        """Whether the index holds corrected vectors, not plain ones."""
        return self.hubness is not None and not self.hubness.transductive

    def _built(self, vectors: NDArray[Any]) -> Index:
        """An index of the vectors, the correction folded in where there is one."""
        bank, correction = self.bank, None
        if self._corrected:
            correction = clone(self.hubness).fit(bank, vectors)
            vectors = correction.fold_gallery(vectors)
            bank = correction.fold_queries(bank)
        index = make_index(copy.deepcopy(self._index_spec))
        # What an index loses depends on the queries, which are not like its items.
        like = {"queries": bank} if has_fit_parameter(index, "queries") else {}
        index.fit(vectors, **like)
        self._correction = correction
        return index

    def _change_index(
        self, vectors: NDArray[Any] | None, method: str, argument: NDArray[Any]
    ) -> None:
        """Take other vectors, None for those that the index has once it is changed."""
        if vectors is None:
            getattr(self.index, method)(argument)
            self.vectors = self.index.vectors_  # type: ignore[attr-defined]
            return
        # Some corrections depend on the gallery as a whole; some indices can't change.
        if self._corrected or not hasattr(self.index, method):
            self.index = self._built(vectors)
        else:
            getattr(self.index, method)(argument)
        self.vectors = vectors

    @property
    def _shares_vectors(self) -> bool:
        """Whether the index holds these very vectors, so that memory has them once."""
        shared = getattr(self.index, "vectors_", None) is self.vectors
        return shared and hasattr(self.index, "add") and hasattr(self.index, "remove")

    def add(self, vectors: NDArray[Any], ids: NDArray[Any], keys: list[bytes]) -> None:
        """Append items whose ids and keys are new."""
        if not len(ids):
            return
        new_ids = np.asarray(ids)
        if new_ids.dtype.kind != self.ids.dtype.kind or _kind(
            new_ids.tolist()[0]
        ) != _kind(self.ids.tolist()[0]):
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
        longer = None
        if not self._shares_vectors:
            longer = np.concatenate([self.vectors, vectors])
        self._change_index(longer, "add", vectors)
        self.ids = np.concatenate([self.ids, ids])
        self.keys = self.keys + keys

    def remove(self, ids: ArrayLike) -> NDArray[np.intp]:
        """Take items out by name; the rows that stay are returned."""
        ids = ids.ravel() if isinstance(ids, np.ndarray) else ids
        one = isinstance(ids, str | bytes | os.PathLike) or np.ndim(ids) == 0
        names = [ids] if one else list(ids)  # type: ignore[arg-type]
        rows = {_named(name): row for row, name in enumerate(self.ids.tolist())}
        unknown = [name for name in names if _named(name) not in rows]
        if unknown:
            raise ValueError(
                f"{len(unknown)} of the {len(names)} ids are not in the gallery, "
                f"the first being {unknown[0]!r}; its ids are like "
                f"{self.ids.tolist()[0]!r}. Nothing was removed."
            )
        gone = np.zeros(self.n_items, dtype=bool)
        gone[[rows[_named(name)] for name in names]] = True
        kept = np.flatnonzero(~gone)
        if not len(kept):
            raise ValueError(
                "That would remove every item of the gallery. Replace the gallery "
                "with index(y) instead. Nothing was removed."
            )
        rest = None if self._shares_vectors else self.vectors[kept]
        self._change_index(rest, "remove", np.flatnonzero(gone))
        self.ids = self.ids[kept]
        self.keys = [self.keys[row] for row in kept]
        return kept


def name_items(
    y: Any, first_rows: NDArray[np.intp], names: Any = None, *, start: int = 0
) -> NDArray[Any]:
    """Name of each item: as given, its path, or else its row counted from start."""
    if names is not None:
        chosen = as_labels(names, "ids")[first_rows]
        return chosen.astype(object) if chosen.dtype.kind in "US" else chosen
    items = raw_items(y, first_rows)
    if items is not None:
        return np.array([os.fspath(item) for item in items], dtype=object)
    return first_rows + start


def _kind(name: Any) -> str:
    """What sort of name it is: True, 1 and 1.0 are equal and not the same."""
    name = name.item() if isinstance(name, np.generic) else name
    return "str" if isinstance(name, os.PathLike) else type(name).__name__


def _named(name: Any) -> tuple[str, Any]:
    """A name to look up, with its sort."""
    return _kind(name), os.fspath(name) if isinstance(name, os.PathLike) else name


def raw_items(y: Any, rows: NDArray[np.intp]) -> list[Any] | None:
    """The items of the rows as strings, where each is a string or a path."""
    if not is_raw(y):
        return None
    y = as_column(y)
    if hasattr(y, "to_numpy"):
        y = y.to_numpy()
    items = [y[row] for row in rows]
    if all(isinstance(item, str | os.PathLike) for item in items):
        return [os.fspath(item) for item in items]
    return None


def check_ids(keys: list[bytes], ids: ArrayLike | None) -> NDArray[np.intp]:
    """First row of each distinct item, once ids and contents name the same items."""
    first_rows, item_of_row = group_items(keys)
    if ids is None:
        return first_rows
    names = as_labels(ids, "ids")
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
