"""Blocks of rows on Dask: paired, reduced by a tree, and named where they fail."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxmodal._optional import import_optional
from skxmodal._validation import is_dask

# Partial results that one task merges.
FAN_IN = 8


class ShardError(RuntimeError):
    """A block of rows, or shard, can't be computed; the message names it.

    Raised where its source is gone, or where every worker that tried it died.

    Examples
    --------
    >>> from skxmodal.distributed import ShardError
    >>> issubclass(ShardError, RuntimeError)
    True
    """


class InvalidBlock(ValueError):
    """The values of a block are refused.

    The message names the block, unless it is left to whoever knows the block's number.
    """

    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message, number)

    def __str__(self) -> str:
        return str(self.args[0])

    def named(self, names: Sequence[str]) -> InvalidBlock:
        """The same error, with the name of its block."""
        message, number = self.args
        return self if number is None else type(self)(f"In {names[number]}: {message}")


class UnequalBlocks(InvalidBlock):
    """Blocks of the two sides that should pair have different numbers of rows."""


def import_dask(module: str = "dask") -> Any:
    """Import Dask, or a module of it, or say how to install it."""
    return import_optional(module, extra="dask", purpose="Dask input")


def current_client() -> Any:
    """The `distributed` client that Dask computes on now, or None."""
    if "distributed" not in sys.modules:
        return None
    from dask.base import get_scheduler
    from distributed import Client

    owner = getattr(get_scheduler(), "__self__", None)
    return owner if isinstance(owner, Client) else None


def as_array(rows: Any, name: str) -> Any:
    """Rows as a Dask array whose columns are in one chunk.

    Raises
    ------
    TypeError
        If they are a Dask collection without columns, such as a bag.
    """
    if hasattr(rows, "to_dask_array"):
        rows = rows.to_dask_array()
    if not (is_dask(rows) and hasattr(rows, "chunks")):
        raise TypeError(
            f"{name} must be a Dask array or DataFrame of numbers, got "
            f"{type(rows).__name__}. Encode raw items first: "
            "encoder.transform(items) gives a Dask array."
        )
    return whole_rows(rows)


def whole_rows(array: Any) -> Any:
    """The array with every axis but the first in one chunk."""
    whole = {
        axis: -1 for axis, chunks in enumerate(array.chunks) if axis and len(chunks) > 1
    }
    return array.rechunk(whole) if whole else array


def knows_lengths(array: Any) -> bool:
    """Tell whether the number of rows of each block is known."""
    return not any(math.isnan(length) for length in array.chunks[0])


def with_lengths(array: Any) -> Any:
    """The array with known numbers of rows, for which its blocks are computed once."""
    if knows_lengths(array):
        return array
    lengths = [delayed(_n_rows)(block) for block in row_blocks(array)]
    return with_chunks(array, tuple(gather_blocks(lengths, block_names(array))))


def with_chunks(array: Any, lengths: tuple[int, ...]) -> Any:
    """The same array, with the numbers of rows that its blocks are known to have."""
    import dask.array as da

    return da.Array(
        array.__dask_graph__(),
        array.name,
        (lengths, *array.chunks[1:]),
        meta=array._meta,
    )


def row_blocks(array: Any) -> list[Any]:
    """One delayed block of rows for each chunk of the first axis."""
    return list(array.to_delayed().reshape(len(array.chunks[0]), -1)[:, 0])


def block_results(function: Callable[..., Any], *arrays: Any, **settings: Any) -> Any:
    """A function of each block of paired arrays, delayed, one task with their reading.

    So rows stay where they are read: of two tasks that read the two sides, a scheduler
    may give each to another worker. The function is given the block's number first.
    """
    da = import_dask("dask.array")
    numbers = da.map_blocks(
        _block_number, chunks=((1,) * arrays[0].numblocks[0],), dtype=np.int64
    )
    # Rows are axis 0 of all sides. Every other axis is of one chunk, and one of the
    # result's: Dask makes one task of what doesn't reduce.
    axes = iter(range(1, sum(array.ndim for array in arrays) + 1))
    indices = [(0, *(next(axes) for _ in array.shape[1:])) for array in arrays]
    results = da.blockwise(
        _called,
        (0, *(axis for index in indices for axis in index[1:])),
        numbers,
        (0,),
        *(part for pair in zip(arrays, indices, strict=True) for part in pair),
        function=function,
        dtype=object,
        meta=np.empty((0,) * (1 + sum(len(index) - 1 for index in indices)), object),
        align_arrays=False,
        **settings,
    )
    return list(results.to_delayed().ravel())


def _block_number(block_id: tuple[int, ...] | None = None) -> NDArray[np.int64]:
    return np.array([0 if block_id is None else block_id[0]])


def _called(
    number: NDArray[np.int64],
    *sides: Any,
    function: Callable[..., Any],
    **settings: Any,
) -> Any:
    return function(int(number[0]), *sides, **settings)


def paired(first: Any, *others: Any, names: Sequence[str]) -> list[Any]:
    """Row-aligned arrays in blocks of the same rows, those of the first.

    Blocks of unknown length pair as they are where each side has as many of them, and
    are checked where they lie.

    Raises
    ------
    ValueError
        If the numbers of rows differ.
    """
    import dask.array as da

    arrays = [first]
    for name, other in zip(names[1:], others, strict=True):
        if not is_dask(other):
            arrays[0] = first = with_lengths(first)
            other = np.asarray(other)
            _check_lengths(first, other, (names[0], name))
            chunks = (first.chunks[0], *other.shape[1:])
            arrays.append(da.from_array(other, chunks=chunks))
            continue
        unknown = not knows_lengths(first) and not knows_lengths(other)
        if unknown and first.numblocks[0] == other.numblocks[0]:
            arrays.append(other)
            continue
        first, other = with_lengths(first), with_lengths(other)
        arrays[0] = first
        _check_lengths(first, other, (names[0], name))
        if first.chunks[0] != other.chunks[0]:
            _warn_of_rechunk(names[0], name)
            other = other.rechunk({0: first.chunks[0]})
        arrays.append(other)
    return arrays


def _check_lengths(first: Any, other: Any, names: tuple[str, str]) -> None:
    if first.shape[0] != other.shape[0]:
        raise ValueError(
            f"{names[0]} has {first.shape[0]} rows and {names[1]} {other.shape[0]}: "
            "row i of both must be one pair."
        )


def _warn_of_rechunk(first: str, other: str) -> None:
    warnings.warn(
        f"{first} and {other} are chunked differently: {other} is rechunked by rows "
        f"to the chunks of {first}, which moves its rows between workers. Chunk them "
        "alike where they are read.",
        UserWarning,
        stacklevel=2,
    )


def block_names(array: Any, kind: str = "block") -> list[str]:
    """What to call each block of rows: its number and, where known, its rows."""
    lengths = array.chunks[0]
    names = []
    start = 0
    for number, length in enumerate(lengths):
        name = f"{kind} {number} of {len(lengths)}"
        if not math.isnan(start + length):
            name += f" (rows {start} to {start + length - 1})"
        names.append(name)
        start += length
    return names


def reduce_blocks(
    leaves: list[Any],
    merge: Callable[[list[Any]], Any],
    names: Sequence[str],
) -> Any:
    """Merge one partial result a block by a tree, and bring the last one here.

    Parameters
    ----------
    leaves : list of Delayed
        The partial result of each block.

    merge : callable
        Takes a list of partial results, in the order of their blocks, to one.

    names : sequence of str
        What to call each block where one fails.

    Returns
    -------
    result : object
        The partial results merged.

    Raises
    ------
    ShardError
        If a block can't be computed; where its values are refused, the error that
        refused them.
    """
    merged = merge_by_tree(delayed(merge), leaves)
    return gather_blocks([*leaves, merged], names, last_only=True)


def merge_by_tree(merge: Callable[[list[Any]], Any], parts: list[Any]) -> Any:
    """All parts merged, a few at a time, in their order."""
    while len(parts) > 1:
        parts = [
            merge(parts[start : start + FAN_IN])
            for start in range(0, len(parts), FAN_IN)
        ]
    return parts[0]


def gather_blocks(
    leaves: list[Any], names: Sequence[str], *, last_only: bool = False
) -> Any:
    """Compute delayed results and bring them here, or only the last of them."""
    import dask

    client = current_client()
    if client is None:
        try:
            results = dask.compute(*(leaves[-1:] if last_only else leaves))
        except InvalidBlock as error:
            raise error.named(names) from None
        return results[0] if last_only else list(results)
    futures = client.compute(leaves)
    if not last_only:
        wait_for_blocks(futures, names)
        return client.gather(futures)
    last = futures.pop()
    wait_for_blocks(futures, names, release=True)
    return last.result()


def wait_for_blocks(
    futures: list[Any], names: Sequence[str], *, release: bool = False
) -> None:
    """Wait until every future is done, and name the first that fails.

    With `release` the list is emptied, and each result let go once it is there.

    Raises
    ------
    ShardError
        If a future fails; where values were refused, the error that refused them.
    """
    from distributed import as_completed

    number = {future.key: place for place, future in enumerate(futures)}
    waiting = as_completed(futures)
    if release:
        futures.clear()
    for future in waiting:
        if future.status == "finished":
            continue
        raise_named(future, names[number[future.key]], names)


def raise_named(future: Any, name: str, names: Sequence[str] = ()) -> None:
    """Raise the error of a failed future, with the name of its block."""
    error = future.exception() if future.status == "error" else None
    if isinstance(error, InvalidBlock):
        raise error.named(names)
    reason = f"{type(error).__name__}: {error}" if error is not None else future.status
    raise ShardError(
        f"{name[:1].upper()}{name[1:]} can't be computed, {reason}. Is its source "
        "still there, on every worker? Nothing was changed."
    ) from error


def _n_rows(block: Any) -> int:
    return int(block.shape[0])


def delayed(function: Callable[..., Any]) -> Any:
    """The function, to be called where its arguments lie."""
    return import_dask().delayed(function, pure=False)
