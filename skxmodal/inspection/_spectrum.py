"""How well each shared direction of a map agrees on given pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from skxmodal.inspection._axes import open_axes
from skxmodal.metrics._protocol import unwrap


class AlignmentSpectrumDisplay:
    """Correlation of the two sides along each direction of the shared space.

    On pairs that the map was not fitted on, the directions whose correlation stands
    above the band of chance are those the two encoders really share; those within it
    are noise that the map would do well to leave out.

    Make it with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    correlations : ndarray of shape (n_components,)
        Correlation along each direction, descending.
    n_pairs : int
        Number of pairs they were measured on.
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
        confidence_level: float = 0.95,
        name: str | None = None,
    ) -> None:
        self.correlations = correlations
        self.n_pairs = n_pairs
        self.confidence_level = confidence_level
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
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
        final, X = unwrap(estimator, X)
        return cls.from_predictions(
            np.asarray(final.transform(X)),
            np.asarray(final.transform_target(y)),
            confidence_level=confidence_level,
            name=type(final).__name__ if name is None else name,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        X_shared: ArrayLike,
        y_shared: ArrayLike,
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
            If the shapes differ, or there are fewer than three pairs.
        """
        left = np.asarray(X_shared, dtype=np.float64)
        right = np.asarray(y_shared, dtype=np.float64)
        if left.shape != right.shape or left.ndim != 2 or len(left) < 3:
            raise ValueError(
                "Both sides must have the same shape (n, n_components), with n of at "
                f"least 3; got {left.shape} and {right.shape}."
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
        # Fisher: the arctanh of a correlation of noise has variance 1 / (n - 3).
        quantile = norm.ppf(0.5 + self.confidence_level / 2)
        self.chance_ = float(np.tanh(quantile / np.sqrt(max(self.n_pairs - 3, 1))))
        self.n_shared_ = int((self.correlations > self.chance_).sum())
        places = np.arange(1, len(self.correlations) + 1)
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
            title=f"{self.n_shared_} of {len(self.correlations)} directions agree "
            f"on {self.n_pairs:,} pairs",
        )
        self.ax_.legend(fontsize="small")
        return self
