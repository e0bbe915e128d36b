"""Ridge canonical correlation analysis as functions on scatter matrices."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import linalg
from scipy.linalg import lapack
from sklearn.utils.extmath import svd_flip

from skxmodal.mappers._solvers import (
    factor_positive_definite,
    powers,
    scatter_spectrum,
)

# A ridge below this share of the mean variance cannot make a side well conditioned.
_LEAST_RIDGE = 1e-8


class CanonicalPairs(NamedTuple):
    """Pairs of directions, by descending correlation.

    `correlations` (k,), `x_weights` (d_x, k) and `y_weights` (d_y, k): X'-rows times
    the weights have unit regularised variance, and paired columns that covariance.
    """

    correlations: np.ndarray
    x_weights: np.ndarray
    y_weights: np.ndarray


def canonical_pairs(
    xx: np.ndarray,
    xy: np.ndarray,
    yy: np.ndarray,
    weight: float,
    alphas: tuple[float, float],
    rounding: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
) -> CanonicalPairs:
    """Solve ridge CCA from scatter matrices of centred rows.

    With covariances S = scatter / weight and ridges r = alpha * mean variance, the
    singular values of (S_xx + r_x I)^(-1/2) S_xy (S_yy + r_y I)^(-1/2) are the
    correlations. Directions without correlation, which are arbitrary, are left out.
    `rounding` bounds what rounding has added to the diagonals of xx and yy.
    """
    x_whitening, y_whitening = (
        ridge_whitening(scatter / weight, alpha, None if r is None else r / weight)
        for scatter, alpha, r in zip((xx, yy), alphas, rounding, strict=True)
    )
    coupling = x_whitening.T @ (xy / weight) @ y_whitening
    if coupling.size == 0:
        return CanonicalPairs(np.empty(0), x_whitening[:, :0], y_whitening[:, :0])
    U, correlations, Vt = linalg.svd(coupling, full_matrices=False, check_finite=False)
    noise = max(coupling.shape) * np.finfo(np.float64).eps
    k = int(np.count_nonzero(correlations > noise))
    U, Vt = svd_flip(U[:, :k], Vt[:k])
    # Rounding may carry a perfect correlation past 1.
    return CanonicalPairs(
        np.minimum(correlations[:k], 1.0), x_whitening @ U, y_whitening @ Vt.T
    )


def ridge_whitening(
    covariance: np.ndarray, alpha: float, rounding: np.ndarray | None = None
) -> np.ndarray:
    """A matrix W with W'(S + r I) W = I, where r = alpha * mean variance.

    Of shape (d, d), or (d, rank) where a ridge too small leaves S singular. Without a
    ridge, constant columns are left out first; the scales of the others do not matter
    unless they are dependent.
    """
    d = len(covariance)
    ridge = alpha * np.trace(covariance) / d
    if alpha >= _LEAST_RIDGE and ridge > 0.0:
        regularised = covariance.copy()
        regularised.flat[:: d + 1] += ridge
        factor, failed = lapack.dpotrf(regularised, lower=1, clean=1, overwrite_a=1)
        if not failed:
            return lapack.dtrtri(factor, lower=1, overwrite_c=1)[0].T
    if ridge == 0.0:
        varies = covariance.diagonal() > 0.0
        own = covariance[np.ix_(varies, varies)]
        factored = factor_positive_definite(
            own, None if rounding is None else rounding[varies]
        )
        if factored is not None:
            inverse = lapack.dtrtri(np.tril(factored.lower), lower=1)[0].T
            whitening = np.zeros((d, len(own)))
            whitening[varies] = factored.scale[:, np.newaxis] * inverse
            return whitening
    spectrum = scatter_spectrum(covariance, rounding)
    kept = spectrum.values > 0.0
    return spectrum.vectors[:, kept] * powers(spectrum.values[kept] + ridge, -0.5)
