"""Least-squares map between two embedding spaces."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from scipy.linalg import LinAlgWarning
from sklearn.base import _fit_context
from sklearn.model_selection import GroupKFold, check_cv
from sklearn.utils._param_validation import Interval, StrOptions

from skxmodal._dask import with_lengths
from skxmodal._validation import check_groups, is_dask, unchanged_on_error
from skxmodal.mappers._blocks import TargetProducts
from skxmodal.mappers._dask_choice import (
    fold_moments_over_blocks,
    leave_one_out_over_blocks,
)
from skxmodal.mappers._folds import fold_moments
from skxmodal.mappers._moment_mapper import MomentMapper, SharedSpace
from skxmodal.mappers._moments import Moments
from skxmodal.mappers._ridge_path import (
    LeftOut,
    RidgePath,
    generalised_cross_validation,
    leave_one_out_errors,
)
from skxmodal.mappers._solvers import (
    scatter_spectrum,
    solve_positive_definite,
    whitening,
)

_DEFAULT_FOLDS = 5


class LeastSquaresMapper(MomentMapper):
    """Least-squares map from the queries' space to the targets'.

    The map of [1]_: the linear map of smallest squared error from centred queries to
    centred targets. The shared space is the targets' own, centred.

    Parameters
    ----------
    alpha : float or "auto", default=0.0
        Strength of the ridge penalty, in units of the mean variance of the columns of
        X: with `n` pairs the penalty on the squared norm of the map is
        ``alpha * n * X.var(axis=0).mean()``, so that one value suits data of any scale
        and size. 0 is plain least squares. "auto" picks the value of `alphas` with the
        smallest error, as `cv` says.

    alphas : array-like of shape (n_alphas,), default=None
        The values that "auto" tries; 20 from 1e-5 to 100, evenly spaced in their
        logarithm, by default.

    cv : int, cross-validation generator or iterable, default=None
        How "auto" measures the error of `predict`. None stands for the exact
        leave-one-out error (with the penalty and the whitening of all pairs, and a
        pair of weight 2 left out as a whole) or, where `fit` is given `groups`, for 5
        folds that keep each group together. An int is that number of folds, of whole
        groups where there are any.

    x_whiten : float, default=0.0
        Power between 0 and 1 by which X is whitened before the penalty is added: the
        directions of X are divided by their standard deviation to this power. Of no
        effect without a penalty.

    y_whiten : float, default=0.0
        Power between 0 and 1 by which the targets are whitened in the shared space.
        `predict` is not affected.

    Attributes
    ----------
    alpha_ : float
        The strength used.

    alphas_ : ndarray of shape (n_alphas,)
        The values tried. Only where `alpha` is "auto".

    cv_errors_ : ndarray of shape (n_alphas,)
        The mean squared error of each, over pairs and columns of y (over folds too,
        each counting alike). Only where `alpha` is "auto".

    coef_ : array of shape (n_targets, n_features) or (n_features,)
        The map of `predict`.

    intercept_ : array of shape (n_targets,) or float
        The prediction at the origin.

    rank_ : int
        The rank of centred X.

    x_projection_ : array of shape (n_features, n_targets)
        Takes centred queries to the shared space.

    y_projection_ : array of shape (n_targets, n_targets) or None
        Takes centred targets to the shared space; None stands for the identity.

    x_mean_, y_mean_ : array of shape (n_features,) and (n_targets,)
        The (weighted) means of the training pairs.

    moments_ : Moments
        The moments of the training pairs.

    n_samples_seen_ : int
        The number of training pairs of positive weight.

    n_features_in_ : int
        The number of columns of X.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        The names of the columns of X, where it has names that are all strings.

    n_targets_in_ : int
        The number of columns of y.

    See Also
    --------
    ProcrustesMapper : The same, with an orthogonal map.

    Notes
    -----
    The penalty of the smallest squared error need not be the one that finds the most:
    retrieval goes by the directions of the predictions. `MapperSearchCV` chooses by
    recall.

    `partial_fit` and `forget` keep the `alpha_` that `fit` has chosen. Where there is
    none yet, "auto" goes by generalised cross-validation, which needs moments only.

    The map is solved from moments by Cholesky, so singular values of X below about
    1e-7 of the largest count as zero. Where X is rank-deficient and `alpha` is 0, the
    map is that of minimum norm, with a `scipy.linalg.LinAlgWarning`. The scales of the
    columns do not matter as long as the columns that vary are independent. `forget`
    cannot take rounding away: the less of the rows it leaves, the larger the singular
    values that count as zero.

    References
    ----------
    .. [1] H. Choi, H. Lee, S. Joe, Y. Gwon, "Is Cross-modal Information Retrieval
       Possible without Training?", ECIR 2023, :arxiv:`2304.11095`.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal import LeastSquaresMapper
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 4))
    >>> y = X @ rng.normal(size=(4, 6)) + 2.0
    >>> mapper = LeastSquaresMapper().fit(X, y)
    >>> bool(np.allclose(mapper.predict(X), y))
    True
    >>> bool(np.allclose(mapper.transform(X), mapper.transform_target(y)))
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "alpha": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "alphas": ["array-like", None],
        "cv": ["cv_object"],
        "x_whiten": [Interval(Real, 0, 1, closed="both")],
        "y_whiten": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
        alpha: Any = 0.0,
        *,
        alphas: Any = None,
        cv: Any = None,
        x_whiten: float = 0.0,
        y_whiten: float = 0.0,
    ) -> None:
        self.alpha = alpha
        self.alphas = alphas
        self.cv = cv
        self.x_whiten = x_whiten
        self.y_whiten = y_whiten

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None
    ) -> Self:
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

        groups : array-like of shape (n_samples,), default=None
            Labels of pairs that no fold may tear apart: the picture a caption belongs
            to, say. Read only where `alpha` is "auto".

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
            self._chosen_on_rows = False
            if isinstance(self.alpha, str):
                self._check_alphas()
                by_folds = self.cv is not None or groups is not None
                choose = (
                    self._choose_by_folds if by_folds else self._choose_by_leaving_out
                )
                moments = choose(X, y, w, groups)
                self._chosen_on_rows = True
            else:
                moments = self._changed(self._blank_moments(X, y), X, y, w, 1)
            return self._store(moments, self._like(X, y, reset=True))

    def _target_products(self) -> TargetProducts:
        if self.y_whiten > 0:
            return "full"
        return "squares" if isinstance(self.alpha, str) else "none"

    def _reads_rows(self) -> bool:
        return isinstance(self.alpha, str)

    def _check_alphas(self) -> None:
        alphas = np.logspace(-5, 2, 20) if self.alphas is None else self.alphas
        alphas = np.array(alphas, dtype=np.float64)
        if alphas.ndim != 1 or not len(alphas) or not (alphas >= 0).all():
            raise ValueError(
                "alphas must be a sequence of at least one number, none negative; got "
                f"{self.alphas!r}."
            )
        self.alphas_ = alphas

    def _choose_by_leaving_out(
        self, X: Any, y: Any, w: np.ndarray | None, groups: None
    ) -> Moments:
        moments = self._changed(self._blank_moments(X, y), X, y, w, 1)
        path, squares = RidgePath(moments, self.x_whiten), moments.y_squares.sum()
        if is_dask(X):
            plan = LeftOut.planned(
                path,
                self.alphas_,
                (moments.n_samples, moments.n_features),
                float(squares),
                single=moments.in_float32,
            )
            errors = leave_one_out_over_blocks(path, X, y, w, self.alphas_, plan)
            self._choose(errors / (moments.weight * moments.n_targets))
            return moments
        errors = leave_one_out_errors(
            path,
            X,
            y,
            w,
            self.alphas_,
            y_squares=float(squares),
            single=moments.in_float32,
        )
        self._choose(errors / (moments.weight * moments.n_targets))
        return moments

    def _choose_by_folds(
        self, X: Any, y: Any, w: np.ndarray | None, groups: Any
    ) -> Moments:
        cv = self.cv
        if is_dask(X):
            X = with_lengths(X)
            groups = groups.compute() if is_dask(groups) else groups
        if groups is not None:
            groups = check_groups(groups, int(X.shape[0]))
            if cv is None or isinstance(cv, Integral):
                n_groups = int(groups.max()) + 1
                if n_groups < 2:
                    raise ValueError(
                        "groups holds one group only, of which no fold can be left out "
                        "(n_splits=1). Give two groups at least, or no groups for the "
                        "leave-one-out error."
                    )
                cv = GroupKFold(min(_DEFAULT_FOLDS, n_groups) if cv is None else cv)
        splits = check_cv(cv).split(np.empty((X.shape[0], 1)), None, groups)
        level = self._target_products()
        if is_dask(X):
            sides = X, y, w, splits
            total, folds = fold_moments_over_blocks(*sides, target_products=level)
        else:
            self._require_finite(X, y)
            total, folds = fold_moments(X, y, w, splits, target_products=level)
        errors = np.zeros(len(self.alphas_))
        for number, (train, test) in enumerate(folds):
            if train.n_samples < 2 or test.n_samples < 1:
                raise ValueError(
                    f"Fold {number} of cv has {train.n_samples} pairs of positive "
                    f"weight to fit and {test.n_samples} to predict, but needs 2 and "
                    "1 at least: take fewer folds, or other weights or groups."
                )
            path = RidgePath(train, self.x_whiten)
            squared = path.errors(test, self.alphas_)
            errors += squared / (test.weight * test.n_targets)
        self._choose(errors / len(folds))
        return total

    def _choose(self, errors: np.ndarray) -> None:
        errors = np.where(np.isnan(errors), np.inf, errors)
        if not np.isfinite(errors).any():
            raise ValueError(
                "No value of alphas has a finite leave-one-out error: with as many "
                "columns of X as pairs, alphas must be positive."
            )
        self.cv_errors_ = errors
        self.alpha_ = float(self.alphas_[np.argmin(errors)])

    def _solve(self, moments: Moments) -> SharedSpace:
        if not isinstance(self.alpha, str):
            self.alpha_ = float(self.alpha)
            for name in ("alphas_", "cv_errors_"):
                self.__dict__.pop(name, None)
        elif not getattr(self, "_chosen_on_rows", False):
            self._check_alphas()
            path = RidgePath(moments, self.x_whiten)
            squares = float(moments.y_squares.sum())
            errors = generalised_cross_validation(path, self.alphas_, squares)
            self._choose(errors / moments.n_targets)
        coef = self._solve_ridge(moments)
        if self.y_whiten == 0:
            return SharedSpace(coef)
        spectrum = scatter_spectrum(moments.yy, moments.y_rounding)
        forward, inverse = whitening(spectrum, moments.weight, self.y_whiten)
        return SharedSpace(coef @ forward, forward, inverse)

    def _solve_ridge(self, moments: Moments) -> np.ndarray:
        d_x = moments.n_features
        coef = self._solve_by_cholesky(moments) if self.x_whiten == 0 else None
        if coef is None:
            path = RidgePath(moments, self.x_whiten)
            self.rank_ = path.spectrum.rank
            coef = path.coef(self.alpha_)
        if self.rank_ < d_x and self.alpha_ == 0:
            warnings.warn(
                f"X has rank {self.rank_} of {d_x} columns: taking the "
                "least-squares map of minimum norm. A positive alpha, or "
                "alpha='auto', makes the map unique.",
                LinAlgWarning,
                stacklevel=6,
            )
        return coef

    def _solve_by_cholesky(self, moments: Moments) -> np.ndarray | None:
        """The map, constant columns left out; None where the others are dependent."""
        xx, xy, rounding = moments.xx, moments.xy, moments.x_rounding
        ridge = self.alpha_ * np.trace(xx) / len(xx)
        varies = xx.diagonal() > 0
        if not varies.all():
            xx, xy = xx[np.ix_(varies, varies)], xy[varies]
            rounding = rounding[varies]
        coef = solve_positive_definite(xx, xy[:, :1] if ridge > 0 else xy, rounding)
        if coef is not None and ridge > 0:
            xx.flat[:: len(xx) + 1] += ridge
            coef = solve_positive_definite(xx, xy)
        if coef is None or varies.all():
            self.rank_ = moments.n_features
            return coef
        self.rank_ = len(xx)
        whole = np.zeros((moments.n_features, moments.n_targets))
        whole[varies] = coef
        return whole
