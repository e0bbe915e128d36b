"""How often each item is found: a histogram that shows hubs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import skew
from sklearn.utils import _safe_indexing

from skxmodal.inspection._axes import open_axes
from skxmodal.metrics._gallery_items import target_items
from skxmodal.metrics._protocol import (
    check_aligned,
    label_of_correction,
    shared_vectors,
    unwrap,
)
from skxmodal.metrics._ranks import DIRECTIONS, TARGET_TO_QUERY
from skxmodal.neighbors import k_occurrence


class HubHistogramDisplay:
    """Histogram of the k-occurrence: how many queries have an item in their first k.

    Without hubs the counts scatter around their mean. Hubs are the items far to the
    right, which turn up for queries they don't answer; the items at zero are never
    found.

    Make it with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    occurrences : dict of str to ndarray of shape (n_items,)
        Counts of each item, by the name of the scores they come from.
    k : int
        Number of places looked at.

    Attributes
    ----------
    skewness_ : dict of str to float
        Third standardised moment of the counts: 0 for symmetric, some units for hubs.
    ax_ : matplotlib Axes
        The axes of the last :meth:`plot`.
    figure_ : matplotlib Figure
        Their figure.

    References
    ----------
    Radovanović, Nanopoulos, Ivanović. "Hubs in Space: Popular Nearest Neighbors in
    High-Dimensional Data." JMLR 11, 2010.

    Examples
    --------
    >>> from skxmodal import CrossModalRetriever
    >>> from skxmodal.datasets import make_paired_embeddings
    >>> from skxmodal.inspection import HubHistogramDisplay
    >>> X, y = make_paired_embeddings(n_pairs=300, random_state=0)
    >>> search = CrossModalRetriever(hubness="csls").fit(X[:200], y[:200])
    >>> display = HubHistogramDisplay.from_estimator(
    ...     search, X[200:], y[200:]
    ... )
    >>> sorted(display.skewness_)
    ['CSLS, inductive', 'cosine']
    """

    def __init__(self, *, occurrences: dict[str, NDArray[np.int64]], k: int) -> None:
        self.occurrences = occurrences
        self.k = k

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        groups: ArrayLike | None = None,
        *,
        k: int = 10,
        direction: str = "query_to_target",
        ax: Any = None,
    ) -> HubHistogramDisplay:
        """Count how often each item is found and draw the histogram.

        Parameters
        ----------
        estimator : fitted estimator
            A mapper or a retriever. With a hubness correction, plain cosine is drawn
            beside it.
        X : array-like of n queries
            Queries.
        y : array-like of n targets
            The target of each query.
        groups : array-like of shape (n,), default=None
            The picture of each row; by default rows of equal content are one.
        k : int, default=10
            Number of places looked at.
        direction : {"query_to_target", "target_to_query"}, default="query_to_target"
            Who asks.
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : HubHistogramDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If k is above the size of the gallery, the direction is unknown, or X and y
            are not row-aligned.
        """
        if direction not in DIRECTIONS:
            raise ValueError(
                f"direction must be one of {[*DIRECTIONS]}, got {direction!r}."
            )
        check_aligned(X, y)
        final, X = unwrap(estimator, X)
        first_rows, _ = target_items(final, y, groups)
        queries, targets = shared_vectors(final, X, _safe_indexing(y, first_rows))
        asking, gallery = queries, targets
        if direction == TARGET_TO_QUERY:
            asking, gallery = targets, queries
        occurrences = {"cosine": k_occurrence(asking, gallery, k)}
        if hasattr(final, "hubness_correction"):
            correction = final.hubness_correction(direction, asking, gallery)
            if correction is not None:
                occurrences[str(label_of_correction(correction))] = k_occurrence(
                    correction.fold_queries(asking), correction.fold_gallery(gallery), k
                )
        return cls.from_predictions(occurrences, k=k, ax=ax)

    @classmethod
    def from_predictions(
        cls, occurrences: Any, *, k: int = 10, ax: Any = None
    ) -> HubHistogramDisplay:
        """Draw the histogram of counts made before.

        Parameters
        ----------
        occurrences : array-like of shape (n_items,), or dict of str to those
            What :func:`~skxmodal.neighbors.k_occurrence` gives, by name if several.
        k : int, default=10
            Number of places that were looked at.
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : HubHistogramDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If counts are not integers from 0, one for each item, or there are none.
        """
        if not isinstance(occurrences, dict):
            occurrences = {"scores": occurrences}
        counts = {name: _check_counts(name, one) for name, one in occurrences.items()}
        if not counts:
            raise ValueError("There are no counts to draw: occurrences is empty.")
        return cls(occurrences=counts, k=k).plot(ax=ax)

    def plot(self, ax: Any = None) -> HubHistogramDisplay:
        """Draw the histogram.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : HubHistogramDisplay
            The display itself.
        """
        self.ax_, self.figure_ = open_axes(ax)
        self.skewness_ = {
            name: float(skew(counts)) if np.ptp(counts) else 0.0
            for name, counts in self.occurrences.items()
        }
        largest = max(int(counts.max()) for counts in self.occurrences.values())
        # About forty bars, each of the same number of whole counts.
        step = -(-(largest + 1) // 40)
        edges = np.arange(-0.5, largest + step + 0.5, step)
        mean = np.mean([counts.mean() for counts in self.occurrences.values()])
        for name, counts in self.occurrences.items():
            self.ax_.hist(
                counts,
                bins=edges,
                histtype="stepfilled",
                alpha=0.45,
                label=f"{name}: skewness {self.skewness_[name]:.1f}, largest "
                f"{counts.max():,}, never found {np.mean(counts == 0):.0%}",
            )
        self.ax_.axvline(mean, color="grey", linestyle=":", label=f"mean {mean:.1f}")
        self.ax_.set(
            yscale="log",
            xlabel=f"queries that have the item among their first {self.k}",
            ylabel="items",
            title="Hubs: how often each item is found",
        )
        low, high = self.ax_.get_ylim()
        # A bar of one item must show, and the legend needs room above the bars.
        self.ax_.set_ylim(min(low, 0.5), high * 8)
        self.ax_.legend(fontsize="small", loc="upper right")
        return self


def _check_counts(name: str, values: ArrayLike) -> NDArray[np.int64]:
    counts = np.asarray(values)
    if counts.ndim != 1 or not len(counts) or counts.dtype.kind not in "iu":
        raise ValueError(
            f"occurrences must be integers, one for each item; {name!r} has shape "
            f"{counts.shape} of {counts.dtype}."
        )
    if counts.min() < 0:
        raise ValueError(
            f"occurrences must be counts from 0 on; {name!r} has {counts.min()}."
        )
    return counts.astype(np.int64)
