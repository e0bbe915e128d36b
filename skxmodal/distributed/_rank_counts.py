"""Ranks of correct items over shards: each shard counts, the counts are added."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skxmodal._dask import name_futures, result_of, wait_for_blocks
from skxmodal.distributed._parts import (
    Parts,
    checked_rows,
    leaves_of,
    merge_on_workers,
    require_client,
    send,
    submit,
)
from skxmodal.neighbors._blocks import Rows, check_range, product_dtype, row_norms
from skxmodal.neighbors._rank_shards import OwnPairs, count_wrong, places
from skxmodal.neighbors._ranks import check_correct, own_scores

# A pair whose row is in a part, as it travels.
_OWN = np.dtype([("row", np.int64), ("score", np.float64)])


def count_ranks(
    queries: Any,
    gallery: Any,
    indptr: ArrayLike,
    indices: ArrayLike,
    *,
    both: bool = False,
) -> Any:
    """Rank of every correct item in each query's list of a gallery in shards.

    The ranks of :func:`skxmodal.neighbors.count_ranks`, ties included, with either
    side larger than one memory: each worker counts, for the shards it has, the items
    that score at least as high as each correct one, and the counts are added.

    Parameters
    ----------
    queries : Dask array of shape (n_queries, d), or array-like
        Query vectors.
    gallery : Dask array of shape (n_items, d), or array-like
        Gallery vectors.
    indptr : array-like of shape (n_queries + 1,)
        Where each query's correct items begin and end in ``indices``.
    indices : array-like of shape (n_pairs,)
        Rows of the gallery that are correct, query after query, each once.
    both : bool, default=False
        Whether to rank also the queries in each gallery item's list.

    Returns
    -------
    ranks : ndarray of shape (n_pairs,) of int64
        Rank of each correct item in its query's list, from 1.
    reverse_ranks : ndarray of shape (n_pairs,) of int64
        Only where ``both``: rank of each pair's query in the list of its gallery item.

    Raises
    ------
    RuntimeError
        If there is no cluster.
    ShardError
        If a shard's source can't be read.
    ValueError
        If shapes don't fit, values are not finite, or a correct item is out of range
        or named twice.

    See Also
    --------
    skxmodal.metrics.retrieval_ranks : Maps both sides of Dask arrays, then counts.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> from skxmodal.distributed import count_ranks
    >>> with Client(n_workers=3, dashboard_address=":0") as client:
    ...     gallery = da.from_array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], chunks=(2, 2))
    ...     queries = da.from_array([[1.0, 0.0], [1.0, 0.0]], chunks=(1, 2))
    ...     ranks = count_ranks(queries, gallery, [0, 1, 3], [0, 1, 2])
    >>> ranks
    array([1, 2, 3])
    """
    client = require_client("count_ranks")
    sides = [
        Parts(client, *leaves_of(queries, vector_part, kind="block of queries")),
        Parts(client, *leaves_of(gallery, vector_part, kind="shard")),
    ]
    return count_over_parts(sides[0], sides[1], indptr, indices, both=both)


class VectorPart(NamedTuple):
    """A block of vectors on a worker, and their lengths."""

    vectors: NDArray[Any]
    norms: NDArray[np.float64]

    @property
    def n_items(self) -> int:
        """Number of rows."""
        return len(self.vectors)


def vector_part(block: Any, name: str) -> VectorPart:
    """Take a block of vectors of finite numbers."""
    rows = checked_rows(block, name)
    return VectorPart(rows, row_norms(rows, name))


def count_over_parts(
    queries: Parts,
    gallery: Parts,
    indptr: ArrayLike,
    indices: ArrayLike,
    *,
    both: bool,
) -> Any:
    """Count ranks of vectors that are on the workers already."""
    pairs = check_correct(indptr, indices, queries.n_rows, gallery.n_rows)
    client = queries.client
    sides = (_Side(queries, pairs.queries), _Side(gallery, pairs.items))
    largest = _check_shapes(*sides)
    own = _score_pairs(*sides)
    asked = sides if both else sides[:1]
    futures, names = [], []
    counts: list[list[list[Any]]] = [[[] for _ in side.parts.futures] for side in sides]
    sent = [
        [send(client, side.own(number, own)) for number in side.numbers]
        for side in asked
    ]
    for number in sides[0].numbers:
        for shard in sides[1].numbers:
            here = (number, shard)
            future = submit(
                client,
                _count,
                *(side.parts.futures[at] for side, at in zip(sides, here, strict=True)),
                largest,
                send(client, _pairs_here(*sides, *here)),
                [owned[at] for owned, at in zip(sent, here, strict=False)],
            )
            futures.append(future)
            names.append(gallery.names[shard])
            for axis, at in zip(range(len(asked)), here, strict=False):
                counts[axis][at].append(submit(client, _item, future, axis))
    totals = [
        [merge_on_workers(client, _add, some) for some in of_side]
        for of_side in counts[: len(asked)]
    ]
    del counts, future, sent
    named = name_futures(futures, names)
    for side in sides:
        named |= side.parts.named
    wait_for_blocks(futures, named, release=True)
    ranks = []
    for side, of_side in zip(asked, totals, strict=True):
        of_pairs = places(side.rows, own, side.parts.n_rows)
        for number, total in zip(side.numbers, of_side, strict=True):
            of_pairs[side.pairs_of(number)] += result_of(
                total, "the sum of counts", named
            )
        ranks.append(of_pairs)
    return (ranks[0], ranks[1]) if both else ranks[0]


class _Side:
    """The parts of one side, and which correct pairs each of them holds."""

    def __init__(self, parts: Parts, rows: Rows) -> None:
        self.parts = parts
        self.rows = rows
        self.part_of_pair = np.searchsorted(parts.starts, rows, side="right") - 1
        self._order = np.argsort(self.part_of_pair, kind="stable")
        self._bounds = np.searchsorted(
            self.part_of_pair[self._order], np.arange(len(parts.futures) + 1)
        )

    @property
    def numbers(self) -> range:
        """The numbers of the parts."""
        return range(len(self.parts.futures))

    def pairs_of(self, number: int) -> Rows:
        """The pairs whose row is in a part."""
        return self._order[self._bounds[number] : self._bounds[number + 1]]

    def local(self, number: int, pairs: Rows) -> Rows:
        """The rows of pairs, counted within a part."""
        return self.rows[pairs] - self.parts.starts[number]

    def own(self, number: int, scores: NDArray[np.float64]) -> NDArray[Any]:
        """The pairs whose row is in a part, and their scores."""
        pairs = self.pairs_of(number)
        own = np.empty(len(pairs), dtype=_OWN)
        own["row"], own["score"] = self.local(number, pairs), scores[pairs]
        return own


def _pairs_here(
    queries: _Side, gallery: _Side, number: int, shard: int
) -> NDArray[np.int64]:
    """Rows of the queries and items of the pairs that have both sides in two parts."""
    pairs = queries.pairs_of(number)
    pairs = pairs[gallery.part_of_pair[pairs] == shard]
    rows = queries.local(number, pairs), gallery.local(shard, pairs)
    return np.stack(rows, axis=1)


def _check_shapes(queries: _Side, gallery: _Side) -> tuple[float, float]:
    """The largest length of a row of each side, whose widths must agree."""
    found = queries.parts.of_each(_describe) + gallery.parts.of_each(_describe)
    if len({part.shape[1] for part, _ in found}) > 1:
        raise ValueError(
            f"queries have {found[0][0].shape[1]} columns and the gallery "
            f"{found[-1][0].shape[1]}: both must lie in one space."
        )
    n = len(queries.numbers)
    largest = (
        max(length for _, length in found[:n]),
        max(length for _, length in found[n:]),
    )
    check_range(*largest, product_dtype(found[0][0], found[-1][0]))
    return largest


def _score_pairs(queries: _Side, gallery: _Side) -> NDArray[np.float64]:
    """Score of each correct pair, computed on a worker that has one of its sides."""
    client = queries.parts.client
    scores = np.empty(len(queries.rows))
    waiting = []
    for number in queries.numbers:
        pairs = queries.pairs_of(number)
        for shard in np.unique(gallery.part_of_pair[pairs]):
            here = pairs[gallery.part_of_pair[pairs] == shard]
            future = submit(
                client,
                _own_scores,
                queries.parts.futures[number],
                gallery.parts.futures[shard],
                send(client, _pairs_here(queries, gallery, number, int(shard))),
            )
            waiting.append((here, future, gallery.parts.names[shard]))
    named = queries.parts.named | gallery.parts.named
    for here, future, name in waiting:
        scores[here] = result_of(future, name, named)
    return scores


def _describe(part: VectorPart) -> tuple[NDArray[Any], float]:
    return part.vectors[:0], float(part.norms.max())


def _own_scores(
    queries: VectorPart, gallery: VectorPart, pairs: NDArray[np.int64]
) -> NDArray[np.float64]:
    return own_scores(queries.vectors, gallery.vectors, pairs[:, 0], pairs[:, 1])


def _count(
    queries: VectorPart,
    gallery: VectorPart,
    largest: tuple[float, float],
    correct: NDArray[np.int64],
    own: list[NDArray[Any]],
) -> tuple[Rows | None, Rows | None]:
    mine: list[OwnPairs | None] = [OwnPairs(*_columns(side)) for side in own]
    return count_wrong(
        queries.vectors,
        gallery.vectors,
        (queries.norms, gallery.norms),
        largest,
        (correct[:, 0], correct[:, 1]),
        (mine[0], mine[1] if len(mine) > 1 else None),
    )


def _columns(side: NDArray[Any]) -> tuple[Rows, NDArray[np.float64]]:
    return side["row"].copy(), side["score"].copy()


def _item(counts: tuple[Any, ...], axis: int) -> Any:
    return counts[axis]


def _add(counts: list[Rows]) -> Rows:
    return np.sum(counts, axis=0)
