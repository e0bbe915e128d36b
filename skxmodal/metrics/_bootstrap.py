"""Intervals from resampled pictures."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, norm

from skxmodal._warnings import warn_user
from skxmodal.metrics._ranks import Ranks, Values

# Weights held at once: 32 MB.
WEIGHTS_AT_ONCE = 4_000_000


def check_resampling(n_resamples: int, confidence_level: float) -> None:
    """Refuse numbers that no interval can be made with.

    Raises
    ------
    ValueError
        If there are fewer than 100 resamples or the level is not within (0, 1).
    """
    if not isinstance(n_resamples, Integral) or int(n_resamples) < 100:
        raise ValueError(
            f"The number of resamples must be an integer of at least 100, got "
            f"{n_resamples!r}."
        )
    if not 0 < confidence_level < 1:
        raise ValueError(
            f"confidence_level must be between 0 and 1, got {confidence_level!r}."
        )


def sums_of_pictures(ranks: Ranks, values: Values) -> tuple[Values, Values]:
    """Sum of the values of each picture's queries, and their number.

    Parameters
    ----------
    ranks : Ranks
        What the queries are.
    values : ndarray of shape (n_queries, n_metrics)
        Values of each query.

    Returns
    -------
    sums : ndarray of shape (n_pictures, n_metrics)
    counts : ndarray of shape (n_pictures,)
    """
    _, owners = np.unique(ranks.pictures, return_inverse=True)
    counts = np.bincount(owners).astype(np.float64)
    columns = [np.bincount(owners, weights=column) for column in values.T]
    return np.stack(columns, axis=1), counts


def resampled_weights(
    n_pictures: int, n_resamples: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    """How often each picture is drawn in each resample, some resamples at a time."""
    at_once = max(1, min(n_resamples, WEIGHTS_AT_ONCE // n_pictures))
    for start in range(0, n_resamples, at_once):
        size = min(at_once, n_resamples - start)
        drawn = rng.integers(n_pictures, size=(size, n_pictures))
        drawn += np.arange(size)[:, np.newaxis] * n_pictures
        weights = np.bincount(drawn.ravel(), minlength=size * n_pictures)
        yield weights.reshape(size, n_pictures).astype(np.float64)


def interval_of_means(
    sums: Values,
    counts: Values,
    *,
    n_resamples: int,
    confidence_level: float,
    rng: np.random.Generator,
) -> tuple[Values, Values]:
    """Bias-corrected and accelerated interval of each metric's mean over the queries.

    Pictures are drawn with replacement, each with all its queries, since captions of
    one picture succeed and fail together.

    Parameters
    ----------
    sums : ndarray of shape (n_pictures, n_metrics)
        Sum of the values of each picture's queries, values between 0 and 1.
    counts : ndarray of shape (n_pictures,)
        Number of each picture's queries.
    n_resamples : int
        Number of bootstrap resamples.
    confidence_level : float
        Probability to cover, between 0 and 1.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    low, high : ndarray of shape (n_metrics,)
        Ends of the intervals. Where all queries have one value, 0 or 1, they are those
        of a proportion of pictures, by Clopper and Pearson. Where the pictures have
        another value in common they are that value, and of one picture NaN.

    References
    ----------
    Efron, "Better Bootstrap Confidence Intervals", JASA 82, 1987.
    Field and Welsh, "Bootstrapping Clustered Data", JRSS B 69, 2007.
    """
    warn_of_one_picture(len(sums))
    means = sums.sum(axis=0) / counts.sum()
    drawn = np.concatenate(
        [
            (weights @ sums) / (weights @ counts)[:, np.newaxis]
            for weights in resampled_weights(len(sums), n_resamples, rng)
        ]
    )
    influence = sums - means * counts[:, np.newaxis]
    low, high = np.empty(len(means)), np.empty(len(means))
    for metric, mean in enumerate(means):
        if np.ptp(drawn[:, metric]) == 0:
            low[metric], high[metric] = _of_one_value(mean, len(sums), confidence_level)
        else:
            low[metric], high[metric] = accelerated_interval(
                drawn[:, metric], mean, influence[:, metric], confidence_level
            )
    return low, high


def accelerated_interval(
    drawn: Values, estimate: float, influence: Values, confidence_level: float
) -> tuple[float, float]:
    """Quantiles of resampled estimates, corrected for bias and skewness."""
    skewness = np.sum(influence**3) / np.sum(influence**2) ** 1.5
    # Means of few pictures often equal the estimate but for their last bits.
    equal = np.isclose(drawn, estimate, rtol=1e-12, atol=1e-12)
    below = np.mean((drawn < estimate) & ~equal) + np.mean(equal) / 2
    bias = norm.ppf(np.clip(below, 1 / len(drawn), 1 - 1 / len(drawn)))
    tails = np.array([1 - confidence_level, 1 + confidence_level]) / 2
    shifted = bias + norm.ppf(tails)
    levels = norm.cdf(bias + shifted / (1 - skewness / 6 * shifted))
    low, high = np.quantile(drawn, levels)
    return float(low), float(high)


def interval_of_median(
    ranks: Ranks,
    *,
    n_resamples: int,
    confidence_level: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Percentile interval of the median rank over resampled pictures."""
    _, owners = np.unique(ranks.pictures, return_inverse=True)
    order = np.argsort(ranks.best, kind="stable")
    values, owners = ranks.best[order], owners[order]
    if owners.max() == 0:
        return np.nan, np.nan
    medians = []
    for weights in resampled_weights(int(owners.max()) + 1, n_resamples, rng):
        for weight in weights:
            cumulative = np.cumsum(weight[owners])
            total = cumulative[-1]
            # The two middle values, one and the same where the number is odd.
            places = np.floor([(total - 1) / 2, total / 2]) + 1
            medians.append(values[np.searchsorted(cumulative, places)].mean())
    tails = [(1 - confidence_level) / 2, (1 + confidence_level) / 2]
    low, high = np.quantile(medians, tails)
    return float(low), float(high)


def _of_one_value(
    mean: float, n_pictures: int, confidence_level: float
) -> tuple[float, float]:
    tail = (1 - confidence_level) / 2
    if np.isclose(mean, 0):
        return 0.0, float(beta.ppf(1 - tail, 1, n_pictures))
    if np.isclose(mean, 1):
        return float(beta.ppf(tail, n_pictures, 1)), 1.0
    value = float(mean) if n_pictures > 1 else np.nan
    return value, value


def warn_of_one_picture(n_pictures: int) -> None:
    """Warn where there is nothing to resample."""
    if n_pictures == 1:
        warn_user(
            "All queries are of one picture, which cannot say how far other pictures "
            "differ: intervals are NaN. Measure on more pictures, or check `groups` "
            "or `pictures`.",
            UserWarning,
        )
