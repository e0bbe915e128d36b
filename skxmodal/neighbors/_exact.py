"""Exact search of the largest inner products."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skxmodal.neighbors._blocks import (
    Rows,
    Vectors,
    block_scores,
    blocks,
    check_range,
    check_vectors,
    count_threads,
    in_threads,
    product_dtype,
    read_block,
    rounding,
    row_norms,
)

QUERY_BLOCK = 1024
GALLERY_BLOCK = 2048
# Columns whose largest score stands for them in a first bound of the k-th score.
COLUMNS_A_BUCKET = 16


def top_k(
    queries: ArrayLike, gallery: ArrayLike, k: int, *, n_threads: int | None = None
) -> tuple[NDArray[Any], Rows]:
    """Rows of the gallery with the largest inner products with each query.

    On unit rows the inner product is the cosine. The gallery is read in blocks, once
    for every thousand queries, and may be a memmap.

    Parameters
    ----------
    queries : array-like of shape (n_queries, d)
        Query vectors.
    gallery : array-like of shape (n_items, d)
        Gallery vectors; halves are computed in single precision.
    k : int
        How many rows to find, from 1 to n_items.
    n_threads : int, default=None
        Threads, each with one BLAS thread; None takes as many as BLAS would.

    Returns
    -------
    scores : ndarray of shape (n_queries, k)
        Inner products, descending, computed in double precision and then rounded to
        the inputs' precision.
    rows : ndarray of shape (n_queries, k) of int64
        Rows of the gallery. Where scores are equal the lower row comes first.

    Raises
    ------
    ValueError
        If shapes don't fit, values are not finite, or k is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.neighbors import top_k
    >>> gallery = np.array([[1.0, 0.0], [0.6, 0.8], [1.0, 0.0]])
    >>> scores, rows = top_k([[1.0, 0.0]], gallery, k=2)
    >>> rows
    array([[0, 2]])
    """
    queries, gallery = check_vectors(queries, gallery)
    k = check_n_neighbors(k, len(gallery))
    return top_k_of_checked(queries, gallery, k, longest_row(gallery), n_threads)


def longest_row(gallery: Vectors) -> float:
    """Length of the longest vector of a gallery.

    Raises
    ------
    ValueError
        If a value is NaN or infinite.
    """
    return float(row_norms(gallery, "gallery").max())


def top_k_of_checked(
    queries: Vectors, gallery: Vectors, k: int, longest: float, n_threads: int | None
) -> tuple[NDArray[Any], Rows]:
    """The same of a gallery that was looked through before, given its longest row."""
    dtype = product_dtype(queries, gallery)
    columns = max(GALLERY_BLOCK, 4 * k)
    norms = row_norms(queries, "queries")
    check_range(norms.max(), longest, dtype)
    slack = rounding(queries.shape[1], dtype) * longest * norms
    # Few queries still occupy every thread.
    share = -(-len(queries) // count_threads(n_threads))
    size = max(1, min(QUERY_BLOCK * GALLERY_BLOCK // columns, share))

    def search(rows: slice) -> tuple[NDArray[np.float64], Rows]:
        return _search_block(
            read_block(queries, rows, dtype), gallery, k, slack[rows], columns
        )

    found = in_threads(search, blocks(len(queries), size), n_threads)
    scores = np.concatenate([scores for scores, _ in found])
    return scores.astype(dtype), np.concatenate([rows for _, rows in found])


def check_n_neighbors(k: Any, n_items: int) -> int:
    """The number of items to find.

    Raises
    ------
    ValueError
        If it is no integer from 1 to the gallery's size.
    """
    whole = isinstance(k, Integral) and not isinstance(k, bool)
    if not whole or not 1 <= int(k) <= n_items:
        raise ValueError(
            f"k must be an integer from 1 to the gallery's size, {n_items}, got {k!r}."
        )
    return int(k)


def _search_block(
    queries: Vectors,
    gallery: Vectors,
    k: int,
    slack: NDArray[np.float64],
    width: int,
) -> tuple[NDArray[np.float64], Rows]:
    """Best k of each query of a block, by one pass over the gallery."""
    dtype = queries.dtype
    best = np.full((len(queries), k), -np.inf)
    best_rows = np.full((len(queries), k), len(gallery), dtype=np.int64)
    buffer = np.empty((len(queries), min(width, len(gallery))), dtype)
    for columns in blocks(len(gallery), width):
        block = read_block(gallery, columns, dtype)
        scores = buffer[:, : len(block)]
        np.matmul(queries, block.T, out=scores)
        floor = best[:, -1] - slack
        if columns.start == 0:
            floor = _kth_of_buckets(scores, k) - 2 * slack
        bound = np.nextafter(floor.astype(dtype), dtype.type(-np.inf))
        reached = np.flatnonzero(scores >= bound[:, np.newaxis])
        query_rows, found = np.divmod(reached, len(block))
        if len(query_rows):
            exact = block_scores(queries, block, query_rows, found).astype(dtype)
            _merge(best, best_rows, query_rows, found + columns.start, exact)
    return best, best_rows


def _kth_of_buckets(scores: Vectors, k: int) -> NDArray[np.float64]:
    """A bound that at least k scores of each row reach."""
    n_buckets = scores.shape[1] // COLUMNS_A_BUCKET
    if k <= n_buckets:
        whole = scores[:, : n_buckets * COLUMNS_A_BUCKET]
        # Every n_buckets-th column in one bucket: the reduction runs along memory.
        scores = whole.reshape(len(scores), COLUMNS_A_BUCKET, n_buckets).max(axis=1)
    return np.partition(scores, -k)[:, -k].astype(np.float64)


def _merge(
    best: NDArray[np.float64],
    best_rows: Rows,
    query_rows: NDArray[np.intp],
    found: Rows,
    scores: Vectors,
) -> None:
    """Put the scores found in a block into the best of each query, in place."""
    k = best.shape[1]
    touched, starts, counts = np.unique(
        query_rows, return_index=True, return_counts=True
    )
    place = k + np.arange(len(query_rows)) - np.repeat(starts, counts)
    owner = np.repeat(np.arange(len(touched)), counts)
    all_scores = np.full((len(touched), k + counts.max()), -np.inf)
    all_rows = np.zeros(all_scores.shape, dtype=np.int64)
    all_scores[:, :k], all_rows[:, :k] = best[touched], best_rows[touched]
    all_scores[owner, place], all_rows[owner, place] = scores, found
    # Stable, and rows rise from the left: lower rows come first where scores tie.
    order = np.argsort(-all_scores, kind="stable")[:, :k]
    best[touched] = np.take_along_axis(all_scores, order, axis=1)
    best_rows[touched] = np.take_along_axis(all_rows, order, axis=1)
