"""What every mapper shares: its checks of input and its contract."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from typing import Any

from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    MultiOutputMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.utils._array_api import get_namespace
from sklearn.utils.validation import (
    check_array,
    check_is_fitted,
    validate_data,
)

from skxmodal._doc_links import DocLinkMixin
from skxmodal._row_errors import check_pairing, rows_named
from skxmodal._validation import check_paired_items, is_dask
from skxmodal.mappers._dask_rows import paired_rows, stand_in
from skxmodal.mappers._placement import Placer

FLOATS = ("float64", "float32")


def floats(array: Any) -> tuple[Any, ...]:
    """The floating dtypes that are kept, in the namespace of the array."""
    xp, _ = get_namespace(array, remove_types=(str, list, tuple))
    return tuple(getattr(xp, name) for name in FLOATS)


def is_wide(*sides: Any) -> bool:
    """Tell whether any of the sides is float64."""
    return any("float64" in str(rows.dtype) for rows in sides)


class BaseMapper(
    DocLinkMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    RegressorMixin,
    MultiOutputMixin,
    BaseEstimator,
    metaclass=ABCMeta,
):
    """Base of the mappers: both sides of paired rows go to one shared space.

    A subclass reads its input with `_check_pairs`, `_check_queries` and
    `_check_targets`, and sets `_n_features_out` when it fits. One that `fit` sums over
    blocks of Dask arrays says so with `_fits_dask`.
    """

    _fits_dask = False

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = list(FLOATS)
        tags.regressor_tags.poor_score = True
        return tags

    @abstractmethod
    def transform(self, X: Any) -> Any:
        """Take queries to the shared space."""

    @abstractmethod
    def transform_target(self, y: Any) -> Any:
        """Take targets to the shared space."""

    @abstractmethod
    def predict(self, X: Any) -> Any:
        """Predict the targets of queries, in the targets' own space."""

    def _check_pairs(
        self,
        X: Any,
        y: Any,
        *,
        reset: bool = True,
        finite: bool = True,
        alike: bool = True,
    ) -> tuple[Any, Any]:
        """Check paired rows; y comes back 2-D, and where X is.

        Where `alike`, both sides come back in the wider of their dtypes.
        """
        name = type(self).__name__
        if is_dask(X) or is_dask(y):
            return self._check_dask_pairs(X, y, reset=reset)
        check_paired_items(X, y, mapper=name)
        x_checks = {
            "dtype": floats(X),
            "ensure_all_finite": finite,
            "ensure_min_samples": 2 if reset else 1,
            "estimator": self,
        }
        y_checks = x_checks | {"dtype": floats(y), "ensure_2d": False}
        with rows_named(X=X, y=y):
            X, y = validate_data(
                self, X, y, reset=reset, validate_separately=(x_checks, y_checks)
            )
        check_pairing(X, y)
        if reset:
            self._y_is_1d = y.ndim == 1
        y = _as_columns(y)
        if reset:
            self.n_targets_in_ = int(y.shape[1])
        self._check_n_targets(y)
        put = Placer(X)
        y = put.moved(y)
        if alike and is_wide(X, y):
            X, y = put.wide()(X), put(y)
        return X, y

    def _check_dask_pairs(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Any]:
        """Check all but the values, which are checked where they lie."""
        name = type(self).__name__
        if not self._fits_dask:
            raise TypeError(
                f"{name} can't be fitted on Dask collections: it needs all rows in one "
                "memory. Fit it on a sample of them, X[rows].compute(); its transform "
                "takes Dask arrays. Or take a mapper that is solved from moments, such "
                "as LeastSquaresMapper."
            )
        like = stand_in(X, "X", name), stand_in(y, "y", name)
        return paired_rows(X, y, self._check_pairs(*like, reset=reset))

    def _check_queries(self, X: Any) -> Any:
        check_is_fitted(self)
        check_paired_items(X, None, mapper=type(self).__name__)
        with rows_named(X=X):
            return validate_data(self, X, reset=False, dtype=floats(X))

    def _check_targets(self, y: Any) -> Any:
        check_is_fitted(self)
        check_paired_items(None, y, mapper=type(self).__name__)
        with rows_named(y=y):
            y = check_array(y, dtype=floats(y), ensure_2d=False, input_name="y")
        y = _as_columns(y)
        self._check_n_targets(y)
        return y

    def _check_n_targets(self, y: Any) -> None:
        if y.shape[1] != self.n_targets_in_:
            raise ValueError(
                f"y has {y.shape[1]} columns, but {type(self).__name__} was fitted "
                f"with {self.n_targets_in_} columns of y."
            )

    def _shaped_as_fitted(self, prediction: Any) -> Any:
        return prediction[:, 0] if self._y_is_1d else prediction


def _as_columns(y: Any) -> Any:
    return get_namespace(y)[0].reshape(y, (-1, 1)) if y.ndim == 1 else y
