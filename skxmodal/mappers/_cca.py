"""Ridge canonical correlation analysis between two embedding spaces."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skxmodal.mappers._blocks import TargetProducts
from skxmodal.mappers._cca_solver import CanonicalPairs, canonical_pairs
from skxmodal.mappers._moment_mapper import MomentMapper, SharedSpace
from skxmodal.mappers._moments import Moments

# Chosen on training pairs: docs/decisions/0020-ridge-of-cca.md.
_RIDGE_FACTOR = 4.0


class CCAMapper(MomentMapper):
    """Ridge canonical correlation analysis, weighted by correlation.

    Both sides are centred, whitened as far as their ridges let them, and turned to
    the pairs of directions that correlate most; each pair then counts by a power of
    its correlation [2]_. Solved in closed form from first and second moments.

    Parameters
    ----------
    n_components : int, default=None
        How many pairs of directions to keep, at most ``min(n_features, n_targets)``.
        None keeps all that correlate: weighted, the weak ones do no harm.

    alpha : "auto", float or (float, float), default="auto"
        The ridge added to the covariance of each side, in units of its mean variance
        (so that scaling a side changes nothing): one for both, or one for X and one
        for y. 0 is classical CCA; the larger, the less a side is whitened, down to
        the directions of partial least squares. "auto" takes ``4 * sqrt(d / n)``
        for a side of d columns and pairs of total weight n: it shrinks as the spread
        that sampling gives the eigenvalues of a covariance.

    weighting : float, default=0.625
        The power of its correlation that a component is multiplied by on each side,
        at least 0. 0 weighs all components alike.

    Attributes
    ----------
    correlations_ : ndarray of shape (n_components_,)
        The canonical correlations of the regularised problem, descending.

    x_weights_ : ndarray of shape (n_features, n_components_)
        The canonical weights of X, before components are weighted.

    y_weights_ : ndarray of shape (n_targets, n_components_)
        The canonical weights of y, before components are weighted.

    alpha_ : tuple of (float, float)
        The ridges in use, for X and for y, in units of mean variance.

    n_components_ : int
        The number of components.

    x_projection_ : array of shape (n_features, n_components_)
        Takes centred queries to the shared space.

    y_projection_ : array of shape (n_targets, n_components_)
        Takes centred targets to the shared space.

    x_mean_, y_mean_ : array of shape (n_features,) and (n_targets,)
        The training means.

    moments_ : Moments
        The moments of the training pairs, from which all was solved.

    n_samples_seen_ : int
        The number of training pairs of positive weight.

    n_features_in_, n_targets_in_ : int
        The number of columns of X and of y.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        The names of the columns of X, where it had any that are all strings.

    See Also
    --------
    LeastSquaresMapper : Maps queries to the target's space, and leaves targets there.
    ProcrustesMapper : Rotates queries only.

    Notes
    -----
    `predict` is ridge regression on the canonical variates: reduced-rank regression
    where `n_components` is below the rank. Components past the rank, asked for by
    `n_components`, are zero.

    References
    ----------
    .. [1] Vinod, "Canonical ridge and econometrics of joint production", Journal of
       Econometrics 4, 1976.
    .. [2] Li, Chinchali and Topcu, "CSA: data-efficient mapping of unimodal features
       to multimodal features", ICLR 2025. arXiv:2410.07610.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal import CCAMapper
    >>> rng = np.random.default_rng(0)
    >>> common = rng.normal(size=(200, 2))
    >>> X = np.hstack([common, rng.normal(size=(200, 3))])
    >>> y = np.hstack([rng.normal(size=(200, 4)), -common])
    >>> mapper = CCAMapper(n_components=3, alpha=0.0).fit(X, y)
    >>> mapper.correlations_.round(1)
    array([1. , 1. , 0.2])
    >>> mapper.transform(X).shape, mapper.transform_target(y).shape
    ((200, 3), (200, 3))
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "alpha": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="left"),
            tuple,
            list,
        ],
        "weighting": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        alpha: str | float | tuple[float, float] = "auto",
        weighting: float = 0.625,
    ) -> None:
        self.n_components = n_components
        self.alpha = alpha
        self.weighting = weighting

    def _target_products(self) -> TargetProducts:
        return "full"

    def _solve(self, moments: Moments) -> SharedSpace:
        alphas = self._alphas(moments)
        n_kept = self._n_kept(moments)
        xx, xy, yy = moments.xx, moments.xy, moments.yy
        rounding = moments.x_rounding, moments.y_rounding
        pairs = canonical_pairs(xx, xy, yy, moments.weight, alphas, rounding)
        if len(pairs.correlations) == 0:
            warnings.warn(
                "X and y do not correlate at all over the training pairs (is one of "
                "them constant?): every query and target maps to zero.",
                UserWarning,
            )
        pairs = _resized(pairs, n_kept)
        # u = A'x has unit regularised variance, so that y = (A'S_xy)'u is its ridge
        # regression; the weighting of u is undone first.
        scale = _component_weights(pairs.correlations, self.weighting)
        unscale = np.zeros_like(scale)
        np.divide(1.0, scale, out=unscale, where=scale > np.finfo(np.float32).tiny)
        regression = pairs.x_weights.T @ (xy / moments.weight)

        self.alpha_ = alphas
        self.correlations_, self.x_weights_, self.y_weights_ = pairs
        self.n_components_ = len(pairs.correlations)
        return SharedSpace(
            pairs.x_weights * scale,
            pairs.y_weights * scale,
            unscale[:, np.newaxis] * regression,
        )

    def _alphas(self, moments: Moments) -> tuple[float, float]:
        if isinstance(self.alpha, str):
            shape = np.array([moments.n_features, moments.n_targets])
            alphas = _RIDGE_FACTOR * np.sqrt(shape / moments.weight)
        elif isinstance(self.alpha, Real):
            alphas = np.array([self.alpha, self.alpha], dtype=float)
        else:
            alphas = np.asarray(self.alpha, dtype=float)
            finite = alphas.shape == (2,) and np.isfinite(alphas).all()
            if not finite or not (alphas >= 0).all():
                raise ValueError(
                    "alpha must be 'auto', one ridge, or a pair of them for X and y, "
                    f"finite and none negative, got {self.alpha!r}."
                )
        return float(alphas[0]), float(alphas[1])

    def _n_kept(self, moments: Moments) -> int | None:
        largest = min(moments.n_features, moments.n_targets)
        if self.n_components is not None and self.n_components > largest:
            raise ValueError(
                f"n_components={self.n_components} is more than the {largest} that X "
                f"of {moments.n_features} columns and y of {moments.n_targets} have: "
                "take fewer, or None for all that correlate."
            )
        return self.n_components


def _resized(pairs: CanonicalPairs, n_components: int | None) -> CanonicalPairs:
    """The first pairs, with zeros where there are not as many (one at least)."""
    k = len(pairs.correlations)
    n_components = max(k, 1) if n_components is None else n_components
    if n_components <= k:
        return CanonicalPairs(*(part[..., :n_components] for part in pairs))
    missing = n_components - k
    return CanonicalPairs(
        *(np.pad(part, [(0, 0)] * (part.ndim - 1) + [(0, missing)]) for part in pairs)
    )


def _component_weights(correlations: np.ndarray, power: float) -> np.ndarray:
    """Correlations to a power, with 0 for the power of 0."""
    return np.where(correlations > 0, correlations**power, 0.0)
