"""Ridge regression for a whole path of penalties from one eigendecomposition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.utils._array_api import device, get_namespace

from skxmodal.mappers._blocks import present_rows, take
from skxmodal.mappers._moments import Moments
from skxmodal.mappers._placement import plain
from skxmodal.mappers._solvers import powers, scatter_spectrum

_BLOCK_ROWS = 2048
# Errors below this part of y'y cancel in their expanded form.
_CANCELS = {"float32": 1e-4, "float64": 1e-9}
# Pairs of a higher leverage under some penalty are left out by their residuals: there
# are at most twice as many of them as columns of X.
_HIGH_LEVERAGE = 0.5


class RidgePath:
    """All ridge solutions of one set of training moments.

    In the eigenbasis V of X'X = V diag(v) V', the solution for a penalty is
    B = V diag(f) V'X'y, where f depends on the penalty alone. A penalty is `alpha`
    times the mean variance of X, whitened by the power `x_whiten`.

    Parameters
    ----------
    moments : Moments
        The moments of the training pairs.

    x_whiten : float, default=0.0
        The power by which X is whitened before the penalty is added.

    Attributes
    ----------
    spectrum : Spectrum
        Eigenvalues and eigenvectors of X'X.

    rotated : ndarray of shape (n_features, n_targets)
        V'X'y.
    """

    def __init__(self, moments: Moments, x_whiten: float = 0.0) -> None:
        self.spectrum = scatter_spectrum(moments.xx, moments.x_rounding)
        self.rotated = self.spectrum.vectors.T @ moments.xy
        self.x_mean = moments.x_mean
        self.y_mean = moments.y_mean
        self.weight = moments.weight
        self.n_samples = moments.n_samples
        variances = self.spectrum.values / moments.weight
        self._gains = powers(variances, -x_whiten)

    def shrinkage(self, alphas: Any) -> np.ndarray:
        """Factors f of each penalty.

        Parameters
        ----------
        alphas : float or array-like of shape (n_alphas,)
            Penalties relative to the mean variance of X.

        Returns
        -------
        factors : ndarray of shape (n_alphas, n_features)
            The inverse of v at 0, with 0 for directions without variance.
        """
        alphas = np.atleast_1d(np.asarray(alphas, dtype=np.float64))
        values, gains = self.spectrum.values, self._gains
        penalties = alphas[:, np.newaxis] * (gains * values).mean()
        with np.errstate(invalid="ignore", divide="ignore"):
            factors = gains / (gains * values + penalties)
        return np.where(values > 0, factors, 0.0)

    def coef(self, alpha: float) -> np.ndarray:
        """The map of one penalty, of shape (n_features, n_targets)."""
        factors = self.shrinkage(alpha)[0]
        return (self.spectrum.vectors * factors) @ self.rotated

    def training_errors(self, alphas: Any, y_squares: float) -> np.ndarray:
        """Sums of squared residuals on the training pairs, of shape (n_alphas,)."""
        factors = self.shrinkage(alphas)
        powers_of_y = np.einsum("jc,jc->j", self.rotated, self.rotated)
        explained = factors * (2.0 - factors * self.spectrum.values) @ powers_of_y
        return np.maximum(y_squares - explained, 0.0)

    def errors(
        self, held_out: Moments, alphas: Any, column_weights: Any = None
    ) -> np.ndarray:
        """Sums of squared errors on other pairs, from their moments alone.

        Parameters
        ----------
        held_out : Moments
            Moments of the pairs to predict, with squares of y.

        alphas : array-like of shape (n_alphas,)
            Penalties relative to the mean variance of X.

        column_weights : array-like of shape (n_targets,), default=None
            A factor for the squared error of each column of y; 1 by default.

        Returns
        -------
        errors : ndarray of shape (n_alphas,)
            The weighted sum of squared errors over all rows and columns.
        """
        dx, dy = held_out.x_mean - self.x_mean, held_out.y_mean - self.y_mean
        w = held_out.weight
        c = np.ones_like(dy) if column_weights is None else np.asarray(column_weights)
        vectors, rotated = self.spectrum.vectors, self.rotated
        shift = vectors.T @ dx
        xx = vectors.T @ held_out.xx @ vectors + w * np.outer(shift, shift)
        xy = vectors.T @ held_out.xy + w * np.outer(shift, dy)
        y_squares = c @ (held_out.y_squares + w * dy**2)
        factors = self.shrinkage(alphas)
        linear = np.einsum("jc,jc,c->j", xy, rotated, c)
        quadratic = xx * ((rotated * c) @ rotated.T)
        squared = np.einsum("aj,aj->a", factors @ quadratic, factors)
        return np.maximum(y_squares - 2.0 * factors @ linear + squared, 0.0)


def generalised_cross_validation(
    path: RidgePath, alphas: np.ndarray, y_squares: float
) -> np.ndarray:
    """Generalised cross-validation errors, from the training moments alone."""
    values = path.spectrum.values
    freedom = 1.0 + path.shrinkage(alphas) @ values
    kept = 1.0 - freedom / path.n_samples
    errors = path.training_errors(alphas, y_squares) / path.weight
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(kept > 1e-9, errors / kept**2, np.inf)


def leave_one_out_errors(
    path: RidgePath,
    X: Any,
    y: Any,
    w: np.ndarray | None,
    alphas: np.ndarray,
    *,
    y_squares: float,
    single: bool = False,
) -> np.ndarray:
    """Exact weighted sums of squared leave-one-out errors, of shape (n_alphas,).

    The error of pair i without itself is e_i / (1 - h_i), with residual e_i and
    leverage h_i. Expanded, the sum of |e_i|^2 / (1 - h_i)^2 needs one product of y with
    the basis for all penalties, and one d x d product for each. Pairs of high leverage
    are few, and go by their residuals.

    Parameters
    ----------
    path : RidgePath
        The solutions on all pairs.

    X, y : array of shape (n_samples, n_features) and (n_samples, n_targets)
        The pairs, of any array namespace.

    w : ndarray of shape (n_samples,) or None
        The weights of the pairs.

    alphas : ndarray of shape (n_alphas,)
        Penalties relative to the mean variance of X.

    y_squares : float
        The sum of squares of centred y.

    single : bool, default=False
        Whether products of float32 rows are formed in float32.

    Returns
    -------
    errors : ndarray of shape (n_alphas,)
        Infinite where a pair cannot be left out, its leverage being 1.
    """
    plan = LeftOut.planned(path, alphas, X.shape, y_squares, single=single)
    return plan.sums(path, X, y, w, alphas)


class LeftOut(NamedTuple):
    """How the leave-one-out errors of rows are summed, which is one for all of them."""

    expanded: bool
    dtype: str

    @classmethod
    def planned(
        cls,
        path: RidgePath,
        alphas: np.ndarray,
        shape: tuple[int, ...],
        y_squares: float,
        *,
        single: bool,
    ) -> Self:
        """Choose by what is left of y, and by the shape of X."""
        dtype = "float32" if single else "float64"
        residual = path.training_errors(alphas, y_squares).min()
        cancels = residual <= _CANCELS[dtype] * y_squares
        few = shape[0] <= 2 * shape[1]
        expanded = not (few or cancels)
        return cls(expanded, dtype if expanded else "float64")

    def sums(
        self,
        path: RidgePath,
        X: Any,
        y: Any,
        w: np.ndarray | None,
        alphas: np.ndarray,
    ) -> np.ndarray:
        """Squared errors of some of the rows, summed; infinite as of all."""
        sums = _expanded_sums if self.expanded else _residual_sums
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return sums(path, X, y, w, alphas, self.dtype)


class _Rows(NamedTuple):
    """One block in the eigenbasis, with the factor of each squared residual.

    `given` are the block's rows and weights as they came.
    """

    Z: Any
    y: Any
    factors: Any
    given: tuple[Any, Any, np.ndarray | None]


def _rotated_blocks(
    path: RidgePath,
    X: Any,
    y: Any,
    w: np.ndarray | None,
    alphas: np.ndarray,
    dtype: str,
) -> Iterator[_Rows]:
    xp, _ = get_namespace(X, y)
    wide = getattr(xp, dtype)

    def put(array: np.ndarray) -> Any:
        return xp.asarray(array, dtype=wide, device=device(X))

    x_mean, y_mean = put(path.x_mean), put(path.y_mean)
    vectors, shrinkage = put(path.spectrum.vectors), put(path.shrinkage(alphas).T)
    for start in range(0, X.shape[0], _BLOCK_ROWS):
        rows = slice(start, min(start + _BLOCK_ROWS, X.shape[0]))
        sides, weight = (X[rows, ...], y[rows, ...]), None
        if w is not None:
            sides, weight = present_rows(*sides, w[rows])
        Z = (xp.astype(sides[0], wide) - x_mean) @ vectors
        leverage = 1.0 / path.weight + (Z * Z) @ shrinkage
        if weight is None:
            factors = 1.0 / _kept(xp, 1.0 - leverage) ** 2
        else:
            weights = put(weight[:, np.newaxis])
            factors = weights / _kept(xp, 1.0 - weights * leverage) ** 2
        centred = xp.astype(sides[1], wide) - y_mean
        yield _Rows(Z, centred, factors, (*sides, weight))


def _kept(xp: Any, kept: Any) -> Any:
    """What is left of 1 after the leverage; 0 where that is rounding."""
    return xp.where(kept > 1e-10, kept, 0.0 * kept)


def _expanded_sums(
    path: RidgePath,
    X: Any,
    y: Any,
    w: np.ndarray | None,
    alphas: np.ndarray,
    dtype: str,
) -> np.ndarray:
    xp, _ = get_namespace(X, y)
    shrinkage = path.shrinkage(alphas)
    quadratic = path.rotated @ path.rotated.T
    rotated = xp.asarray(path.rotated.T, dtype=getattr(xp, dtype), device=device(X))
    errors = np.zeros(len(alphas))
    for rows in _rotated_blocks(path, X, y, w, alphas, dtype):
        high, (Z, centred, factors) = _parted(rows)
        if high is not None:
            errors += _residual_sums(path, *high, alphas=alphas, dtype="float64")
        squares = _wide(xp.sum(centred * centred, axis=1)[None, :] @ factors)[0]
        linear = _wide(factors.T @ (Z * (centred @ rotated)))
        errors += squares - 2.0 * np.einsum("aj,aj->a", shrinkage, linear)
        for a, factor in enumerate(shrinkage):
            weighted = Z * xp.sqrt(factors[:, a : a + 1])
            gram = _wide(weighted.T @ weighted)
            errors[a] += factor @ (gram * quadratic) @ factor
    return _finite_or_infinite(errors)


def _parted(
    rows: _Rows,
) -> tuple[tuple[Any, Any, Any] | None, tuple[Any, Any, Any]]:
    """The rows of high leverage as they came (None: none), and the others."""
    Z, y, factors, (X, targets, w) = rows
    largest = _wide(factors).max(axis=1, initial=0.0)
    if w is not None:
        largest /= w
    # Written so that a factor that is not a number counts as high.
    low = largest <= 1.0 / (1.0 - _HIGH_LEVERAGE) ** 2
    if low.all():
        return None, (Z, y, factors)
    chosen, others = np.flatnonzero(~low), np.flatnonzero(low)
    high = take(X, chosen), take(targets, chosen), None if w is None else w[chosen]
    return high, (take(Z, others), take(y, others), take(factors, others))


def _residual_sums(
    path: RidgePath,
    X: Any,
    y: Any,
    w: np.ndarray | None,
    alphas: np.ndarray,
    dtype: str,
) -> np.ndarray:
    xp, _ = get_namespace(X, y)
    shrinkage = path.shrinkage(alphas)
    errors = np.zeros(len(alphas))
    for Z, centred, factors, _ in _rotated_blocks(path, X, y, w, alphas, dtype):
        for a, factor in enumerate(shrinkage):
            shrunk = factor[:, np.newaxis] * path.rotated
            coef = xp.asarray(shrunk, dtype=Z.dtype, device=device(Z))
            residual = centred - Z @ coef
            squares = xp.sum(residual * residual, axis=1)
            errors[a] += float(squares @ factors[:, a])
    return _finite_or_infinite(errors)


def _finite_or_infinite(errors: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(errors), np.maximum(errors, 0.0), np.inf)


def _wide(array: Any) -> np.ndarray:
    return plain(array).astype(np.float64, copy=False)
