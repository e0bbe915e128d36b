"""Mappers on Dask arrays: moments where the blocks lie, and lazy projections."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np
from sklearn.utils.validation import assert_all_finite, check_is_fitted

from skxmodal._dask import (
    InvalidBlock,
    UnequalBlocks,
    as_array,
    block_names,
    block_results,
    import_dask,
    paired,
    reduce_blocks,
    with_lengths,
)
from skxmodal._validation import check_paired_items, is_dask
from skxmodal.mappers._blocks import TargetProducts
from skxmodal.mappers._folds import merge_moments
from skxmodal.mappers._moments import Moments

Method = TypeVar("Method", bound=Callable[..., Any])


def stand_in(rows: Any, name: str, mapper: str) -> Any:
    """Two rows of zeros in the dtype, width and column names of a Dask collection.

    What is checked of rows of numbers without reading them is checked on these.
    """
    if not is_dask(rows):
        _refuse_raw(rows, name, mapper)
        rows = np.asarray(rows)
        return np.zeros((2, *rows.shape[1:]), dtype=rows.dtype)
    meta: Any = getattr(rows, "_meta", None)
    dtypes = getattr(meta, "dtypes", [getattr(meta, "dtype", None)])
    if not all(getattr(dtype, "kind", "O") in "fiub" for dtype in dtypes):
        _refuse_raw(np.array([""]), name, mapper)
    if hasattr(meta, "columns"):
        zeros = np.zeros((2, len(meta.columns)))
        return type(meta)(zeros, columns=meta.columns).astype(meta.dtypes)
    return np.zeros((2, *rows.shape[1:]), dtype=meta.dtype)


def _refuse_raw(rows: Any, name: str, mapper: str) -> None:
    pair = (rows, None) if name == "X" else (None, rows)
    check_paired_items(*pair, mapper=mapper)


def paired_rows(X: Any, y: Any, like: tuple[Any, Any]) -> tuple[Any, Any]:
    """X and y as Dask arrays in blocks of the same rows, in the dtypes of `like`."""
    X = as_array(X, "X") if is_dask(X) else X
    y = as_array(y, "y") if is_dask(y) else y
    if is_dask(X):
        X, y = paired(X, y, names=("X", "y"))
    else:
        y, X = paired(y, X, names=("y", "X"))
    if y.ndim == 1:
        y = y[:, np.newaxis]
    return X.astype(like[0].dtype), y.astype(like[1].dtype)


def sum_moments(
    X: Any, y: Any, w: Any, *, target_products: TargetProducts, judge_y: bool = False
) -> Moments:
    """Moments of paired Dask arrays, summed per block and merged by a tree."""

    kind = {"target_products": target_products, "judge_y": judge_y}

    def total(*sides: Any) -> Moments:
        leaves = block_results(block_moments, *sides, **kind)
        return reduce_blocks(leaves, merge_moments, block_names(sides[0]))

    sides = [X, y] if w is None else [X, y, w]
    try:
        return total(*sides)
    except UnequalBlocks:
        # Unknown lengths that differ: learn them, rechunk, and start again.
        sides = [with_lengths(side) for side in sides]
        return total(*paired(*sides, names=("X", "y", "sample_weight")[: len(sides)]))


def block_moments(
    number: int,
    *sides: Any,
    target_products: TargetProducts,
    judge_y: bool = False,
) -> Moments:
    """Moments of one block of X, y and, where there are any, weights."""
    X, y, *rest = (np.asarray(side) for side in sides)
    w = rest[0] if rest else None
    lengths = [len(side) for side in sides]
    if len(set(lengths)) > 1:
        raise UnequalBlocks(f"X, y and sample_weight have {lengths} rows.", number)
    shape = X.shape[1], y.shape[1]
    moments = Moments(*shape, target_products=target_products, judge_y=judge_y)
    if not len(X):
        return moments
    try:
        return moments.update(X, y, w)
    except ValueError as error:
        reason = str(error)
    try:
        assert_all_finite(X, input_name="X")
        assert_all_finite(y, input_name="y")
    except ValueError as error:
        reason = str(error)
    raise InvalidBlock(reason, number)


def lazily_on_dask(method: Method) -> Method:
    """Make a method that maps rows give a lazy Dask array for a Dask array."""

    @wraps(method)
    def mapped(self: Any, *args: Any, **named: Any) -> Any:
        rows = args[0] if args else next(iter(named.values()), None)
        if is_dask(rows):
            return map_rows(self, method.__name__, rows)
        return method(self, *args, **named)

    return mapped  # type: ignore[return-value]


def map_rows(mapper: Any, method: str, rows: Any) -> Any:
    """Apply a method of a fitted mapper to each block of rows, lazily."""
    da = import_dask("dask.array")
    check_is_fitted(mapper)
    name = "y" if method == "transform_target" else "X"
    sample = getattr(mapper, method)(stand_in(rows, name, type(mapper).__name__))
    if not isinstance(sample, np.ndarray):
        raise ValueError(
            f"{type(mapper).__name__}.{method} gives {type(sample).__name__}, of which "
            "there are no Dask arrays. Take sparse_output=False and set_output's "
            "default."
        )
    rows = as_array(rows, name)
    settings = {"meta": sample[:0], "dtype": sample.dtype, "mapper": _light(mapper)}
    if rows.ndim > sample.ndim:
        settings["drop_axis"] = 1
    elif rows.ndim < sample.ndim:
        settings["new_axis"] = 1
    if sample.ndim > 1:
        settings["chunks"] = (rows.chunks[0], (sample.shape[1],))
    return da.map_blocks(_mapped, rows, method=method, **settings)


def _mapped(rows: Any, *, mapper: Any, method: str) -> Any:
    rows = np.asarray(rows)
    if not len(rows):
        return getattr(mapper, method)(np.zeros((1, *rows.shape[1:]), rows.dtype))[:0]
    return getattr(mapper, method)(rows)


def _light(mapper: Any) -> Any:
    """A delayed copy without what mapping doesn't need: moments, and column names."""
    light = copy.copy(mapper)
    for name in ("moments_", "feature_names_in_", "_sklearn_output_config"):
        vars(light).pop(name, None)
    return import_dask().delayed(light, pure=False)
