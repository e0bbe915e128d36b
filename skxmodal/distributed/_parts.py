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
    merge_by_tree,
    raise_named,
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
        wait_for_blocks(futures, names)
        n_rows = client.gather([submit(client, _n_rows, part) for part in futures])
        kept = [number for number, n in enumerate(n_rows) if n]
        if not kept:
            raise ValueError("There are no rows: every block is empty.")
        self.futures = [futures[number] for number in kept]
        self.names = [names[number] for number in kept]
        self.starts = np.cumsum([0, *(n_rows[number] for number in kept)])

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
        pieces = list(sent_blocks(np.asarray(vectors)))
        names = [f"{kind} {number} of {len(pieces)}" for number in range(len(pieces))]
        blocks = pieces
    made = [
        delayed(make)(block, name, *args)
        for block, name in zip(blocks, names, strict=True)
    ]
    return made, names


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


def result_of(future: Any, name: str) -> Any:
    """The result of a future, or its error with a name."""
    from distributed import wait

    wait(future)
    if future.status != "finished":
        raise_named(future, name)
    return future.result()


def checked_rows(block: Any, name: str) -> NDArray[Any]:
    """A block of vectors as a 2-D array of finite numbers.

    Raises
    ------
    InvalidBlock
        If it isn't one.
    """
    rows = np.asarray(block)
    if rows.ndim != 2 or rows.dtype.kind not in "fiub":
        raise InvalidBlock(
            f"In {name}: expected rows of numbers of shape (n, d), got shape "
            f"{rows.shape} of {rows.dtype}."
        )
    bad = np.flatnonzero(~np.isfinite(rows.sum(axis=1, dtype=np.float64)))
    if len(bad):
        raise InvalidBlock(
            f"In {name}: {len(bad)} of {len(rows)} rows hold NaN or infinite values, "
            f"the first is row {bad[0]} of the block."
        )
    return rows


def _n_rows(part: Any) -> int:
    return int(part.n_items)
