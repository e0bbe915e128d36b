"""The searches of a retriever, in both directions."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from skxmodal._retriever_sides import RetrieverSides
from skxmodal.metrics._ranks import DIRECTIONS
from skxmodal.neighbors._gallery import Gallery


class RetrieverSearch(RetrieverSides):
    """Find the targets of a query, and the queries of a target."""

    n_neighbors: Any
    hubness_: Any
    gallery_ids_: NDArray[Any]
    _gallery: Gallery
    _query_gallery: Gallery
    _target_bank: NDArray[Any]
    _item_of_query: NDArray[Any]

    def kneighbors(
        self, X: Any, n_neighbors: int | None = None, return_distance: bool = True
    ) -> tuple[NDArray[Any], NDArray[np.int64]] | NDArray[np.int64]:
        """Find the nearest gallery items of each query (text to image).

        Parameters
        ----------
        X : array-like of shape (n, n_features) or sequence of items
            Queries.
        n_neighbors : int, default=None
            Number of items for each query; the `n_neighbors` of the retriever by
            default.
        return_distance : bool, default=True
            Whether the distances are returned too.

        Returns
        -------
        distances : ndarray of shape (n, n_neighbors)
            Cosine distances, ascending, in [0, 2]; with a hubness correction, one
            less the corrected score, but for terms that all items of a query share.
            Only where `return_distance` is true.
        rows : ndarray of shape (n, n_neighbors)
            Rows of the gallery: `gallery_ids_[rows]` are the items' names.

        Raises
        ------
        ValueError
            If `n_neighbors` exceeds the size of the gallery.
        """
        check_is_fitted(self)
        queries = self._query_vectors(self._encode_queries(X))
        return self._search(self._gallery, queries, n_neighbors, return_distance)

    def inverse_kneighbors(
        self, y: Any, n_neighbors: int | None = None, return_distance: bool = True
    ) -> tuple[NDArray[Any], NDArray[np.int64]] | NDArray[np.int64]:
        """Find the nearest training queries of each target (image to text).

        Parameters
        ----------
        y : array-like of shape (n, n_targets) or sequence of items
            Targets, of the gallery or new ones.
        n_neighbors : int, default=None
            Number of queries for each target; the `n_neighbors` of the retriever
            by default.
        return_distance : bool, default=True
            Whether the distances are returned too.

        Returns
        -------
        distances : ndarray of shape (n, n_neighbors)
            Cosine distances, ascending, as those of :meth:`kneighbors`. Only where
            `return_distance` is true.
        rows : ndarray of shape (n, n_neighbors)
            Rows of the `X` given to :meth:`fit`.

        Raises
        ------
        ValueError
            If `n_neighbors` exceeds the number of queries.
        """
        check_is_fitted(self)
        targets = self._target_vectors(self._encode_targets(y))
        return self._search(self._query_gallery, targets, n_neighbors, return_distance)

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Find the gallery row of each query's best hit.

        Parameters
        ----------
        X : array-like of shape (n, n_features) or sequence of items
            Queries.

        Returns
        -------
        rows : ndarray of shape (n,)
            Rows of the gallery: `gallery_ids_[rows]` are the items' names.
        """
        rows = self.kneighbors(X, n_neighbors=1, return_distance=False)
        assert isinstance(rows, np.ndarray)
        return rows[:, 0]

    def hubness_correction(
        self, direction: str, queries: NDArray[Any], gallery: NDArray[Any]
    ) -> Any:
        """Fit the hubness correction to another gallery, as scorers need it.

        Parameters
        ----------
        direction : {"query_to_target", "target_to_query"}
            Which side asks.
        queries : ndarray of shape (n_queries, n_components)
            Unit vectors of the asking side, in the shared space.
        gallery : ndarray of shape (n_items, n_components)
            Unit vectors of the answering side, in the shared space.

        Returns
        -------
        correction : fitted hubness estimator or None
            `None` where the retriever has no hubness correction.

        Raises
        ------
        ValueError
            If the direction is not one of the two.
        """
        check_is_fitted(self)
        if direction not in DIRECTIONS:
            raise ValueError(
                f"direction must be one of {[*DIRECTIONS]}, got {direction!r}."
            )
        if self.hubness_ is None:
            return None
        bank = queries
        if not self.hubness_.transductive:
            bank = (
                self._query_gallery.vectors
                if direction == "query_to_target"
                else self._target_bank
            )
        return clone(self.hubness_).fit(bank, gallery)

    def _search(
        self,
        gallery: Gallery,
        vectors: NDArray[Any],
        n_neighbors: int | None,
        return_distance: bool,
    ) -> tuple[NDArray[Any], NDArray[np.int64]] | NDArray[np.int64]:
        n_neighbors = self.n_neighbors if n_neighbors is None else n_neighbors
        check_n_neighbors(n_neighbors)
        if n_neighbors > gallery.n_items:
            raise ValueError(
                f"Expected n_neighbors <= {gallery.n_items}, the number of items "
                f"searched, got n_neighbors = {n_neighbors}."
            )
        scores, rows = gallery.search(vectors, int(n_neighbors))
        if not return_distance:
            return rows
        distances = 1 - scores
        if self.hubness_ is None:
            # Rounding can take a cosine past 1.
            np.clip(distances, 0, 2, out=distances)
        return distances, rows


def check_n_neighbors(n_neighbors: Any) -> None:
    """Refuse a number of neighbours that is none."""
    whole = isinstance(n_neighbors, Integral) and not isinstance(n_neighbors, bool)
    if not whole or n_neighbors < 1:
        raise ValueError(
            f"n_neighbors must be an integer of at least 1, got {n_neighbors!r}."
        )
