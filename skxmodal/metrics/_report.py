"""A report of retrieval in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from skxmodal._optional import import_optional
from skxmodal.metrics._bootstrap import (
    check_resampling,
    interval_of_means,
    interval_of_median,
    sums_of_pictures,
)
from skxmodal.metrics._protocol import BOTH, check_direction, retrieval_ranks
from skxmodal.metrics._ranking import (
    hit_rate_at_k,
    mean_reciprocal_rank,
    median_rank,
    r_sum,
    value_of_queries,
)
from skxmodal.metrics._ranks import (
    QUERY_TO_TARGET,
    Ranks,
    RetrievalRanks,
    Values,
    as_ranks,
    check_k,
    check_ks,
    in_own_direction,
)

OUTPUTS = ("text", "dict", "pandas")
TITLES = {
    "query_to_target": "query to target (text to image)",
    "target_to_query": "target to query (image to text)",
}


def retrieval_report(
    estimator: Any,
    X: Any = None,
    y: Any = None,
    groups: ArrayLike | None = None,
    *,
    ks: Sequence[int] = (1, 5, 10),
    direction: str = BOTH,
    output: str = "text",
    confidence_level: float = 0.95,
    n_resamples: int = 1000,
    random_state: Any = 0,
    digits: int = 1,
) -> Any:
    """Build a report of retrieval inside the given rows' own gallery.

    It names what a bare recall@K leaves open: the direction, the size of the gallery,
    the number of captions a picture, the level of chance, the correction for hubness
    with its mode, and intervals from resampled pictures. Captions of one picture
    succeed and fail together, so resampled captions would promise too much.

    Parameters
    ----------
    estimator : fitted estimator, RetrievalRanks or Ranks
        Anything with ``transform`` and ``transform_target``: a mapper or a
        :class:`~skxmodal.CrossModalRetriever`, alone, last in a Pipeline, or the best
        of a search; or ranks counted before, without X, y and groups.
    X : array-like of n queries, default=None
        Captions or their embeddings.
    y : array-like of n targets, default=None
        Pictures or their embeddings, row-aligned with X.
    groups : array-like of shape (n,), default=None
        The picture of each row; by default rows of equal content are one.
    ks : sequence of int, default=(1, 5, 10)
        Numbers of places looked at.
    direction : {"both", "query_to_target", "target_to_query"}, default="both"
        Who asks; of ranks counted before, "both" means those there are.
    output : {"text", "dict", "pandas"}, default="text"
        What is returned.
    confidence_level : float, default=0.95
        Probability that an interval covers the expected value.
    n_resamples : int, default=1000
        Number of bootstrap resamples, at least 100.
    random_state : int, RandomState instance or None, default=0
        Source of the resamples.
    digits : int, default=1
        Digits after the point of the percentages in the text, at least 0.

    Returns
    -------
    report : str, dict or pandas.DataFrame
        The text gives percentages; the dict, by direction, and the table, a row for
        each direction and metric, give fractions.

    Warns
    -----
    UserWarning
        If there is one picture alone, so that an interval can't be had and is NaN.

    Raises
    ------
    ImportError
        If pandas is asked for and not installed.
    TypeError
        If X, y or groups are given beside ranks, or X and y are missing.
    ValueError
        If a k is above a gallery's size, a parameter is out of range, or ranks
        counted before lack the direction.

    See Also
    --------
    compare_retrievers : Whether one retriever is better than another.

    Notes
    -----
    The intervals hold the gallery as it is. Near a hit rate of 1 with few pictures, and
    in spaces with strong hubs, they are somewhat too narrow: in simulations 95%
    intervals of 100 pictures covered an expected hit rate of 0.98 in 91% of cases.
    Where all pictures have one value that is neither 0 nor 1, resamples do not differ:
    low and high are that value, and the text says "no spread".

    Examples
    --------
    >>> from skxmodal.metrics import Ranks, RetrievalRanks, retrieval_report
    >>> found = [1, 2, 1, 30, 4, 1]
    >>> ranks = Ranks.of(found, gallery_size=50, pictures=[0, 0, 1, 1, 2, 2])
    >>> print(retrieval_report(RetrievalRanks(query_to_target=ranks), ks=[5, 10]))
    query to target (text to image)
    6 queries of 3 pictures (2 each), gallery of 50, 1 correct each
    <BLANKLINE>
                     value        95% interval    chance
    R@5              83.3%       [50.0, 100.0]     10.0%
    R@10             83.3%       [50.0, 100.0]     20.0%
    MRR              0.631      [0.517, 0.750]
    median rank        1.5         [1.5, 15.5]
    """
    if output not in OUTPUTS:
        raise ValueError(f"output must be one of {OUTPUTS}, got {output!r}.")
    check_resampling(n_resamples, confidence_level)
    if not isinstance(digits, Integral) or digits < 0:
        raise ValueError(f"digits must be an integer of at least 0, got {digits!r}.")
    ks = check_ks(ks)
    ranks = as_retrieval_ranks(estimator, X, y, groups, direction=direction)
    rng = generator(random_state)
    report: dict[str, Any] = {
        name: _of_direction(side, ks, n_resamples, confidence_level, rng)
        for name, side in ranks.items()
    }
    if len(report) == 2:
        report["r_sum"] = r_sum(ranks, ks)
    report["confidence_level"] = confidence_level
    if output == "dict":
        return report
    if output == "pandas":
        return _as_table(report)
    return _as_text(report, digits)


def as_retrieval_ranks(
    estimator: Any, X: Any, y: Any, groups: Any, *, direction: str = BOTH
) -> RetrievalRanks:
    """Ranks counted now, or passed on where they were counted before.

    Raises
    ------
    TypeError
        If there are X, y or groups beside ranks, or an estimator without X and y.
    ValueError
        If the direction is unknown, or the ranks lack it.
    """
    if isinstance(estimator, Ranks):
        estimator = in_own_direction(estimator)
    counted = isinstance(estimator, RetrievalRanks)
    if counted != (X is None and y is None) or (counted and groups is not None):
        raise TypeError(
            "Give a fitted estimator with X and y, or ranks that were counted before "
            "without them and without groups (Ranks know their pictures)."
        )
    if counted:
        wanted = check_direction(direction)
        sides = {name: side for name, side in estimator.items() if name in wanted}
        if not sides:
            held = [name for name, _ in estimator.items()] or "none"
            raise ValueError(
                f"The ranks lack the direction {direction!r}; they hold {held}."
            )
        return RetrievalRanks(**sides)
    return retrieval_ranks(estimator, X, y, groups, direction=direction)


def generator(random_state: Any) -> np.random.Generator:
    """A generator from what scikit-learn takes as a source of chance."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    seed = check_random_state(random_state).randint(2**31, size=4)
    return np.random.default_rng(seed)


