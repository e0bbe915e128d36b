"""Map for queries that are in the targets' space already."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils.validation import _check_sample_weight

from skxmodal.mappers._base import BaseMapper
from skxmodal.mappers._dask_rows import lazily_on_dask
from skxmodal.mappers._placement import Placer, plain, project


class PassthroughMapper(BaseMapper):
    """Identity, after each side is centred by its training mean.

    What ``CrossModalRetriever("passthrough")`` uses.

    Attributes
    ----------
    x_mean_, y_mean_ : array of shape (n_features,)
        The (weighted) means of the training pairs.

    n_features_in_ : int
        The number of columns of X, and of y.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.mappers._passthrough import PassthroughMapper
    >>> X = np.array([[0.0, 1.0], [2.0, 3.0]])
    >>> PassthroughMapper().fit(X, X + 5.0).predict(X)
    array([[5., 6.],
           [7., 8.]])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {}

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn the two means.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Queries in the targets' space.

        y : array-like of shape (n_samples, n_features)
            Targets.

        sample_weight : array-like of shape (n_samples,), default=None
            A weight a pair, not negative.

        Returns
        -------
        self : object
            The fitted mapper.

        Raises
        ------
        ValueError
            If the two sides differ in dimension.
        """
        X, y = self._check_pairs(X, y)
        if X.shape[1] != y.shape[1]:
            raise ValueError(
                f"X has {X.shape[1]} columns and y has {y.shape[1]}: 'passthrough' "
                "needs queries that are in the targets' space already. Map them with "
                "a mapper, or give one to CrossModalRetriever."
            )
        w = None
        if sample_weight is not None:
            w = _check_sample_weight(sample_weight, plain(X), ensure_non_negative=True)
            if not w.any():
                raise ValueError("sample_weight is zero for every pair.")
        put = Placer(X)
        x_mean, y_mean = (
            np.average(plain(rows).astype(float), axis=0, weights=w) for rows in (X, y)
        )
        self.x_mean_, self.y_mean_ = put(x_mean), put(y_mean)
        self._n_features_out = int(X.shape[1])
        return self

    @lazily_on_dask
    def transform(self, X: Any) -> Any:
        """Centre queries.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Queries in the targets' space.

        Returns
        -------
        Z : array of shape (n_samples, n_features)
            The queries less their training mean.
        """
        return project(self._check_queries(X), self.x_mean_)

    @lazily_on_dask
    def transform_target(self, y: Any) -> Any:
        """Centre targets.

        Parameters
        ----------
        y : array-like of shape (n_samples, n_features)
            Targets.

        Returns
        -------
        Z : array of shape (n_samples, n_features)
            The targets less their training mean.
        """
        return project(self._check_targets(y), self.y_mean_)

    @lazily_on_dask
    def predict(self, X: Any) -> Any:
        """Move queries from their training mean to the targets'.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Queries in the targets' space.

        Returns
        -------
        y : array of shape (n_samples, n_features)
            The predicted targets.
        """
        Z = self.transform(X)
        return self._shaped_as_fitted(Z + Placer(Z)(self.y_mean_))
