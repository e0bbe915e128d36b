"""Products of vectors in blocks, and the rounding that they may carry."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skxmodal._row_errors import check_kind
from skxmodal.neighbors._blas import one_thread

Vectors: TypeAlias = NDArray[Any]
Rows: TypeAlias = NDArray[np.int64]
Item = TypeVar("Item")
Result = TypeVar("Result")

# Values of the pairs gathered at once: 0.5 MB of float64 a side, so that they stay in
# the cache between the gather and the product.
VALUES_AT_ONCE = 65_536
# Above one in so many pairs of a block one product is cheaper than single pairs.
FEW_PAIRS = 16


def check_vectors(queries: ArrayLike, gallery: ArrayLike) -> tuple[Vectors, Vectors]:
    """Both sides as 2-D arrays of numbers of one width, memmaps left on disk.

    Raises
    ------
    ValueError
        If a side is not 2-D, has no row or no column, holds masked values or no real
        numbers, or the widths differ.
    """
    queries, gallery = check_rows(queries, "queries"), check_rows(gallery, "gallery")
    if queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"queries have {queries.shape[1]} columns and the gallery "
            f"{gallery.shape[1]}: both must lie in one space."
        )
    return queries, gallery


def check_rows(vectors: ArrayLike, name: str) -> Vectors:
    """Vectors as a 2-D array of numbers, a memmap left on disk.

    Raises
    ------
    ValueError
        If they are not 2-D, have no row or no column, or hold masked values or no
        real numbers.
    """
    if hasattr(vectors, "toarray"):
        raise ValueError(f"{name} are sparse; give {name}.toarray().")
    vectors = vectors if isinstance(vectors, np.ndarray) else np.asarray(vectors)
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise ValueError(
            f"{name} must be of shape (n, d) with at least one row and one "
            f"column, got shape {vectors.shape}."
        )
    if vectors.dtype.kind not in "fiub":
        advice = f" Give {name}.astype(float)." if vectors.dtype == object else ""
        raise ValueError(
            f"{name} must hold real numbers, got dtype {vectors.dtype}.{advice}"
        )
    check_kind(vectors, name)
    return vectors


def product_dtype(queries: Vectors, gallery: Vectors) -> np.dtype[Any]:
    """float32 for what float32 holds (halves too), else float64."""
    common = np.result_type(queries.dtype, gallery.dtype)
    single = common.kind == "f" and common.itemsize <= 4
    return np.dtype(np.float32 if single else np.float64)


def read_block(vectors: Vectors, rows: slice, dtype: np.dtype[Any]) -> Vectors:
    """Rows of an array or memmap, contiguous, in the product's precision."""
    return np.ascontiguousarray(vectors[rows], dtype=dtype)