def chance_of_hit(ranks: Ranks, k: int) -> float | None:
    """Expected hit rate of a random order, where the gallery's size is known."""
    if ranks.gallery_size is None:
        return None
    numbers, counts = np.unique(ranks.n_correct, return_counts=True)
    hits = [_chance_of_hit(ranks.gallery_size, int(number), k) for number in numbers]
    return float(np.average(hits, weights=counts))


def _chance_of_hit(size: int, n_correct: int, k: int) -> float:
    # Every place holds a wrong item: C(size - n_correct, k) / C(size, k), as a product
    # of the fewer factors, which keeps its digits in galleries of any size.
    if size - n_correct < k:
        return 1.0
    fewer, more = sorted((n_correct, k))
    return float(-np.expm1(np.log1p(-more / (size - np.arange(fewer))).sum()))


def _of_direction(
    ranks: Ranks,
    ks: Sequence[int],
    n_resamples: int,
    confidence_level: float,
    rng: np.random.Generator,
) -> dict[str, Any]:
    ranks = as_ranks(ranks)
    ks = [check_k(k, ranks.gallery_size) for k in ks]
    columns: list[Values] = [value_of_queries(ranks, "hit_rate", k) for k in ks]
    columns.append(1.0 / ranks.best)
    sums, counts = sums_of_pictures(ranks, np.stack(columns, axis=1))
    resampling: dict[str, Any] = {
        "n_resamples": n_resamples,
        "confidence_level": confidence_level,
        "rng": rng,
    }
    low, high = interval_of_means(sums, counts, **resampling)
    metrics: dict[str, dict[str, float | None]] = {}
    for place, k in enumerate(ks):
        metrics[f"hit_rate_at_{k}"] = {
            "value": hit_rate_at_k(ranks, k),
            "low": float(low[place]),
            "high": float(high[place]),
            "chance": chance_of_hit(ranks, k),
        }
    metrics["mean_reciprocal_rank"] = {
        "value": mean_reciprocal_rank(ranks),
        "low": float(low[-1]),
        "high": float(high[-1]),
        "chance": None,
    }
    low_rank, high_rank = interval_of_median(ranks, **resampling)
    metrics["median_rank"] = {
        "value": median_rank(ranks),
        "low": low_rank,
        "high": high_rank,
        "chance": None,
    }
    return {
        "n_queries": ranks.n_queries,
        "n_pictures": len(counts),
        "queries_per_picture": _spread(counts),
        "gallery_size": ranks.gallery_size,
        "n_correct": _spread(ranks.n_correct),
        "hubness": ranks.hubness,
        "metrics": metrics,
    }


