"""Orthogonal Procrustes map between two embedding spaces."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_array, check_is_fitted

from skxmodal.mappers._base import floats
from skxmodal.mappers._blocks import TargetProducts
from skxmodal.mappers._moment_mapper import MomentMapper, SharedSpace
from skxmodal.mappers._moments import Moments
from skxmodal.mappers._placement import Placer, check_namespace
from skxmodal.mappers._rounding import of_matrix
from skxmodal.mappers._solvers import (
    polar_factor,
    scatter_spectrum,
    singular_factors,
    whitening,
)


class ProcrustesMapper(MomentMapper):
    r"""Orthogonal map from the queries' space to the targets'.

    The rotation (and reflection) R that brings centred queries nearest to centred
    targets, as in [1]_ and [2]_: with the singular value decomposition
    :math:`X^\top Y = U S V^\top` it is :math:`R = U V^\top`. Where the two spaces
    differ in dimension, R is semi-orthogonal: the solution of the problem padded with
    zeros, without the padding.

    Parameters
    ----------
    scaling : bool, default=False
        Whether rotated queries are scaled to fit the targets best. Cosine similarity
        does not see it; `predict` does.

    n_components : int, default=None
        The number of leading singular vectors to keep, at most the smaller dimension.
        Both sides are then projected to that many dimensions. None keeps the targets'
        own space as the shared one.

    x_whiten, y_whiten : float, default=0.0
        Power between 0 and 1 by which the queries and the targets are whitened before
        the rotation: their directions are divided by their standard deviation to this
        power. 0.5 for one side is often worth trying.

    Attributes
    ----------
    scale_ : float
        The factor of the rotated queries, 1 without `scaling`.

    singular_values_ : ndarray of shape (min(n_features, n_targets),)
        Singular values of the cross-covariance of (whitened) queries and targets,
        descending; `n_components` of them where that is given.

    disparity_ : float
        The sum of squared residuals of (whitened) targets, as a part of their sum of
        squares. With `scaling` and equal dimensions, the disparity of
        `scipy.spatial.procrustes`.

    rank_ : int
        The rank of the cross-covariance. Below the smaller dimension the rotation is
        one of many that are equally good.

    coef_ : array of shape (n_targets, n_features) or (n_features,)
        The map of `predict`.

    intercept_ : array of shape (n_targets,) or float
        The prediction at the origin.

    x_projection_ : array of shape (n_features, n_components)
        Takes centred queries to the shared space.

    y_projection_ : array of shape (n_targets, n_components) or None
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
    LeastSquaresMapper : The same, with any linear map.

    References
    ----------
    .. [1] P. H. Schönemann, "A generalized solution of the orthogonal Procrustes
       problem", Psychometrika 31, 1966.

    .. [2] H. Choi, H. Lee, S. Joe, Y. Gwon, "Is Cross-modal Information Retrieval
       Possible without Training?", ECIR 2023, :arxiv:`2304.11095`.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal import ProcrustesMapper
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 3))
    >>> rotation, _ = np.linalg.qr(rng.normal(size=(5, 3)))
    >>> y = X @ rotation.T + 2.0
    >>> mapper = ProcrustesMapper().fit(X, y)
    >>> bool(np.allclose(mapper.predict(X), y))
    True
    >>> bool(np.allclose(mapper.inverse_transform(mapper.transform_target(y)), X))
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "scaling": ["boolean"],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "x_whiten": [Interval(Real, 0, 1, closed="both")],
        "y_whiten": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
        scaling: bool = False,
        n_components: int | None = None,
        *,
        x_whiten: float = 0.0,
        y_whiten: float = 0.0,
    ) -> None:
        self.scaling = scaling
        self.n_components = n_components
        self.x_whiten = x_whiten
        self.y_whiten = y_whiten

    def inverse_transform(self, X: Any) -> Any:
        """Take points of the shared space back to the queries' own space.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Points of the shared space: projected queries or targets.

        Returns
        -------
        X_original : array of shape (n_samples, n_features)
            The points in the queries' space, not centred. Queries come back as they
            were where no dimension was lost.
        """
        check_is_fitted(self)
        Z = check_array(X, dtype=floats(X))
        if Z.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {Z.shape[1]} columns, but the shared space of "
                f"ProcrustesMapper has {self._n_features_out} dimensions."
            )
        check_namespace(Z, self, "x_mean_", "inverse_transform")
        put = Placer(Z)
        return Z @ put(self._x_decoder) + put(self.x_mean_)

    # The rotation divides by the singular values of X'y.
    _judges_cross = True

    def _target_products(self) -> TargetProducts:
        return "full" if self.y_whiten > 0 else "squares"

    def _solve(self, moments: Moments) -> SharedSpace:
        xx, xy = moments.xx, moments.xy
        x_forward = x_inverse = y_forward = y_inverse = None
        y_squares = moments.y_squares.sum()
        if self.x_whiten > 0:
            x_forward, x_inverse = whitening(
                scatter_spectrum(xx, moments.x_rounding), moments.weight, self.x_whiten
            )
            xx, xy = x_forward @ xx @ x_forward, x_forward @ xy
        if self.y_whiten > 0:
            yy = moments.yy
            y_forward, y_inverse = whitening(
                scatter_spectrum(yy, moments.y_rounding), moments.weight, self.y_whiten
            )
            xy, y_squares = xy @ y_forward, np.vdot(y_forward @ yy, y_forward)
        left, right, singular_values = self._rotation(xy)
        noise = len(singular_values) * np.finfo(np.float64).eps * singular_values[0]
        if x_forward is None and y_forward is None:
            sides = of_matrix(moments.x_rounding), of_matrix(moments.y_rounding)
            noise = max(noise, float(np.sqrt(sides[0].max() * sides[1].max())))
        self.rank_ = int(np.count_nonzero(singular_values > noise))
        self.singular_values_ = singular_values / moments.weight
        isometric = right is None and left.shape[0] <= left.shape[1]
        spread = np.trace(xx) if isometric else np.vdot(xx @ left, left)
        gain = singular_values.sum()
        self.scale_ = float(gain / spread) if self.scaling and spread > 0 else 1.0
        residual = y_squares - 2 * self.scale_ * gain + self.scale_**2 * spread
        self.disparity_ = float(max(residual / y_squares, 0.0)) if y_squares else 0.0
        # Targets without variance are fitted best by the scale 0, which has no inverse.
        unscale = 1.0 / self.scale_ if self.scale_ > 0 else 0.0
        self._x_decoder = unscale * _product(left.T, x_inverse)
        decoder = y_inverse if right is None else _product(right.T, y_inverse)
        return SharedSpace(
            self.scale_ * _product(x_forward, left),
            y_forward if right is None else _product(y_forward, right),
            decoder,
        )

    def _rotation(
        self, xy: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Maps of queries and of targets (None: identity), and singular values."""
        if self.n_components is None:
            factor, singular_values = polar_factor(xy)
            return factor, None, singular_values
        if self.n_components > min(xy.shape):
            raise ValueError(
                f"n_components={self.n_components} is more than the smaller of "
                f"{xy.shape[0]} columns of X and {xy.shape[1]} of y."
            )
        factors = singular_factors(xy, self.n_components)
        return factors.left, factors.right, factors.values


def _product(first: np.ndarray | None, second: np.ndarray | None) -> Any:
    """Matrix product in which None is the identity."""
    if first is None or second is None:
        return second if first is None else first
    return first @ second
