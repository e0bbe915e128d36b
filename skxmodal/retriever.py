"""The estimator that finds pictures by text and text by pictures."""

from __future__ import annotations

import os
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import get_config
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.validation import (
    _num_samples,
    check_array,
    check_is_fitted,
    has_fit_parameter,
    validate_data,
)

from skxmodal import persistence
from skxmodal._content import group_items
from skxmodal._doc_links import DocLinkMixin
from skxmodal._encoding import (
    check_encoded,
    fit_encoder,
    item_keys,
    reject_raw_items,
    warn_of_mixed_groups,
)
from skxmodal._retriever_html import RetrieverHTML
from skxmodal._row_errors import check_pairing, rows_named
from skxmodal._rows import group_by_content
from skxmodal._validation import check_groups, is_dask, unit_rows
from skxmodal.mappers import LeastSquaresMapper
from skxmodal.mappers._passthrough import PassthroughMapper
from skxmodal.metrics import retrieval_ranks
from skxmodal.metrics._dask_ranks import mapped_lazily
from skxmodal.metrics._default_score import default_score
from skxmodal.metrics._ranks import DIRECTIONS
from skxmodal.neighbors import make_hubness, make_index, query_subspace
from skxmodal.neighbors._gallery import Gallery, check_ids, name_items, raw_items
from skxmodal.neighbors._subspace import in_subspace


