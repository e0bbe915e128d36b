"""Ridge CCA against independent answers, its invariants, and degenerate input."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from cca_zoo.linear import RidgeCCA
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import linalg
from sklearn.base import clone
from sklearn.cross_decomposition import CCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV

from skxmodal.mappers import (
    CCAMapper,
    LeastSquaresMapper,
    Moments,
    ProcrustesMapper,
)


def paired(n=120, d_x=6, d_y=9, n_common=4, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, n_common)) * np.linspace(2, 0.5, n_common)
    X = common @ rng.normal(size=(n_common, d_x)) + rng.normal(size=(n, d_x))
    y = common @ rng.normal(size=(n_common, d_y)) + rng.normal(size=(n, d_y))
    return (X + 3).astype(dtype), (2 * y - 5).astype(dtype)


def similarities(mapper, X, y):
    """Cosines of every query with every target."""
    sides = [mapper.transform(X), mapper.transform_target(y)]
    A, B = (Z / np.linalg.norm(Z, axis=1, keepdims=True) for Z in sides)
    return A @ B.T


def random_rotation(d, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def ridges(X, y, alphas):
    return [a * Z.var(axis=0).mean() for a, Z in zip(alphas, (X, y), strict=True)]


@pytest.mark.parametrize("alphas", [(0.0, 0.0), (0.3, 2.0), (1e-9, 1.0)])
def test_equals_generalised_eigenproblem(alphas):
    X, y = paired()
    mapper = CCAMapper(alpha=alphas).fit(X, y)
    Xc, yc = X - X.mean(axis=0), y - y.mean(axis=0)
    n, d_x, d_y = len(X), X.shape[1], y.shape[1]
    r_x, r_y = ridges(X, y, alphas)
    left = np.zeros((d_x + d_y, d_x + d_y))
    left[:d_x, d_x:] = Xc.T @ yc / n
    left[d_x:, :d_x] = left[:d_x, d_x:].T
    right = linalg.block_diag(
        Xc.T @ Xc / n + r_x * np.eye(d_x), yc.T @ yc / n + r_y * np.eye(d_y)
    )
    values, vectors = linalg.eigh(left, right)
    np.testing.assert_allclose(mapper.correlations_, values[::-1][:d_x], rtol=1e-9)
    # Each side of an eigenvector has half of its unit norm.
    for i in range(d_x):
        x_weights = np.sqrt(2) * vectors[:d_x, -1 - i]
        sign = np.sign(x_weights @ mapper.x_weights_[:, i])
        np.testing.assert_allclose(sign * x_weights, mapper.x_weights_[:, i], atol=1e-7)
        y_weights = sign * np.sqrt(2) * vectors[d_x:, -1 - i]
        np.testing.assert_allclose(y_weights, mapper.y_weights_[:, i], atol=1e-7)


def test_equals_cca_zoo():
    X, y = paired()
    Xc, yc = X - X.mean(axis=0), y - y.mean(axis=0)
    # cca-zoo regularises by (1 - c) S + c I with S = X'X / (n - 1).
    r = np.array(ridges(X, y, (0.5, 0.8))) * len(X) / (len(X) - 1)
    shrinkage = (r / (1 + r)).tolist()
    ours = CCAMapper(n_components=3, alpha=(0.5, 0.8)).fit(X, y)
    theirs = RidgeCCA(n_components=3, shrinkage=shrinkage).fit([Xc, yc])
    for weights, expected in zip(
        (ours.x_weights_, ours.y_weights_), theirs.weights_, strict=True
    ):
        norms = np.linalg.norm(weights, axis=0) * np.linalg.norm(expected, axis=0)
        cosines = np.sum(weights * expected, axis=0) / norms
        np.testing.assert_allclose(np.abs(cosines), 1.0, atol=1e-10)


def test_correlations_equal_sklearn():
    X, y = paired(n=2000)
    theirs = CCA(n_components=3, max_iter=5000, tol=1e-12).fit(X, y)
    expected = [
        np.corrcoef(a, b)[0, 1]
        for a, b in zip(*(Z.T for Z in theirs.transform(X, y)), strict=True)
    ]
    ours = CCAMapper(n_components=3, alpha=0.0).fit(X, y)
    np.testing.assert_allclose(ours.correlations_, expected, atol=1e-6)


def test_variates_are_white_and_correlate():
    X, y = paired()
    mapper = CCAMapper(alpha=0.0, weighting=0.0).fit(X, y)
    u, v = mapper.transform(X), mapper.transform_target(y)
    n, eye = len(X), np.eye(mapper.n_components_)
    np.testing.assert_allclose(u.T @ u / n, eye, atol=1e-10)
    np.testing.assert_allclose(v.T @ v / n, eye, atol=1e-10)
    np.testing.assert_allclose(u.T @ v / n, np.diag(mapper.correlations_), atol=1e-10)


def test_weighting_multiplies_components():
    X, y = paired()
    plain = CCAMapper(weighting=0).fit(X, y)
    for power in (0.5, 1.0, 3.0):
        mapper = CCAMapper(weighting=power).fit(X, y)
        scale = plain.correlations_**power
        np.testing.assert_allclose(mapper.transform(X), plain.transform(X) * scale)
        np.testing.assert_allclose(
            mapper.transform_target(y), plain.transform_target(y) * scale
        )
        np.testing.assert_allclose(mapper.predict(X), plain.predict(X))


def test_auto_ridge_follows_dimension_and_weight():
    X, y = paired()
    assert CCAMapper().fit(X, y).alpha_ == pytest.approx(
        (4 * np.sqrt(6 / 120), 4 * np.sqrt(9 / 120))
    )
    weighted = CCAMapper().fit(X, y, sample_weight=np.full(120, 2.0))
    assert weighted.alpha_ == pytest.approx(
        (4 * np.sqrt(6 / 240), 4 * np.sqrt(9 / 240))
    )
    assert CCAMapper(alpha=0.5).fit(X, y).alpha_ == (0.5, 0.5)
    assert CCAMapper(alpha=[0.5, 2]).fit(X, y).alpha_ == (0.5, 2.0)


@pytest.mark.parametrize("d_y", [4, 9])
def test_predict_is_ridge_regression(d_y):
    X, y = paired(d_y=d_y)
    X, X_new = X[:80], X[80:]
    mapper = CCAMapper(alpha=(0.3, 0.0)).fit(X, y[:80])
    ridge = Ridge(alpha=80 * ridges(X, y, (0.3, 0))[0]).fit(X, y[:80])
    np.testing.assert_allclose(mapper.predict(X_new), ridge.predict(X_new))
    np.testing.assert_allclose(mapper.coef_, ridge.coef_)
    np.testing.assert_allclose(mapper.intercept_, ridge.intercept_)


def test_few_components_predict_by_reduced_rank_regression():
    X, y = paired()
    mapper = CCAMapper(n_components=2, alpha=0.0).fit(X, y)
    u = mapper.transform(X)
    design = np.column_stack([np.ones(len(u)), u])
    expected = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    np.testing.assert_allclose(mapper.predict(X), expected)


def test_weights_equal_repeated_rows():
    X, y = paired()
    counts = np.random.default_rng(0).integers(0, 4, size=len(X))
    weighted = CCAMapper().fit(X, y, sample_weight=counts)
    repeated = CCAMapper().fit(np.repeat(X, counts, axis=0), np.repeat(y, counts, 0))
    np.testing.assert_allclose(weighted.correlations_, repeated.correlations_)
    np.testing.assert_allclose(
        similarities(weighted, X, y), similarities(repeated, X, y), atol=1e-10
    )


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    x_scale=st.floats(1e-3, 1e3),
    y_scale=st.floats(1e-3, 1e3),
    alpha=st.sampled_from(["auto", 0.0, 1.0]),
)
def test_rotation_scale_shift_and_order_change_no_similarity(
    seed, x_scale, y_scale, alpha
):
    X, y = paired(seed=seed)
    rotated_X = x_scale * X @ random_rotation(6, seed) + 7
    rotated_y = y_scale * y @ random_rotation(9, seed + 1) - 2
    order = np.random.default_rng(seed).permutation(len(X))
    before = CCAMapper(alpha=alpha).fit(X, y)
    after = CCAMapper(alpha=alpha).fit(rotated_X[order], rotated_y[order])
    np.testing.assert_allclose(
        similarities(after, rotated_X, rotated_y), similarities(before, X, y), atol=1e-8
    )


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    cuts=st.sets(st.integers(2, 118), max_size=5),
    weighted=st.booleans(),
)
def test_partial_fit_in_any_split_equals_fit(seed, cuts, weighted):
    X, y = paired(seed=seed)
    w = np.random.default_rng(seed).uniform(0.5, 2, len(X)) if weighted else None
    whole = CCAMapper().fit(X, y, w)
    parts = CCAMapper()
    edges = [0, *sorted(cuts), len(X)]
    for start, stop in itertools.pairwise(edges):
        part = slice(start, stop)
        parts.partial_fit(X[part], y[part], None if w is None else w[part])
    np.testing.assert_allclose(parts.correlations_, whole.correlations_, rtol=1e-10)
    expected = similarities(whole, X, y)
    np.testing.assert_allclose(similarities(parts, X, y), expected, atol=1e-10)
    parts.forget(X[:50], y[:50], None if w is None else w[:50])
    rest = CCAMapper().fit(X[50:], y[50:], None if w is None else w[50:])
    np.testing.assert_allclose(
        similarities(parts, X, y), similarities(rest, X, y), atol=1e-9
    )


def test_fit_moments_equals_fit():
    X, y = paired()
    moments = Moments.from_arrays(X, y, target_products="full")
    np.testing.assert_allclose(
        similarities(CCAMapper().fit_moments(moments), X, y),
        similarities(CCAMapper().fit(X, y), X, y),
        atol=1e-10,
    )


def test_float32_is_near_float64_on_ill_conditioned_data():
    rng = np.random.default_rng(0)
    scale = np.logspace(0, -6, 12)
    X, y = paired(n=3000, d_x=12, d_y=12)
    X = (X @ random_rotation(12, 1) * scale) @ random_rotation(12, 2) + 1e3
    X32, y32 = X.astype(np.float32), (y + 1e3 * rng.normal(size=12)).astype(np.float32)
    wide = CCAMapper().fit(X32.astype(np.float64), y32.astype(np.float64))
    narrow = CCAMapper().fit(X32, y32)
    assert narrow.transform(X32).dtype == np.float32
    np.testing.assert_allclose(narrow.correlations_, wide.correlations_, atol=1e-4)
    np.testing.assert_allclose(
        similarities(narrow, X32[:200], y32[:200]),
        similarities(wide, X32[:200].astype(float), y32[:200].astype(float)),
        atol=1e-4,
    )


@pytest.mark.parametrize("alpha", ["auto", 0.0, 1.0, (0.0, 1.0)])
@pytest.mark.parametrize(
    "case",
    ["two rows", "fewer rows than columns", "constant columns", "duplicates", "copies"],
)
def test_degenerate_input_gives_finite_answers(alpha, case):
    X, y = paired()
    if case == "two rows":
        X, y = X[:2], y[:2]
    elif case == "fewer rows than columns":
        X, y = X[:5], y[:5]
    elif case == "constant columns":
        X[:, 2], y[:, 0] = 5.0, -1e3
    elif case == "duplicates":
        X, y = np.tile(X[:4], (10, 1)), np.tile(y[:4], (10, 1))
    else:
        X[:, 3], y[:, 1:] = X[:, 0], y[:, :1]
    mapper = CCAMapper(alpha=alpha).fit(X, y)
    assert (mapper.correlations_ > 0).all()
    assert (mapper.correlations_ <= 1).all()
    for answer in (mapper.transform(X), mapper.transform_target(y), mapper.predict(X)):
        assert np.isfinite(answer).all()


def test_minimum_norm_where_columns_repeat():
    X, y = paired()
    plain = CCAMapper(alpha=0.0).fit(X, y)
    doubled = CCAMapper(alpha=0.0).fit(np.hstack([X, X]), y)
    assert doubled.n_components_ == 6
    np.testing.assert_allclose(doubled.correlations_, plain.correlations_)
    np.testing.assert_allclose(doubled.predict(np.hstack([X, X])), plain.predict(X))


@pytest.mark.parametrize("alpha", ["auto", 0.0, 1.0])
def test_constant_target_predicts_its_mean_and_warns(alpha):
    X, y = paired()
    with pytest.warns(UserWarning, match="do not correlate at all"):
        mapper = CCAMapper(alpha=alpha).fit(X, np.zeros_like(y))
    np.testing.assert_array_equal(mapper.predict(X), np.zeros_like(y))
    np.testing.assert_array_equal(mapper.transform(X), np.zeros((len(X), 1)))
    assert mapper.correlations_.tolist() == [0.0]


def test_components_past_the_rank_are_zero():
    X, y = paired()
    mapper = CCAMapper(n_components=5).fit(X[:3], y[:3])
    assert mapper.n_components_ == 5
    assert mapper.correlations_[2:].tolist() == [0, 0, 0]
    assert not mapper.transform(X)[:, 2:].any()
    assert mapper.transform(X)[:, :2].any()


def test_one_target_column():
    X, y = paired()
    mapper = CCAMapper(alpha=(0.3, 1.0)).fit(X, y[:, 0])
    assert mapper.predict(X).shape == (len(X),)
    ridge = Ridge(alpha=len(X) * ridges(X, y, (0.3, 0))[0]).fit(X, y[:, 0])
    np.testing.assert_allclose(mapper.predict(X), ridge.predict(X))
    assert mapper.transform_target(y[:, 0]).shape == (len(X), 1)


def test_zero_weights_leave_pairs_out():
    X, y = paired()
    w = np.ones(len(X))
    w[60:] = 0
    y_bad = np.where(w[:, None] > 0, y, 100.0)
    np.testing.assert_allclose(
        CCAMapper().fit(X, y_bad, sample_weight=w).correlations_,
        CCAMapper().fit(X[:60], y[:60]).correlations_,
    )
    # The words of scikit-learn 1.9, and ours, which 1.6 leaves to speak.
    message = r"at least one non-zero|at least 2 pairs of positive weight"
    with pytest.raises(ValueError, match=message):
        CCAMapper().fit(X, y, sample_weight=np.zeros(len(X)))


def test_bad_parameters():
    X, y = paired()
    with pytest.raises(ValueError, match="n_components=7 is more than the 6"):
        CCAMapper(n_components=7).fit(X, y)
    for alpha in [(1.0,), (1.0, -1.0), (1.0, 1.0, 1.0), (np.nan, 1.0)]:
        with pytest.raises(ValueError, match="a pair of them for X and y"):
            CCAMapper(alpha=alpha).fit(X, y)
    for wrong in [{"alpha": "best"}, {"alpha": -1.0}, {"weighting": -0.5}]:
        with pytest.raises(ValueError, match=f"The '{next(iter(wrong))}' parameter"):
            CCAMapper(**wrong).fit(X, y)


def test_feature_names_and_pandas_output():
    X, y = paired()
    mapper = CCAMapper(n_components=2).set_output(transform="pandas").fit(X, y)
    assert list(mapper.transform(X).columns) == ["ccamapper0", "ccamapper1"]


def test_grid_search():
    X, y = paired()
    search = GridSearchCV(
        CCAMapper(), {"alpha": [0.1, (0.1, 1.0), "auto"], "weighting": [0.5, 1.0]}, cv=3
    ).fit(X, y)
    assert search.best_score_ > 0.3
    assert clone(search.best_estimator_).alpha == search.best_params_["alpha"]


def test_beats_least_squares_and_procrustes_as_it_comes():
    rng = np.random.default_rng(0)
    common = rng.normal(size=(1200, 12))
    sides = []
    for d in (60, 80):
        # What only one side sees is as strong as what both see.
        own = rng.normal(size=(1200, 20))
        rotation = random_rotation(d, d)[:32]
        noise = 0.4 * rng.normal(size=(1200, d))
        sides.append(np.hstack([common, own]) @ rotation + noise)
    (X, X_new), (y, y_new) = ((side[:400], side[400:]) for side in sides)
    hits = {}
    for mapper in (CCAMapper(), LeastSquaresMapper(), ProcrustesMapper()):
        scores = similarities(mapper.fit(X, y), X_new, y_new)
        better = (scores > scores.diagonal()[:, np.newaxis]).sum(axis=1)
        hits[type(mapper).__name__] = np.mean(better < 10)
    assert hits["CCAMapper"] > hits["LeastSquaresMapper"] + 0.02
    assert hits["CCAMapper"] > hits["ProcrustesMapper"] + 0.02


def test_scales_of_columns_do_not_matter_without_a_ridge():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = X @ rng.normal(size=(4, 3)) + rng.normal(size=(300, 3))
    scaled = np.c_[X * [1.0, 1e-8, 1e5, 1.0], np.full(300, 0.1)]
    plain, found = (CCAMapper(alpha=0.0).fit(rows, y) for rows in (X, scaled))
    assert_allclose(found.correlations_, plain.correlations_, rtol=1e-9)
    assert_allclose(found.predict(scaled), plain.predict(X), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("alpha", [(np.inf, 1.0), (1.0, np.nan)])
def test_ridges_must_be_finite(alpha):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="finite and none negative"):
        CCAMapper(alpha=alpha).fit(rng.normal(size=(9, 2)), rng.normal(size=(9, 2)))
