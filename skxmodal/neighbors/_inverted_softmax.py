"""Inverted softmax, dual softmax and query-bank normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skxmodal.neighbors._blocks import (
    Vectors,
    blocks,
    in_threads,
    product_dtype,
    read_block,
)
from skxmodal.neighbors._exact import top_k
from skxmodal.neighbors._hubness_base import (
    HubnessCorrection,
    check_count,
    check_positive,
)


class InvertedSoftmax(HubnessCorrection):
    """Softmax over the queries of a bank instead of over the gallery.

    The score of a query q and an item t is ``cos(q, t) - T log(mean over b of
    exp(cos(b, t) / T))``, with b the queries of the bank, less the same quantity over
    the gallery's scores: divided by T, the logarithm of a probability.

    Parameters
    ----------
    temperature : float, default=0.07
        T, in units of the cosine. Small values follow the nearest query alone.
    bank : {"train", "queries"}, default="train"
        Which queries stand for those to come: "train" the training ones, so that a
        query is answered alike alone and in a batch (inductive); "queries" the ones
        being answered (transductive), which reports say.
    bank_size : int or None, default=10000
        At most so many training queries, evenly spaced, make the bank. None takes all.

    Attributes
    ----------
    gallery_scale_ : ndarray of shape (n_items,)
        Factor of each item's cosines, 1.
    gallery_offset_ : ndarray of shape (n_items,)
        Term of each item.
    n_items_ : int
        Size of the gallery.

    See Also
    --------
    DualSoftmax : Softmax over both sides.
    QBNorm : Inverted softmax only for queries that meet a hub.

    References
    ----------
    .. [1] Smith, Turban, Hamblin and Hammerla, "Offline Bilingual Word Vectors,
       Orthogonal Transformations and the Inverted Softmax", ICLR 2017, equation 10.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.neighbors import InvertedSoftmax
    >>> gallery = np.array([[1.0, 0.0], [0.8, 0.6]])
    >>> softmax = InvertedSoftmax(temperature=0.1).fit([[0.8, 0.6]], gallery)
    >>> softmax.gallery_offset_
    array([-0.8, -1. ])
    """

    def __init__(
        self,
        temperature: float = 0.07,
        *,
        bank: str = "train",
        bank_size: int | None = 10_000,
    ) -> None:
        self.temperature = temperature
        self.bank = bank
        self.bank_size = bank_size

    # Weight of the cosine beside the bank's term.
    _scale = 1.0

    def _fit(self, bank: Vectors, gallery: Vectors) -> None:
        check_positive("temperature", self.temperature)
        self.gallery_scale_ = np.full(len(gallery), self._scale)
        self.gallery_offset_ = -_soft_maximum(gallery, bank, self.temperature)

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
            1 and the normaliser of the query's scores.
        """
        folded = self.fold_queries(queries)
        offset = -_soft_maximum(folded, self.fold_gallery(gallery), self.temperature)
        return np.ones(len(offset)), offset


