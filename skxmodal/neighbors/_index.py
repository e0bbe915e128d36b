"""Indices of a gallery behind one small contract."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from skxmodal._doc_links import DocLinkMixin
from skxmodal._paths import whole_file
from skxmodal.neighbors._ann import (
    HNSWIndex,
    IVFIndex,
    IVFPQIndex,
    ScalarQuantizedIndex,
)
from skxmodal.neighbors._blocks import (
    Rows,
    Vectors,
    check_rows,
    check_vectors,
    kept_rows,
)
from skxmodal.neighbors._exact import (
    check_n_neighbors,
    longest_row,
    top_k_of_checked,
)


class Index(Protocol):
    """What every index of a gallery offers."""

    def fit(self, vectors: ArrayLike) -> Index: ...

    def search(self, queries: ArrayLike, k: int) -> tuple[NDArray[Any], Rows]: ...

    def add(self, vectors: ArrayLike) -> Rows: ...

    def remove(self, rows: ArrayLike) -> None: ...

    @property
    def n_items(self) -> int: ...

    def save(self, path: str | os.PathLike[str]) -> None: ...


class ExactIndex(DocLinkMixin, BaseEstimator):
    """Every item compared with every query, by blocked matrix products.

    Parameters
    ----------
    n_threads : int, default=None
        Threads, each with one BLAS thread; None takes as many as BLAS would.

    Attributes
    ----------
    vectors_ : ndarray of shape (n_items, d)
        The gallery, as given: an array or a memmap is not copied, and must not be
        changed in place after the first search.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.neighbors import ExactIndex
    >>> index = ExactIndex().fit(np.eye(3))
    >>> scores, rows = index.search([[0.6, 0.8, 0.0]], k=2)
    >>> rows
    array([[1, 0]])
    """

    # Length of the longest row, found by the first search of a gallery.
    _longest: float | None = None

    def __init__(self, n_threads: int | None = None) -> None:
        self.n_threads = n_threads

    def fit(self, vectors: ArrayLike) -> ExactIndex:
        """Take a gallery, in place of any before.

        Parameters
        ----------
        vectors : array-like of shape (n_items, d)
            Gallery vectors.

        Returns
        -------
        self : ExactIndex
            The index.
        """
        self.vectors_: Vectors = check_rows(vectors, "vectors")
        self._longest = None
        return self

    def search(self, queries: ArrayLike, k: int) -> tuple[NDArray[Any], Rows]:
        """Find the rows with the largest inner products.

        Parameters
        ----------
        queries : array-like of shape (n_queries, d)
            Query vectors.
        k : int
            How many rows to find, from 1 to ``n_items``.

        Returns
        -------
        scores : ndarray of shape (n_queries, k)
            Inner products, descending.
        rows : ndarray of shape (n_queries, k) of int64
            Rows of the gallery; where scores are equal the lower row comes first.
        """
        check_is_fitted(self)
        queries, gallery = check_vectors(queries, self.vectors_)
        k = check_n_neighbors(k, len(gallery))
        # Looking through the gallery takes longer than answering one query.
        if self._longest is None:
            self._longest = longest_row(gallery)
        return top_k_of_checked(queries, gallery, k, self._longest, self.n_threads)

    def add(self, vectors: ArrayLike) -> Rows:
        """Append items.

        Parameters
        ----------
        vectors : array-like of shape (n, d)
            More gallery vectors.

        Returns
        -------
        rows : ndarray of shape (n,) of int64
            The rows that they got.
        """
        check_is_fitted(self)
        added = check_rows(vectors, "vectors")
        check_vectors(self.vectors_, added)
        first = self.n_items
        self.vectors_ = np.concatenate(
            [self.vectors_, added], dtype=self.vectors_.dtype
        )
        self._longest = None
        return np.arange(first, self.n_items)

    def remove(self, rows: ArrayLike) -> None:
        """Take items out; the rows after them move up.

        Parameters
        ----------
        rows : array-like of int, or of bool and shape (n_items,)
            Rows of the gallery, or a mask of them. At least one item must stay.

        Raises
        ------
        IndexError
            If a row is out of range.
        ValueError
            If rows are neither, or no item would stay.
        """
        kept = kept_rows(rows, self.n_items)
        self.vectors_ = self.vectors_[kept]
        self._longest = None

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        state.pop("_longest", None)
        return state

    @property
    def n_items(self) -> int:
        """Number of items in the gallery."""
        check_is_fitted(self)
        return len(self.vectors_)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the gallery to a ``.npy`` file.

        Parameters
        ----------
        path : str or path
            The file, replaced in one step if it exists.
        """
        check_is_fitted(self)
        with whole_file(Path(path)) as file:
            np.save(file, self.vectors_, allow_pickle=False)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, mmap: bool = False) -> ExactIndex:
        """Read a gallery written by :meth:`save`.

        Parameters
        ----------
        path : str or path
            The file.
        mmap : bool, default=False
            Whether to leave the vectors on disk.

        Returns
        -------
        index : ExactIndex
            The index.

        Raises
        ------
        ValueError
            If the file holds no array of vectors.
        """
        stored = np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
        if not isinstance(stored, np.ndarray):
            stored.close()
            raise ValueError(
                f"{path} holds several arrays, not the vectors of an ExactIndex. Load "
                "it with the class that saved it."
            )
        return cls().fit(stored)


INDICES: dict[str, Callable[[], Index]] = {
    "exact": ExactIndex,
    "hnsw": HNSWIndex,
    "ivf": IVFIndex,
    "ivfpq": IVFPQIndex,
    "sq8": ScalarQuantizedIndex,
}


def make_index(spec: str | Index = "exact") -> Index:
    """Make an index from its name, or pass one on.

    Parameters
    ----------
    spec : str or index, default="exact"
        A name of the registry, or an object with the methods of an index.

    Returns
    -------
    index : Index
        A new index, or the given one.

    Raises
    ------
    ValueError
        If the name is unknown.
    TypeError
        If the object is no index.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.neighbors import make_index
    >>> make_index("exact").fit(np.eye(3)).n_items
    3
    """
    if not isinstance(spec, str):
        methods = all(callable(getattr(spec, name, None)) for name in ("fit", "search"))
        if isinstance(spec, type) or not methods:
            raise TypeError(
                "Expected the name of an index or an index, with fit and search, got "
                f"{spec!r:.60}. Pass one of {sorted(INDICES)}, or an index."
            )
        return spec
    if spec not in INDICES:
        raise ValueError(f"Unknown index {spec!r}; the known are {sorted(INDICES)}.")
    return INDICES[spec]()
