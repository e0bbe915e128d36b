"""Cross-domain similarity local scaling."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skxmodal.neighbors._blocks import Vectors
from skxmodal.neighbors._exact import top_k
from skxmodal.neighbors._hubness_base import HubnessCorrection, check_count


class CSLS(HubnessCorrection):
    """Cross-domain similarity local scaling.

    The score of a query q and an item t is ``2 cos(q, t) - r(q) - r(t)``, where r(t) is
    the mean cosine of t with its k nearest queries of the bank, and r(q) that of q
    with its k nearest items of the gallery: an item near to many queries has to be
    nearer still.

    Parameters
    ----------
    k : int, default=10
        Number of neighbours whose mean cosine is taken; all where there are fewer.
    bank : {"train", "queries"}, default="train"
        Which queries stand for those to come: "train" the training ones, so that a
        query is answered alike alone and in a batch (inductive); "queries" the ones
        being answered (transductive), which reports say.
    bank_size : int or None, default=10000
        At most so many training queries, evenly spaced, make the bank. None takes all.

    Attributes
    ----------
    gallery_scale_ : ndarray of shape (n_items,)
        Factor of each item's cosines, 2.
    gallery_offset_ : ndarray of shape (n_items,)
        Term of each item, -r(t).
    n_items_ : int
        Size of the gallery.

    References
    ----------
    .. [1] Conneau, Lample, Ranzato, Denoyer and Jégou, "Word Translation Without
       Parallel Data", ICLR 2018, equation 3.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.neighbors import CSLS, top_k
    >>> gallery = np.array([[1.0, 0.0], [0.8, 0.6]])
    >>> bank = np.array([[0.8, 0.6], [0.6, 0.8]])
    >>> csls = CSLS(k=1).fit(bank, gallery)
    >>> queries = csls.fold_queries([[0.96, 0.28]])
    >>> top_k(queries, csls.fold_gallery(gallery), k=2)[1]
    array([[0, 1]])
    """

    def __init__(
        self, k: int = 10, *, bank: str = "train", bank_size: int | None = 10_000
    ) -> None:
        self.k = k
        self.bank = bank
        self.bank_size = bank_size

    def _fit(self, bank: Vectors, gallery: Vectors) -> None:
        check_count("k", self.k)
        self.gallery_scale_ = np.full(len(gallery), 2.0)
        self.gallery_offset_ = -_mean_of_nearest(gallery, bank, self.k)

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
            1 and -r(q).
        """
        mean = _mean_of_nearest(queries, gallery, self.k)
        return np.ones(len(mean)), -mean


def _mean_of_nearest(
    vectors: ArrayLike, others: ArrayLike, k: int
) -> NDArray[np.float64]:
    """Mean inner product of each vector with its k nearest others."""
    scores, _ = top_k(vectors, others, min(k, len(np.asarray(others))))
    return scores.mean(axis=1, dtype=np.float64)
