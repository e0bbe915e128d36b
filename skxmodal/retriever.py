"""The estimator that finds pictures by text and text by pictures."""

from __future__ import annotations

import os
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
    check_is_fitted,
    has_fit_parameter,
)

from skxmodal import persistence
from skxmodal._content import group_items
from skxmodal._doc_links import DocLinkMixin
from skxmodal._encoding import (
    fit_encoder,
    item_keys,
    warn_of_mixed_groups,
)
from skxmodal._retriever_gallery import RetrieverGallery
from skxmodal._retriever_html import RetrieverHTML
from skxmodal._retriever_search import RetrieverSearch, check_n_neighbors
from skxmodal._row_errors import check_pairing
from skxmodal._validation import check_groups, is_dask
from skxmodal.mappers import LeastSquaresMapper
from skxmodal.mappers._passthrough import PassthroughMapper
from skxmodal.metrics import retrieval_ranks
from skxmodal.metrics._dask_ranks import mapped_lazily
from skxmodal.metrics._default_score import default_score
from skxmodal.neighbors import make_hubness, make_index, query_subspace
from skxmodal.neighbors._gallery import Gallery


class CrossModalRetriever(
    RetrieverGallery,
    RetrieverSearch,
    RetrieverHTML,
    DocLinkMixin,
    TransformerMixin,
    BaseEstimator,
):
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
        check_n_neighbors(self.n_neighbors)
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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        if self.query_encoder is not None:
            tags.input_tags = clone(self.query_encoder).__sklearn_tags__().input_tags
        return tags
