"""Blocks of vectors that are kept on the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxmodal._dask import (
    InvalidBlock,
    as_array,
    block_names,
    current_client,
    delayed,
    gather_futures,
    merge_by_tree,
    name_futures,
    row_blocks,
    wait_for_blocks,
)
from skxmodal._validation import is_dask

# Bytes of a block of vectors that is sent from here: below what Dask warns of.
SENT_BYTES = 4_000_000


def require_client(purpose: str) -> Any:
    """The client of the cluster that keeps the shards.

    Raises
    ------
    RuntimeError
        If there is none.
    """
    client = current_client()
    if client is None:
        raise RuntimeError(
            f"{purpose} keeps shards on the workers of a cluster, and there is none. "
            "Start one, or connect to one: client = distributed.Client()."
        )
    return client


class Parts:
    """Blocks of rows kept on workers as futures, recomputed where a worker dies.

    Attributes
    ----------
    futures : list of Future
        What was made of each block that has rows.
    names : list of str
        What to call each in an error.
    starts : ndarray of shape (n_parts + 1,)
        The first row of each part, and the number of rows.
    """

    def __init__(
        self, client: Any, leaves: Sequence[Any], names: Sequence[str]
    ) -> None:
        self.client = client
        futures = client.compute(list(leaves))
        wait_for_blocks(futures, name_futures(futures, names))
        counts = [submit(client, _n_rows, part) for part in futures]
        n_rows = gather_futures(client, counts, name_futures(counts, names))
        kept = [number for number, n in enumerate(n_rows) if n]
        if not kept:
            raise ValueError("There are no rows: every block is empty.")
        self.futures = [futures[number] for number in kept]
        self.names = [names[number] for number in kept]
        self.starts = np.cumsum([0, *(n_rows[number] for number in kept)])

    def of_each(self, function: Callable[[Any], Any]) -> list[Any]:
        """What a function gives for each part, where it lies."""
        futures = [submit(self.client, function, part) for part in self.futures]
        return gather_futures(self.client, futures, name_futures(futures, self.names))

    @property
    def named(self) -> dict[str, str]:
        """The name of each part, by the key of its future."""
        return name_futures(self.futures, self.names)

    @property
    def n_rows(self) -> int:
        """Number of rows of all parts."""
        return int(self.starts[-1])

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        return enumerate(self.futures)


def leaves_of(
    vectors: Any, make: Callable[..., Any], *args: Any, kind: str = "block"
) -> tuple[list[Any], list[str]]:
    """What to make of each block of vectors, to be computed where it lies, and names.

    An array in this process is sent in blocks.
    """
    if is_dask(vectors):
        vectors = as_array(vectors, "vectors")
        names = block_names(vectors, kind)
        blocks: list[Any] = row_blocks(vectors)
    else:
        pieces = list(sent_blocks(_rows_here(vectors)))
        names = [f"{kind} {number} of {len(pieces)}" for number in range(len(pieces))]
        blocks = pieces
    made = [
        delayed(make)(block, name, *args)
        for block, name in zip(blocks, names, strict=True)
    ]
    return made, names


def _rows_here(vectors: Any) -> NDArray[Any]:
    """Vectors of this process, refused before they are sent."""
    if hasattr(vectors, "toarray"):
        raise TypeError("vectors are sparse: give vectors.toarray().")
    rows = np.asarray(vectors)
    if rows.ndim != 2:
        raise ValueError(f"vectors must be of shape (n, d), got shape {rows.shape}.")
    return rows


def sent_blocks(vectors: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Blocks of rows small enough to travel inside a task."""
    n_rows = max(1, SENT_BYTES // max(1, vectors[:1].nbytes))
    for start in range(0, max(1, len(vectors)), n_rows):
        yield vectors[start : start + n_rows]


def submit(client: Any, function: Callable[..., Any], *args: Any) -> Any:
    """Run a function where its arguments lie."""
    return client.submit(function, *args, pure=False)


def send(client: Any, array: NDArray[Any]) -> Any:
    """A future of an array of this process, that survives the death of its worker."""
    pieces = [submit(client, _as_it_is, piece) for piece in sent_blocks(array)]
    return submit(client, _joined, pieces) if len(pieces) != 1 else pieces[0]


def _as_it_is(array: Any) -> Any:
    return array


def _joined(pieces: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(pieces)


def merge_on_workers(
    client: Any, merge: Callable[[list[Any]], Any], futures: list[Any]
) -> Any:
    """One future of all results merged, a few at a time, in their order."""
    return merge_by_tree(partial(submit, client, merge), futures)


def checked_rows(block: Any, name: str) -> NDArray[Any]:
    """A block of vectors, or a column of lists, as a 2-D array of finite numbers.

    Raises
    ------
    InvalidBlock
        If it isn't one.
    """
    rows = _stacked(np.asarray(block), name)
    if rows.ndim != 2 or rows.dtype.kind not in "fiub" or not rows.shape[1]:
        raise InvalidBlock(
            f"In {name}: expected rows of numbers of shape (n, d), got shape "
            f"{rows.shape} of {rows.dtype}."
        )
    # The sum tells at once whether there is anything to look for.
    with np.errstate(over="ignore", invalid="ignore"):
        sums = rows.sum(axis=1, dtype=np.float64)
    odd = np.flatnonzero(~np.isfinite(sums))
    bad = odd[~np.isfinite(rows[odd]).all(axis=1)]
    if len(bad):
        raise InvalidBlock(
            f"In {name}: {len(bad)} of {len(rows)} rows hold NaN or infinite values, "
            f"the first is row {bad[0]} of the block."
        )
    return rows


def _stacked(rows: NDArray[Any], name: str) -> NDArray[Any]:
    """Rows of one width out of a column of lists, as Parquet files hold vectors."""
    if rows.ndim == 2 and rows.shape[1] == 1 and rows.dtype == object:
        rows = rows[:, 0]
    if rows.ndim != 1 or rows.dtype != object or not len(rows):
        return rows
    lists = [np.asarray(row) for row in rows]
    if len({row.shape for row in lists}) > 1:
        widths = sorted({row.shape for row in lists})
        raise InvalidBlock(
            f"In {name}: the vectors of a column must be of one width, got shapes "
            f"{widths}."
        )
    return np.stack(lists)


def _n_rows(part: Any) -> int:
    return int(part.n_items)
