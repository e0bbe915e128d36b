"""Local scaling of distances."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skxmodal.neighbors._blocks import Vectors
from skxmodal.neighbors._exact import top_k
from skxmodal.neighbors._hubness_base import HubnessCorrection, check_count

# A bank that holds the item itself would divide by zero.
SMALLEST_DISTANCE = 1e-3


class LocalScaling(HubnessCorrection):
    """Squared distances divided by the distance of each side's k-th neighbour.

    The score of a query q and an item t is ``-|q - t|^2 / (s(q) s(t))``, where s(t) is
    the distance from t to its k-th nearest query of the bank and s(q) that from q to
    its k-th nearest item of the gallery.

    Parameters
    ----------
    k : int, default=10
        Which neighbour's distance is the scale; the last where there are fewer.
    bank : {"train", "queries"}, default="train"
        Which queries stand for those to come: "train" the training ones, so that a
        query is answered alike alone and in a batch (inductive); "queries" the ones
        being answered (transductive), which reports say.
    bank_size : int or None, default=10000
        At most so many training queries, evenly spaced, make the bank. None takes all.

    Attributes
    ----------
    gallery_scale_ : ndarray of shape (n_items,)
        Factor of each item's cosines, 2 / s(t).
    gallery_offset_ : ndarray of shape (n_items,)
        Term of each item, -2 / s(t).
    n_items_ : int
        Size of the gallery.

    References
    ----------
    .. [1] Zelnik-Manor and Perona, "Self-Tuning Spectral Clustering", NIPS 2004.
    .. [2] Schnitzer, Flexer, Schedl and Widmer, "Local and Global Scaling Reduce Hubs
       in Space", JMLR 13, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.neighbors import LocalScaling
    >>> gallery = np.array([[1.0, 0.0], [0.8, 0.6]])
    >>> scaling = LocalScaling(k=1).fit([[0.6, 0.8]], gallery)
    >>> scaling.gallery_scale_.round(2)
    array([2.24, 7.07])
    """

    def __init__(
        self, k: int = 10, *, bank: str = "train", bank_size: int | None = 10_000
    ) -> None:
        self.k = k
        self.bank = bank
        self.bank_size = bank_size

    # The distance of unit vectors is taken from their product.
    _needs_unit_rows = True

    def _fit(self, bank: Vectors, gallery: Vectors) -> None:
        check_count("k", self.k)
        self.gallery_scale_ = 2.0 / _distance_of_kth(gallery, bank, self.k)
        self.gallery_offset_ = -self.gallery_scale_

    def query_terms(
        self, queries: ArrayLike, gallery: ArrayLike
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Take a folded product to the full score, a term of the query apart.

        Parameters
        ----------
        queries : array-like of shape (n_queries, d)
            Unit vectors.
        gallery : array-like of shape (n_items, d)
            The gallery given to :meth:`fit`.

        Returns
        -------
        scale, offset : ndarray of shape (n_queries,)
            1 / s(q) and 0.
        """
        scale = 1.0 / _distance_of_kth(queries, gallery, self.k)
        return scale, np.zeros(len(scale))


def _distance_of_kth(
    vectors: ArrayLike, others: ArrayLike, k: int
) -> NDArray[np.float64]:
    """Distance of each unit vector to its k-th nearest other."""
    scores, _ = top_k(vectors, others, min(k, len(np.asarray(others))))
    squared = 2.0 - 2.0 * scores[:, -1].astype(np.float64)
    return np.sqrt(np.maximum(squared, SMALLEST_DISTANCE**2))
