"""Retrieval metrics over the ranks of correct items."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxmodal.metrics._ranks import (
    Ranks,
    RetrievalRanks,
    Values,
    as_ranks,
    check_k,
    check_ks,
)


def _sum_by_query(ranks: Ranks, values: NDArray[Any]) -> Values:
    return np.add.reduceat(values.astype(np.float64), ranks.indptr[:-1])


def _place(ranks: Ranks) -> NDArray[np.int64]:
    """Place of each correct item among its query's correct items, from 1."""
    n_correct = ranks.n_correct
    starts = np.repeat(ranks.indptr[:-1], n_correct)
    return np.arange(1, len(ranks.ranks) + 1) - starts


def _hit_rate(ranks: Ranks, k: int) -> Values:
    return (ranks.best <= k).astype(np.float64)


def _recall(ranks: Ranks, k: int) -> Values:
    return _sum_by_query(ranks, ranks.ranks <= k) / ranks.n_correct


def _precision(ranks: Ranks, k: int) -> Values:
    return _sum_by_query(ranks, ranks.ranks <= k) / k


def _ndcg(ranks: Ranks, k: int) -> Values:
    gains = np.where(ranks.ranks <= k, 1 / np.log2(ranks.ranks + 1.0), 0.0)
    longest = min(k, int(ranks.n_correct.max()))
    ideal = np.cumsum(1 / np.log2(np.arange(2.0, longest + 2)))
    return _sum_by_query(ranks, gains) / ideal[np.minimum(ranks.n_correct, k) - 1]


def _average_precision(ranks: Ranks, k: int | None) -> Values:
    precisions = _place(ranks) / ranks.ranks
    if k is not None:
        precisions = np.where(ranks.ranks <= k, precisions, 0.0)
    return _sum_by_query(ranks, precisions) / ranks.n_correct


def _reciprocal_rank(ranks: Ranks, k: int | None) -> Values:
    reciprocal = 1.0 / ranks.best
    return reciprocal if k is None else np.where(ranks.best <= k, reciprocal, 0.0)


# Value of each query, whose mean is the metric.
METRICS_AT_K = {
    "hit_rate": _hit_rate,
    "recall": _recall,
    "precision": _precision,
    "ndcg": _ndcg,
}


def value_of_queries(ranks: Ranks, metric: str, k: int) -> Values:
    """A metric's value at each query, of shape (n_queries,).

    Raises
    ------
    ValueError
        If the metric is unknown or k is out of range.
    """
    if metric not in METRICS_AT_K:
        raise ValueError(
            f"metric must be one of {sorted(METRICS_AT_K)}, got {metric!r}."
        )
    ranks = as_ranks(ranks)
    return METRICS_AT_K[metric](ranks, check_k(k, ranks.gallery_size))


def hit_rate_at_k(ranks: Any, k: int = 10) -> float:
    """Fraction of queries with any correct item in the first k places.

    The papers on captions and pictures call it recall@K.

    Parameters
    ----------
    ranks : Ranks, or array-like of shape (n_queries,), or list of array-like
        Rank of each query's best correct item, or of all of them, from 1.
    k : int, default=10
        Number of places looked at.

    Returns
    -------
    hit_rate : float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If k is below 1 or above the gallery's size, or a rank is below 1.

    See Also
    --------
    recall_at_k : Fraction of the correct items found.

    References
    ----------
    .. [1] Karpathy and Fei-Fei, "Deep Visual-Semantic Alignments for Generating Image
       Descriptions", CVPR 2015, section 4.1.

    Examples
    --------
    >>> from skxmodal.metrics import hit_rate_at_k
    >>> hit_rate_at_k([1, 4, 12], k=5)
    0.6666666666666666
    """
    return float(value_of_queries(ranks, "hit_rate", k).mean())


def recall_at_k(ranks: Any, k: int = 10) -> float:
    """Fraction of each query's correct items in the first k places, on average.

    Parameters
    ----------
    ranks : Ranks, or array-like of shape (n_queries,), or list of array-like
        Ranks of all correct items of each query, from 1.
    k : int, default=10
        Number of places looked at.

    Returns
    -------
    recall : float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If k is below 1 or above the gallery's size, or a rank is below 1.

    See Also
    --------
    hit_rate_at_k : What papers on captions and pictures call recall@K.

    Examples
    --------
    >>> from skxmodal.metrics import recall_at_k
    >>> recall_at_k([[1, 7], [3, 4]], k=5)
    0.75
    """
    return float(value_of_queries(ranks, "recall", k).mean())


def precision_at_k(ranks: Any, k: int = 10) -> float:
    """Fraction of the first k places that hold a correct item, on average.

    Parameters
    ----------
    ranks : Ranks, or array-like of shape (n_queries,), or list of array-like
        Ranks of all correct items of each query, from 1.
    k : int, default=10
        Number of places looked at.

    Returns
    -------
    precision : float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If k is below 1 or above the gallery's size, or a rank is below 1.

    Examples
    --------
    >>> from skxmodal.metrics import precision_at_k
    >>> precision_at_k([[1, 7], [3, 4]], k=4)
    0.375
    """
    return float(value_of_queries(ranks, "precision", k).mean())


