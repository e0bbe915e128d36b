"""The shared space in two dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

N_SHOWN = 1500


class SharedMap:
    """Principal components of both sides of a gallery, and who is drawn on them.

    Both sides weigh the same, however many captions a picture has.

    Parameters
    ----------
    pictures : ndarray of shape (n_pictures, n_components)
        Unit vectors of the pictures in the shared space.
    captions : ndarray of shape (n_captions, n_components)
        Unit vectors of the captions in the shared space.
    n_shown : int, default=1500
        How many of each side are drawn; where there are more, a sample is.

    Attributes
    ----------
    shown_pictures, shown_captions : ndarray of int
        Rows that are drawn, ascending.
    share : float
        Share of the variance that the two dimensions show, in [0, 1].
    """

    def __init__(
        self,
        pictures: NDArray[Any],
        captions: NDArray[Any],
        *,
        n_shown: int = N_SHOWN,
    ) -> None:
        rng = np.random.default_rng(0)
        self.shown_pictures = _sample(rng, len(pictures), n_shown)
        self.shown_captions = _sample(rng, len(captions), n_shown)
        sides = [
            np.asarray(pictures[self.shown_pictures], dtype=np.float64),
            np.asarray(captions[self.shown_captions], dtype=np.float64),
        ]
        self._centre = np.mean([side.mean(axis=0) for side in sides], axis=0)
        centred = [side - self._centre for side in sides]
        scatter = np.mean([side.T @ side / len(side) for side in centred], axis=0)
        n_axes = min(2, len(scatter))
        values, axes = eigh(
            scatter, subset_by_index=[len(scatter) - n_axes, len(scatter) - 1]
        )
        axes = axes[:, ::-1]
        # An eigenvector's sign is free; the same gallery gives the same map.
        largest = np.abs(axes).argmax(axis=0)
        self._axes = axes * np.sign(axes[largest, np.arange(n_axes)])
        total = float(np.trace(scatter))
        self.share = float(values.sum() / total) if total > 0 else 1.0

    def place(self, vectors: NDArray[Any]) -> list[list[float]]:
        """Places of vectors of the shared space, as [x, y] each."""
        places = (np.asarray(vectors, dtype=np.float64) - self._centre) @ self._axes
        if places.shape[1] < 2:
            places = np.pad(places, ((0, 0), (0, 2 - places.shape[1])))
        return places.round(4).tolist()


def _sample(rng: np.random.Generator, n: int, n_shown: int) -> NDArray[np.intp]:
    if n <= n_shown:
        return np.arange(n)
    return np.sort(rng.choice(n, size=n_shown, replace=False))
