"""Base of the linear mappers, which are solved from moments alone."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils.validation import (
    _check_sample_weight,
    assert_all_finite,
    check_is_fitted,
)

from skxmodal._row_errors import rows_named
from skxmodal._validation import is_dask, unchanged_on_error
from skxmodal.mappers._base import BaseMapper, is_wide
from skxmodal.mappers._blocks import TargetProducts
from skxmodal.mappers._dask_rows import (
    checked_weight,
    lazily_on_dask,
    sum_moments,
)
from skxmodal.mappers._moments import LEVELS, Moments
from skxmodal.mappers._placement import Placer, check_namespace, plain, project

# float32 rows are projected in float64 where their rounding would grow by more.
_AMPLIFICATION = 30.0


class SharedSpace(NamedTuple):
    """The two linear maps of a solution, for centred rows, in float64.

    `None` stands for the identity. `decoder` takes the shared space to the target's
    own (k, n_targets).
    """

    x_projection: np.ndarray
    y_projection: np.ndarray | None = None
    decoder: np.ndarray | None = None


class MomentMapper(BaseMapper):
    """Base of the linear mappers, which are solved from moments alone.

    A subclass implements `_solve(moments)`: it sets its own fitted attributes, and
    returns the `SharedSpace`. `_target_products()` says how much of y'y that needs.
    """

    _fits_dask = True
    # Whether float32 products need a well conditioned X'y, too.
    _judges_cross = False
    # Whether `fit` chose a setting on rows, for `partial_fit` to keep.
    _chosen_on_rows = False

    @abstractmethod
    def _solve(self, moments: Moments) -> SharedSpace:
        """Solve for the two projections."""

    def _target_products(self) -> TargetProducts:
        return "none"

    def _reads_rows(self) -> bool:
        """Whether `fit` needs more of the rows than their moments."""
        return False

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the map to paired rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings of the queries. float32 stays float32 where `y` is, too; anything
            else is mapped in float64.

        y : array-like of shape (n_samples, n_targets) or (n_samples,)
            Embeddings of the targets, row by row the partners of `X`.

        sample_weight : array-like of shape (n_samples,), default=None
            A weight a pair, not negative: a pair of weight 2 counts as if it were
            there twice.

        Returns
        -------
        self : object
            The fitted mapper.

        Raises
        ------
        ValueError
            If `X` or `y` holds raw items or a number that is not finite, or if fewer
            than two pairs have a positive weight; the mapper is left as it was then.
        """
        with unchanged_on_error(self):
            X, y = self._check_pairs(X, y, finite=False, alike=False)
            w = self._check_weight(sample_weight, X)
            moments = self._changed(self._blank_moments(X, y), X, y, w, 1)
            return self._store(moments, self._like(X, y, reset=True))

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Add paired rows to those seen so far and solve again.

        Any split of the rows gives what `fit` gives on all of them. The first part
        must hold two pairs of positive weight; any other may hold one, or none.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings of further queries.

        y : array-like of shape (n_samples, n_targets) or (n_samples,)
            Embeddings of their targets.

        sample_weight : array-like of shape (n_samples,), default=None
            A weight a pair, not negative.

        Returns
        -------
        self : object
            The fitted mapper.

        Raises
        ------
        ValueError
            As `fit`, or if parameters were changed to ones that need more of y'y than
            is kept; the mapper is left as it was then.
        """
        first = not hasattr(self, "moments_")
        with unchanged_on_error(self):
            if not first:
                self._require_level()
            X, y = self._check_pairs(X, y, reset=first, finite=False, alike=False)
            w = self._check_weight(sample_weight, X, reset=first)
            before = self._blank_moments(X, y) if first else self.moments_
            moments = self._changed(before, X, y, w, 1)
            return self._store(moments, self._like(X, y, reset=first))

    @_fit_context(prefer_skip_nested_validation=True)
    def forget(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Take pairs away again, as if they had never been fitted.

        The inverse of `partial_fit`, for requests to delete.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings of queries that were fitted before.

        y : array-like of shape (n_samples, n_targets) or (n_samples,)
            Embeddings of their targets.

        sample_weight : array-like of shape (n_samples,), default=None
            The weights they were fitted with.

        Returns
        -------
        self : object
            The mapper fitted to the remaining pairs.

        Raises
        ------
        ValueError
            If fewer than two pairs would remain, if the pairs cannot have been fitted
            since they vary more than all that were, or if parameters were changed to
            ones that need more of y'y than is kept; the mapper is left as it was then.
        """
        check_is_fitted(self)
        with unchanged_on_error(self):
            self._require_level()
            X, y = self._check_pairs(X, y, reset=False, finite=False, alike=False)
            w = self._check_weight(sample_weight, X, reset=False)
            moments = self._changed(self.moments_, X, y, w, -1)
            return self._store(moments, self._like(X, y, reset=False))

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_moments(self, moments: Moments) -> Self:
        """Fit the map to moments that were summed elsewhere.

        Parameters
        ----------
        moments : Moments
            The moments of the training pairs; a copy is kept.

        Returns
        -------
        self : object
            The fitted mapper.

        Raises
        ------
        ValueError
            If the moments hold fewer than two rows, or less of y'y than is needed.
        """
        return self._take_moments(moments.copy())

    def _take_moments(self, moments: Moments) -> Self:
        """Fit the map to moments, and keep them; nobody else may change them."""
        with unchanged_on_error(self):
            self.n_features_in_ = moments.n_features
            self.n_targets_in_ = moments.n_targets
            self._y_is_1d = self._chosen_on_rows = False
            self.__dict__.pop("feature_names_in_", None)
            return self._store(self._enough(moments), np.empty(0))

    @lazily_on_dask
    def transform(self, X: Any) -> Any:
        """Take queries to the shared space, centred by their training mean.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings of queries.

        Returns
        -------
        Z : array of shape (n_samples, n_components)
            The queries in the shared space, in the dtype and on the device of `X`.
        """
        X = self._check_queries(X)
        check_namespace(X, self, "x_mean_", "transform")
        return project(X, self.x_mean_, self.x_projection_, self._x_offset)

    @lazily_on_dask
    def transform_target(self, y: Any) -> Any:
        """Take targets to the shared space, centred by their training mean.

        Parameters
        ----------
        y : array-like of shape (n_samples, n_targets) or (n_samples,)
            Embeddings of targets.

        Returns
        -------
        Z : array of shape (n_samples, n_components)
            The targets in the shared space, in the dtype and on the device of `y`.
        """
        y = self._check_targets(y)
        check_namespace(y, self, "y_mean_", "transform_target")
        return project(y, self.y_mean_, self.y_projection_, self._y_offset)

    @lazily_on_dask
    def predict(self, X: Any) -> Any:
        """Predict the targets of queries, in the targets' own space.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings of queries.

        Returns
        -------
        y : array of shape (n_samples, n_targets) or (n_samples,)
            The predicted targets, not centred; 1-D where `fit` was given a 1-D y.
        """
        X = self._check_queries(X)
        check_namespace(X, self, "x_mean_", "predict")
        Z = project(X, self.x_mean_, self.x_projection_, self._x_offset)
        put = Placer(Z)
        if self._decoder is not None:
            Z = Z @ put(self._decoder)
        Z += put(self.y_mean_)
        return self._shaped_as_fitted(Z)

    @property
    def coef_(self) -> Any:
        """The map of `predict`: (n_targets, n_features), (n_features,) for 1-D y."""
        x_projection, decoder = self.x_projection_, self._decoder
        coef = (x_projection if decoder is None else x_projection @ decoder).T
        return coef[0] if self._y_is_1d else coef

    @property
    def intercept_(self) -> Any:
        """The prediction at the origin: (n_targets,), a number for 1-D y."""
        return self.y_mean_[0 if self._y_is_1d else slice(None)] - (
            self.coef_ @ self.x_mean_
        )

    def _blank_moments(self, X: Any, y: Any) -> Moments:
        return Moments(
            X.shape[1],
            y.shape[1],
            target_products=self._target_products(),
            judge_cross=self._judges_cross,
        )

    def _require_level(self) -> None:
        kept, needed = self.moments_.target_products, self._target_products()
        if LEVELS.index(kept) < LEVELS.index(needed):
            raise ValueError(
                f"The parameters of {type(self).__name__} need more of the products of "
                f"y than it was fitted with ({needed!r}, got {kept!r}): they were "
                "changed since. Fit again on all pairs."
            )

    def _like(self, X: Any, y: Any, *, reset: bool) -> Any:
        """An empty array where X is, in the widest dtype of all pairs so far."""
        wide = is_wide(X, y) or (not reset and getattr(self, "_is_wide", False))
        if is_dask(X):
            return np.empty(0, np.float64 if wide else X.dtype)
        put = Placer(X)
        if wide:
            put.wide()
        return put.xp.empty(0, dtype=put.dtype, **put.where)

    def _check_weight(
        self, sample_weight: Any, X: Any, *, reset: bool = True
    ) -> np.ndarray | None:
        if sample_weight is None:
            return None
        if is_dask(X):
            return checked_weight(sample_weight, X)
        if is_dask(sample_weight):
            sample_weight = np.asarray(sample_weight.compute())
        if hasattr(sample_weight, "ndim"):
            sample_weight = plain(sample_weight)
        # scikit-learn refuses weights that are all 0, which a later batch may have.
        if not reset and not np.any(sample_weight):
            sample_weight = np.asarray(sample_weight, dtype=np.float64)
            if sample_weight.shape == (X.shape[0],):
                return sample_weight
        return _check_sample_weight(
            sample_weight,
            np.empty((X.shape[0], 1)),
            dtype=np.float64,
            ensure_non_negative=True,
        )

    def _changed(
        self, moments: Moments, X: Any, y: Any, w: np.ndarray | None, sign: int
    ) -> Moments:
        """The moments with rows added or taken away; `moments` stays as it is."""
        if is_dask(X):
            part = sum_moments(
                *(X, y, w),
                target_products=moments.target_products,
                judge_cross=moments.judge_cross,
            )
            return self._enough(moments + part if sign > 0 else moments - part)
        moments = moments.copy()
        try:
            moments.update(X, y, w) if sign > 0 else moments.downdate(X, y, w)
        except ValueError:
            self._require_finite(X, y)
            raise
        return self._enough(moments)

    def _require_finite(self, X: Any, y: Any) -> None:
        for name, rows in (("X", X), ("y", y)):
            with rows_named(**{name: plain(rows)}):
                assert_all_finite(
                    rows, input_name=name, estimator_name=type(self).__name__
                )

    def _enough(self, moments: Moments) -> Moments:
        if moments.n_samples < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least 2 pairs of positive weight, got "
                f"{moments.n_samples}."
            )
        return moments

    def _store(self, moments: Moments, like: Any) -> Self:
        """Solve, and keep the solution in the dtype and on the device of `like`."""
        space = self._solve(moments)
        x_mean, y_mean = moments.x_mean, moments.y_mean
        put = Placer(like)
        self._is_wide = is_wide(like)
        if not self._is_wide and _rounding_shows(moments, space):
            put = put.wide()
        for name in vars(self).keys() - self.get_params(deep=False).keys():
            value = getattr(self, name)
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                setattr(self, name, put.as_it_is(value))
        self.moments_ = moments
        self.n_samples_seen_ = moments.n_samples
        self._n_features_out = space.x_projection.shape[1]
        self.x_mean_, self.y_mean_ = put(x_mean), put(y_mean)
        self.x_projection_ = put(space.x_projection)
        self.y_projection_ = put(space.y_projection)
        self._decoder = put(space.decoder)
        # What the rounded means leave out, for it matters where offsets are large.
        x_rest = x_mean - plain(self.x_mean_)
        y_rest = y_mean - plain(self.y_mean_)
        x_offset = x_rest @ space.x_projection
        y_offset = y_rest if space.y_projection is None else y_rest @ space.y_projection
        self._x_offset = put(x_offset) if x_offset.any() else None
        self._y_offset = put(y_offset) if y_offset.any() else None
        return self


def _rounding_shows(moments: Moments, space: SharedSpace) -> bool:
    """Tell whether rounding of float32 rows would show in the shared space."""
    if _amplifies(moments.xx, space.x_projection):
        return True
    return (
        space.y_projection is not None
        and moments.target_products == "full"
        and _amplifies(moments.yy, space.y_projection)
    )


def _amplifies(scatter: np.ndarray, projection: np.ndarray) -> bool:
    """Tell whether large terms cancel in projections: of ill-conditioned rows."""
    scale = np.sqrt(scatter.diagonal())
    terms = projection * scale[:, np.newaxis]
    largest = np.abs(terms).max(axis=0, initial=0.0)
    terms = (terms / np.where(largest > 0, largest, 1.0)).astype(np.float32)
    scale[scale == 0] = 1.0
    correlations = (scatter / scale / scale[:, np.newaxis]).astype(np.float32)
    spread = np.einsum("ij,ij->j", terms, correlations @ terms)
    squares = np.einsum("ij,ij->j", terms, terms)
    return bool((squares > _AMPLIFICATION**2 * np.maximum(spread, 0.0)).any())
