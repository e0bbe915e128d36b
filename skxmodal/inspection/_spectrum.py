"""How well each shared direction of a map agrees on given pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from skxmodal._content import group_items
from skxmodal._rows import group_by_content
from skxmodal._validation import check_groups
from skxmodal.inspection._axes import open_axes
from skxmodal.metrics._gallery_items import target_items
from skxmodal.metrics._protocol import check_aligned, unwrap


class AlignmentSpectrumDisplay:
    """Correlation of the two sides along each direction of the shared space.

    On pairs that the map was not fitted on, the directions whose correlation stands
    above the band of chance are those the two encoders really share; those within it
    are noise that the map would do well to leave out. Of directions that are all
    noise, half of what the band leaves out stands above it: that number is in the
    title. Captions of one picture are no independent pairs, so pictures are counted.

    Make it with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    correlations : ndarray of shape (n_components,)
        Correlation along each direction, descending.
    n_pairs : int
        Number of pairs they were measured on.
    n_pictures : int, default=None
        Number of different pictures among the pairs, at least 4 for a band of chance;
        by default each pair has its own.
    confidence_level : float, default=0.95
        Probability that the correlation of unrelated directions is within the band.
    name : str, default=None
        Name of the estimator, for the legend.

    Attributes
    ----------
    chance_ : float
        Half the width of the band of chance.
    n_shared_ : int
        Number of directions above the band.
    n_by_chance_ : float
        Number of directions above the band to expect where none is shared.
    ax_ : matplotlib Axes
        The axes of the last :meth:`plot`.
    figure_ : matplotlib Figure
        Their figure.
    line_ : matplotlib Line2D
        The curve.

    Examples
    --------
    >>> from skxmodal import CCAMapper
    >>> from skxmodal.datasets import make_paired_embeddings
    >>> from skxmodal.inspection import AlignmentSpectrumDisplay
    >>> X, y = make_paired_embeddings(n_pairs=600, random_state=0)
    >>> mapper = CCAMapper().fit(X[:400], y[:400])
    >>> display = AlignmentSpectrumDisplay.from_estimator(
    ...     mapper, X[400:], y[400:]
    ... )
    >>> display.n_shared_ > 0
    True
    """

    def __init__(
        self,
        *,
        correlations: NDArray[np.float64],
        n_pairs: int,
        n_pictures: int | None = None,
        confidence_level: float = 0.95,
        name: str | None = None,
    ) -> None:
        self.correlations = correlations
        self.n_pairs = n_pairs
        self.n_pictures = n_pictures
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
        confidence_level: float = 0.95,
        name: str | None = None,
        ax: Any = None,
    ) -> AlignmentSpectrumDisplay:
        """Map given pairs and draw the correlations.

        Parameters
        ----------
        estimator : fitted estimator
            A mapper or a retriever, alone or last in a pipeline or a search.
        X : array-like of n queries
            Queries, best such that the map was not fitted on.
        y : array-like of n targets
            The target of each query.
        groups : array-like of shape (n,), default=None
            The picture of each row; by default rows of equal content are one.
        confidence_level : float, default=0.95
            Probability of the band of chance.
        name : str, default=None
            Name for the legend; by default that of the estimator's class.
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : AlignmentSpectrumDisplay
            The display, drawn.
        """
        check_aligned(X, y)
        final, X = unwrap(estimator, X)
        return cls.from_predictions(
            np.asarray(final.transform(X)),
            np.asarray(final.transform_target(y)),
            target_items(final, y, groups)[1],
            confidence_level=confidence_level,
            name=type(final).__name__ if name is None else name,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        X_shared: ArrayLike,
        y_shared: ArrayLike,
        groups: ArrayLike | None = None,
        *,
        confidence_level: float = 0.95,
        name: str | None = None,
        ax: Any = None,
    ) -> AlignmentSpectrumDisplay:
        """Draw the correlations of pairs in a shared space.

        Parameters
        ----------
        X_shared, y_shared : array-like of shape (n, n_components)
            Both sides of the pairs.
        groups : array-like of shape (n,), default=None
            The picture of each row; by default equal rows of y_shared are one.
        confidence_level : float, default=0.95
            Probability of the band of chance.
        name : str, default=None
            Name for the legend.
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : AlignmentSpectrumDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the shapes differ, there are fewer than four pictures, values are not
            finite, or confidence_level is not within (0, 1).
        """
        left = np.asarray(X_shared, dtype=np.float64)
        right = np.asarray(y_shared, dtype=np.float64)
        if left.shape != right.shape or left.ndim != 2 or left.size == 0:
            raise ValueError(
                "Both sides must have the same shape (n, n_components), got "
                f"{left.shape} and {right.shape}."
            )
        if not (np.isfinite(left).all() and np.isfinite(right).all()):
            raise ValueError("A side has NaN or infinite values: leave those rows out.")
        if not 0 < confidence_level < 1:
            raise ValueError(
                f"confidence_level must be between 0 and 1, got {confidence_level!r}."
            )
        first_rows, _ = (
            group_by_content(right)
            if groups is None
            else group_items(check_groups(groups, len(right)))
        )
        if len(first_rows) < 4:
            raise ValueError(
                f"The pairs are of {len(first_rows)} pictures, but the band of chance "
                "needs at least 4. Give more pictures, or check `groups`."
            )
        left, right = left - left.mean(axis=0), right - right.mean(axis=0)
        scale = np.sqrt((left**2).sum(axis=0) * (right**2).sum(axis=0))
        products = (left * right).sum(axis=0)
        # A direction without variance agrees with nothing.
        correlations = np.divide(
            products, scale, out=np.zeros_like(products), where=scale > 0
        )
        display = cls(
            correlations=np.sort(correlations)[::-1],
            n_pairs=len(left),
            n_pictures=len(first_rows),
            confidence_level=confidence_level,
            name=name,
        )
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> AlignmentSpectrumDisplay:
        """Draw the correlations and the band of chance.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : AlignmentSpectrumDisplay
            The display itself.
        """
        self.ax_, self.figure_ = open_axes(ax)
        n_pictures = self.n_pairs if self.n_pictures is None else self.n_pictures
        n_components = len(self.correlations)
        # Fisher: the arctanh of a correlation of noise has variance 1 / (n - 3).
        quantile = norm.ppf(0.5 + self.confidence_level / 2)
        self.chance_ = float(np.tanh(quantile / np.sqrt(max(n_pictures - 3, 1))))
        self.n_shared_ = int((self.correlations > self.chance_).sum())
        self.n_by_chance_ = n_components * (1 - self.confidence_level) / 2
        pairs = f"{self.n_pairs:,} pairs"
        if n_pictures < self.n_pairs:
            pairs += f" of {n_pictures:,} pictures"
        places = np.arange(1, n_components + 1)
        (self.line_,) = self.ax_.plot(places, self.correlations, label=self.name)
        self.ax_.axhspan(
            -self.chance_,
            self.chance_,
            color="grey",
            alpha=0.2,
            linewidth=0,
            label=f"chance ({self.confidence_level:.0%})",
        )
        self.ax_.axhline(0, color="grey", linewidth=0.8)
        self.ax_.set(
            xlabel="direction of the shared space, best first",
            ylabel="correlation of the two sides",
            ylim=(min(-0.2, self.correlations.min() - 0.05), 1.02),
            title=f"{self.n_shared_} of {n_components} directions agree "
            f"({self.n_by_chance_:.2g} by chance)\non {pairs}",
        )
        self.ax_.legend(fontsize="small")
        return self
