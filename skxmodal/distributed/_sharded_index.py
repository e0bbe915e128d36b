"""Search of a gallery in shards that stay where they lie."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from skxmodal._dask import (
    InvalidBlock,
    as_array,
    delayed,
    import_dask,
    merge_by_tree,
    name_futures,
    result_of,
    row_blocks,
    wait_for_blocks,
)
from skxmodal._doc_links import DocLinkMixin
from skxmodal._validation import is_dask
from skxmodal.distributed._parts import (
    Parts,
    checked_rows,
    leaves_of,
    merge_on_workers,
    require_client,
    send,
    sent_blocks,
    submit,
)
from skxmodal.neighbors import make_index
from skxmodal.neighbors._blocks import (
    Rows,
    check_vectors,
    product_dtype,
    row_norms,
)
from skxmodal.neighbors._exact import check_n_neighbors

Hits = tuple[NDArray[Any], Rows]


class ShardedIndex(DocLinkMixin, BaseEstimator):
    """A gallery in shards on the workers of a Dask cluster.

    Each chunk of rows is one shard: its index is built on a worker that has the chunk,
    and kept there. A search asks every shard for its best k and merges them; only
    queries and hits travel. With the exact index the answer is that of one machine,
    ties included.

    Parameters
    ----------
    index : str or index object, default="exact"
        What searches each shard, as :func:`skxmodal.neighbors.make_index` takes it:
        "hnsw", say, for one faiss index a shard. An object is copied.

    Attributes
    ----------
    n_shards_ : int
        Number of shards that have rows.
    n_features_ : int
        Width of the vectors.

    See Also
    --------
    skxmodal.neighbors.ExactIndex : The same on one machine.
    count_ranks : Ranks of correct items over shards.

    Notes
    -----
    A cluster must be there: ``distributed.Client()`` starts one on this machine. Where
    a worker dies, its shards are computed again from their source on the others. The
    index holds futures, so it can be neither pickled nor saved: save the vectors, with
    :func:`write_shards`.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from distributed import Client
    >>> from skxmodal.distributed import ShardedIndex
    >>> with Client(n_workers=3, dashboard_address=":0") as client:
    ...     gallery = da.from_array(np.eye(6), chunks=(2, 6))
    ...     index = ShardedIndex().fit(gallery)
    ...     scores, rows = index.search(np.eye(6)[:2], k=1)
    >>> rows.ravel()
    array([0, 1])
    """

    def __init__(self, index: Any = "exact") -> None:
        self.index = index

    def fit(self, vectors: Any) -> ShardedIndex:
        """Build the index of each shard where it lies, in place of any before.

        Parameters
        ----------
        vectors : Dask array or DataFrame of shape (n_items, d), or array-like
            Gallery vectors. Chunks may be of any size, and of unknown size; an array
            of this process is sent in blocks of 4 MB.

        Returns
        -------
        self : ShardedIndex
            The index.

        Raises
        ------
        RuntimeError
            If there is no cluster.
        ShardError
            If a shard's source can't be read.
        TypeError
            If ``index`` is neither a name nor an object that searches.
        ValueError
            If a shard holds values that are not finite, or too few items for its
            index. An index fitted before stays as it was then.
        """
        make_index(self.index)
        client = require_client("ShardedIndex")
        leaves, names = leaves_of(vectors, _build, self.index, kind="shard")
        parts = Parts(client, leaves, names)
        shapes = parts.of_each(_shape)
        if len(set(shapes)) > 1:
            raise ValueError(f"The shards differ in width or dtype: {set(shapes)}.")
        (self.n_features_, dtype), self.n_shards_ = shapes[0], len(shapes)
        self._parts, self._dtype = parts, None if dtype is None else np.dtype(dtype)
        return self

    @property
    def n_items(self) -> int:
        """Number of items in the gallery."""
        check_is_fitted(self, "n_features_")
        return self._parts.n_rows

    def search(self, queries: Any, k: int) -> tuple[Any, Any]:
        """Find the rows with the largest inner products.

        Parameters
        ----------
        queries : array-like or Dask array of shape (n_queries, d)
            Query vectors.
        k : int
            How many rows to find, from 1 to ``n_items``.

        Returns
        -------
        scores : ndarray or Dask array of shape (n_queries, k)
            Inner products, descending; lazy where the queries are.
        rows : ndarray or Dask array of shape (n_queries, k) of int64
            Rows of the gallery; where scores are equal the lower row comes first.

        Raises
        ------
        ShardError
            If a shard is lost and its source is gone.
        ValueError
            If shapes don't fit, values are not finite, or k is out of range.
        """
        check_is_fitted(self, "n_features_")
        k = check_n_neighbors(k, self.n_items)
        if is_dask(queries):
            return self._search_lazily(as_array(queries, "queries"), k)
        width = np.zeros((1, self.n_features_), dtype=self._dtype or np.float32)
        queries, _ = check_vectors(queries, width)
        row_norms(queries, "queries")
        client, starts = self._parts.client, self._parts.starts
        dtype = self._score_dtype(queries.dtype)
        merged, asked, names = [], [], []
        for block in sent_blocks(queries):
            sent = send(client, block)
            hits = [
                submit(client, _search, shard, sent, k, int(starts[number]), dtype)
                for number, shard in self._parts
            ]
            merged.append(merge_on_workers(client, _Merge(k), hits))
            asked += hits
            names += self._parts.names
            del hits
        named = name_futures(asked, names) | self._parts.named
        wait_for_blocks(asked, named, release=True)
        found = [result_of(future, "the merged hits", named) for future in merged]
        return (
            np.concatenate([scores for scores, _ in found]),
            np.concatenate([rows for _, rows in found]),
        )

    def _search_lazily(self, queries: Any, k: int) -> tuple[Any, Any]:
        da = import_dask("dask.array")
        if queries.ndim != 2 or queries.shape[1] != self.n_features_:
            raise ValueError(
                f"queries must be of shape (n, {self.n_features_}), the width of the "
                f"gallery, got shape {queries.shape}."
            )
        starts = self._parts.starts
        scores: list[Any] = []
        rows: list[Any] = []
        dtype = self._score_dtype(queries.dtype)
        for block, length in zip(row_blocks(queries), queries.chunks[0], strict=True):
            level = [
                delayed(_search)(shard, block, k, int(starts[number]), dtype)
                for number, shard in self._parts
            ]
            hits = merge_by_tree(delayed(_Merge(k)), level)
            for place, (column, kind) in enumerate(((scores, dtype), (rows, np.int64))):
                column.append(da.from_delayed(hits[place], (length, k), dtype=kind))
        return da.concatenate(scores, axis=0), da.concatenate(rows, axis=0)

    def _score_dtype(self, dtype: Any) -> np.dtype[Any]:
        if self._dtype is None:
            return np.dtype(np.float32)
        return product_dtype(np.empty(0, dtype), np.empty(0, self._dtype))

    def __getstate__(self) -> dict[str, Any]:
        if hasattr(self, "_parts"):
            raise TypeError(
                "A fitted ShardedIndex holds shards on the workers of a cluster and "
                "can't be pickled or copied. Save its vectors with write_shards, and "
                "fit again on read_shards."
            )
        return dict(super().__getstate__())


class Shard:
    """The index of a shard, and what Dask has to know of it.

    Attributes
    ----------
    index : Index or None
        None where the shard has no rows.
    n_items : int
        Number of rows.
    width : int
        Width of the vectors.
    dtype : str or None
        Type of the vectors; None where the index keeps them as float32 in a form of
        its own.
    """

    def __init__(self, index: Any, vectors: NDArray[Any]) -> None:
        self.index = index
        self.n_items, self.width = vectors.shape
        held = getattr(index, "vectors_", None)
        self.dtype = None if held is None else held.dtype.str
        self._n_bytes = vectors.nbytes

    def __sizeof__(self) -> int:
        # Without it Dask would move a shard to the queries, and never spill one.
        return self._n_bytes


def _build(block: Any, name: str, spec: Any) -> Shard:
    vectors = checked_rows(block, name)
    if not len(vectors):
        return Shard(None, vectors)
    try:
        return Shard(make_index(copy.deepcopy(spec)).fit(vectors), vectors)
    except ValueError as error:
        raise InvalidBlock(f"In {name}: {error}") from error


def _shape(shard: Shard) -> tuple[int, str | None]:
    return shard.width, shard.dtype


def _search(
    shard: Shard, queries: NDArray[Any], k: int, start: int, dtype: np.dtype[Any]
) -> Hits:
    if not len(queries):
        return np.empty((0, k), dtype), np.empty((0, k), dtype=np.int64)
    scores, rows = shard.index.search(np.asarray(queries), min(k, shard.n_items))
    scores = np.asarray(scores, dtype)
    # An index of the user's own may pad with -1 what it didn't find.
    return scores, np.where(rows >= 0, rows + start, rows)


class _Merge:
    """Merges the hits of shards, given in the order of their rows."""

    def __init__(self, k: int) -> None:
        self.k = k

    def __call__(self, hits: list[Hits]) -> Hits:
        scores = np.concatenate([scores for scores, _ in hits], axis=1)
        rows = np.concatenate([rows for _, rows in hits], axis=1)
        # Stable, and rows rise from shard to shard: of equal scores the lower is first.
        order = np.argsort(-scores, axis=1, kind="stable")[:, : self.k]
        return (
            np.take_along_axis(scores, order, axis=1),
            np.take_along_axis(rows, order, axis=1),
        )
