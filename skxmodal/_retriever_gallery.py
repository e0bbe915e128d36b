"""The gallery of a retriever: its items, by name and by content."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import _num_samples, check_is_fitted

from skxmodal._content import group_items
from skxmodal._encoding import item_keys
from skxmodal._retriever_sides import RetrieverSides
from skxmodal._rows import group_by_content
from skxmodal._validation import check_groups
from skxmodal.neighbors._gallery import Gallery, check_ids, name_items, raw_items


class RetrieverGallery(RetrieverSides):
    """Change the gallery of a retriever without a refit, and ask what is in it."""

    gallery_index: Any
    hubness_: Any
    training_keys_: list[bytes]
    training_groups_: NDArray[Any] | None
    gallery_ids_: NDArray[Any]
    gallery_rows_: NDArray[np.intp]
    gallery_items_: list[Any] | None
    _gallery: Gallery
    _query_gallery: Gallery
    _n_rows: int

    @property
    def index_(self) -> Any:
        """The index of the gallery."""
        check_is_fitted(self)
        return self._gallery.index

    def index(self, y: Any, ids: ArrayLike | None = None) -> Self:
        """Replace the gallery, without refitting.

        Parameters
        ----------
        y : array-like of shape (n, n_targets) or sequence of items
            The new targets; rows with the same content become one item.
        ids : array-like of shape (n,), default=None
            Name of each row's item. By default the path of a picture given as a
            path, or else its row in `y`.

        Returns
        -------
        self : CrossModalRetriever
            The retriever, with its new gallery.

        Raises
        ------
        ValueError
            If one content has two ids, or two contents share one.
        """
        check_is_fitted(self)
        targets = self._encode_targets(y)
        keys = self._target_keys(y, targets)
        first_rows = check_ids(keys, ids)
        vectors = self._target_vectors(targets[first_rows])
        self._set_gallery(vectors, y, keys, first_rows, ids)
        return self

    def add(self, y: Any, ids: ArrayLike | None = None) -> Self:
        """Extend the gallery.

        Items that are there already, by content, are not added again.

        Parameters
        ----------
        y : array-like of shape (n, n_targets) or sequence of items
            Targets to add.
        ids : array-like of shape (n,), default=None
            Name of each row's item. By default the path of a picture given as a
            path, or else its row, counted on from the rows seen so far.

        Returns
        -------
        self : CrossModalRetriever
            The retriever, with its longer gallery.

        Raises
        ------
        ValueError
            If an id names another content, or is of another type than the
            gallery's ids.
        """
        check_is_fitted(self)
        targets = self._encode_targets(y)
        keys = self._target_keys(y, targets)
        first_rows = check_ids(keys, ids)
        names = name_items(y, first_rows, ids, start=self._n_rows)
        present = dict(zip(self._gallery.keys, self._gallery.ids.tolist(), strict=True))
        if ids is not None:
            for name, row in zip(names.tolist(), first_rows, strict=True):
                if present.get(keys[row], name) != name:
                    raise ValueError(
                        f"Row {row} of y is in the gallery already, as "
                        f"{present[keys[row]]!r}, not as {name!r}. Remove it first to "
                        "give it another id."
                    )
        new = np.array([keys[row] not in present for row in first_rows], dtype=bool)
        rows = first_rows[new]
        if len(rows):
            vectors = self._target_vectors(targets[rows])
            self._gallery.add(vectors, names[new], [keys[row] for row in rows])
        self.gallery_ids_ = self._gallery.ids
        self.gallery_rows_ = np.concatenate([self.gallery_rows_, rows + self._n_rows])
        items = raw_items(y, rows)
        if self.gallery_items_ is not None and items is not None:
            self.gallery_items_ = self.gallery_items_ + items
        else:
            self.gallery_items_ = None
        self._n_rows += len(keys)
        return self

    def remove(self, ids: ArrayLike) -> Self:
        """Take items out of the gallery.

        Parameters
        ----------
        ids : array-like of shape (n,)
            Names of the items, as in `gallery_ids_`.

        Returns
        -------
        self : CrossModalRetriever
            The retriever, with its shorter gallery.

        Raises
        ------
        ValueError
            If an id is not in the gallery; nothing is removed then.
        """
        check_is_fitted(self)
        kept = self._gallery.remove(ids)
        self.gallery_ids_ = self._gallery.ids
        self.gallery_rows_ = self.gallery_rows_[kept]
        if self.gallery_items_ is not None:
            self.gallery_items_ = [self.gallery_items_[row] for row in kept]
        return self

    def gallery_items(
        self, y: Any, groups: ArrayLike | None = None
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Say which rows of `y` show the same picture.

        Parameters
        ----------
        y : array-like of shape (n, n_targets) or sequence of items
            Targets.
        groups : array-like of shape (n,), default=None
            Name of each row's picture; by default rows with the same content are
            the same picture.

        Returns
        -------
        first_rows : ndarray of shape (n_items,)
            The first row of each picture.
        item_of_row : ndarray of shape (n,)
            The number of each row's picture, in order of first appearance.
        """
        if groups is not None:
            return group_items(check_groups(groups, _num_samples(y)))
        check_is_fitted(self)
        if self.target_encoder_ is not None:
            return group_items(self._target_keys(y, None))
        return group_by_content(self._encode_targets(y))

    def gallery_rows_of(self, y: Any) -> NDArray[np.int64]:
        """Find the rows of the gallery that hold given targets.

        Parameters
        ----------
        y : array-like of shape (n, n_targets) or sequence of items
            Targets.

        Returns
        -------
        rows : ndarray of shape (n,)
            The row of the item of the same content, or -1 where there is none.
        """
        check_is_fitted(self)
        raw = self.target_encoder_ is not None
        keys = self._target_keys(y, None if raw else self._encode_targets(y))
        rows = {key: row for row, key in enumerate(self._gallery.keys)}
        return np.array([rows.get(key, -1) for key in keys], dtype=np.int64)

    def seen_in_training(
        self, X: Any, y: Any, groups: ArrayLike | None = None
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Say which queries and which targets the retriever was fitted to.

        Parameters
        ----------
        X : array-like of shape (n, n_features) or sequence of items
            Queries.
        y : array-like of shape (n, n_targets) or sequence of items
            Targets.
        groups : array-like of shape (n,), default=None
            Name of each row's picture: one named so in :meth:`fit` is seen too.

        Returns
        -------
        queries_seen, targets_seen : ndarray of shape (n,) of bool
            By content, which :func:`~skxmodal.model_selection.check_leakage` calls a
            leak where a query is new and its target is not.
        """
        check_is_fitted(self)
        raw = self.query_encoder_ is not None
        queries = None if raw else self._encode_queries(X)
        known = set(self._query_gallery.keys)
        keys = item_keys(self.query_encoder_, X, queries)
        queries_seen = np.array([key in known for key in keys], dtype=bool)
        raw = self.target_encoder_ is not None
        keys = self._target_keys(y, None if raw else self._encode_targets(y))
        known = set(self.training_keys_)
        targets_seen = np.array([key in known for key in keys], dtype=bool)
        if groups is not None and self.training_groups_ is not None:
            targets_seen |= np.isin(np.asarray(groups), self.training_groups_)
        return queries_seen, targets_seen

    def _set_gallery(
        self,
        vectors: NDArray[Any],
        y: Any,
        keys: list[bytes],
        first_rows: NDArray[np.intp],
        names: ArrayLike | None,
    ) -> None:
        self._gallery = Gallery(
            vectors,
            ids=name_items(y, first_rows, names),
            keys=[keys[row] for row in first_rows],
            index=self.gallery_index,
            hubness=self.hubness_,
            bank=self._query_gallery.vectors,
        )
        self.gallery_ids_ = self._gallery.ids
        self.gallery_rows_ = first_rows
        self.gallery_items_ = raw_items(y, first_rows)
        self._n_rows = len(keys)
