"""Choice of a penalty on Dask arrays: errors and folds summed per block."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from skxmodal._dask import import_dask, with_lengths
from skxmodal.mappers._blocks import TargetProducts
from skxmodal.mappers._dask_rows import block_moments, reduce_pairs
from skxmodal.mappers._folds import FoldMoments, merge_moments
from skxmodal.mappers._moments import Moments
from skxmodal.mappers._ridge_path import LeftOut, RidgePath


def leave_one_out_over_blocks(
    path: RidgePath, X: Any, y: Any, w: Any, alphas: np.ndarray, plan: LeftOut
) -> np.ndarray:
    """The leave-one-out errors of each penalty, from a second pass over the blocks."""
    sides = [X, y] if w is None else [X, y, w]
    return reduce_pairs(
        _block_errors,
        _summed,
        *sides,
        # Once in the graph: it is as large as the moments.
        path=import_dask().delayed(path, pure=False),
        alphas=alphas,
        plan=plan,
    )


def fold_moments_over_blocks(
    X: Any,
    y: Any,
    w: Any,
    splits: Iterable[tuple[np.ndarray, np.ndarray]],
    *,
    target_products: TargetProducts,
) -> FoldMoments:
    """Moments of each fold, summed per block and merged by a tree.

    Raises
    ------
    ValueError
        If the test folds do not part the rows.
    """
    X = with_lengths(X)
    n_samples = X.shape[0]
    fold_of_row = np.full(n_samples, -1, dtype=np.int64)
    n_tested, n_folds, complementary = 0, 0, True
    for fold, (train, test) in enumerate(splits):
        fold_of_row[test] = fold
        n_tested += len(test)
        n_folds += 1
        here = np.zeros(n_samples, dtype=bool)
        here[train] = here[test] = True
        complementary &= len(train) + len(test) == n_samples and bool(here.all())
    if n_tested != n_samples or (fold_of_row < 0).any() or not complementary:
        raise ValueError(
            "On Dask arrays cv must part the rows: each in one test fold, and in the "
            "training set of all others. Take KFold or GroupKFold, or an integer."
        )
    folds = import_dask("dask.array").from_array(fold_of_row, chunks=X.chunks[0])
    sides = [X, y, folds] if w is None else [X, y, folds, w]
    tests = reduce_pairs(
        _block_folds,
        _merged_folds,
        *sides,
        names=("X", "y", "folds", "sample_weight"),
        n_folds=n_folds,
        target_products=target_products,
    )
    total = merge_moments(tests)
    return FoldMoments(total, [(total - test, test) for test in tests])


def _block_errors(
    number: int, *sides: Any, path: RidgePath, alphas: np.ndarray, plan: LeftOut
) -> np.ndarray:
    X, y, *rest = sides
    return plan.sums(path, X, y, rest[0] if rest else None, alphas)


def _summed(errors: list[np.ndarray]) -> np.ndarray:
    return np.sum(errors, axis=0)


def _block_folds(
    number: int, *sides: Any, n_folds: int, target_products: TargetProducts
) -> list[Moments]:
    X, y, folds, *rest = sides
    found = []
    for fold in range(n_folds):
        own = folds == fold
        some = [side[own] for side in (X, y, *rest)]
        found.append(block_moments(number, *some, target_products=target_products))
    return found


def _merged_folds(parts: list[list[Moments]]) -> list[Moments]:
    return [merge_moments(list(fold)) for fold in zip(*parts, strict=True)]