def blocks(n: int, size: int) -> Iterator[slice]:
    """Slices that cover n rows."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def row_norms(vectors: Vectors, name: str) -> NDArray[np.float64]:
    """Length of each row, in double precision.

    Raises
    ------
    ValueError
        If a value is NaN or infinite.
    """
    norms = np.empty(len(vectors))
    for rows in blocks(len(vectors), 8192):
        block = np.asarray(vectors[rows])
        if block.dtype.kind != "f" or block.dtype.itemsize < 4:
            block = block.astype(np.float64)
        norms[rows] = np.sqrt(np.einsum("ij,ij->i", block, block, dtype=np.float64))
    bad = np.flatnonzero(~np.isfinite(norms))
    if len(bad):
        if np.isfinite(np.asarray(vectors[bad], dtype=np.float64)).all():
            raise ValueError(
                f"Squares of {name} leave the range of float64 in {len(bad)} of "
                f"{len(vectors)} rows, the first in row {bad[0]}. Scale the vectors to "
                "unit length."
            )
        raise ValueError(
            f"{name} has NaN or infinite values in {len(bad)} of {len(vectors)} "
            f"rows, the first in row {bad[0]}."
        )
    return norms


def kept_rows(rows: ArrayLike, n_items: int) -> NDArray[np.bool_]:
    """Which of a gallery's items stay when some rows are taken out.

    Raises
    ------
    IndexError
        If a row is out of range.
    ValueError
        If they are neither row numbers nor a mask of all items, or no item would stay.
    """
    gone = np.asarray(rows)
    if not gone.size:
        gone = gone.astype(np.int64)
    is_mask = gone.dtype == bool and gone.shape == (n_items,)
    if gone.dtype.kind not in "iu" and not is_mask:
        raise ValueError(
            f"rows must be row numbers, or a mask with one bool for each of the "
            f"{n_items} items, got shape {gone.shape} of {gone.dtype}."
        )
    kept = np.ones(n_items, dtype=bool)
    kept[gone] = False
    if not kept.any():
        raise ValueError(
            "No item would stay in the index. Fit it to another gallery instead."
        )
    return kept


def check_range(longest: float, other: float, dtype: np.dtype[Any]) -> None:
    """Check that no inner product of rows of these lengths overflows.

    Raises
    ------
    ValueError
        If one may.
    """
    with np.errstate(over="ignore"):
        largest = np.multiply(longest, other, dtype=np.float64)
    if largest > np.finfo(dtype).max / 4:
        raise ValueError(
            f"Inner products of rows as long as {longest:.3g} and {other:.3g} leave "
            f"the range of {dtype}. Scale the vectors to unit length."
        )


def rounding(n_columns: int, dtype: np.dtype[Any]) -> float:
    """Largest error to expect of a product of two unit vectors."""
    # Four times the square-root law of random rounding; measured errors are a tenth.
    return float(4 * np.sqrt(n_columns + 1) * np.finfo(dtype).eps / 2)


def pair_scores(
    queries: Vectors, gallery: Vectors, query_rows: Rows, gallery_rows: Rows
) -> NDArray[np.float64]:
    """Inner product of each pair of rows in double precision.

    The same two vectors give the same bits, wherever they stand.
    """
    scores = np.empty(len(query_rows))
    at_once = max(1, VALUES_AT_ONCE // queries.shape[1])
    for pairs in blocks(len(query_rows), at_once):
        left = queries[query_rows[pairs]].astype(np.float64)
        right = gallery[gallery_rows[pairs]].astype(np.float64)
        # Not BLAS, whose order of summation depends on the place in the block.
        scores[pairs] = np.einsum("ij,ij->i", left, right)
    return scores


def block_scores(
    queries: Vectors, gallery: Vectors, query_rows: Rows, gallery_rows: Rows
) -> NDArray[np.float64]:
    """Scores of pairs within a block, by one product where most of it is asked for.

    Of single precision; the product's last bits differ from those of single pairs, but
    they are rounded away, and where rounding may turn on them the pair is computed
    alone. Double precision always takes single pairs.
    """
    size = len(queries) * len(gallery)
    if queries.dtype == np.float64 or len(query_rows) * FEW_PAIRS < size:
        return pair_scores(queries, gallery, query_rows, gallery_rows)
    dense = queries.astype(np.float64) @ gallery.astype(np.float64).T
    scores = dense[query_rows, gallery_rows]
    slack = rounding(queries.shape[1], np.dtype(np.float64)) * (
        row_norms(queries, "queries")[query_rows]
        * row_norms(gallery, "gallery")[gallery_rows]
    )
    low, high = (scores - slack).astype(np.float32), (scores + slack).astype(np.float32)
    unsure = np.flatnonzero(low != high)
    scores[unsure] = pair_scores(
        queries, gallery, query_rows[unsure], gallery_rows[unsure]
    )
    return scores


def count_threads(n_threads: int | None) -> int:
    """Threads to use: as many as BLAS would, unless the caller says.

    Raises
    ------
    ValueError
        If ``n_threads`` is below 1.
    """
    if n_threads is None:
        return getattr(_share, "n_threads", None) or one_thread.n_threads()
    if n_threads < 1:
        raise ValueError(f"n_threads must be at least 1 or None, got {n_threads}.")
    return n_threads


# Threads that work in one of our threads may take itself, where it is not told.
_share = threading.local()


def in_threads(
    work: Callable[[Item], Result], items: Iterable[Item], n_threads: int | None
) -> list[Result]:
    """Results of the work on each item, in order, with one BLAS thread in each.

    Work that starts threads in its turn has its share of these, so that together they
    are no more than asked for.
    """
    threads = count_threads(n_threads)
    items = list(items)
    workers = max(1, min(threads, len(items)))

    def work_on_share(item: Item) -> Result:
        before = getattr(_share, "n_threads", None)
        _share.n_threads = threads // workers
        try:
            return work(item)
        finally:
            _share.n_threads = before

    with one_thread:
        if workers == 1:
            return [work_on_share(item) for item in items]
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(work_on_share, items))
