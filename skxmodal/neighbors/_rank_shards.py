"""Ranks of correct items where neither side is in one memory: counts by parts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skxmodal.neighbors._blocks import (
    Rows,
    Vectors,
    blocks,
    product_dtype,
    rounding,
)
from skxmodal.neighbors._ranks import QUERY_BLOCK, CorrectPairs, Side, products


class OwnPairs(NamedTuple):
    """Correct pairs of one side, whose owners are in this part: whom they outrank.

    Attributes
    ----------
    owners : ndarray of shape (n_pairs,)
        Row of each pair's owner, a query or an item, within the part.
    scores : ndarray of shape (n_pairs,)
        Score of each pair, as `own_scores` gives it.
    """

    owners: Rows
    scores: NDArray[np.float64]


def places(owners: Rows, scores: NDArray[np.float64], n_owners: int) -> Rows:
    """Place of each pair among the correct ones of its owner, from 1."""
    side = Side(owners, scores, np.zeros(n_owners), np.dtype(np.float64))
    return side.places


def count_wrong(
    queries: Vectors,
    gallery: Vectors,
    norms: tuple[NDArray[np.float64], NDArray[np.float64]],
    largest: tuple[float, float],
    correct: tuple[Rows, Rows],
    own: tuple[OwnPairs | None, OwnPairs | None],
) -> tuple[Rows | None, Rows | None]:
    """Wrong items of a part that score at least as high as each correct pair.

    Parameters
    ----------
    queries, gallery : ndarray of shape (n_queries, d) and (n_items, d)
        A block of queries, and a shard of the gallery.
    norms : tuple of ndarray
        Length of each of these rows.
    largest : tuple of float
        The largest length of any query, and of any item, of all parts.
    correct : tuple of ndarray of shape (n_here,)
        The pairs of which both sides are here: rows of queries, ascending, and items.
    own : tuple of OwnPairs or None
        The pairs whose query is here, wherever their item is; and the other way round.

    Returns
    -------
    counts : tuple of ndarray or None
        For each pair of `own`, how many items, or queries, of this part outrank it.
    """
    dtype = product_dtype(queries, gallery)
    unit = rounding(queries.shape[1], dtype)
    starts = np.searchsorted(correct[0], np.arange(len(queries) + 1))
    pairs = CorrectPairs(correct[0], correct[1], starts)
    sides: list[tuple[int, Side, Rows]] = []
    counts: list[Rows | None] = [None, None]
    for axis, mine in enumerate(own):
        if mine is None:
            continue
        slack = unit * norms[axis] * largest[1 - axis]
        total = np.zeros(len(mine.owners), dtype=np.int64)
        sides.append((axis, Side(mine.owners, mine.scores, slack, dtype), total))
        counts[axis] = total
    for rows in blocks(len(queries), QUERY_BLOCK):
        for columns, scores, block_queries, block in products(
            queries, gallery, rows, pairs, dtype
        ):
            for axis, side, total in sides:
                owners = (rows, columns)[axis]
                wrong = side.count_wrong(scores, owners, axis, block_queries, block)
                side.add(total, owners, wrong)
    return counts[0], counts[1]
