"""Blocks of rows on Dask: paired, reduced by a tree, and named where they fail."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from skxmodal._optional import import_optional
from skxmodal._validation import is_dask

# Partial results that one task merges.
FAN_IN = 8
# Whose frames a warning passes over.
_PACKAGES = ("skxmodal", "sklearn")


class ShardError(RuntimeError):
    """A block of rows, or shard, can't be computed; the message names it.

    Raised where its source is gone, or where every worker that tried it died.

    Examples
    --------
    >>> from skxmodal.distributed import ShardError
    >>> issubclass(ShardError, RuntimeError)
    True
    """


class RefusedValue(ShardError, ValueError):
    """A shard whose values are refused by what computes it, such as an encoder."""


class RefusedType(ShardError, TypeError):
    """A shard whose items are of a type that what computes it refuses."""


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
    # A Delayed value seems to have any attribute, its class has not.
    if hasattr(type(rows), "to_dask_array"):
        rows = rows.to_dask_array()
    if not (is_dask(rows) and hasattr(type(rows), "chunks")):
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
        stacklevel=_levels_to_caller(),
    )


def _levels_to_caller() -> int:
    """The stacklevel at which the code that called this package stands."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        level += 1
        if frame.f_globals.get("__name__", "").partition(".")[0] not in _PACKAGES:
            break
    return level


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
    named = name_futures(futures, names)
    last = futures.pop() if last_only else None
    try:
        if last is None:
            return gather_futures(client, futures, named)
        # Each is let go once it is there, so that moments don't pile up.
        wait_for_blocks(futures, named, release=True)
        return result_of(last, "the merged blocks", named)
    except BaseException:
        # The error's traceback would hold them, and what nobody waits for would run on.
        for future in (*futures, last):
            if future is not None:
                future.release()
        raise


def name_futures(futures: list[Any], names: Sequence[str]) -> dict[str, str]:
    """The name of each future's block, by the future's key."""
    return {future.key: name for future, name in zip(futures, names, strict=False)}


def wait_for_blocks(
    futures: list[Any], named: dict[str, str], *, release: bool = False
) -> None:
    """Wait until every future is done, and name the first that fails.

    With `release` the list is emptied, and each result let go once it is there.

    Raises
    ------
    ShardError
        If a future fails; where values were refused, the error that refused them.
    """
    from distributed import as_completed

    waiting = as_completed(futures)
    if release:
        futures.clear()
    failed = next((future for future in waiting if future.status != "finished"), None)
    # The others are let go before the error, whose traceback would hold them.
    del waiting
    if failed is not None:
        raise_named(failed, named.get(failed.key, "a block"), named)


def gather_futures(client: Any, futures: list[Any], named: dict[str, str]) -> list[Any]:
    """Results of futures; what fails is named, after it was there once too."""
    wait_for_blocks(futures, named)
    try:
        return list(client.gather(futures))
    except Exception:
        # Its worker has died since, and it can't be computed again.
        wait_for_blocks(futures, named)
        raise


def result_of(future: Any, name: str, named: dict[str, str]) -> Any:
    """The result of a future, or the error of the block that it failed for.

    Parameters
    ----------
    future : Future
        What was made of several blocks.

    name : str
        What to call it where the block can't be told.

    named : dict of str to str
        Names of the blocks that it was made of, by their keys.
    """
    from distributed import wait

    wait(future)
    if future.status != "finished":
        raise_named(future, named.get(future.key, name), named)
    try:
        return future.result()
    except Exception:
        wait(future)
        if future.status == "finished":
            raise
        raise_named(future, named.get(future.key, name), named)


def raise_named(future: Any, name: str, named: dict[str, str]) -> NoReturn:
    """Raise the error of a failed future, with the name of its block."""
    error = future.exception() if future.status == "error" else None
    if isinstance(error, InvalidBlock):
        raise error.named(list(named.values()))
    if error is not None:
        # A scheduler without skxmodal can't tell.
        with suppress(Exception):
            name = named[
                future.client.run_on_scheduler(
                    _failed_block, key=future.key, keys=set(named)
                )
            ]
    reason = f"{type(error).__name__}: {error}" if error is not None else future.status
    message = f"{name[:1].upper()}{name[1:]} can't be computed, {reason}"
    message += "" if message.endswith(".") else "."
    for kind, refused in ((ValueError, RefusedValue), (TypeError, RefusedType)):
        if isinstance(error, kind):
            raise refused(f"{message} Nothing was changed.") from error
    if error is None or isinstance(error, OSError) or _is_lost(error):
        message += " Is its source still there, on every worker?"
    raise ShardError(f"{message} Nothing was changed.") from error


def _is_lost(error: BaseException) -> bool:
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError

    return isinstance(error, KilledWorker | FutureCancelledError)


def _failed_block(dask_scheduler: Any, key: Any, keys: set[Any]) -> Any:
    """Of some keys, the one for which another failed: run where they are known."""
    task = dask_scheduler.tasks.get(key)
    blamed = None if task is None else task.exception_blame
    waiting, seen = [blamed] if blamed is not None else [], set()
    while waiting:
        task = waiting.pop(0)
        if task.key in keys:
            return task.key
        if task.key not in seen:
            seen.add(task.key)
            waiting += task.dependents
    return None


def _n_rows(block: Any) -> int:
    return int(block.shape[0])


def delayed(function: Callable[..., Any]) -> Any:
    """The function, to be called where its arguments lie."""
    return import_dask().delayed(function, pure=False)
