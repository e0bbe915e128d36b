"""Mappers on Dask arrays: moments where the blocks lie, and lazy projections."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
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
    """Two rows of zeros in the dtype, width and column names of given rows.

    What is checked of rows of numbers without reading them is checked on these.
    """
    if not is_dask(rows):
        return _stand_in_here(rows, name, mapper)
    meta: Any = getattr(rows, "_meta", None)
    if meta is None:
        if hasattr(type(rows), "to_delayed"):
            _refuse_raw(np.array([""]), name, mapper)
        as_array(rows, name)
    if hasattr(meta, "toarray") or hasattr(meta, "todense"):
        raise TypeError(
            f"{name} holds sparse blocks, and {mapper} needs dense ones: give "
            f"{name}.map_blocks(lambda block: block.toarray())."
        )
    framed = hasattr(meta, "columns")
    for dtype in meta.dtypes if framed else [meta.dtype]:
        _check_kind(dtype, name, mapper)
    if framed:
        return _frame_of_zeros(meta)
    width = rows.shape[1:]
    if any(math.isnan(size) for size in width):
        raise ValueError(
            f"{name} is a Dask array of an unknown number of columns, shape "
            f"{rows.shape}: say it where the array is made, as in "
            "da.from_delayed(value, shape=(numpy.nan, 384), dtype=float)."
        )
    # A Series may have a dtype of pandas; its blocks become numpy's own.
    dtype = meta.dtype if isinstance(meta.dtype, np.dtype) else np.float64
    return np.zeros((2, *width), dtype=dtype)


def _stand_in_here(rows: Any, name: str, mapper: str) -> Any:
    """Rows of this process, as few as need be, so that their own checks see them."""
    if rows is None:
        raise ValueError(
            f"{mapper} requires {name} to be passed, but it is None: X and y are "
            "paired row by row."
        )
    _refuse_raw(rows, name, mapper)
    if hasattr(rows, "toarray"):
        raise TypeError(
            f"{name} is sparse, and {mapper} needs dense rows: give {name}.toarray()."
        )
    if hasattr(rows, "iloc") and hasattr(rows, "columns"):
        return _frame_of_zeros(rows)
    rows = np.asarray(rows)
    return np.zeros((2, *rows.shape[1:]), dtype=rows.dtype)


def _refuse_raw(rows: Any, name: str, mapper: str) -> None:
    pair = (rows, None) if name == "X" else (None, rows)
    check_paired_items(*pair, mapper=mapper)


def _frame_of_zeros(like: Any) -> Any:
    zeros = np.zeros((2, len(like.columns)))
    return type(like)(zeros, columns=like.columns).astype(like.dtypes)


def _check_kind(dtype: Any, name: str, mapper: str) -> None:
    kind = getattr(dtype, "kind", "O")
    if kind in "fiub":
        return
    if kind == "c":
        raise ValueError(
            f"Complex data not supported: {name} is of {dtype}, and {mapper} maps real "
            "numbers."
        )
    raise ValueError(
        f"{name} is of {dtype}, and {mapper} maps between embeddings: it needs rows of "
        "real numbers of one width. Encode raw items first: "
        "TextEncoder().transform(items) gives a Dask array. Numbers held as objects "
        f"become numbers by {name}.astype(float), and lists by numpy.stack of each "
        "partition."
    )


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


def reduce_pairs(
    compute: Callable[..., Any],
    merge: Callable[[list[Any]], Any],
    *sides: Any,
    names: Sequence[str] = ("X", "y", "sample_weight"),
    **settings: Any,
) -> Any:
    """A function of each block of paired sides, merged by a tree.

    The function is given the block's number first, then arrays of as many rows. Where
    blocks of unknown lengths turn out not to pair, lengths are learned, the sides
    rechunked, and it starts again.
    """

    def reduced(*sides: Any) -> Any:
        leaves = block_results(_of_pairs, *sides, compute=compute, **settings)
        return reduce_blocks(leaves, merge, block_names(sides[0]))

    try:
        return reduced(*sides)
    except UnequalBlocks:
        known = [with_lengths(side) for side in sides]
        return reduced(*paired(*known, names=names[: len(known)]))


def _of_pairs(
    number: int, *sides: Any, compute: Callable[..., Any], **settings: Any
) -> Any:
    rows = [np.asarray(side) for side in sides]
    lengths = [len(side) for side in rows]
    if len(set(lengths)) > 1:
        raise UnequalBlocks(f"the paired sides have {lengths} rows.", number)
    return compute(number, *rows, **settings)


def checked_weight(weight: Any, X: Any) -> Any:
    """Weights of the rows of a Dask array, in blocks of the same rows.

    Raises
    ------
    ValueError
        If they are not one number a row. Values are checked where they lie.
    """
    if np.ndim(weight) == 0 and not is_dask(weight):
        return X.map_blocks(_constant, weight, drop_axis=1, dtype=np.float64)
    if hasattr(weight, "to_dask_array"):
        weight = weight.to_dask_array()
    elif not is_dask(weight):
        weight = np.asarray(weight)
    kind = getattr(getattr(weight, "dtype", None), "kind", "O")
    if getattr(weight, "ndim", 0) != 1 or kind not in "fiub":
        raise ValueError(
            "sample_weight must be one number a row, of shape (n_samples,); got shape "
            f"{getattr(weight, 'shape', None)} of {getattr(weight, 'dtype', None)}."
        )
    return paired(X, weight, names=("X", "sample_weight"))[1].astype(np.float64)


def _constant(rows: Any, weight: float) -> Any:
    return np.full(len(rows), weight, dtype=np.float64)


def sum_moments(
    X: Any,
    y: Any,
    w: Any,
    *,
    target_products: TargetProducts,
    judge_cross: bool = False,
) -> Moments:
    """Moments of paired Dask arrays, summed per block and merged by a tree."""
    sides = [X, y] if w is None else [X, y, w]
    total: Moments = reduce_pairs(
        block_moments,
        merge_moments,
        *sides,
        target_products=target_products,
        judge_cross=judge_cross,
    )
    return total


def block_moments(
    number: int,
    *sides: Any,
    target_products: TargetProducts,
    judge_cross: bool = False,
) -> Moments:
    """Moments of one block of X, y and, where there are any, weights."""
    X, y, *rest = sides
    w = rest[0] if rest else None
    shape = X.shape[1], y.shape[1]
    moments = Moments(*shape, target_products=target_products, judge_cross=judge_cross)
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
