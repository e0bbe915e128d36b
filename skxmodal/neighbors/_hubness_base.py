"""What corrections of scores for hubness have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from skxmodal._doc_links import DocLinkMixin
from skxmodal.neighbors._blocks import (
    Vectors,
    blocks,
    check_vectors,
    product_dtype,
    row_norms,
)

BANKS = ("train", "queries")
# Unit vectors of half precision, with the rounding of their norms.
LONGEST = 1.01


class HubnessCorrection(DocLinkMixin, BaseEstimator, ABC):
    """Scores of a gallery made comparable by how easily each item is retrieved.

    For one query the corrected score of item t is ``gallery_scale_[t] * cosine +
    gallery_offset_[t]``, but for terms of the query alone, which :meth:`query_terms`
    gives and which change no order.
    """

    bank: str
    bank_size: int | None
    _needs_unit_rows = False

    def fit(self, bank_queries: ArrayLike, gallery: ArrayLike) -> HubnessCorrection:
        """Learn how easily each gallery item is retrieved by the bank.

        Parameters
        ----------
        bank_queries : array-like of shape (n_bank, d)
            Unit vectors of the side that asks: training queries, or the very queries
            to be answered.
        gallery : array-like of shape (n_items, d)
            Unit vectors of the gallery.

        Returns
        -------
        self : HubnessCorrection
            The fitted correction.

        Raises
        ------
        ValueError
            If a parameter is out of range, the shapes don't fit, a value is not finite,
            or rows are longer than unit vectors where distances are computed.
        """
        bank, items = check_vectors(bank_queries, gallery)
        if self.bank not in BANKS:
            raise ValueError(f"bank must be one of {BANKS}, got {self.bank!r}.")
        bank = self._thin(bank)
        for name, side in (("bank_queries", bank), ("gallery", items)):
            norms = row_norms(side, name)
            if self._needs_unit_rows and norms.max() > LONGEST:
                raise ValueError(
                    f"{type(self).__name__} needs unit vectors, but row "
                    f"{norms.argmax()} of {name} is {norms.max():.3g} long. Divide "
                    "each row by its length."
                )
        self._fit(bank, items)
        self.n_items_ = len(items)
        return self

    @abstractmethod
    def _fit(self, bank: Vectors, gallery: Vectors) -> None:
        """Set ``gallery_scale_`` and ``gallery_offset_``."""

    @property
    def transductive(self) -> bool:
        """Whether a query's answer depends on the queries asked with it."""
        return self.bank == "queries"

    def fold_gallery(self, gallery: ArrayLike) -> Vectors:
        """Vectors whose inner products with folded queries are corrected scores.

        Parameters
        ----------
        gallery : array-like of shape (n_items, d)
            The gallery given to :meth:`fit`.

        Returns
        -------
        folded : ndarray of shape (n_items, d + 1)
            The scaled vectors and a column of offsets.

        Raises
        ------
        ValueError
            If it is a gallery of another size.
        """
        check_is_fitted(self)
        gallery = check_vectors(gallery, gallery)[0]
        if len(gallery) != self.n_items_:
            raise ValueError(
                f"The correction was fitted to {self.n_items_} gallery items, got "
                f"{len(gallery)}. Fit it again where the gallery changes."
            )
        dtype = product_dtype(gallery, gallery)
        folded = np.empty((len(gallery), gallery.shape[1] + 1), dtype)
        for rows in blocks(len(gallery), 4096):
            folded[rows, :-1] = gallery[rows] * self.gallery_scale_[rows, np.newaxis]
        folded[:, -1] = self.gallery_offset_
        return folded

    def fold_queries(self, queries: ArrayLike) -> Vectors:
        """Queries with the column that meets the gallery's offsets.

        Parameters
        ----------
        queries : array-like of shape (n_queries, d)
            Unit vectors.

        Returns
        -------
        folded : ndarray of shape (n_queries, d + 1)
            The queries and a column of ones.
        """
        check_is_fitted(self)
        queries = check_vectors(queries, queries)[0]
        dtype = product_dtype(queries, queries)
        folded = np.empty((len(queries), queries.shape[1] + 1), dtype)
        folded[:, :-1] = queries
        folded[:, -1] = self._weight_of_offsets(queries)
        return folded

    def _weight_of_offsets(self, queries: Vectors) -> NDArray[Any] | float:
        return 1.0

    @abstractmethod
    def query_terms(
        self, queries: ArrayLike, gallery: ArrayLike
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Terms of the query alone, that take a folded product to the full score.

        Parameters
        ----------
        queries : array-like of shape (n_queries, d)
            Unit vectors.
        gallery : array-like of shape (n_items, d)
            The gallery given to :meth:`fit`.

        Returns
        -------
        scale, offset : ndarray of shape (n_queries,)
            The full score is ``scale * folded product + offset``; scales are positive.
        """

    def _thin(self, bank: Vectors) -> Vectors:
        """At most ``bank_size`` rows of the bank, evenly spaced."""
        if self.bank_size is None or self.transductive:
            return bank
        check_count("bank_size", self.bank_size)
        if len(bank) <= self.bank_size:
            return bank
        return bank[np.linspace(0, len(bank) - 1, self.bank_size).astype(np.int64)]


def check_count(name: str, value: Any) -> None:
    """Refuse what is no integer of at least 1."""
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}.")


def check_positive(name: str, value: Any) -> None:
    """Refuse what is no finite number above 0."""
    if not isinstance(value, Real) or not 0 < float(value) < np.inf:
        raise ValueError(f"{name} must be a finite number above 0, got {value!r}.")
