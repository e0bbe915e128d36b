"""Ranks of correct items, counted without a sort."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skxmodal.neighbors._blocks import (
    Rows,
    Vectors,
    block_scores,
    blocks,
    check_range,
    check_vectors,
    in_threads,
    pair_scores,
    product_dtype,
    read_block,
    rounding,
    row_norms,
)

QUERY_BLOCK = 1024
GALLERY_BLOCK = 2048
# With more correct items than this a sort of the block's row is cheaper.
COMPARISONS = 16
# Where one owner in so many asks, its scores are compared alone.
SELECTED = 3
# Rows whose near ties are looked at together.
OWNERS_AT_ONCE = 64


def count_ranks(
    queries: ArrayLike,
    gallery: ArrayLike,
    indptr: ArrayLike,
    indices: ArrayLike,
    *,
    both: bool = False,
    n_threads: int | None = None,
) -> Any:
    """Rank of every correct item in each query's list of the gallery.

    The rank of a correct item is one more than the number of wrong items that score
    at least as high, and of correct items placed before it: a tie with a wrong item
    counts against the system, while correct items take consecutive places. Scores are
    inner products, computed in double precision and rounded to the inputs' precision
    where that decides a rank, so ranks don't depend on blocks, threads or BLAS. In
    double precision, scores within what rounding may add to a product (2 sqrt(d + 1)
    eps times the lengths of the vectors) are ties.

    Parameters
    ----------
    queries : array-like of shape (n_queries, d)
        Query vectors.
    gallery : array-like of shape (n_items, d)
        Gallery vectors. Either side may be a memmap larger than memory.
    indptr : array-like of shape (n_queries + 1,)
        Where each query's correct items begin and end in ``indices``.
    indices : array-like of shape (n_pairs,)
        Rows of the gallery that are correct, query after query, each once.
    both : bool, default=False
        Whether to rank also the queries in each gallery item's list, from the same
        product.
    n_threads : int, default=None
        Threads, each with one BLAS thread; None takes as many as BLAS would.

    Returns
    -------
    ranks : ndarray of shape (n_pairs,) of int64
        Rank of each correct item in its query's list, from 1.
    reverse_ranks : ndarray of shape (n_pairs,) of int64
        Only where ``both``: rank of each pair's query in the list of its gallery item.

    Raises
    ------
    ValueError
        If shapes don't fit, values are not finite, or a correct item is out of range
        or named twice.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.neighbors import count_ranks
    >>> gallery = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> count_ranks([[1.0, 0.0], [1.0, 0.0]], gallery, [0, 1, 3], [0, 1, 2])
    array([1, 2, 3])
    """
    queries, gallery = check_vectors(queries, gallery)
    pairs = check_correct(indptr, indices, len(queries), len(gallery))
    dtype = product_dtype(queries, gallery)
    query_norms = row_norms(queries, "queries")
    gallery_norms = row_norms(gallery, "gallery")
    check_range(query_norms.max(), gallery_norms.max(), dtype)
    own = own_scores(queries, gallery, pairs.queries, pairs.items)
    unit = rounding(queries.shape[1], dtype)
    forward = Side(pairs.queries, own, unit * query_norms * gallery_norms.max(), dtype)
    sides = [forward]
    if both:
        slack = unit * gallery_norms * query_norms.max()
        sides.append(Side(pairs.items, own, slack, dtype))

    totals = [side.places.copy() for side in sides]
    lock = Lock()

    def count(rows: slice) -> None:
        for columns, scores, block_queries, block in products(
            queries, gallery, rows, pairs, dtype
        ):
            own_rows = (rows, columns)
            for axis, (side, total) in enumerate(zip(sides, totals, strict=True)):
                owners = own_rows[axis]
                wrong = side.count_wrong(scores, owners, axis, block_queries, block)
                # Integers: the order of the sums doesn't matter.
                with lock:
                    side.add(total, owners, wrong)

    in_threads(count, blocks(len(queries), QUERY_BLOCK), n_threads)
    return (totals[0], totals[1]) if both else totals[0]


class CorrectPairs(NamedTuple):
    """Correct pairs: the query, the gallery item, and where each query begins."""

    queries: Rows
    items: Rows
    indptr: Rows


def check_correct(
    indptr: ArrayLike, indices: ArrayLike, n_queries: int, n_items: int
) -> CorrectPairs:
    starts, items = np.asarray(indptr), np.asarray(indices)
    if starts.shape != (n_queries + 1,) or items.ndim != 1:
        raise ValueError(
            f"indptr must be of shape ({n_queries + 1},) for {n_queries} queries and "
            f"indices one-dimensional, got shapes {starts.shape} and {items.shape}."
        )
    if starts.dtype.kind not in "iu" or (len(items) and items.dtype.kind not in "iu"):
        raise ValueError("indptr and indices must hold integers.")
    starts, items = starts.astype(np.int64), items.astype(np.int64)
    if starts[0] != 0 or starts[-1] != len(items) or np.any(np.diff(starts) < 0):
        raise ValueError(
            "indptr must rise from 0 to the length of indices, "
            f"{len(items)}; got {starts[0]} to {starts[-1]}."
        )
    if len(items) and not 0 <= items.min() <= items.max() < n_items:
        raise ValueError(
            f"indices must be rows of a gallery of {n_items} items, got "
            f"{items.min()} to {items.max()}."
        )
    owners = np.repeat(np.arange(n_queries), np.diff(starts))
    if len(np.unique(owners * n_items + items)) < len(items):
        raise ValueError("indices names a correct item of one query twice.")
    return CorrectPairs(owners, items, starts)


def own_scores(
    queries: Vectors, gallery: Vectors, query_rows: Rows, gallery_rows: Rows
) -> NDArray[np.float64]:
    """Score of each correct pair, rounded to the inputs' precision."""
    scores = pair_scores(queries, gallery, query_rows, gallery_rows)
    if product_dtype(queries, gallery) == np.float32:
        scores = scores.astype(np.float32).astype(np.float64)
    return scores


