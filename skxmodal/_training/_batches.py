"""Batches of row numbers, and whether a contrastive loss can learn from them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray


def n_batches(n_rows: int, batch_size: int) -> int:
    """Number of batches an epoch is cut into, of `batch_size` rows on average.

    It is rounded: a batch may be larger, by half where there are one and a half times
    as many rows.

    Examples
    --------
    >>> n_batches(1000, 256), n_batches(10, 256)
    (4, 1)
    """
    return max(1, round(n_rows / batch_size))


def epoch_batches(
    n_rows: int, batch_size: int, generator: torch.Generator
) -> Iterator[torch.Tensor]:
    """Shuffled rows in batches of nearly equal size.

    No row is dropped: the remainder is spread over the batches, since a last batch of
    a few rows would have few negatives.

    Parameters
    ----------
    n_rows, batch_size : int
    generator : torch.Generator
        Source of the order.

    Yields
    ------
    rows : integer tensor
    """
    order = torch.randperm(n_rows, generator=generator)
    yield from order.tensor_split(n_batches(n_rows, batch_size))


def check_contrastive_batches(
    groups: NDArray[np.intp], batch_size: int, *, what: str = "batch_size"
) -> None:
    """Refuse data in which a batch may hold no negative.

    Parameters
    ----------
    groups : array of shape (n_rows,)
        Rows of the same number are positives of each other.
    batch_size : int
    what : str
        Name of the parameter to blame.

    Raises
    ------
    ValueError
        If the batches are of fewer than two rows, there are fewer than two groups, or
        one group is so large that whole batches may be of it alone.
    """
    n_rows = len(groups)
    _, counts = np.unique(groups, return_counts=True)
    if len(counts) < 2:
        raise ValueError(
            f"all {n_rows} rows are of one group, so a contrastive loss has no "
            "negatives: give pairs of at least 2 different targets, or check `groups`"
        )
    if batch_size < 2:
        raise ValueError(
            f"a contrastive loss compares the rows of a batch, so {what} must be at "
            f"least 2, got {batch_size}"
        )
    smallest = n_rows // n_batches(n_rows, batch_size)
    largest = int(counts.max())
    if smallest < n_rows and largest >= smallest:
        raise ValueError(
            f"the largest group has {largest} rows and the batches have {smallest}, so "
            f"a batch may hold no negative: raise {what} (now {batch_size}) above "
            f"{largest}, or check `groups`"
        )
