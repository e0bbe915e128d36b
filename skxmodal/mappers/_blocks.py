"""Sums and products of one block of paired rows, fast and on their own device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.linalg import lapack
from sklearn.utils._array_api import (
    _convert_to_numpy,
    _is_numpy_namespace,
    device,
    get_namespace,
)

from skxmodal.mappers._placement import widest_float

TargetProducts = Literal["none", "squares", "full"]

_BLOCK_BYTES_A_COLUMN = 32_768
# Below this 1-norm condition number of the correlations, float32 products of centred
# rows keep a least-squares fit within 1e-4 of float64 (docs/decisions/0010).
_FLOAT32_CONDITION = 1e5
# Below this ratio of the singular values of X'y, they keep its polar factor so.
_FLOAT32_CROSS_CONDITION = 3.5e4
# A sample of rows that is this far beyond the limit needs no look at all of them.
_SAMPLE_SLACK = 10.0
_FLOAT32_RANGE = (1e-12, 1e12)
_PROBE_ROWS_PER_COLUMN = 3
# Products of fewer columns take so little time that float64 is none the slower.
_FEW_COLUMNS = 64
# Columns of y whose mean is within this many standard deviations are not shifted.
_NEGLIGIBLE_OFFSET = 2.0
_SAMPLE_ROWS = 64
_RUN_ROWS = 64
NOT_FINITE = (
    "X, y or sample_weight holds NaN, infinity, or numbers whose squares overflow."
)


class Block(NamedTuple):
    """Sums and products of rows about their own shift."""

    n_samples: int
    weight: float
    x_shift: np.ndarray
    y_shift: np.ndarray
    x_sum: np.ndarray
    y_sum: np.ndarray
    x_products: np.ndarray
    xy_products: np.ndarray
    y_products: np.ndarray


def sum_blocks(
    X: Any,
    y: Any,
    w: np.ndarray | None,
    target_products: TargetProducts,
    single: bool,
) -> Iterator[Block]:
    """Sum rows block by block, with products in float32 where `single`."""
    xp, _ = get_namespace(X, y)
    of_block = numpy_block if _is_numpy_namespace(xp) else device_block
    dtype = xp.float32 if single else widest_float(xp, device(X))
    n_rows = _BLOCK_BYTES_A_COLUMN // (4 if dtype == xp.float32 else 8)
    for start in range(0, X.shape[0], n_rows):
        rows = slice(start, min(start + n_rows, X.shape[0]))
        sides, weights = (X[rows, ...], y[rows, ...]), None
        if w is not None:
            sides, weights = present_rows(*sides, w[rows])
        if weights is None or len(weights):
            yield of_block(*sides, weights, target_products, dtype)


def present_rows(X: Any, y: Any, w: np.ndarray) -> tuple[tuple[Any, Any], np.ndarray]:
    """The rows of positive weight; the others must be finite all the same."""
    absent = np.flatnonzero(w == 0)
    if not len(absent):
        return (X, y), w
    xp, _ = get_namespace(X, y)
    sides = X, y
    if not all(bool(xp.all(xp.isfinite(take(side, absent)))) for side in sides):
        raise ValueError(NOT_FINITE)
    present = np.flatnonzero(w)
    return (take(X, present), take(y, present)), w[present]


def numpy_block(
    X: np.ndarray,
    y: np.ndarray,
    w: np.ndarray | None,
    target_products: TargetProducts,
    dtype: Any,
) -> Block:
    """Sum a block of NumPy rows with products in `dtype`."""
    n_samples, weight = len(X), float(len(X))
    root = np.ones(n_samples, dtype=dtype)
    if w is None:
        x_shift, X = _near_zero(X, dtype, always=True)
        y_shift, y = _near_zero(y, dtype, always=target_products == "full")
    else:
        weight, root = float(w.sum()), np.sqrt(w).astype(dtype)
        share = (w / weight).astype(dtype)
        X, y = X.astype(dtype, copy=False), y.astype(dtype, copy=False)
        x_shift, y_shift = share @ X, share @ y
        X, y = X - x_shift, y - y_shift
        X = X * root[:, np.newaxis]
        y = y * root[:, np.newaxis]
    y_products = np.empty(0)
    if target_products == "full":
        y_products = y.T @ y
    elif target_products == "squares":
        y_products = _column_squares(y)
    sums = _column_sums(root, X), _column_sums(root, y)
    products = X.T @ X, X.T @ y, y_products
    return Block(n_samples, weight, x_shift, y_shift, *sums, *products)


def device_block(
    X: Any,
    y: Any,
    w: np.ndarray | None,
    target_products: TargetProducts,
    dtype: Any,
) -> Block:
    """Sum a block of rows of any array namespace, with products on their device."""
    xp, _ = get_namespace(X, y)
    n_samples, weight = int(X.shape[0]), float(X.shape[0])
    X, y = xp.astype(X, dtype), xp.astype(y, dtype)
    root = xp.ones((X.shape[0], 1), dtype=dtype, device=device(X))
    if w is None:
        x_shift, y_shift = xp.mean(X, axis=0), xp.mean(y, axis=0)
        X, y = X - x_shift, y - y_shift
    else:
        weight = float(w.sum())
        share = xp.asarray(w[np.newaxis] / weight, dtype=dtype, device=device(X))
        x_shift, y_shift = (share @ X)[0, ...], (share @ y)[0, ...]
        root = xp.asarray(np.sqrt(w)[:, np.newaxis], dtype=dtype, device=device(X))
        X, y = (X - x_shift) * root, (y - y_shift) * root
    x_sum, y_sum = (root.T @ X)[0, ...], (root.T @ y)[0, ...]
    y_products = y_sum[:0]
    if target_products == "full":
        y_products = y.T @ y
    elif target_products == "squares":
        y_products = xp.sum(y * y, axis=0)
    arrays = (x_shift, y_shift, x_sum, y_sum, X.T @ X, X.T @ y, y_products)
    return Block(n_samples, weight, *(_convert_to_numpy(a, xp) for a in arrays))


def take(rows: Any, index: np.ndarray) -> Any:
    """Rows by their numbers, on their own device."""
    xp, is_array_api = get_namespace(rows)
    if not is_array_api:
        return rows[index]
    return xp.take(rows, xp.asarray(index, device=device(rows)), axis=0)


def is_float32(xp: Any, *sides: Any) -> bool:
    """Tell whether all rows are float32."""
    return all(bool(rows.dtype == xp.float32) for rows in sides)


def float32_suffices(xp: Any, *sides: Any, w: np.ndarray | None = None) -> bool:
    """Tell from a sample of rows whether float32 products would lose little.

    Where a side has too few rows of positive weight to tell, or few columns, the
    answer is no.
    """
    if sides[0].shape[1] < _FEW_COLUMNS:
        return False
    for rows in sides:
        n_probed = _PROBE_ROWS_PER_COLUMN * rows.shape[1]
        (probe,) = _probe(xp, n_probed, w, rows)
        if len(probe) < n_probed or not _fit_for_float32(_centred(probe)):
            return False
    return True


def cross_suffices(xy: np.ndarray, slack: float = 1.0) -> bool:
    """Tell whether a polar factor of X'y, from products in float32, loses little."""
    rows, columns = xy.any(axis=1), xy.any(axis=0)
    if not (rows.all() and columns.all()):
        xy = xy[rows][:, columns]
    with np.errstate(all="ignore"):
        gram = xy @ xy.T if xy.shape[0] <= xy.shape[1] else xy.T @ xy
    if not gram.size or not np.isfinite(gram).all():
        return False
    squares = np.linalg.eigvalsh(gram)
    limit = slack * _FLOAT32_CROSS_CONDITION
    return bool(squares[0] * limit**2 > squares[-1])


