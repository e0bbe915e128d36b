"""Least squares against scipy and scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import LinAlgWarning, lstsq
from sklearn.linear_model import LinearRegression, Ridge, RidgeCV
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    cross_val_score,
)

from skxmodal import LeastSquaresMapper
from skxmodal.mappers import Moments


def pairs(n=60, d_x=5, d_y=7, *, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d_x)) @ rng.normal(size=(d_x, d_x)) + 2.0
    y = X @ rng.normal(size=(d_x, d_y)) + rng.normal(size=(n, d_y)) + 5.0
    return X.astype(dtype), y.astype(dtype)


def penalty(X, alpha, w=None):
    """What scikit-learn calls alpha."""
    w = np.ones(len(X)) if w is None else w
    variances = np.cov(X.T, aweights=w, bias=True).diagonal()
    return alpha * variances.mean() * w.sum()


def test_plain_least_squares_is_scipys():
    X, y = pairs()
    design = np.c_[np.ones(len(X)), X]
    expected = lstsq(design, y)[0]
    mapper = LeastSquaresMapper().fit(X, y)
    assert_allclose(mapper.intercept_, expected[0], rtol=1e-9)
    assert_allclose(mapper.coef_, expected[1:].T, rtol=1e-9)
    assert_allclose(mapper.predict(X), design @ expected, rtol=1e-10)
    assert mapper.rank_ == 5
    assert mapper.alpha_ == 0.0


def test_shared_space_is_the_centred_target_space():
    X, y = pairs()
    mapper = LeastSquaresMapper().fit(X, y)
    assert_allclose(mapper.transform_target(y), y - y.mean(axis=0), atol=1e-12)
    assert_allclose(mapper.transform(X), mapper.predict(X) - y.mean(axis=0), atol=1e-12)
    assert mapper.y_projection_ is None


@pytest.mark.parametrize("condition", [1e2, 1e4, 1e6])
def test_ill_conditioned_queries_agree_with_scipy(condition):
    rng = np.random.default_rng(1)
    basis, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    X = (rng.normal(size=(500, 8)) * np.geomspace(1, 1 / condition, 8)) @ basis
    y = rng.normal(size=(500, 3))
    design = np.c_[np.ones(len(X)), X]
    expected = design @ lstsq(design, y)[0]
    found = LeastSquaresMapper().fit(X, y).predict(X)
    assert_allclose(found, expected, atol=1e-16 * condition**2 + 1e-12)


@pytest.mark.parametrize("condition", [1.0, 1e2, 1e3])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_float32_products_are_within_1e_4_of_float64(condition, offset):
    rng = np.random.default_rng(8)
    basis, _ = np.linalg.qr(rng.normal(size=(80, 80)))
    X = (rng.normal(size=(9000, 80)) * np.geomspace(1, condition**-0.5, 80)) @ basis
    y = 5 * X @ rng.normal(size=(80, 20)) + rng.normal(size=(9000, 20))
    X, y = (X + offset).astype(np.float32), (y - offset).astype(np.float32)
    single = LeastSquaresMapper().fit(X, y)
    double = LeastSquaresMapper().fit(X.astype(np.float64), y.astype(np.float64))
    assert single.moments_.in_float32
    assert_allclose(single.coef_, double.coef_, atol=1e-4 * np.abs(double.coef_).max())
    found, expected = single.transform(X), double.transform(X.astype(np.float64))
    assert_allclose(found, expected, atol=1e-4 * expected.std())


@pytest.mark.parametrize("alpha", [1e-6, 0.1, 1.0, 100.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_penalty_is_that_of_ridge_times_the_mean_variance(alpha, weighted):
    X, y = pairs()
    w = np.random.default_rng(2).uniform(0.1, 2, len(X)) if weighted else None
    ridge = Ridge(alpha=penalty(X, alpha, w)).fit(X, y, sample_weight=w)
    mapper = LeastSquaresMapper(alpha=alpha).fit(X, y, sample_weight=w)
    assert_allclose(mapper.coef_, ridge.coef_, rtol=1e-9, atol=1e-12)
    assert_allclose(mapper.intercept_, ridge.intercept_, rtol=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 0.1, "auto"])
def test_penalty_has_no_scale(alpha):
    X, y = pairs()
    mapper = LeastSquaresMapper(alpha=alpha).fit(X, y)
    scaled = LeastSquaresMapper(alpha=alpha).fit(1e6 * X, 1e-3 * y)
    assert mapper.alpha_ == scaled.alpha_
    assert_allclose(scaled.predict(1e6 * X), 1e-3 * mapper.predict(X), rtol=1e-9)
    twice = LeastSquaresMapper(alpha=alpha if alpha != "auto" else mapper.alpha_)
    twice.fit(np.r_[X, X], np.r_[y, y])
    assert_allclose(twice.predict(X), mapper.predict(X), rtol=1e-9)


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: rng.normal(size=(20, 30)),
        lambda rng: rng.integers(9, size=(50, 3)) @ rng.integers(9, size=(3, 12)) / 64,
        lambda rng: rng.normal(size=(50, 6))[:, [0, 1, 2, 2, 3, 4, 5, 5]],
        lambda rng: np.c_[rng.normal(size=(50, 3)), np.full(50, 4.0)],
        lambda rng: np.repeat(rng.normal(size=(4, 6)), 5, axis=0),
        lambda rng: rng.normal(size=(2, 3)),
        lambda rng: np.ones((10, 3)),
    ],
    ids=["wide", "low-rank", "copies", "constant", "repeats", "two", "all-constant"],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_deficient_queries_give_the_minimum_norm_map_and_a_warning(make, dtype):
    rng = np.random.default_rng(3)
    X = make(rng).astype(dtype).astype(np.float64)
    y = rng.normal(size=(len(X), 4))
    centred = X - X.mean(axis=0)
    rank = int(
        (np.linalg.svd(centred)[1] > 1e-6 * np.abs(centred).max(initial=0)).sum()
    )
    expected = np.linalg.pinv(centred, rcond=1e-6) @ (y - y.mean(axis=0))
    mapper = LeastSquaresMapper()
    with pytest.warns(LinAlgWarning, match=rf"X has rank {rank} of {X.shape[1]}"):
        mapper.fit(X, y)
    assert mapper.rank_ == rank
    scale = np.abs(expected).max(initial=1.0)
    assert_allclose(mapper.coef_.T, expected, atol=1e-7 * scale)
    assert np.isfinite(mapper.predict(X)).all()


def test_a_penalty_on_deficient_queries_needs_no_warning():
    rng = np.random.default_rng(4)
    X, y = rng.normal(size=(20, 30)), rng.normal(size=(20, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mapper = LeastSquaresMapper(alpha=0.1).fit(X, y)
        LeastSquaresMapper(alpha="auto").fit(X, y)
    assert mapper.rank_ == 19
    ridge = Ridge(alpha=penalty(X, 0.1)).fit(X, y)
    assert_allclose(mapper.coef_, ridge.coef_, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_auto_is_ridge_cvs_leave_one_out(weighted):
    X, y = pairs(n=30)
    w = np.random.default_rng(5).uniform(0.5, 2, 30) if weighted else None
    alphas = np.logspace(-4, 1, 12)
    mapper = LeastSquaresMapper(alpha="auto", alphas=alphas).fit(X, y, w)
    cv = RidgeCV(
        alphas=[penalty(X, alpha, w) for alpha in alphas], store_cv_results=not weighted
    ).fit(X, y, sample_weight=w)
    assert penalty(X, mapper.alpha_, w) == pytest.approx(cv.alpha_)
    assert_allclose(mapper.coef_, cv.coef_, rtol=1e-8)
    assert mapper.cv_errors_.shape == mapper.alphas_.shape == (12,)
    if not weighted:
        assert_allclose(mapper.cv_errors_, cv.cv_results_.mean(axis=(0, 1)), rtol=1e-8)
        assert mapper.cv_errors_.min() == pytest.approx(-cv.best_score_)


def test_default_alphas():
    mapper = LeastSquaresMapper(alpha="auto").fit(*pairs())
    assert_allclose(mapper.alphas_, np.logspace(-5, 2, 20))
    assert mapper.alpha_ in mapper.alphas_


@pytest.mark.parametrize(
    ("cv", "grouped", "splitter"),
    [
        (4, False, KFold(4)),
        (4, True, GroupKFold(4)),
        (None, True, GroupKFold(5)),
        (LeaveOneGroupOut(), True, LeaveOneGroupOut()),
        (KFold(3, shuffle=True, random_state=0), False, None),
    ],
)
def test_auto_by_folds_is_a_search_over_ridge(cv, grouped, splitter):
    X, y = pairs(n=70)
    groups = np.repeat(np.arange(14), 5)[::-1] if grouped else None
    alphas = np.logspace(-3, 1, 5)
    mapper = LeastSquaresMapper(alpha="auto", alphas=alphas, cv=cv)
    mapper.fit(X, y, groups=groups)
    splitter = cv if splitter is None else splitter
    errors = []
    for alpha in alphas:
        scores = cross_val_score(
            LeastSquaresMapper(alpha=alpha),
            X,
            y,
            cv=splitter,
            groups=groups,
            scoring="neg_mean_squared_error",
        )
        errors.append(-scores.mean())
    assert_allclose(mapper.cv_errors_, errors, rtol=1e-9)
    assert mapper.alpha_ == alphas[np.argmin(errors)]
    assert_allclose(
        mapper.coef_, LeastSquaresMapper(alpha=mapper.alpha_).fit(X, y).coef_, rtol=1e-9
    )


def test_captions_of_one_picture_stay_in_one_fold():
    # Five captions a picture that say almost the same: only whole pictures left out
    # show that the map overfits.
    rng = np.random.default_rng(6)
    pictures = np.repeat(np.arange(12), 5)
    X = rng.normal(size=(12, 30))[pictures] + 1e-3 * rng.normal(size=(60, 30))
    y = rng.normal(size=(12, 4))[pictures]
    apart = LeastSquaresMapper(alpha="auto").fit(X, y)
    together = LeastSquaresMapper(alpha="auto").fit(X, y, groups=pictures)
    assert apart.cv_errors_.min() < 1e-2
    assert together.cv_errors_.min() > 0.5
    assert together.alpha_ > 10 * apart.alpha_


def test_fewer_groups_than_folds():
    X, y = pairs(n=20)
    mapper = LeastSquaresMapper(alpha="auto").fit(X, y, groups=np.arange(20) % 3)
    assert np.isfinite(mapper.cv_errors_).all()
    with pytest.raises(ValueError, match="n_splits"):
        mapper.fit(X, y, groups=np.zeros(20))
    with pytest.raises(ValueError, match="groups has 19 labels for 20 rows"):
        mapper.fit(X, y, groups=np.zeros(19))


def test_a_fitted_alpha_outlives_partial_fit_and_forget():
    X, y = pairs(n=90)
    mapper = LeastSquaresMapper(alpha="auto").fit(X[:60], y[:60])
    before = mapper.alpha_, mapper.coef_.copy()
    mapper.partial_fit(X[60:], y[60:])
    assert mapper.alpha_ == before[0]
    expected = LeastSquaresMapper(alpha=mapper.alpha_).fit(X, y)
    assert_allclose(mapper.coef_, expected.coef_, rtol=1e-9)
    mapper.forget(X[60:], y[60:])
    assert_allclose(mapper.coef_, before[1], rtol=1e-9)


def test_auto_without_rows_goes_by_generalised_cross_validation():
    X, y = pairs(n=4000)
    streamed = LeastSquaresMapper(alpha="auto")
    for start in range(0, 4000, 1000):
        streamed.partial_fit(X[start : start + 1000], y[start : start + 1000])
    from_moments = LeastSquaresMapper(alpha="auto").fit_moments(
        Moments.from_arrays(X, y)
    )
    fitted = LeastSquaresMapper(alpha="auto").fit(X, y)
    assert streamed.alpha_ == from_moments.alpha_ == fitted.alpha_
    # With this many pairs the two measures of error nearly agree.
    assert_allclose(streamed.cv_errors_, fitted.cv_errors_, rtol=1e-3)


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_whitening_the_targets_leaves_predictions(power):
    X, y = pairs()
    plain, white = (LeastSquaresMapper(y_whiten=p).fit(X, y) for p in (0.0, power))
    assert_allclose(white.predict(X), plain.predict(X), rtol=1e-9)
    assert_allclose(white.coef_, plain.coef_, atol=1e-9)
    targets = np.linalg.eigvalsh(np.cov(white.transform_target(y).T, bias=True))
    variances = np.linalg.eigvalsh(np.cov(y.T, bias=True))
    assert_allclose(targets, variances ** (1 - power), rtol=1e-8)


def test_whitening_the_queries_shows_under_a_penalty_only():
    X, y = pairs()
    plain, white = (LeastSquaresMapper(x_whiten=p).fit(X, y) for p in (0.0, 0.5))
    assert_allclose(white.coef_, plain.coef_, rtol=1e-8)
    values, vectors = np.linalg.eigh(np.cov(X.T, bias=True))
    forward = (vectors * values**-0.25) @ vectors.T
    expected = LeastSquaresMapper(alpha=0.3).fit(X @ forward, y).predict(X @ forward)
    found = LeastSquaresMapper(alpha=0.3, x_whiten=0.5).fit(X, y).predict(X)
    assert_allclose(found, expected, rtol=1e-9)


def test_one_target_column_of_one_dimension():
    X, y = pairs(d_y=1)
    flat = LeastSquaresMapper(alpha=0.1).fit(X, y[:, 0])
    column = LeastSquaresMapper(alpha=0.1).fit(X, y)
    assert flat.predict(X).shape == (60,)
    assert flat.coef_.shape == (5,)
    assert np.ndim(flat.intercept_) == 0
    assert column.predict(X).shape == (60, 1)
    assert_allclose(flat.predict(X), column.predict(X)[:, 0])
    assert_allclose(flat.transform_target(y[:, 0]), column.transform_target(y))
    assert_allclose(X @ flat.coef_ + flat.intercept_, flat.predict(X))
    reference = LinearRegression().fit(X, y[:, 0])
    assert_allclose(
        LeastSquaresMapper().fit(X, y[:, 0]).coef_, reference.coef_, rtol=1e-9
    )


def test_grid_search_agrees_with_ridge():
    X, y = pairs(n=80)
    alphas = [0.0, 0.1, 10.0]
    search = GridSearchCV(LeastSquaresMapper(), {"alpha": alphas}, cv=KFold(4))
    found = search.fit(X, y).cv_results_["mean_test_score"]
    expected = []
    for alpha in alphas:
        scores = []
        for train, test in KFold(4).split(X):
            ridge = Ridge(alpha=penalty(X[train], alpha)).fit(X[train], y[train])
            scores.append(ridge.score(X[test], y[test]))
        expected.append(np.mean(scores))
    assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("alphas", [[], [[0.1]], [-1.0, 1.0], [np.nan]])
def test_alphas_are_checked(alphas):
    with pytest.raises(ValueError, match="alphas must be a sequence"):
        LeastSquaresMapper(alpha="auto", alphas=alphas).fit(*pairs())


def test_no_alpha_that_can_be_judged():
    rng = np.random.default_rng(7)
    mapper = LeastSquaresMapper(alpha="auto", alphas=[0.0])
    with pytest.raises(ValueError, match="alphas must be positive"):
        mapper.fit(rng.normal(size=(5, 9)), rng.normal(size=(5, 2)))


@pytest.mark.parametrize(
    "parameters",
    [{"alpha": -1.0}, {"alpha": "loo"}, {"x_whiten": 1.5}, {"y_whiten": -1}],
)
def test_parameters_are_checked(parameters):
    with pytest.raises(ValueError, match="must be"):
        LeastSquaresMapper(**parameters).fit(*pairs())


def test_moments_of_other_pairs_forget_what_was_chosen_and_named():
    X, y = pairs(n=90)
    noise = np.random.default_rng(9).normal(size=y.shape)
    frame = pd.DataFrame(X, columns=list("abcde"))
    mapper = LeastSquaresMapper(alpha="auto").fit(frame, y)
    moments = Moments.from_arrays(X, noise)
    mapper.fit_moments(moments)
    expected = LeastSquaresMapper(alpha="auto").fit_moments(moments)
    assert mapper.alpha_ == expected.alpha_
    assert_allclose(mapper.cv_errors_, expected.cv_errors_)
    assert not hasattr(mapper, "feature_names_in_")
    mapper.set_params(alpha=0.1).fit(X, y)
    assert not hasattr(mapper, "alphas_")
    assert not hasattr(mapper, "cv_errors_")


def test_a_constant_column_leaves_the_scales_of_the_others_alone():
    rng = np.random.default_rng(10)
    X = rng.normal(size=(200, 3)) * [1.0, 1e-9, 1e6]
    y = (X / [1.0, 1e-9, 1e6]) @ rng.normal(size=(3, 2)) + rng.normal(size=(200, 2))
    design = np.c_[np.ones(200), X]
    scale = np.array([1.0, 1.0, 1e-9, 1e6])
    expected = lstsq(design / scale, y)[0] / scale[:, np.newaxis]
    with pytest.warns(LinAlgWarning, match="X has rank 3 of 4"):
        mapper = LeastSquaresMapper().fit(np.c_[X, np.ones(200)], y)
    assert_allclose(mapper.coef_[:, :3].T, expected[1:], rtol=1e-9)
    assert not mapper.coef_[:, 3].any()
    ridge = LeastSquaresMapper(alpha=1e-3).fit(np.c_[X, np.ones(200)], y)
    assert_allclose(
        ridge.predict(np.c_[X, np.ones(200)]),
        LeastSquaresMapper(alpha=1e-3 * 3 / 4).fit(X, y).predict(X),
        rtol=1e-9,
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pairs_of_high_leverage_are_left_out_exactly(dtype):
    rng = np.random.default_rng(11)
    X = rng.normal(size=(3000, 80))
    X[:, 75:] = 0.0
    X[np.arange(5), 75 + np.arange(5)] = 3 * rng.normal(size=5)
    y = X @ rng.normal(size=(80, 5)) + rng.normal(size=(3000, 5))
    X, y = X.astype(dtype), y.astype(dtype)
    w = rng.uniform(0.5, 2, size=3000)
    alphas = np.logspace(-5, -2, 4)
    for weights in (None, w):
        mapper = LeastSquaresMapper(alpha="auto", alphas=alphas)
        mapper.fit(X, y, sample_weight=weights)
        found = mapper.cv_errors_
        X, y = X.astype(np.float64), y.astype(np.float64)
        unit = np.ones(3000) if weights is None else weights
        for alpha, error in zip(alphas, found, strict=True):
            root = np.sqrt(unit)[:, np.newaxis]
            centre = [rows - np.average(rows, axis=0, weights=unit) for rows in (X, y)]
            left, right = root * centre[0], root * centre[1]
            gram = left.T @ left + penalty(X, alpha, weights) * np.eye(80)
            kept = 1 - (left * np.linalg.solve(gram, left.T).T).sum(axis=1)
            kept -= unit / unit.sum()
            residual = right - left @ np.linalg.solve(gram, left.T @ right)
            expected = ((residual / kept[:, np.newaxis]) ** 2).sum()
            expected /= unit.sum() * 5
            assert error == pytest.approx(
                expected, rel=1e-3 if dtype == np.float32 else 1e-8
            )


def test_folds_that_cannot_be_measured_are_named():
    X, y = pairs(n=30)
    mapper = LeastSquaresMapper(alpha="auto", cv=KFold(3))
    w = np.ones(30)
    w[10:20] = 0.0
    with pytest.raises(ValueError, match=r"Fold 1 of cv has 20 pairs .* 0 to predict"):
        mapper.fit(X, y, sample_weight=w)
    with pytest.raises(ValueError, match="one group only"):
        LeastSquaresMapper(alpha="auto").fit(X, y, groups=np.zeros(30))
    with pytest.raises(ValueError, match="Fold 0 of cv has 1 pairs"):
        LeastSquaresMapper(alpha="auto").fit(X[:3], y[:3], groups=[0, 0, 1])
