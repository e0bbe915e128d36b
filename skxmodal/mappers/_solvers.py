"""Closed-form solutions as functions on arrays, in float64."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import linalg
from scipy.linalg import blas, lapack

from skxmodal.mappers._rounding import of_matrix

# The eigenvalues of C C' hold the square of its condition number: up to this one the
# first-order correction leaves no more error than a singular value decomposition has
# (docs/decisions/0012).
_POLAR_CONDITION = 1e5


class Spectrum(NamedTuple):
    """Eigenvalues, descending, and eigenvectors of a scatter matrix.

    Values that are rounding error are exactly zero.
    """

    values: np.ndarray
    vectors: np.ndarray

    @property
    def rank(self) -> int:
        """The number of values that are not zero."""
        return int(np.count_nonzero(self.values))


def scatter_spectrum(
    scatter: np.ndarray, rounding: np.ndarray | None = None
) -> Spectrum:
    """Decompose a scatter matrix X'X of centred rows.

    `rounding` bounds what rounding has added to its diagonal.
    """
    values, vectors = np.linalg.eigh(scatter)
    # Not views of negative strides: torch takes none.
    values, vectors = values[::-1].copy(), vectors[:, ::-1].copy()
    noise = len(values) * np.finfo(np.float64).eps * values[0]
    if rounding is not None:
        noise = np.maximum(noise, of_matrix(rounding) @ vectors**2)
    return Spectrum(np.where(values > noise, values, 0.0), vectors)


def powers(values: np.ndarray, power: float) -> np.ndarray:
    """Raise values to a power, with 0 for any power of 0."""
    with np.errstate(divide="ignore"):
        return np.where(values > 0, values**power, 0.0)


def whitening(
    spectrum: Spectrum, weight: float, power: float
) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric whitening matrix of a given power, and its inverse.

    With covariance S = X'X / weight, the matrix is S^(-power / 2): power 0 leaves the
    rows as they are, power 1 gives them unit covariance. Directions without variance
    are dropped by both.
    """
    variances, vectors = spectrum.values / weight, spectrum.vectors
    forward = (vectors * powers(variances, -power / 2)) @ vectors.T
    inverse = (vectors * powers(variances, power / 2)) @ vectors.T
    return forward, inverse


class ScaledFactor(NamedTuple):
    """Cholesky factor L of a scatter matrix S, columns scaled alike.

    L @ L.T is S * scale * scale[:, None], of unit diagonal; above the diagonal L holds
    what is not to be read.
    """

    lower: np.ndarray
    scale: np.ndarray


def factor_positive_definite(
    scatter: np.ndarray, rounding: np.ndarray | None = None
) -> ScaledFactor | None:
    """Factor a scatter matrix by Cholesky; None where numerically singular.

    `rounding` bounds what rounding has added to its diagonal.
    """
    diagonal = scatter.diagonal()
    if not len(diagonal) or not (diagonal > 0).all():
        return None
    noise = len(diagonal) * float(np.finfo(np.float64).eps)
    if rounding is not None:
        noise = max(noise, float((of_matrix(rounding) / diagonal).max()))
    scale = diagonal**-0.5
    scaled = scatter * scale * scale[:, np.newaxis]
    norm = np.abs(scaled).sum(axis=0).max()
    factor, failed = lapack.dpotrf(scaled, lower=1)
    if failed:
        return None
    reciprocal_condition, _ = lapack.dpocon(factor, norm, uplo="L")
    return None if reciprocal_condition < noise else ScaledFactor(factor, scale)


def solve_positive_definite(
    scatter: np.ndarray, rhs: np.ndarray, rounding: np.ndarray | None = None
) -> np.ndarray | None:
    """Solve by Cholesky, columns scaled alike; None where numerically singular."""
    factored = factor_positive_definite(scatter, rounding)
    if factored is None:
        return None
    factor, scale = factored
    # Solved from the right, where the transpose of a C-ordered array needs no copy.
    solution = (rhs * scale[:, np.newaxis]).T
    for transposed in (True, False):
        solution = blas.dtrsm(
            1.0, factor, solution, side=1, lower=1, trans_a=transposed
        )
    return solution.T * scale[:, np.newaxis]


class SingularFactors(NamedTuple):
    """Thin singular value decomposition: left @ diag(values) @ right.T."""

    left: np.ndarray
    values: np.ndarray
    right: np.ndarray


def singular_factors(cross: np.ndarray, n_components: int) -> SingularFactors:
    """Leading singular vectors and values, signs fixed by the left vectors."""
    U, singular_values, Vt = linalg.svd(cross, full_matrices=False)
    U, Vt = U[:, :n_components], Vt[:n_components]
    flipped = U[np.abs(U).argmax(axis=0), np.arange(U.shape[1])] < 0
    left, right = (np.where(flipped, -vectors, vectors) for vectors in (U, Vt.T))
    return SingularFactors(left, singular_values[:n_components], right)


def polar_factor(cross: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Semi-orthogonal matrix nearest to `cross`, and all singular values.

    From the eigenvectors of C C', corrected to first order, where that is accurate,
    from the singular value decomposition elsewhere.
    """
    if cross.shape[0] > cross.shape[1]:
        factor, singular_values = polar_factor(cross.T)
        return factor.T, singular_values
    size = np.abs(cross).max() or 1.0
    # Squares of entries of any size stay within range.
    scaled = cross / size
    squares, left = np.linalg.eigh(scaled @ scaled.T)
    if squares[0] * _POLAR_CONDITION**2 <= squares[-1]:
        left, singular_values, right = linalg.svd(scaled, full_matrices=False)
        return left @ right, singular_values * size
    # C = V D N with rows of N of norm one, orthogonal but for the error of V.
    rows = left.T @ scaled
    del scaled
    norms = np.linalg.norm(rows, axis=1)
    rows /= norms[:, np.newaxis]
    halves = 0.5 * (rows @ rows.T)
    np.fill_diagonal(halves, 0.0)
    rows -= halves @ rows
    # D (I + E / 2) has the polar factor I + S to first order, S skew-symmetric.
    column = norms[:, np.newaxis]
    skew = halves * (column - norms) / (column + norms)
    factor = (left + left @ skew) @ rows
    return factor, np.sort(norms)[::-1] * size