def products(
    queries: Vectors,
    gallery: Vectors,
    rows: slice,
    pairs: CorrectPairs,
    dtype: np.dtype[Any],
) -> Iterator[tuple[slice, Vectors, Vectors, Vectors]]:
    """Scores of a block of queries, block after block, correct pairs at -inf."""
    block_queries = read_block(queries, rows, dtype)
    own = slice(pairs.indptr[rows.start], pairs.indptr[rows.stop])
    order = np.argsort(pairs.items[own], kind="stable")
    correct_items = pairs.items[own][order]
    correct_rows = pairs.queries[own][order] - rows.start
    buffer = np.empty((len(block_queries), min(GALLERY_BLOCK, len(gallery))), dtype)
    for columns in blocks(len(gallery), GALLERY_BLOCK):
        block = read_block(gallery, columns, dtype)
        scores = buffer[:, : len(block)]
        np.matmul(block_queries, block.T, out=scores)
        first, last = np.searchsorted(correct_items, [columns.start, columns.stop])
        here = correct_items[first:last] - columns.start
        scores[correct_rows[first:last], here] = -np.inf
        yield columns, scores, block_queries, block


class Side:
    """Scores of the correct items of each owner, a query or an item of the gallery.

    Attributes
    ----------
    places : ndarray of shape (n_pairs,)
        Place of each pair among its owner's correct items, from 1.
    """

    def __init__(
        self,
        owners: Rows,
        own_scores: NDArray[np.float64],
        slack: NDArray[np.float64],
        dtype: np.dtype[Any],
    ) -> None:
        n_owners = len(slack)
        self._order = np.lexsort((-own_scores, owners))
        self._starts = np.searchsorted(owners[self._order], np.arange(n_owners + 1))
        self._owners = owners[self._order]
        self._scores = own_scores[self._order]
        self._slack = slack
        self._dtype = dtype
        places = np.arange(1, len(owners) + 1) - self._starts[self._owners]
        self.places = np.empty(len(owners), dtype=np.int64)
        self.places[self._order] = places

    def add(self, total: Rows, owners: slice, wrong: Rows) -> None:
        """Add counts of a block to the ranks of the pairs they belong to."""
        total[self._order[self._slice(owners)]] += wrong

    def count_wrong(
        self,
        scores: Vectors,
        owners: slice,
        axis: int,
        queries: Vectors,
        gallery: Vectors,
    ) -> Rows:
        """Wrong items of the block that score at least as high as each correct one."""
        own = self._slice(owners)
        local = self._owners[own] - owners.start
        place = np.arange(own.start, own.stop) - self._starts[self._owners[own]]
        bounds = np.full((scores.shape[axis], place.max(initial=-1) + 1), np.inf)
        bounds[local, place] = self._scores[own]
        if self._dtype == np.float64:
            slack = self._slack[owners, np.newaxis]
            return _count_at_least(scores, bounds - slack, axis)[local, place]
        low, high = self._around(bounds, owners)
        surely = _count_at_least(scores, high, axis)
        possibly = _count_at_least(scores, low, axis)
        for j in range(bounds.shape[1]):
            unsure = np.flatnonzero(surely[:, j] != possibly[:, j])
            for part in blocks(len(unsure), OWNERS_AT_ONCE):
                some = unsure[part]
                lines = scores[some] if axis == 0 else scores[:, some].T
                near = lines >= low[some, j, np.newaxis]
                near &= lines < high[some, j, np.newaxis]
                sides = (queries, gallery) if axis == 0 else (gallery, queries)
                surely[some, j] += _count_exactly(*sides, some, near, bounds[some, j])
        return surely[local, place]

    def _slice(self, owners: slice) -> slice:
        return slice(int(self._starts[owners.start]), int(self._starts[owners.stop]))

    def _around(
        self, bounds: NDArray[np.float64], owners: slice
    ) -> tuple[Vectors, Vectors]:
        """Scores that rounding may take across each bound lie between these two."""
        slack = self._slack[owners, np.newaxis]
        low = (bounds - slack).astype(np.float32)
        high = (bounds + slack).astype(np.float32)
        infinity = np.float32(np.inf)
        # Not the bounds of owners with fewer correct items, which stay infinite.
        np.nextafter(low, -infinity, out=low, where=np.isfinite(low))
        return low, np.nextafter(high, infinity)


