"""Moments of cross-validation folds, from one pass over the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from skxmodal.mappers._blocks import TargetProducts, take
from skxmodal.mappers._moments import Moments

_CHUNK_ROWS = 8192


class FoldMoments(NamedTuple):
    """Moments of all rows, and the (train, test) moments of each split."""

    total: Moments
    splits: list[tuple[Moments, Moments]]


def fold_moments(
    X: Any,
    y: Any,
    sample_weight: Any,
    splits: Iterable[tuple[np.ndarray, np.ndarray]],
    *,
    target_products: TargetProducts = "squares",
) -> FoldMoments:
    """Sum the moments of every fold, reading each row once where folds partition.

    The moments of a training set are the total less the test fold's own, wherever the
    two are complements.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        The queries.

    y : array of shape (n_samples, n_targets)
        The targets.

    sample_weight : ndarray of shape (n_samples,) or None
        The weights of the pairs.

    splits : iterable of (train, test)
        Row numbers, as cross-validation splitters give them.

    target_products : {"none", "squares", "full"}, default="squares"
        How much of y'y is kept.

    Returns
    -------
    moments : FoldMoments
        The total and the moments of each split.
    """
    n_samples = X.shape[0]
    splits = [(np.asarray(train), np.asarray(test)) for train, test in splits]

    def of(rows: np.ndarray) -> Moments:
        return moments_of_rows(rows, X, y, sample_weight, target_products)

    tests = [of(test) for _, test in splits]
    total = total_moments(tests, splits, n_samples, of)
    pairs = []
    for (train, test), moments in zip(splits, tests, strict=True):
        rest = are_complements(train, test, n_samples)
        pairs.append((total - moments if rest else of(train), moments))
    return FoldMoments(total, pairs)


def are_complements(train: np.ndarray, test: np.ndarray, n_samples: int) -> bool:
    """Whether every row is once in one of the two sides."""
    if len(train) + len(test) != n_samples:
        return False
    return len(np.union1d(train, test)) == n_samples


def total_moments(
    tests: list[Moments],
    splits: list[tuple[np.ndarray, np.ndarray]],
    n_samples: int,
    of: Callable[[np.ndarray], Moments],
) -> Moments:
    """Moments of all rows: those of the test folds where each row is in one."""
    counts = np.bincount(
        np.concatenate([test for _, test in splits]), minlength=n_samples
    )
    return merge_moments(tests) if (counts == 1).all() else of(np.arange(n_samples))


def merge_moments(parts: list[Moments]) -> Moments:
    """The moments of all parts' rows."""
    total = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total


def moments_of_rows(
    rows: np.ndarray,
    X: Any,
    y: Any,
    w: Any,
    target_products: TargetProducts,
    *,
    judge_cross: bool = False,
) -> Moments:
    """Moments of some of the rows, without a copy of them all."""
    widths = X.shape[1], y.shape[1]
    moments = Moments(*widths, target_products=target_products, judge_cross=judge_cross)
    size = max(len(rows), 1) if _are_a_run(rows) else _CHUNK_ROWS
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        weights = None if w is None else w[chunk]
        if _are_a_run(chunk):
            window = slice(int(chunk[0]), int(chunk[-1]) + 1)
            moments.update(X[window, ...], y[window, ...], weights)
        else:
            moments.update(take(X, chunk), take(y, chunk), weights)
    return moments


def _are_a_run(rows: np.ndarray) -> bool:
    """Whether the rows follow each other, so that a slice holds them."""
    return bool((np.diff(rows) == 1).all())
