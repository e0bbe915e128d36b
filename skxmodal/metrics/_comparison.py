"""Whether one retriever is better than another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skxmodal.metrics._bootstrap import (
    accelerated_interval,
    check_resampling,
    resampled_weights,
    sums_of_pictures,
    warn_of_one_picture,
)
from skxmodal.metrics._protocol import check_direction
from skxmodal.metrics._ranking import value_of_queries
from skxmodal.metrics._ranks import Ranks, Values, as_ranks
from skxmodal.metrics._report import as_retrieval_ranks, generator


@dataclass(frozen=True)
class Comparison:
    """Difference of two retrievers on the same pictures.

    Attributes
    ----------
    a, b : float
        The metric of each.
    difference : float
        a less b.
    low, high : float
        Ends of the difference's interval; both are the difference where it is the
        same at all pictures.
    p_value : float
        Two-sided: how often exchanging the two at random pictures gives as large a
        difference.
    metric, direction : str
        What was compared.
    k : int
        Number of places looked at.
    n_pictures : int
        Number of pictures exchanged and resampled.
    gallery_size : dict of str to int
        Number of items ranked, by direction.
    confidence_level : float
        Of the interval.
    hubness : dict of str to tuple of (str or None)
        The corrections of a and b, by direction.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    p_value: float
    metric: str
    direction: str
    k: int
    n_pictures: int
    gallery_size: dict[str, int | None]
    confidence_level: float
    hubness: dict[str, tuple[str | None, str | None]]

    def __str__(self) -> str:
        sizes = " and ".join(f"{size}" for size in self.gallery_size.values())
        text = (
            f"{self.metric}@{self.k}, {self.direction}, {self.n_pictures} pictures, "
            f"gallery of {sizes}\n"
            f"a {100 * self.a:.1f}%, b {100 * self.b:.1f}%, difference "
            f"{100 * self.difference:+.1f} points, {100 * self.confidence_level:g}% "
            f"interval [{100 * self.low:+.1f}, {100 * self.high:+.1f}], "
            f"p = {self.p_value:.2g}"
        )
        for direction, (first, second) in self.hubness.items():
            if first or second:
                text += f"\nhubness, {direction}: a {first}, b {second}"
        return text


def compare_retrievers(
    a: Any,
    b: Any,
    X: Any = None,
    y: Any = None,
    groups: ArrayLike | None = None,
    *,
    k: int = 10,
    direction: str = "query_to_target",
    metric: str = "hit_rate",
    n_resamples: int = 9999,
    confidence_level: float = 0.95,
    random_state: Any = 0,
) -> Comparison:
    """Compare two retrievers on the same pictures, by a paired test.

    Under the hypothesis that the two are equally good, their outcomes at any picture,
    with all its captions, might as well be exchanged. The p-value is the fraction of
    random exchanges, the observed one included, that give as large a difference in
    either direction. The interval of the difference resamples pictures.

    Parameters
    ----------
    a, b : fitted estimators, or RetrievalRanks
        The two retrievers, or their ranks of the same queries without X and y.
    X : array-like of n queries, default=None
        Captions or their embeddings. Where a and b take different embeddings, count
        the ranks of each with :func:`retrieval_ranks` and give those.
    y : array-like of n targets, default=None
        Pictures or their embeddings, row-aligned with X.
    groups : array-like of shape (n,), default=None
        The picture of each row; by default rows of equal content are one.
    k : int, default=10
        Number of places looked at.
    direction : {"query_to_target", "target_to_query", "both"}, \
default="query_to_target"
        Who asks; "both" compares the mean of the two directions.
    metric : {"hit_rate", "recall", "precision", "ndcg"}, default="hit_rate"
        What is averaged over the queries.
    n_resamples : int, default=9999
        Number of exchanges, and of bootstrap resamples.
    confidence_level : float, default=0.95
        Of the interval.
    random_state : int, RandomState instance or None, default=0
        Source of exchanges and resamples.

    Returns
    -------
    comparison : Comparison
        Difference, interval and p-value; printed as two lines.

    Warns
    -----
    UserWarning
        If there is one picture alone, so that the interval is NaN.

    Raises
    ------
    TypeError
        If X, y or groups are given beside ranks, or X and y are missing.
    ValueError
        If the two were ranked on other queries or galleries, the two directions are
        of different pictures, or a parameter is out of range.

    References
    ----------
    .. [1] Smucker, Allan and Carterette, "A Comparison of Statistical Significance
       Tests for Information Retrieval Evaluation", CIKM 2007.

    Examples
    --------
    >>> from skxmodal.metrics import Ranks, RetrievalRanks, compare_retrievers
    >>> a = RetrievalRanks(Ranks.of([1, 1, 2, 1, 3, 1], gallery_size=9))
    >>> b = RetrievalRanks(Ranks.of([2, 3, 2, 4, 3, 9], gallery_size=9))
    >>> result = compare_retrievers(a, b, k=1)
    >>> round(result.difference, 3), round(result.p_value, 2)
    (0.667, 0.13)
    """
    check_resampling(n_resamples, confidence_level)
    directions = check_direction(direction)
    ranks = [
        as_retrieval_ranks(one, X, y, groups, direction=direction) for one in (a, b)
    ]
    rng = generator(random_state)
    sides = []
    pictures = _one_direction(ranks[0], directions[0]).pictures
    for name in directions:
        first, second = (_one_direction(found, name) for found in ranks)
        _check_same(first, second, name)
        if not np.array_equal(np.unique(pictures), np.unique(first.pictures)):
            raise ValueError(
                "The two directions are of different pictures: give both ranks the "
                "same numbers as pictures, or compare one direction at a time."
            )
        values = [value_of_queries(side, metric, k) for side in (first, second)]
        sides.append(sums_of_pictures(first, np.stack(values, axis=1)))
    means = np.mean([sums.sum(axis=0) / counts.sum() for sums, counts in sides], axis=0)
    difference = float(means[0] - means[1])
    low, high = _interval(sides, difference, n_resamples, confidence_level, rng)
    return Comparison(
        a=float(means[0]),
        b=float(means[1]),
        difference=difference,
        low=low,
        high=high,
        p_value=_p_value(sides, difference, n_resamples, rng),
        metric=metric,
        direction=direction,
        k=k,
        n_pictures=len(sides[0][1]),
        gallery_size={
            name: _one_direction(ranks[0], name).gallery_size for name in directions
        },
        confidence_level=confidence_level,
        hubness={
            name: (
                _one_direction(ranks[0], name).hubness,
                _one_direction(ranks[1], name).hubness,
            )
            for name in directions
        },
    )