class DualSoftmax(InvertedSoftmax):
    """Product of the softmax over the gallery and the softmax over a bank of queries.

    The score of a query q and an item t is ``2 cos(q, t) - T log(mean over b of
    exp(cos(b, t) / T)) - T log(mean over u of exp(cos(q, u) / T))``, with b the queries
    of the bank and u the items of the gallery.

    Parameters
    ----------
    temperature : float, default=0.03
        T, in units of the cosine. Small values follow the nearest query alone.
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
        Term of each item.
    n_items_ : int
        Size of the gallery.

    References
    ----------
    .. [1] Cheng, Lin, Wu, Yang and Shen, "Improving Video-Text Retrieval by
       Multi-Stream Corpus Alignment and Dual Softmax Loss", 2021, arXiv:2109.04290.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.neighbors import DualSoftmax
    >>> gallery = np.array([[1.0, 0.0], [0.8, 0.6]])
    >>> DualSoftmax().fit([[0.8, 0.6]], gallery).gallery_offset_
    array([-0.8, -1. ])
    """

    def __init__(
        self,
        temperature: float = 0.03,
        *,
        bank: str = "train",
        bank_size: int | None = 10_000,
    ) -> None:
        super().__init__(temperature, bank=bank, bank_size=bank_size)

    _scale = 2.0

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
            1 and the normaliser of the query's cosines.
        """
        offset = -_soft_maximum(
            np.asarray(queries), np.asarray(gallery), self.temperature
        )
        return np.ones(len(offset)), offset


class QBNorm(InvertedSoftmax):
    """Inverted softmax for those queries alone whose best item is a hub of the bank.

    A query whose nearest item is among the k nearest of any query of the bank is
    scored by inverted softmax, any other by the cosine: the dynamic inverted softmax
    of query-bank normalisation.

    Parameters
    ----------
    temperature : float, default=0.07
        T, in units of the cosine: the inverse of the paper's beta.
    k : int, default=1
        How many items nearest to a query of the bank count as met by it.
    bank : {"train", "queries"}, default="train"
        Which queries stand for those to come: "train" the training ones, so that a
        query is answered alike alone and in a batch (inductive); "queries" the ones
        being answered (transductive), which reports say.
    bank_size : int or None, default=10000
        At most so many training queries, evenly spaced, make the bank. None takes all.

    Attributes
    ----------
    activated_ : ndarray of shape (n_items,) of bool
        The items met by the bank.
    gallery_scale_ : ndarray of shape (n_items,)
        Factor of each item's cosines, 1.
    gallery_offset_ : ndarray of shape (n_items,)
        Term of each item, for queries that meet an activated one first.
    n_items_ : int
        Size of the gallery.

    References
    ----------
    .. [1] Bogolin, Croitoru, Jin, Liu and Albanie, "Cross Modal Retrieval with
       Querybank Normalisation", CVPR 2022, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.neighbors import QBNorm
    >>> gallery = np.array([[1.0, 0.0], [0.8, 0.6]])
    >>> QBNorm().fit([[0.8, 0.6]], gallery).activated_
    array([False,  True])
    """

    def __init__(
        self,
        temperature: float = 0.07,
        k: int = 1,
        *,
        bank: str = "train",
        bank_size: int | None = 10_000,
    ) -> None:
        super().__init__(temperature, bank=bank, bank_size=bank_size)
        self.k = k

    def _fit(self, bank: Vectors, gallery: Vectors) -> None:
        super()._fit(bank, gallery)
        check_count("k", self.k)
        self.activated_ = np.zeros(len(gallery), dtype=bool)
        self.activated_[top_k(bank, gallery, min(self.k, len(gallery)))[1]] = True
        self._gallery = gallery

    def _weight_of_offsets(self, queries: Vectors) -> NDArray[Any]:
        nearest = top_k(queries, self._gallery, 1)[1][:, 0]
        return self.activated_[nearest].astype(np.float64)


def _soft_maximum(
    vectors: Vectors, others: Vectors, temperature: float
) -> NDArray[np.float64]:
    """T log(mean of exp(s / T)) of each vector's products s with the others."""
    dtype = product_dtype(vectors, others)
    # Below it the nearest alone counts, and a quotient could leave single precision.
    temperature = max(temperature, 1e-30)

    def of_block(rows: slice) -> NDArray[np.float64]:
        block = read_block(vectors, rows, dtype)
        largest = np.full(len(block), -np.inf)
        total = np.zeros(len(block))
        for columns in blocks(len(others), 2048):
            scores = block @ read_block(others, columns, dtype).T
            highest = np.maximum(largest, scores.max(axis=1))
            total *= np.exp((largest - highest) / temperature)
            scores -= highest[:, np.newaxis].astype(dtype)
            scores /= dtype.type(temperature)
            total += np.exp(scores, out=scores).sum(axis=1, dtype=np.float64)
            largest = highest
        return largest + temperature * np.log(total / len(others))

    return np.concatenate(in_threads(of_block, blocks(len(vectors), 1024), None))