def cross_may_suffice(xp: Any, X: Any, y: Any, w: np.ndarray | None) -> bool:
    """Tell from a sample whether `cross_suffices` is worth all rows' products."""
    n_probed = _PROBE_ROWS_PER_COLUMN * X.shape[1]
    x_probe, y_probe = map(_centred, _probe(xp, n_probed, w, X, y))
    return cross_suffices((x_probe.T @ y_probe).astype(np.float64), _SAMPLE_SLACK)


def _probe(xp: Any, n_rows: int, w: np.ndarray | None, *sides: Any) -> list[np.ndarray]:
    """So many rows of positive weight of each side, or all, evenly apart."""
    present = None if w is None or w.all() else np.flatnonzero(w)
    n_samples = sides[0].shape[0] if present is None else len(present)
    step = max(n_samples // n_rows, 1)
    every = slice(0, n_rows * step, step)
    if present is None:
        return [_convert_to_numpy(rows[every, ...], xp) for rows in sides]
    return [_convert_to_numpy(take(rows, present[every]), xp) for rows in sides]


def _centred(probe: np.ndarray) -> np.ndarray:
    # The judgement is as rough as its limits: float32 is enough for it.
    return probe - probe.mean(axis=0, dtype=np.float64).astype(np.float32)


def _fit_for_float32(probe: np.ndarray) -> bool:
    """Tell whether centred rows, which are overwritten, are well conditioned."""
    spread = np.sqrt(np.einsum("ij,ij->j", probe, probe) / np.float32(len(probe)))
    if not np.isfinite(spread).all():
        return False
    varies = spread > _FLOAT32_RANGE[0] * spread.max(initial=0.0)
    lower, upper = _FLOAT32_RANGE
    if not varies.any() or spread[varies].min() < lower or spread.max() > upper:
        return False
    if not varies.all():
        probe, spread = probe[:, varies], spread[varies]
    probe /= spread
    correlations = (probe.T @ probe).astype(np.float64) / len(probe)
    return condition_number(correlations) < _FLOAT32_CONDITION


def condition_number(matrix: np.ndarray) -> float:
    """1-norm condition number of a symmetric matrix; infinite unless positive."""
    norm = np.abs(matrix).sum(axis=0).max()
    factor, failed = lapack.dpotrf(matrix, lower=1)
    if failed:
        return np.inf
    reciprocal, _ = lapack.dpocon(factor, norm, uplo="L")
    return 1.0 / reciprocal if reciprocal > 0 else np.inf


def _near_zero(
    rows: np.ndarray, dtype: Any, *, always: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Shift the columns near zero, unless a sample shows them near enough."""
    sample = rows[:: max(len(rows) // _SAMPLE_ROWS, 1)].astype(dtype)
    mean = sample.mean(axis=0)
    if not always:
        squares = np.einsum("ij,ij->j", sample, sample) / len(sample)
        # mean^2 <= r^2 variance, with the variance from the same two sums.
        ratio = _NEGLIGIBLE_OFFSET**2
        if ((1 + ratio) * mean**2 <= ratio * squares).all():
            return np.zeros(len(mean)), rows.astype(dtype, copy=False)
    return mean, np.subtract(rows, mean, dtype=dtype)


def _column_sums(root: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Weighted sums a column; float32 rows in short runs, summed in float64."""
    if rows.dtype == np.float64:
        return np.asarray(root @ rows)
    whole = len(rows) // _RUN_ROWS * _RUN_ROWS
    runs = root[:whole].reshape(-1, 1, _RUN_ROWS) @ rows[:whole].reshape(
        -1, _RUN_ROWS, rows.shape[1]
    )
    return np.asarray(
        runs[:, 0].sum(axis=0, dtype=np.float64) + root[whole:] @ rows[whole:]
    )


def _column_squares(rows: np.ndarray) -> np.ndarray:
    """Sums of squares a column; float32 rows in short runs, summed in float64."""
    whole = len(rows) // _RUN_ROWS * _RUN_ROWS
    runs = rows[:whole].reshape(-1, _RUN_ROWS, rows.shape[1])
    squares = np.einsum("rkj,rkj->rj", runs, runs).sum(axis=0, dtype=np.float64)
    squares += np.einsum("kj,kj->j", rows[whole:], rows[whole:])
    return squares
