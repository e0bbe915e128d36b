"""Cosines with anchors, of which each row keeps its largest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from skxmodal._validation import unit_rows

# Similarities held at once: 32 MB of float64.
_BLOCK_ENTRIES = 4_000_000


def kept_similarities(
    rows: np.ndarray, mean: np.ndarray, anchors: np.ndarray, k: int, power: float
) -> Iterator[tuple[slice, sparse.csr_matrix]]:
    """Blocks of rows and their k largest cosines about the mean, to a power.

    The anchors are unit rows already. A power leaves the sign as it is.
    """
    size = max(1, _BLOCK_ENTRIES // len(anchors))
    anchors = anchors.astype(rows.dtype, copy=False)
    for start in range(0, len(rows), size):
        block = slice(start, min(start + size, len(rows)))
        kept = largest(centred_unit_rows(rows[block], mean) @ anchors.T, k)
        kept.data = np.copysign(np.abs(kept.data) ** power, kept.data)
        yield block, kept


def largest(values: np.ndarray, k: int) -> sparse.csr_matrix:
    """The k largest entries of each row; of equal ones, those of lower columns."""
    n, width = values.shape
    if k < width:
        threshold = np.partition(values, width - k, axis=1)[:, [width - k]]
        kept = values >= threshold
        for row in np.flatnonzero(np.count_nonzero(kept, axis=1) > k):
            tied = np.flatnonzero(values[row] == threshold[row])
            n_above = np.count_nonzero(values[row] > threshold[row])
            kept[row, tied[k - n_above :]] = False
        columns = np.nonzero(kept)[1]
        entries = values[kept]
    else:
        columns = np.tile(np.arange(width), n)
        entries = values.ravel()
    return sparse.csr_matrix(
        (entries, columns, np.arange(0, n * k + 1, k)), shape=values.shape
    )


def centred_unit_rows(rows: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Rows less the mean, of unit norm, in the dtype of the rows."""
    return unit_rows(rows - mean).astype(rows.dtype, copy=False)
