"""Solvers against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import linalg

from skxmodal.mappers import _solvers
from skxmodal.mappers._solvers import (
    factor_positive_definite,
    polar_factor,
    powers,
    scatter_spectrum,
    singular_factors,
    solve_positive_definite,
    whitening,
)

RNG = np.random.default_rng(0)


def with_singular_values(shape, values):
    """A matrix of known singular values."""
    left, _ = np.linalg.qr(RNG.normal(size=(shape[0], len(values))))
    right, _ = np.linalg.qr(RNG.normal(size=(shape[1], len(values))))
    return (left * values) @ right.T


@pytest.mark.parametrize("shape", [(20, 20), (12, 30), (30, 12)])
@pytest.mark.parametrize("condition", [1.0, 1e2, 9e2, 9e4, 2e5, 1e9])
def test_polar_factor_is_scipys(shape, condition):
    cross = with_singular_values(shape, np.geomspace(7.0, 7.0 / condition, min(shape)))
    factor, singular_values = polar_factor(cross)
    # The factor itself is as sensitive as the condition number says.
    assert_allclose(factor, linalg.polar(cross)[0], atol=1e-14 * max(condition, 10))
    assert_allclose(singular_values, linalg.svdvals(cross), rtol=1e-9, atol=1e-12)
    small = factor if shape[0] >= shape[1] else factor.T
    assert_allclose(small.T @ small, np.eye(min(shape)), atol=1e-13)


def test_polar_factor_where_one_singular_value_stands_alone():
    # The largest beside the smallest decides, not the others.
    for values in ([1e6, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1e-6]):
        cross = with_singular_values((4, 6), np.array(values))
        factor, singular_values = polar_factor(cross)
        assert_allclose(singular_values, values, rtol=1e-9)
        assert_allclose(factor @ cross.T, linalg.sqrtm(cross @ cross.T), atol=1e-7)


@pytest.mark.parametrize(
    ("values", "decomposed"),
    [
        ([1.0, 1.0, 1.0], False),
        ([9e4, 1.0, 1.0], False),
        ([9e4, 9e4, 1.0], False),
        ([1.1e5, 1.0, 1.0], True),
        ([1.1e5, 1.1e5, 1.0], True),
        ([1.0, 0.0, 0.0], True),
        ([0.0, 0.0, 0.0], True),
    ],
)
@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200])
def test_polar_factor_takes_the_slower_way_only_where_it_must(
    monkeypatch, values, decomposed, size
):
    taken, svd = [], linalg.svd
    monkeypatch.setattr(
        _solvers.linalg, "svd", lambda *given, **named: taken.append(1) or svd(*given)
    )
    polar_factor(size * np.diag(values))
    assert taken == [1] * decomposed


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_polar_factor_of_a_deficient_matrix_is_semi_orthogonal(rank):
    cross = with_singular_values((5, 8), np.ones(rank)) if rank else np.zeros((5, 8))
    factor, singular_values = polar_factor(cross)
    assert_allclose(factor @ factor.T, np.eye(5), atol=1e-13)
    assert_allclose(singular_values, [1.0] * rank + [0.0] * (5 - rank), atol=1e-13)
    assert np.trace(factor.T @ cross) == pytest.approx(rank)


@pytest.mark.parametrize("condition", [1.0, 1e6, 1e12])
def test_solve_positive_definite(condition):
    X = with_singular_values((50, 8), np.geomspace(1.0, condition**-0.5, 8))
    solution = RNG.normal(size=(8, 3))
    found = solve_positive_definite(X.T @ X, X.T @ X @ solution)
    assert_allclose(found, solution, rtol=1e-15 * 100 * condition + 1e-12, atol=1e-3)


def test_column_scales_do_not_make_a_matrix_singular():
    X = RNG.normal(size=(50, 4)) * [1e-12, 1.0, 1e6, 1e12]
    solution = np.array([[1e12], [1.0], [1e-6], [1e-12]])
    found = solve_positive_definite(X.T @ X, X.T @ (X @ solution))
    assert_allclose(found, solution, rtol=1e-10)


@pytest.mark.parametrize(
    "X",
    [
        np.zeros((5, 3)),
        np.ones((5, 3)),
        RNG.normal(size=(5, 3)) * [0.0, 1.0, 1.0],
        RNG.normal(size=(3, 5)),
        RNG.normal(size=(50, 2))[:, [0, 1, 1]],
    ],
)
def test_singular_matrices_are_declined(X):
    d = X.shape[1]
    assert solve_positive_definite(X.T @ X, np.ones((d, 2))) is None


def with_large_pivots(n):
    """A matrix whose factor has no pivot below 1 / sqrt(n), and an inverse of 2^n."""
    factor = np.tril(-np.ones((n, n)), -1) + np.eye(n)
    factor /= np.linalg.norm(factor, axis=1, keepdims=True)
    return factor @ factor.T


def test_singular_matrices_with_large_pivots_are_declined():
    scatter = with_large_pivots(25)
    assert np.linalg.cholesky(scatter).diagonal().min() > 0.19
    assert solve_positive_definite(scatter, np.ones((25, 1))) is None


def test_matrices_just_above_the_limit_are_solved():
    # Four times the condition number of this one is refused.
    scatter = with_large_pivots(22)
    rhs = scatter @ np.linspace(1.0, 2.0, 22)[:, np.newaxis]
    found = solve_positive_definite(scatter, rhs)
    assert found is not None
    assert_allclose(scatter @ found, rhs, atol=1e-12)


def test_spectrum_is_descending_without_noise():
    X = RNG.normal(size=(40, 3)) @ RNG.normal(size=(3, 6))
    spectrum = scatter_spectrum(X.T @ X)
    assert spectrum.rank == 3
    assert (spectrum.values[3:] == 0).all()
    assert_allclose(spectrum.values[:3], linalg.svdvals(X)[:3] ** 2)
    rebuilt = (spectrum.vectors * spectrum.values) @ spectrum.vectors.T
    assert_allclose(rebuilt, X.T @ X, atol=1e-12)
    assert scatter_spectrum(np.zeros((3, 3))).rank == 0


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_noise_is_relative_to_the_largest_value(scale):
    row = RNG.normal(size=(1, 6))
    spectrum = scatter_spectrum(scale * row.T @ row)
    assert spectrum.rank == 1
    assert_allclose(spectrum.values[0], scale * (row**2).sum())


def test_values_that_rounding_explains_are_zero():
    scatter = np.diag([9.0, 4.0, 1.0, 0.25])
    # Twice the rounding, the root of four columns, is the bound on each axis.
    for rounding, kept in (
        ([0.0, 0.0, 0.0, 0.0], 4),
        ([0.1, 0.1, 0.1, 0.1], 4),
        ([0.0, 0.0, 0.6, 0.1], 3),
        ([0.0, 0.0, 0.5, 0.125], 2),
        ([5.0, 5.0, 5.0, 5.0], 0),
    ):
        spectrum = scatter_spectrum(scatter, np.array(rounding))
        assert spectrum.rank == kept
    # Along other directions columns count by the squares of their shares.
    rotation = np.array([[0.6, 0.8], [-0.8, 0.6]])
    scatter = (rotation * [4.0, 1.0]) @ rotation.T
    for rounding, kept in ([0.3, 1.2], 2), ([0.3, 1.8], 1), ([1.2, 0.3], 1):
        assert scatter_spectrum(scatter, np.array(rounding)).rank == kept


def test_rounding_never_makes_noise_smaller():
    X = RNG.normal(size=(40, 3)) @ RNG.normal(size=(3, 6))
    assert scatter_spectrum(X.T @ X, np.full(6, 1e-30)).rank == 3
    assert factor_positive_definite(with_large_pivots(25), np.full(25, 1e-30)) is None


def test_matrices_that_rounding_explains_are_declined():
    # Of unit diagonal and reciprocal condition 1/3; the bound is twice the rounding.
    scatter = np.kron(np.eye(2), [[1.0, 0.5], [0.5, 1.0]])
    scale = np.array([1.0, 10.0, 100.0, 1000.0])
    scatter *= scale * scale[:, np.newaxis]
    for shares, solved in (
        ([0.1, 0.1, 0.1, 0.1], True),
        ([0.16, 0.16, 0.16, 0.16], True),
        ([0.18, 0.1, 0.1, 0.1], False),
        ([0.1, 0.1, 0.1, 0.18], False),
    ):
        rounding = shares * scale**2
        assert (factor_positive_definite(scatter, rounding) is not None) == solved
        found = solve_positive_definite(scatter, np.ones((4, 1)), rounding)
        assert (found is not None) == solved
    # At the bound itself a matrix is still taken.
    assert factor_positive_definite(np.eye(4), np.full(4, 0.5)) is not None
    assert factor_positive_definite(np.eye(4), np.full(4, 0.51)) is None


@pytest.mark.parametrize("power", [0.0, 0.3, 0.5, 1.0])
def test_whitening_flattens_the_spectrum_by_its_power(power):
    X = RNG.normal(size=(200, 5)) @ RNG.normal(size=(5, 5))
    X -= X.mean(axis=0)
    spectrum = scatter_spectrum(X.T @ X)
    forward, inverse = whitening(spectrum, len(X), power)
    whitened = np.linalg.eigvalsh(np.cov((X @ forward).T, bias=True))
    variances = np.linalg.eigvalsh(np.cov(X.T, bias=True))
    assert_allclose(whitened, variances ** (1 - power))
    assert_allclose(forward @ inverse, np.eye(5), atol=1e-12)
    assert_allclose(forward, forward.T, atol=1e-12)


def test_whitening_drops_directions_without_variance():
    X = RNG.normal(size=(50, 2)) @ RNG.normal(size=(2, 4))
    X -= X.mean(axis=0)
    forward, inverse = whitening(scatter_spectrum(X.T @ X), len(X), 1.0)
    assert_allclose(np.cov((X @ forward).T, bias=True).trace(), 2.0)
    assert_allclose(X @ forward @ inverse, X, atol=1e-12)


def test_powers_of_zero_are_zero():
    assert_allclose(powers(np.array([4.0, 0.0]), -0.5), [0.5, 0.0])
    assert_allclose(powers(np.array([4.0, 0.0]), 0.0), [1.0, 0.0])


@pytest.mark.parametrize("n_components", [1, 3, 6])
def test_singular_factors_are_the_leading_ones(n_components):
    cross = RNG.normal(size=(6, 9))
    left, values, right = singular_factors(cross, n_components)
    U, S, Vt = linalg.svd(cross, full_matrices=False)
    k = n_components
    assert_allclose(values, S[:k])
    assert_allclose((left * values) @ right.T, (U[:, :k] * S[:k]) @ Vt[:k], atol=1e-12)
    largest = np.abs(left).argmax(axis=0)
    assert (left[largest, np.arange(k)] > 0).all()
    flipped = singular_factors(-cross, n_components)
    assert_allclose(flipped.left, left, atol=1e-12)
    assert_allclose(flipped.right, -right, atol=1e-12)


def test_signs_are_those_of_the_left_vectors():
    # Of a diagonal matrix the vectors are known, whatever signs LAPACK gives them.
    for signs in ([1, 1, 1], [-1, 1, -1], [-1, -1, -1]):
        factors = singular_factors(np.diag([3.0, 2.0, 1.0] * np.array(signs)), 3)
        assert_allclose(factors.left, np.eye(3), atol=1e-15)
        assert_allclose(factors.right, np.diag(signs), atol=1e-15)


def test_no_square_of_the_long_side_is_made():
    # A square of a million rows would take 8 TB.
    cross = RNG.normal(size=(1_000_000, 2))
    expected, values, _ = linalg.svd(cross, full_matrices=False)
    left, found, _ = singular_factors(cross, 2)
    assert_allclose(found, values)
    assert_allclose(np.abs((left * expected).sum(axis=0)), 1.0)
    for matrix in (cross, cross.T):
        factor, found = polar_factor(matrix)
        assert factor.shape == matrix.shape
        assert_allclose(found, values)