def _one_direction(ranks: Any, name: str) -> Ranks:
    side = getattr(ranks, name)
    if side is None:
        raise ValueError(f"The ranks lack the direction {name!r}: count it too.")
    return as_ranks(side)


def _check_same(a: Ranks, b: Ranks, name: str) -> None:
    same = (
        a.gallery_size == b.gallery_size
        and np.array_equal(a.pictures, b.pictures)
        and np.array_equal(a.n_correct, b.n_correct)
    )
    if not same:
        raise ValueError(
            f"The two were not ranked on the same queries and gallery ({name}): a has "
            f"{a!r}, b has {b!r}. Compare them on the same rows."
        )


def _by_picture(sides: list[tuple[Values, Values]]) -> Values:
    """What each picture adds to the difference of the means."""
    return np.mean(
        [(sums[:, 0] - sums[:, 1]) / counts.sum() for sums, counts in sides], axis=0
    )


def _interval(
    sides: list[tuple[Values, Values]],
    difference: float,
    n_resamples: int,
    confidence_level: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    drawn = []
    for weights in resampled_weights(len(sides[0][1]), n_resamples, rng):
        of_sides = [
            (weights @ (sums[:, 0] - sums[:, 1])) / (weights @ counts)
            for sums, counts in sides
        ]
        drawn.append(np.mean(of_sides, axis=0))
    resampled = np.concatenate(drawn)
    if len(sides[0][1]) == 1:
        warn_of_one_picture(1)
        return np.nan, np.nan
    if np.ptp(resampled) == 0:
        return difference, difference
    influence = np.mean(
        [
            (
                sums[:, 0]
                - sums[:, 1]
                - (sums[:, 0] - sums[:, 1]).sum() / counts.sum() * counts
            )
            / counts.sum()
            for sums, counts in sides
        ],
        axis=0,
    )
    return accelerated_interval(resampled, difference, influence, confidence_level)


def _p_value(
    sides: list[tuple[Values, Values]],
    difference: float,
    n_resamples: int,
    rng: np.random.Generator,
) -> float:
    added = _by_picture(sides)
    added = added[added != 0]
    as_large = 0
    # Sums in another order may differ in their last bits.
    bound = abs(difference) * (1 - 1e-9)
    at_once = max(1, 4_000_000 // max(1, len(added)))
    for start in range(0, n_resamples, at_once):
        size = min(at_once, n_resamples - start)
        signs = rng.integers(2, size=(size, len(added)), dtype=np.int8) * 2.0 - 1.0
        as_large += int(np.count_nonzero(np.abs(signs @ added) >= bound))
    return (1 + as_large) / (1 + n_resamples)