def _spread(numbers: Any) -> dict[str, float]:
    return {
        "min": int(numbers.min()),
        "mean": float(numbers.mean()),
        "max": int(numbers.max()),
    }


def _as_table(report: dict[str, Any]) -> Any:
    pandas = import_optional("pandas", extra=None, purpose="output='pandas'")
    rows = []
    for name in TITLES:
        if name not in report:
            continue
        side = report[name]
        for metric, numbers in side["metrics"].items():
            rows.append(
                {
                    "direction": name,
                    "metric": metric,
                    **numbers,
                    "gallery_size": side["gallery_size"],
                    "n_queries": side["n_queries"],
                    "n_pictures": side["n_pictures"],
                    "queries_per_picture": side["queries_per_picture"]["mean"],
                    "n_correct": side["n_correct"]["mean"],
                    "hubness": side["hubness"],
                    "confidence_level": report["confidence_level"],
                    "r_sum": report.get("r_sum"),
                }
            )
    return pandas.DataFrame(rows)


def _as_text(report: dict[str, Any], digits: int) -> str:
    level = f"{100 * report['confidence_level']:g}% interval"
    parts = []
    for name, title in TITLES.items():
        if name in report:
            parts.append(_direction_as_text(name, title, report[name], level, digits))
    if "r_sum" in report:
        parts.append(f"rSum {report['r_sum']:.{digits}f}")
    return "\n\n".join(parts)


def _direction_as_text(
    name: str, title: str, side: dict[str, Any], level: str, digits: int
) -> str:
    asking = f"{side['n_queries']:,} queries"
    if name == QUERY_TO_TARGET:
        asking += f" of {side['n_pictures']:,} pictures"
        asking += f" ({_in_words(side['queries_per_picture'])} each)"
    size = "unknown size" if side["gallery_size"] is None else side["gallery_size"]
    size = f"{size:,}" if isinstance(size, int) else size
    lines = [
        title,
        f"{asking}, gallery of {size}, {_in_words(side['n_correct'])} correct each",
    ]
    if side["hubness"] is not None:
        lines.append(f"corrected for hubness: {side['hubness']}")
    lines += ["", f"{'':12}{'value':>10}{level:>20}{'chance':>10}"]
    for metric, numbers in side["metrics"].items():
        lines.append(_line(metric, numbers, digits))
    return "\n".join(lines)


def _line(metric: str, numbers: dict[str, float | None], digits: int) -> str:
    if metric.startswith("hit_rate_at_"):
        name, factor, unit, places = f"R@{metric.rpartition('_')[2]}", 100, "%", digits
    elif metric == "median_rank":
        name, factor, unit, places = "median rank", 1, "", 1
    else:
        name, factor, unit, places = "MRR", 1, "", 3
    value, low, high, chance = (
        "" if number is None else f"{factor * number:.{places}f}"
        for number in numbers.values()
    )
    interval = f"[{low}, {high}]"
    if numbers["low"] == numbers["high"] and metric != "median_rank":
        interval = "no spread"
    chance = chance and chance + unit
    return f"{name:12}{value + unit:>10}{interval:>20}{chance:>10}".rstrip()


def _in_words(spread: dict[str, float]) -> str:
    if spread["min"] == spread["max"]:
        return f"{spread['min']:,}"
    return f"{spread['min']:,} to {spread['max']:,}"
