"""Recall over K, with the band that resampled pictures give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skxmodal.inspection._axes import open_axes
from skxmodal.metrics import (
    Ranks,
    RetrievalRanks,
    retrieval_ranks,
    retrieval_report,
)
from skxmodal.metrics._ranks import in_own_direction

DIRECTION_NAMES = {
    "query_to_target": "query to target",
    "target_to_query": "target to query",
}


class RecallCurve(NamedTuple):
    """Hit rates of one direction at each K."""

    direction: str
    values: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    chance: NDArray[np.float64]
    gallery_size: int | None
    hubness: str | None


class RecallCurveDisplay:
    """Hit rate at K (what the field calls recall@K) over K.

    Make it with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    ks : ndarray of shape (n_ks,)
        Numbers of places looked at.
    curves : list of RecallCurve
        One for each direction: values, band and chance level at each K.
    confidence_level : float
        Probability that the bands are made to cover.
    name : str, default=None
        Name of the estimator, for the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the last :meth:`plot`.
    figure_ : matplotlib Figure
        Their figure.
    lines_ : list of matplotlib Line2D
        One for each direction.

    See Also
    --------
    skxmodal.metrics.retrieval_report : The same as a table.

    Examples
    --------
    >>> from skxmodal import ProcrustesMapper
    >>> from skxmodal.datasets import make_paired_embeddings
    >>> from skxmodal.inspection import RecallCurveDisplay
    >>> X, y = make_paired_embeddings(n_pairs=300, random_state=0)
    >>> mapper = ProcrustesMapper().fit(X[:200], y[:200])
    >>> display = RecallCurveDisplay.from_estimator(
    ...     mapper, X[200:], y[200:], random_state=0
    ... )
    >>> len(display.curves)
    2
    """

    def __init__(
        self,
        *,
        ks: NDArray[np.int64],
        curves: list[RecallCurve],
        confidence_level: float,
        name: str | None = None,
    ) -> None:
        self.ks = ks
        self.curves = curves
        self.confidence_level = confidence_level
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        groups: ArrayLike | None = None,
        *,
        ks: Sequence[int] | None = None,
        direction: str = "both",
        confidence_level: float = 0.95,
        n_resamples: int = 2000,
        random_state: Any = None,
        name: str | None = None,
        ax: Any = None,
    ) -> RecallCurveDisplay:
        """Rank the correct items of given rows and draw the curve.

        Parameters
        ----------
        estimator : fitted estimator
            A mapper or a retriever, alone or last in a pipeline or a search.
        X : array-like of n queries
            Queries.
        y : array-like of n targets
            The target of each query. They make the gallery.
        groups : array-like of shape (n,), default=None
            The picture of each row; by default rows of equal content are one.
        ks : sequence of int, default=None
            Numbers of places; by default those up to 100 that look evenly spaced on
            a logarithmic axis.
        direction : {"both", "query_to_target", "target_to_query"}, default="both"
            Who asks.
        confidence_level : float, default=0.95
            Probability that the bands are made to cover.
        n_resamples : int, default=2000
            Number of bootstrap resamples of pictures.
        random_state : int, RandomState instance or None, default=None
            Source of chance of the bands.
        name : str, default=None
            Name for the legend; by default that of the estimator's class.
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : RecallCurveDisplay
            The display, drawn.
        """
        ranks = retrieval_ranks(estimator, X, y, groups, direction=direction)
        return cls.from_predictions(
            ranks,
            ks=ks,
            confidence_level=confidence_level,
            n_resamples=n_resamples,
            random_state=random_state,
            name=type(estimator).__name__ if name is None else name,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        ranks: RetrievalRanks | Ranks,
        *,
        ks: Sequence[int] | None = None,
        confidence_level: float = 0.95,
        n_resamples: int = 2000,
        random_state: Any = None,
        name: str | None = None,
        ax: Any = None,
    ) -> RecallCurveDisplay:
        """Draw the curve of ranks that were counted before.

        Parameters
        ----------
        ranks : RetrievalRanks or Ranks
            What :func:`~skxmodal.metrics.retrieval_ranks` gives, or one direction.
        ks : sequence of int, default=None
            Numbers of places; by default those up to 100 that look evenly spaced on
            a logarithmic axis.
        confidence_level : float, default=0.95
            Probability that the bands are made to cover.
        n_resamples : int, default=2000
            Number of bootstrap resamples of pictures.
        random_state : int, RandomState instance or None, default=None
            Source of chance of the bands.
        name : str, default=None
            Name for the legend.
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : RecallCurveDisplay
            The display, drawn.
        """
        if isinstance(ranks, Ranks):
            ranks = in_own_direction(ranks)
        sizes = [one.gallery_size or int(one.best.max()) for _, one in ranks.items()]
        chosen = _default_ks(min(sizes)) if ks is None else list(ks)
        report = retrieval_report(
            ranks,
            ks=chosen,
            confidence_level=confidence_level,
            n_resamples=n_resamples,
            random_state=random_state,
            output="dict",
        )
        curves = [
            _curve_of(direction, report[direction], chosen)
            for direction, _ in ranks.items()
        ]
        display = cls(
            ks=np.array(chosen),
            curves=curves,
            confidence_level=confidence_level,
            name=name,
        )
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> RecallCurveDisplay:
        """Draw the curves, their bands and the chance level.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : RecallCurveDisplay
            The display itself.
        """
        self.ax_, self.figure_ = open_axes(ax)
        self.lines_ = []
        for curve in self.curves:
            label = DIRECTION_NAMES[curve.direction]
            if self.name:
                label = f"{self.name}, {label}"
            if curve.hubness:
                label += f" ({curve.hubness})"
            (line,) = self.ax_.plot(
                self.ks, 100 * curve.values, marker="o", markersize=3, label=label
            )
            self.ax_.fill_between(
                self.ks,
                100 * curve.low,
                100 * curve.high,
                color=line.get_color(),
                alpha=0.2,
                linewidth=0,
            )
            self.ax_.plot(
                self.ks, 100 * curve.chance, color=line.get_color(), linestyle=":"
            )
            self.lines_.append(line)
        sizes = " and ".join(
            dict.fromkeys(
                "unknown numbers of"
                if curve.gallery_size is None
                else f"{curve.gallery_size:,}"
                for curve in self.curves
            )
        )
        self.ax_.set(
            xscale="log",
            xlabel="K",
            ylabel="recall@K (%), any correct item",
            ylim=(0, 102),
            title=f"Recall in galleries of {sizes} items",
        )
        ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100) if tick <= self.ks.max()]
        self.ax_.set_xticks(ticks, [str(tick) for tick in ticks])
        self.ax_.minorticks_off()
        self.ax_.grid(alpha=0.3)
        (chance,) = self.ax_.plot([], [], color="grey", linestyle=":")
        self.ax_.legend(
            [*self.lines_, chance],
            [*(line.get_label() for line in self.lines_), "chance"],
            title=f"bands: {self.confidence_level:.0%}, pictures resampled",
            loc="upper center",
            bbox_to_anchor=(0.5, -0.16),
            fontsize="small",
            title_fontsize="small",
        )
        return self


def _default_ks(largest: int) -> list[int]:
    ks = np.unique(np.geomspace(1, min(100, largest), 15).round().astype(int))
    return [int(k) for k in ks]


def _curve_of(direction: str, report: dict[str, Any], ks: list[int]) -> RecallCurve:
    rows = [report["metrics"][f"hit_rate_at_{k}"] for k in ks]
    columns = {
        column: np.array(
            [np.nan if row[column] is None else row[column] for row in rows]
        )
        for column in ("value", "low", "high", "chance")
    }
    return RecallCurve(
        direction,
        columns["value"],
        columns["low"],
        columns["high"],
        columns["chance"],
        report["gallery_size"],
        report["hubness"],
    )