class CrossModalRetriever(RetrieverHTML, DocLinkMixin, TransformerMixin, BaseEstimator):
    """Find the targets of a query, and the queries of a target.

    The two sides are encoded, each by its own frozen encoder, a mapper brings
    both to one centred space, and the nearest items there, by cosine, are the
    answer. Queries are captions and targets are pictures in most uses, but
    nothing here depends on it.

    Parameters
    ----------
    mapper : mapper, "passthrough" or None, default=None
        What brings both sides to one space. `None` stands for
        :class:`~skxmodal.LeastSquaresMapper`; `"passthrough"` says that `X` is
        in the target's space already, as behind a mapper in a
        :class:`~sklearn.pipeline.Pipeline`: each side is then only centred.
    query_encoder : transformer or None, default=None
        Encodes the raw queries. `None` when `X` holds embeddings.
    target_encoder : transformer or None, default=None
        Encodes the raw targets. `None` when `y` holds embeddings. The retriever
        owns it because a pipeline hands `y` untouched to every step.
    n_neighbors : int, default=5
        Number of items that :meth:`kneighbors` and :meth:`inverse_kneighbors`
        give unless told otherwise.
    gallery_index : str or index object, default="exact"
        What searches the gallery. `"exact"` is a blocked search with no error.
    hubness : str, hubness estimator or None, default=None
        Correction for items that are near to every query: `"csls"`, or an
        estimator such as :class:`~skxmodal.neighbors.CSLS`, whose parameters
        can then be tuned as `hubness__k`.

    Attributes
    ----------
    mapper_ : mapper
        The fitted mapper.
    query_encoder_, target_encoder_ : transformer or None
        The fitted encoders.
    hubness_ : hubness estimator or None
        The correction that is fitted to each gallery.
    gallery_ids_ : ndarray of shape (n_items,)
        Name of each gallery item: the ids given to :meth:`index`, the groups
        given to :meth:`fit`, the paths of pictures given as paths, or else the
        item's first row in `y`.
    gallery_rows_ : ndarray of shape (n_items,)
        The first row of `y` that shows each item of the gallery in :meth:`fit`.
    gallery_items_ : list or None
        The raw items of the gallery where they are strings or paths.
    index_ : index object
        The index of the gallery; an approximate one has `recall_vs_exact_`.
    training_keys_ : list of bytes
        Content of each training picture, for the warning about leaks.
    training_groups_ : ndarray or None
        Name of each training picture, where groups were given to :meth:`fit`.
    subspace_ : ndarray of shape (n_components, rank) or None
        Orthonormal basis of the few dimensions that a linear map of low rank reaches,
        where the search then runs; None where it needs all.
    n_features_in_ : int
        Number of features of `X`, only where it holds embeddings.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features of `X`, only where it has such names.

    See Also
    --------
    skxmodal.metrics.RecallScorer : Scores a retriever within the test gallery.
    sklearn.neighbors.NearestNeighbors : Neighbours within one space.

    References
    ----------
    Choi, Lee, Joe, Gwon. "Is Cross-modal Information Retrieval Possible
    without Training?" ECIR 2023. arXiv:2304.11095.

    Examples
    --------
    >>> from skxmodal import CrossModalRetriever, ProcrustesMapper
    >>> from skxmodal.datasets import make_paired_embeddings
    >>> X, y = make_paired_embeddings(n_pairs=300, random_state=0)
    >>> search = CrossModalRetriever(ProcrustesMapper()).fit(X[:200], y[:200])
    >>> distances, rows = search.kneighbors(X[:3], n_neighbors=2)
    >>> rows.shape
    (3, 2)
    >>> search.score(X[200:], y[200:]) > 0.5
    True
    """

    gallery_ids_: NDArray[Any]
    gallery_rows_: NDArray[np.intp]
    gallery_items_: list[Any] | None
    _n_rows: int

    def __init__(
        self,
        mapper: Any = None,
        *,
        query_encoder: Any = None,
        target_encoder: Any = None,
        n_neighbors: int = 5,
        gallery_index: Any = "exact",
        hubness: Any = None,
    ) -> None:
        self.mapper = mapper
        self.query_encoder = query_encoder
        self.target_encoder = target_encoder
        self.n_neighbors = n_neighbors
        self.gallery_index = gallery_index
        self.hubness = hubness

    def fit(
        self,
        X: Any,
        y: Any,
        groups: ArrayLike | None = None,
        **fit_params: Any,
    ) -> CrossModalRetriever:
        """Fit the encoders and the mapper, and put the targets in the gallery.

        Parameters
        ----------
        X : array-like of shape (n_pairs, n_features) or sequence of items
            Queries: embeddings, or raw items where there is a `query_encoder`.
        y : array-like of shape (n_pairs, n_targets) or sequence of items
            The target of each query: embeddings, or raw items where there is a
            `target_encoder`. Rows that show the same picture become one item of
            the gallery.
        groups : array-like of shape (n_pairs,), default=None
            Name of each row's picture. By default rows with the same content
            are the same picture. A mapper that validates within the training
            data keeps a group's rows together.
        **fit_params : dict
            What the mapper's own `fit` takes besides, such as `sample_weight`.

        Returns
        -------
        self : CrossModalRetriever
            The fitted retriever.

        Raises
        ------
        ValueError
            If the lengths differ, a value is missing or infinite, or a side holds
            raw items and has no encoder.
        """
        mapper = self._make_mapper()
        make_index(self.gallery_index)
        _check_n_neighbors(self.n_neighbors)
        self.hubness_ = make_hubness(self.hubness)
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None."
            )
        check_pairing(X, y, groups)
        mapper_params = self._route(fit_params)
        numbers = None if groups is None else check_groups(groups, _num_samples(y))
        self.target_encoder_ = fit_encoder(self.target_encoder, y, None, groups)
        targets = self._encode_targets(y, reset=True)
        self.query_encoder_ = fit_encoder(self.query_encoder, X, targets, groups)
        queries = self._encode_queries(X, reset=True)
        keys = self._target_keys(y, targets)
        first_rows, item_of_row = group_items(keys if numbers is None else numbers)
        if numbers is not None:
            warn_of_mixed_groups(keys, first_rows, item_of_row)

        if has_fit_parameter(mapper, "groups") and len(first_rows) < len(keys):
            mapper_params.setdefault("groups", item_of_row)
        self.mapper_ = mapper.fit(queries, targets, **mapper_params)
        self.subspace_ = query_subspace(self.mapper_, queries.shape[1], queries.dtype)

        self._target_bank = self._target_vectors(targets[first_rows])
        self._item_of_query = item_of_row
        self._query_gallery = Gallery(
            self._query_vectors(queries),
            ids=np.arange(len(queries)),
            keys=item_keys(self.query_encoder_, X, queries),
            index=self.gallery_index,
            hubness=self.hubness_,
            bank=self._target_bank,
        )
        self._set_gallery(self._target_bank, y, keys, first_rows, groups)
        self.training_keys_ = self._gallery.keys
        self.training_groups_ = None if groups is None else self._gallery.ids
        return self

    @property
    def index_(self) -> Any:
        """The index of the gallery."""
        check_is_fitted(self)
        return self._gallery.index

    def transform(self, X: Any) -> NDArray[Any]:
        """Take queries to the shared, centred space.

        Parameters
        ----------
        X : array-like of shape (n, n_features) or sequence of items
            Queries.

        Returns
        -------
        X_shared : ndarray of shape (n, n_components)
            Their place in the space that :meth:`transform_target` shares; for a Dask
            collection a lazy Dask array.
        """
        check_is_fitted(self)
        if is_dask(X):
            return mapped_lazily(self, "transform", X)
        return self.mapper_.transform(self._encode_queries(X))

    def transform_target(self, y: Any) -> NDArray[Any]:
        """Take targets to the shared, centred space.

        Parameters
        ----------
        y : array-like of shape (n, n_targets) or sequence of items
            Targets.

        Returns
        -------
        y_shared : ndarray of shape (n, n_components)
            Their place in the space that :meth:`transform` shares; for a Dask
            collection a lazy Dask array.
        """
        check_is_fitted(self)
        if is_dask(y):
            return mapped_lazily(self, "transform_target", y)
        return self.mapper_.transform_target(self._encode_targets(y))

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

    def score(self, X: Any, y: Any, groups: ArrayLike | None = None) -> float:
        """Hit rate at 10 of text-to-image search within the pictures of `y`.

        It is what the field calls recall@10: the fraction of queries whose own
        picture is among the first ten. The gallery is that of `y`, not the one
        searched by :meth:`kneighbors`.

        Parameters
        ----------
        X : array-like of shape (n, n_features) or sequence of items
            Queries.
        y : array-like of shape (n, n_targets) or sequence of items
            The target of each query.
        groups : array-like of shape (n,), default=None
            Name of each row's picture; by default rows with the same content are
            the same picture.

        Returns
        -------
        score : float
            The hit rate, in [0, 1].

        Warns
        -----
        UserWarning
            If `y` shows no more than ten pictures, so that every query hits.
        """
        check_is_fitted(self)
        return default_score(
            retrieval_ranks(self, X, y, groups, direction="query_to_target")
        )

    def index(self, y: Any, ids: ArrayLike | None = None) -> CrossModalRetriever:
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

    def add(self, y: Any, ids: ArrayLike | None = None) -> CrossModalRetriever:
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

    def remove(self, ids: ArrayLike) -> CrossModalRetriever:
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

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Save the retriever, its gallery included, as a folder without pickles.

        Parameters
        ----------
        path : path-like
            The folder: new, empty or with a saved model, which is replaced in one
            step.

        Returns
        -------
        path : pathlib.Path
            The folder.

        Raises
        ------
        PersistenceError
            If something in the retriever can't be stored, such as a function.

        See Also
        --------
        skxmodal.persistence.save : The same for any estimator of skxmodal.
        """
        return persistence.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CrossModalRetriever:
        """Load a retriever that was saved with :meth:`save`.

        No code from the folder is run.

        Parameters
        ----------
        path : path-like
            The folder.

        Returns
        -------
        retriever : CrossModalRetriever
            The retriever as it was saved.

        Raises
        ------
        PersistenceError
            If the folder is damaged, holds another estimator or one saved with other
            weights of its encoders, or was made by a newer skxmodal.
        """
        retriever = persistence.load(path)
        if not isinstance(retriever, cls):
            raise persistence.PersistenceError(
                f"{path} holds a {type(retriever).__name__}, not a {cls.__name__}. "
                "Load it with skxmodal.persistence.load."
            )
        return retriever

    def get_feature_names_out(
        self, input_features: ArrayLike | None = None
    ) -> NDArray[np.object_]:
        """Names of the columns that :meth:`transform` gives.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Ignored where `X` holds raw items.

        Returns
        -------
        feature_names_out : ndarray of str
            The mapper's own names.
        """
        check_is_fitted(self)
        return self.mapper_.get_feature_names_out()

    def get_metadata_routing(self) -> MetadataRouter:
        """Say which metadata goes where.

        Returns
        -------
        routing : MetadataRouter
            The retriever's own requests, and those of its mapper's fit.
        """
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(
                mapper=self._make_mapper(),
                method_mapping=MethodMapping().add(caller="fit", callee="fit"),
            )
        )

    def _route(self, fit_params: dict[str, Any]) -> dict[str, Any]:
        if not get_config()["enable_metadata_routing"]:
            return dict(fit_params)
        return dict(process_routing(self, "fit", **fit_params).mapper.fit)

    def _make_mapper(self) -> Any:
        if self.mapper is None:
            return LeastSquaresMapper()
        if isinstance(self.mapper, str):
            if self.mapper != "passthrough":
                raise ValueError(
                    "mapper must be a mapper, 'passthrough' or None, got "
                    f"{self.mapper!r}."
                )
            return PassthroughMapper()
        if not hasattr(self.mapper, "transform_target"):
            raise TypeError(
                "mapper must be a mapper, with fit, transform and transform_target, "
                f"'passthrough' or None, got {self.mapper!r}."
            )
        return clone(self.mapper)

    def _encode_queries(self, X: Any, *, reset: bool = False) -> NDArray[Any]:
        if self.query_encoder_ is None:
            reject_raw_items(X, "X", "query_encoder")
            with rows_named(X=X):
                return validate_data(
                    self, X, reset=reset, dtype=[np.float64, np.float32], order="C"
                )
        return check_encoded(self.query_encoder_.transform(X), "X")

    def _encode_targets(self, y: Any, *, reset: bool = False) -> NDArray[Any]:
        if self.target_encoder_ is not None:
            return check_encoded(self.target_encoder_.transform(y), "y")
        if y is None:
            raise ValueError("y is None. Give targets, one a row.")
        reject_raw_items(y, "y", "target_encoder")
        with rows_named(y=y):
            targets = check_array(
                y,
                dtype=[np.float64, np.float32],
                order="C",
                ensure_2d=False,
                input_name="y",
            )
        if targets.ndim == 1:
            targets = targets[:, np.newaxis]
        if reset:
            self._n_target_features = targets.shape[1]
        elif targets.shape[1] != self._n_target_features:
            raise ValueError(
                f"y has {targets.shape[1]} features, but {type(self).__name__} was "
                f"fitted with targets of {self._n_target_features} features."
            )
        return targets

    def _query_vectors(self, queries: NDArray[Any]) -> NDArray[Any]:
        # As an array, whatever container set_output asks of the mapper.
        return self._in_subspace(unit_rows(np.asarray(self.mapper_.transform(queries))))

    def _target_vectors(self, targets: NDArray[Any]) -> NDArray[Any]:
        vectors = unit_rows(np.asarray(self.mapper_.transform_target(targets)))
        return self._in_subspace(vectors)

    def _in_subspace(self, vectors: NDArray[Any]) -> NDArray[Any]:
        """Coordinates with the same cosines between the sides, fewer where they can."""
        return in_subspace(vectors, self.subspace_)

    def _target_keys(self, y: Any, targets: NDArray[Any] | None) -> list[bytes]:
        return item_keys(self.target_encoder_, y, targets)

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

    def _search(
        self,
        gallery: Gallery,
        vectors: NDArray[Any],
        n_neighbors: int | None,
        return_distance: bool,
    ) -> tuple[NDArray[Any], NDArray[np.int64]] | NDArray[np.int64]:
        n_neighbors = self.n_neighbors if n_neighbors is None else n_neighbors
        _check_n_neighbors(n_neighbors)
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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        if self.query_encoder is not None:
            tags.input_tags = clone(self.query_encoder).__sklearn_tags__().input_tags
        return tags


def _check_n_neighbors(n_neighbors: Any) -> None:
    whole = isinstance(n_neighbors, Integral) and not isinstance(n_neighbors, bool)
    if not whole or n_neighbors < 1:
        raise ValueError(
            f"n_neighbors must be an integer of at least 1, got {n_neighbors!r}."
        )
