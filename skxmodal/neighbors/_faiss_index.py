"""What indices built by faiss have in common."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from skxmodal._doc_links import DocLinkMixin
from skxmodal._optional import import_optional
from skxmodal._paths import whole_file
from skxmodal.neighbors._blocks import (
    Rows,
    Vectors,
    check_range,
    check_rows,
    check_vectors,
    count_threads,
    kept_rows,
    row_norms,
)
from skxmodal.neighbors._exact import check_n_neighbors, top_k
from skxmodal.neighbors._hubness_base import check_count

IndexT = TypeVar("IndexT", bound="FaissIndex")

# Queries and places that the loss of an index is measured with.
SAMPLE = 256
SAMPLE_K = 10


class FaissIndex(DocLinkMixin, BaseEstimator, ABC):
    """An index of inner products that faiss builds and searches.

    Removed items stay inside, masked, until the next fit: their memory comes back
    then.
    """

    n_threads: int | None
    _alive: NDArray[np.bool_]

    def fit(
        self: IndexT, vectors: ArrayLike, queries: ArrayLike | None = None
    ) -> IndexT:
        """Build the index of a gallery, in place of any before.

        Parameters
        ----------
        vectors : array-like of shape (n_items, d)
            Gallery vectors; indexed in single precision.
        queries : array-like of shape (n_queries, d), default=None
            Vectors like those of the queries to come, to measure
            ``recall_vs_exact_`` with. By default items of the gallery stand for them,
            which are easier to find.

        Returns
        -------
        self : FaissIndex
            The index.

        Raises
        ------
        ImportError
            If faiss is not installed.
        ValueError
            If a parameter or the shape doesn't fit, or a value is not finite.
        """
        vectors = _check_values(check_rows(vectors, "vectors"), "vectors")
        sample = vectors
        if queries is not None:
            sample = _check_values(check_vectors(queries, vectors)[0], "queries")
        # Built aside, so that a fit that fails leaves the index as it was.
        built = clone(self)
        built._check_parameters()
        with built._faiss_threads(building=True) as faiss:
            padded = built._pad(vectors)
            built._index = built._build(faiss, padded)
            built._index.add(padded)
        built._alive = np.ones(len(vectors), dtype=bool)
        built.n_features_ = int(vectors.shape[1])
        built.recall_vs_exact_ = built._measure(vectors, sample)
        parameters = self.get_params(deep=False)
        self.__dict__.pop("_serialized", None)
        for name, value in vars(built).items():
            if name not in parameters:
                setattr(self, name, value)
        return self

    @abstractmethod
    def _check_parameters(self) -> None:
        """Refuse parameters out of range."""

    @abstractmethod
    def _build(self, faiss: Any, vectors: Vectors) -> Any:
        """An index of faiss, trained on the vectors, without any item."""

    @abstractmethod
    def _search_parameters(self, faiss: Any, selector: Any, k: int) -> Any:
        """How to search among the selected items."""

    @abstractmethod
    def _search_all(self, faiss: Any, queries: Vectors, k: int, selector: Any) -> Any:
        """Scores and numbers of the best k, where the search found fewer."""

    def search(self, queries: ArrayLike, k: int) -> tuple[NDArray[Any], Rows]:
        """Find rows with large inner products, most of them the largest.

        Parameters
        ----------
        queries : array-like of shape (n_queries, d)
            Query vectors.
        k : int
            How many rows to find, from 1 to ``n_items``.

        Returns
        -------
        scores : ndarray of shape (n_queries, k) of float32
            Inner products, descending; approximate where the index is quantised.
        rows : ndarray of shape (n_queries, k) of int64
            Rows of the gallery; where scores are equal the lower row comes first.

        Raises
        ------
        ValueError
            If the width differs from the gallery's, a value is not finite, or k is
            out of range.
        RuntimeError
            If the index holds items that can't be found, being no numbers.
        """
        check_is_fitted(self, "n_features_")
        queries = self._checked(queries, "queries")
        k = check_n_neighbors(k, self.n_items)
        with self._faiss_threads() as faiss:
            selector, flags = None, np.packbits(self._alive, bitorder="little")
            if not self._alive.all():
                selector = faiss.IDSelectorBitmap(flags)
            padded = self._pad(queries)
            index = self._opened(faiss)
            params = self._search_parameters(faiss, selector, k)
            scores, found = index.search(padded, k, params=params)
            short = np.flatnonzero((found < 0).any(axis=1))
            if len(short):
                scores[short], found[short] = self._search_all(
                    faiss, padded[short], k, selector
                )
        if (found < 0).any():
            raise RuntimeError(
                f"Fewer than {k} of {self.n_items} items were found: some hold no "
                "numbers. Fit the index to finite vectors."
            )
        rows = (np.cumsum(self._alive) - 1)[found]
        order = np.lexsort((rows, -scores), axis=1)
        return (
            np.take_along_axis(scores, order, axis=1),
            np.take_along_axis(rows, order, axis=1),
        )

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

        Raises
        ------
        ValueError
            If the width differs from the gallery's, or a value is not finite.
        """
        check_is_fitted(self, "n_features_")
        vectors = self._checked(vectors, "vectors")
        first = self.n_items
        with self._faiss_threads(building=True) as faiss:
            self._opened(faiss).add(self._pad(vectors))
        self._alive = np.concatenate([self._alive, np.ones(len(vectors), dtype=bool)])
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
        check_is_fitted(self, "n_features_")
        kept = kept_rows(rows, self.n_items)
        self._alive[np.flatnonzero(self._alive)[~kept]] = False

    @property
    def n_items(self) -> int:
        """Number of items in the gallery."""
        check_is_fitted(self, "n_features_")
        return int(np.count_nonzero(self._alive))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a file.

        Parameters
        ----------
        path : str or path
            The file, replaced in one step if it exists.
        """
        check_is_fitted(self, "n_features_")
        state = self.__getstate__()
        stored: dict[str, Any] = {
            name: state[name] for name in _STORED if name in state
        }
        for name, value in self.get_params().items():
            if value is not None:
                stored[f"param_{name}"] = value
        with whole_file(Path(path)) as file:
            np.savez(file, kind=type(self).__name__, **stored)

    @classmethod
    def load(cls: type[IndexT], path: str | os.PathLike[str]) -> IndexT:
        """Read an index written by :meth:`save`.

        Parameters
        ----------
        path : str or path
            The file.

        Returns
        -------
        index : FaissIndex
            The index.

        Raises
        ------
        ValueError
            If the file holds no index, or one of another class.
        """
        stored = np.load(path, allow_pickle=False)
        if isinstance(stored, np.ndarray) or "kind" not in stored.files:
            raise ValueError(f"{path} holds no {cls.__name__} that save wrote.")
        with stored:
            if str(stored["kind"]) != cls.__name__:
                raise ValueError(
                    f"{path} holds a {stored['kind']}, not a {cls.__name__}: load it "
                    "with that class."
                )
            given = {
                name.removeprefix("param_"): stored[name].item()
                for name in stored.files
                if name.startswith("param_")
            }
            index = cls(**given)
            for name in _STORED:
                if name in stored.files:
                    value = stored[name]
                    setattr(index, name, value if value.ndim else value.item())
        return index

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        index = state.pop("_index", None)
        if index is not None:
            faiss = _import_faiss()
            state["_serialized"] = faiss.serialize_index(index)
        return state

    def _opened(self, faiss: Any) -> Any:
        """The index of faiss, read again after it was pickled or copied."""
        # Read once: another thread may have taken it away since.
        serialized = self.__dict__.get("_serialized")
        if serialized is not None:
            self._index = faiss.deserialize_index(serialized)
            self.__dict__.pop("_serialized", None)
        return self._index

    def _checked(self, vectors: ArrayLike, name: str) -> Vectors:
        """Vectors as wide as the gallery's."""
        checked = check_rows(vectors, name)
        if checked.shape[1] != self.n_features_:
            raise ValueError(
                f"{name} have {checked.shape[1]} columns and the gallery "
                f"{self.n_features_}: both must lie in one space."
            )
        return _check_values(checked, name)

    def _pad(self, vectors: Vectors) -> Vectors:
        return np.ascontiguousarray(vectors, dtype=np.float32)

    def _measure(self, vectors: Vectors, queries: Vectors) -> float:
        """Share of the true nearest items that the index finds."""
        k = min(SAMPLE_K, len(vectors))
        chosen = np.linspace(0, len(queries) - 1, min(SAMPLE, len(queries)))
        sample = np.asarray(queries[chosen.astype(np.int64)], dtype=np.float32)
        _, expected = top_k(sample, vectors, k, n_threads=self.n_threads)
        _, found = self.search(sample, k)
        hits = (expected[:, :, np.newaxis] == found[:, np.newaxis, :]).any(axis=2)
        return float(hits.mean())

    @contextmanager
    def _faiss_threads(self, building: bool = False) -> Iterator[Any]:
        """Give faiss its number of threads, and then that of before back."""
        faiss = _import_faiss()
        before = faiss.omp_get_max_threads()
        # Links of a graph built by several threads depend on who comes first.
        alone = building and self.n_threads is None
        faiss.omp_set_num_threads(1 if alone else count_threads(self.n_threads))
        try:
            yield faiss
        finally:
            faiss.omp_set_num_threads(before)


_STORED = ("_serialized", "_alive", "n_features_", "n_lists_", "recall_vs_exact_")


def _check_values(vectors: Vectors, name: str) -> Vectors:
    """Refuse values that are not finite, or inner products that may not be."""
    longest = row_norms(vectors, name).max()
    check_range(longest, longest, np.dtype(np.float32))
    return vectors


def check_counts(index: Any, *names: str) -> None:
    """Refuse parameters that are no integers of at least 1."""
    for name in names:
        check_count(name, getattr(index, name))


def _import_faiss() -> Any:
    return import_optional("faiss", extra="faiss", purpose="An approximate index")