def _count_exactly(
    asking: Vectors,
    asked: Vectors,
    own: NDArray[np.intp],
    near: NDArray[np.bool_],
    bounds: NDArray[np.float64],
) -> Rows:
    """How many of the near items of each owner reach its bound in double precision."""
    owners, items = np.nonzero(near)
    exact = block_scores(asking[own], asked, owners, items).astype(np.float32)
    return np.bincount(owners[exact >= bounds[owners]], minlength=len(own))


def _count_at_least(scores: Vectors, bounds: NDArray[Any], axis: int) -> Rows:
    """How many scores of each owner reach each of its bounds."""
    n_owners, n_bounds = bounds.shape
    counts = np.empty((n_owners, n_bounds), dtype=np.int64)
    if n_bounds > COMPARISONS:
        for owner in range(n_owners):
            line = np.sort(scores[owner] if axis == 0 else scores[:, owner])
            counts[owner] = len(line) - np.searchsorted(line, bounds[owner])
        return counts
    for j in range(n_bounds):
        asking = np.flatnonzero(np.isfinite(bounds[:, j]))
        if len(asking) * SELECTED > n_owners:
            counts[:, j] = _count_reached(scores, bounds[:, j], axis)
        else:
            # Captions of a block stand for few of the gallery's pictures.
            some = scores[asking] if axis == 0 else scores[:, asking]
            counts[:, j] = 0
            counts[asking, j] = _count_reached(some, bounds[asking, j], axis)
    return counts


def _count_reached(scores: Vectors, bound: NDArray[Any], axis: int) -> Rows:
    n_rows, n_columns = scores.shape
    # Rows of whole words, so that eight flags are added at once.
    mask = np.empty((n_rows, -(-n_columns // 8) * 8), dtype=bool)
    mask[:, n_columns:] = False
    bound = bound[:, np.newaxis] if axis == 0 else bound
    np.greater_equal(scores, bound, out=mask[:, :n_columns])
    return _count_true(mask, axis)[: scores.shape[axis]]


def _count_true(mask: NDArray[np.bool_], axis: int) -> Rows:
    """Number of true values of each row (axis 0) or column (axis 1)."""
    words = mask.view(np.uint64)
    counts = np.zeros(mask.shape[axis], dtype=np.int64)
    # A byte holds the sum of 255 flags.
    for part in blocks(words.shape[1 - axis], 255):
        if axis == 0:
            lanes = words[:, part].sum(axis=1).view(np.uint8)
            counts += lanes.reshape(-1, 8).sum(axis=1, dtype=np.int64)
        else:
            counts += words[part].sum(axis=0).view(np.uint8)
    return counts
