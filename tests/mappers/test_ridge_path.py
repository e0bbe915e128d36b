"""Paths of ridge penalties against scikit-learn, one fit at a time."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import LeaveOneOut

from skxmodal.mappers import Moments
from skxmodal.mappers._ridge_path import (
    RidgePath,
    generalised_cross_validation,
    leave_one_out_errors,
)
from skxmodal.mappers._solvers import scatter_spectrum, whitening

ALPHAS = np.logspace(-4, 2, 7)


def pairs(n, d_x=6, d_y=4, *, noise=1.0, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d_x)) @ rng.normal(size=(d_x, d_x)) + 3.0
    y = X @ rng.normal(size=(d_x, d_y)) + noise * rng.normal(size=(n, d_y)) - 2.0
    return X.astype(dtype), y.astype(dtype)


def penalties(X, w=None):
    """What scikit-learn calls alpha."""
    w = np.ones(len(X)) if w is None else w
    variance = np.cov(X.T, aweights=w, bias=True).trace() / X.shape[1]
    return ALPHAS * variance * w.sum()


def left_out(X, y, w=None, penalty=0.0):
    """The sum of squared errors of pairs that were left out, one fit each."""
    w = np.ones(len(X)) if w is None else w
    total = 0.0
    for train, test in LeaveOneOut().split(X):
        ridge = Ridge(alpha=penalty, solver="svd").fit(X[train], y[train], w[train])
        total += (w[test] * ((ridge.predict(X[test]) - y[test]) ** 2).sum(axis=1)).sum()
    return total


def loo(X, y, w=None, alphas=ALPHAS, single=False, x_whiten=0.0):
    moments = Moments.from_arrays(X, y, w)
    return leave_one_out_errors(
        RidgePath(moments, x_whiten),
        X,
        y,
        w,
        alphas,
        y_squares=moments.y_squares.sum(),
        single=single,
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_coefficients_are_those_of_ridge(weighted):
    X, y = pairs(50)
    w = np.random.default_rng(1).uniform(0.1, 2, 50) if weighted else None
    path = RidgePath(Moments.from_arrays(X, y, w))
    for alpha, penalty in zip(ALPHAS, penalties(X, w), strict=True):
        ridge = Ridge(alpha=penalty, solver="svd").fit(X, y, sample_weight=w)
        assert_allclose(path.coef(alpha), ridge.coef_.T, rtol=1e-8, atol=1e-11)


def test_without_penalty_the_map_is_that_of_minimum_norm():
    X, y = pairs(5)
    centred = X - X.mean(axis=0)
    expected = np.linalg.pinv(centred) @ (y - y.mean(axis=0))
    assert_allclose(RidgePath(Moments.from_arrays(X, y)).coef(0.0), expected, atol=1e-7)


@pytest.mark.parametrize("power", [0.4, 1.0])
def test_whitened_queries_are_penalised_as_if_whitened_before(power):
    X, y = pairs(50)
    spectrum = scatter_spectrum(Moments.from_arrays(X, y).xx)
    forward, _ = whitening(spectrum, 50.0, power)
    path = RidgePath(Moments.from_arrays(X, y), power)
    plain = RidgePath(Moments.from_arrays(X @ forward, y))
    for alpha in ALPHAS:
        assert_allclose(path.coef(alpha), forward @ plain.coef(alpha), atol=1e-10)
    assert_allclose(loo(X, y, x_whiten=power), loo(X @ forward, y), rtol=1e-9)


def test_errors_on_other_pairs_come_from_their_moments():
    X, y = pairs(80)
    train, test = slice(50), slice(50, None)
    path = RidgePath(Moments.from_arrays(X[train], y[train]))
    w = np.random.default_rng(2).uniform(0, 2, 30)
    c = np.array([1.0, 0.0, 2.0, 0.5])
    found = path.errors(Moments.from_arrays(X[test], y[test], w), ALPHAS, c)
    for alpha, error in zip(ALPHAS, found, strict=True):
        coef = path.coef(alpha)
        residual = y[test] - path.y_mean - (X[test] - path.x_mean) @ coef
        assert error == pytest.approx(w @ residual**2 @ c)


def test_training_errors():
    X, y = pairs(50)
    moments = Moments.from_arrays(X, y)
    path = RidgePath(moments)
    found = path.training_errors(ALPHAS, moments.y_squares.sum())
    for alpha, error in zip(ALPHAS, found, strict=True):
        residual = y - path.y_mean - (X - path.x_mean) @ path.coef(alpha)
        assert error == pytest.approx((residual**2).sum())


@pytest.mark.parametrize(
    ("n", "noise"), [(7, 1.0), (12, 1.0), (40, 1.0), (40, 1e-7), (5000, 1.0)]
)
def test_leave_one_out_errors_are_those_of_ridge_cv(n, noise):
    X, y = pairs(n, noise=noise)
    cv = RidgeCV(alphas=penalties(X), store_cv_results=True, gcv_mode="svd").fit(X, y)
    expected = cv.cv_results_.sum(axis=(0, 1))
    rtol = 1e-8 if noise == 1.0 else 1e-6
    assert_allclose(loo(X, y), expected, rtol=rtol)


@pytest.mark.parametrize("n", [5, 8, 30])
def test_leave_one_out_errors_are_those_of_as_many_fits(n):
    X, y = pairs(n)
    expected = [left_out(X, y, penalty=penalty) for penalty in penalties(X)]
    assert_allclose(loo(X, y), expected, rtol=1e-7)


def test_leave_one_out_errors_with_weights():
    X, y = pairs(30)
    w = np.random.default_rng(3).uniform(0.2, 3, 30)
    w[4] = 0.0
    expected = [left_out(X, y, w, penalty) for penalty in penalties(X, w)]
    assert_allclose(loo(X, y, w), expected, rtol=1e-8)


def test_leave_one_out_errors_in_float32():
    X, y = pairs(9000, dtype=np.float32)
    expected = loo(X.astype(np.float64), y.astype(np.float64))
    # Of y'y, that is: where the fit is close, the digits of the rest are fewer.
    atol = 1e-6 * ((y - y.mean(axis=0)) ** 2).sum()
    assert_allclose(loo(X, y, single=True), expected, rtol=0, atol=atol)


def test_close_fits_in_float32_are_redone_from_residuals():
    X, y = pairs(9000, noise=1e-3, dtype=np.float32)
    expected = loo(X.astype(np.float64), y.astype(np.float64))
    assert_allclose(loo(X, y, single=True), expected, rtol=1e-2)


def test_a_pair_that_cannot_be_left_out_makes_the_error_infinite():
    X, y = pairs(5)
    assert np.isinf(loo(X, y, alphas=np.array([0.0]))).all()
    assert np.isfinite(loo(X, y, alphas=np.array([1e-3]))).all()


def test_generalised_cross_validation():
    X, y = pairs(50)
    moments = Moments.from_arrays(X, y)
    path = RidgePath(moments)
    found = generalised_cross_validation(path, ALPHAS, moments.y_squares.sum())
    centred = X - X.mean(axis=0)
    for penalty, error in zip(penalties(X), found, strict=True):
        gram = centred.T @ centred + penalty * np.eye(6)
        hat = centred @ np.linalg.solve(gram, centred.T) + 1 / 50
        residual = y - hat @ y
        expected = (residual**2).sum() / 50 / (1 - np.trace(hat) / 50) ** 2
        assert error == pytest.approx(expected)
    few = Moments.from_arrays(X[:5], y[:5])
    squares = few.y_squares.sum()
    saturated = generalised_cross_validation(RidgePath(few), np.array([0.0]), squares)
    assert np.isinf(saturated).all()