def ndcg_at_k(ranks: Any, k: int = 10) -> float:
    """Normalised discounted cumulative gain of the first k places, on average.

    Every correct item has gain 1, discounted by the logarithm of its place.

    Parameters
    ----------
    ranks : Ranks, or array-like of shape (n_queries,), or list of array-like
        Ranks of all correct items of each query, from 1.
    k : int, default=10
        Number of places looked at.

    Returns
    -------
    ndcg : float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If k is below 1 or above the gallery's size, or a rank is below 1.

    References
    ----------
    .. [1] Järvelin and Kekäläinen, "Cumulated Gain-Based Evaluation of IR Techniques",
       ACM Transactions on Information Systems 20, 2002.

    Examples
    --------
    >>> from skxmodal.metrics import ndcg_at_k
    >>> ndcg_at_k([[1, 2], [3]], k=5)
    0.75
    """
    return float(value_of_queries(ranks, "ndcg", k).mean())


def mean_average_precision(ranks: Any, k: int | None = None) -> float:
    """Precision at the place of each correct item, on average.

    Parameters
    ----------
    ranks : Ranks, or array-like of shape (n_queries,), or list of array-like
        Ranks of all correct items of each query, from 1.
    k : int, default=None
        Number of places looked at; items beyond count 0. None looks at all.

    Returns
    -------
    mean_average_precision : float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If k is below 1 or above the gallery's size, or a rank is below 1.

    Examples
    --------
    >>> from skxmodal.metrics import mean_average_precision
    >>> mean_average_precision([[1, 4], [2]])
    0.625
    """
    ranks = as_ranks(ranks)
    k = None if k is None else check_k(k, ranks.gallery_size)
    return float(_average_precision(ranks, k).mean())


def mean_reciprocal_rank(ranks: Any, k: int | None = None) -> float:
    """One over the rank of each query's best correct item, on average.

    Parameters
    ----------
    ranks : Ranks, or array-like of shape (n_queries,), or list of array-like
        Rank of each query's best correct item, or of all of them, from 1.
    k : int, default=None
        Number of places looked at; a best item beyond counts 0. None looks at all.

    Returns
    -------
    mean_reciprocal_rank : float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If k is below 1 or above the gallery's size, or a rank is below 1.

    Examples
    --------
    >>> from skxmodal.metrics import mean_reciprocal_rank
    >>> mean_reciprocal_rank([1, 4])
    0.625
    """
    ranks = as_ranks(ranks)
    k = None if k is None else check_k(k, ranks.gallery_size)
    return float(_reciprocal_rank(ranks, k).mean())


def median_rank(ranks: Any) -> float:
    """Median over the queries of the best correct item's rank.

    Parameters
    ----------
    ranks : Ranks, or array-like of shape (n_queries,), or list of array-like
        Rank of each query's best correct item, or of all of them, from 1.

    Returns
    -------
    median_rank : float
        From 1; halfway between two ranks for an even number of queries.

    Raises
    ------
    ValueError
        If a rank is below 1.

    Examples
    --------
    >>> from skxmodal.metrics import median_rank
    >>> median_rank([1, 4, 12])
    4.0
    """
    return float(np.median(as_ranks(ranks).best))


def r_sum(ranks: Any, ks: Sequence[int] = (1, 5, 10)) -> float:
    """Sum of the hit rates in percent, over several k and both directions.

    Parameters
    ----------
    ranks : RetrievalRanks, or sequence of Ranks
        Ranks in both directions.
    ks : sequence of int, default=(1, 5, 10)
        Numbers of places looked at.

    Returns
    -------
    r_sum : float
        Between 0 and 100 times the number of terms: 600 by default.

    Raises
    ------
    TypeError
        If the ranks are those of one direction, or ks is no sequence.
    ValueError
        If a k is below 1, above a gallery's size or named twice, or there is none.

    Examples
    --------
    >>> from skxmodal.metrics import r_sum
    >>> r_sum([[1, 4, 12, 30], [2, 2, 1, 1]])
    375.0
    """
    if isinstance(ranks, RetrievalRanks):
        sides = [side for _, side in ranks.items()]
        both = len(sides) == 2
    else:
        both = isinstance(ranks, Iterable) and not isinstance(ranks, Ranks)
        sides = list(ranks) if both else []
    if not both:
        raise TypeError(
            "r_sum needs the ranks of both directions, as RetrievalRanks or as a "
            f"sequence of two; got {ranks!r}."
        )
    ks = check_ks(ks)
    return float(sum(100 * hit_rate_at_k(side, k) for side in sides for k in ks))
