"""Neighbour lists of one space, which may be relabelled as pairs are permuted."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from skxmodal._validation import unit_rows

_ROWS_AT_ONCE = 1024
# Cosines that differ by less are ties: of equal rows, say, multiplied in another order.
_TIE = 8.0


class NeighborLists(NamedTuple):
    """The k rows of the largest cosine with each row, the row itself left out.

    Of tied rows, those of lower numbers; so a permutation of the rows changes which.

    `rows` (n, k) has the strictly nearer rows first. `open` (n, k) tells the places
    that tied rows compete for: `candidates`, of the rows numbered in `owners`.
    """

    rows: NDArray[np.int64]
    open: NDArray[np.bool_]
    owners: NDArray[np.int64]
    candidates: NDArray[np.int64]

    @classmethod
    def of(cls, X: NDArray[Any], k: int) -> Self:
        """The lists of these rows, which are centred."""
        unit = unit_rows(X)
        n = len(unit)
        margin = _TIE * float(np.finfo(unit.dtype).eps)
        lists = np.empty((n, k), dtype=np.int64)
        is_open = np.zeros((n, k), dtype=np.bool_)
        owners, candidates = [], []
        for start in range(0, n, _ROWS_AT_ONCE):
            block = np.arange(start, min(start + _ROWS_AT_ONCE, n))
            cosines = unit[block] @ unit.T
            cosines[block - start, block] = -np.inf
            nearest = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
            found = np.take_along_axis(cosines, nearest, axis=1)
            last = found.min(axis=1, keepdims=True)
            tied = np.abs(cosines - last) <= margin
            # The nearer ones come first.
            lists[block] = np.take_along_axis(
                nearest, np.argsort(-found, axis=1, kind="stable"), axis=1
            )
            places = np.count_nonzero(found - last <= margin, axis=1)
            contested = np.count_nonzero(tied, axis=1) > places
            is_open[block] = contested[:, None] & (np.arange(k) >= k - places[:, None])
            owner, candidate = np.nonzero(tied & contested[:, None])
            owners.append(owner + start)
            candidates.append(candidate)
        ties = np.concatenate(owners), np.concatenate(candidates)
        return cls(cls(lists, is_open, *ties).relabelled(np.arange(n)), is_open, *ties)

    def relabelled(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The lists after row i became row ``numbers[i]``, in the order of those."""
        named = numbers[self.rows]
        if len(self.owners):
            labels = numbers[self.candidates]
            labels = labels[np.lexsort((labels, self.owners))]
            first = np.searchsorted(self.owners, self.owners)
            place = np.arange(len(labels)) - first
            n_open = np.count_nonzero(self.open, axis=1)
            named[self.open] = labels[place < n_open[self.owners]]
        lists = np.empty_like(named)
        lists[numbers] = named
        return lists
