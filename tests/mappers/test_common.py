"""What holds for every mapper, or for every one that is solved from moments."""

from __future__ import annotations

import pickle
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.linalg import LinAlgWarning
from scipy.stats import ortho_group
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skxmodal import CCAMapper, LeastSquaresMapper, ProcrustesMapper
from skxmodal._validation import unit_rows
from skxmodal.mappers import MAPPERS
from skxmodal.mappers._moment_mapper import MomentMapper

ALL = [mapper() for mapper in MAPPERS.values()]
VARIANTS = [
    LeastSquaresMapper(alpha=0.1),
    LeastSquaresMapper(alpha="auto", cv=3),
    LeastSquaresMapper(alpha=0.1, x_whiten=0.5, y_whiten=0.5),
    ProcrustesMapper(scaling=True, n_components=1),
    ProcrustesMapper(x_whiten=0.5, y_whiten=1.0),
]
LINEAR = [mapper for mapper in ALL + VARIANTS if isinstance(mapper, MomentMapper)]
# With alpha="auto" a fit on rows and one on moments measure errors differently.
STREAMED = [mapper for mapper in LINEAR if mapper.get_params().get("alpha") != "auto"]
STREAMED += [CCAMapper(alpha=0.1, n_components=3)]
ROTATED = [
    ProcrustesMapper(),
    ProcrustesMapper(scaling=True, x_whiten=0.5, y_whiten=0.5),
    ProcrustesMapper(n_components=3),
    CCAMapper(alpha=0.1, n_components=3),
    LeastSquaresMapper(),
    LeastSquaresMapper(alpha=0.1, x_whiten=0.5, y_whiten=0.5),
]


def named(mapper):
    return repr(mapper).replace("\n", "")


def pairs(n=80, d_x=5, d_y=7, *, seed=0, dtype=np.float64, offset=0.0):
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, 4))
    X = latent @ rng.normal(size=(4, d_x)) + 0.5 * rng.normal(size=(n, d_x)) + offset
    y = latent @ rng.normal(size=(4, d_y)) + 0.5 * rng.normal(size=(n, d_y)) - offset
    return X.astype(dtype), y.astype(dtype)


def similarities(mapper, X, y):
    return unit_rows(mapper.transform(X)) @ unit_rows(mapper.transform_target(y)).T


def assert_same_map(first, second, X, y, rtol=1e-9):
    # Signs of components may differ; similarities and predictions may not.
    assert_allclose(
        similarities(first, X, y), similarities(second, X, y), rtol=rtol, atol=rtol
    )
    expected = second.predict(X)
    atol = rtol * np.abs(expected).max()
    assert_allclose(first.predict(X), expected, rtol=rtol, atol=atol)


# One check repeats rows until there are fewer distinct ones than columns.
@pytest.mark.filterwarnings("ignore:X has rank:scipy.linalg.LinAlgWarning")
@parametrize_with_checks(ALL + VARIANTS)
def test_sklearn_compatible(estimator, check):
    check(estimator)


@settings(max_examples=15, deadline=None)
@given(
    cuts=st.lists(st.integers(10, 80), max_size=4),
    weighted=st.booleans(),
    seed=st.integers(0, 1000),
)
@pytest.mark.parametrize("mapper", STREAMED, ids=named)
def test_partial_fit_in_any_split_is_fit(mapper, cuts, weighted, seed):
    X, y = pairs(seed=seed, offset=10.0)
    w = np.random.default_rng(seed).uniform(0.1, 2, len(X)) if weighted else None
    streamed = clone(mapper)
    for rows in np.split(np.arange(len(X)), sorted({*cuts} - {80})):
        streamed.partial_fit(X[rows], y[rows], None if w is None else w[rows])
    whole = clone(mapper).fit(X, y, sample_weight=w)
    assert streamed.n_samples_seen_ == whole.n_samples_seen_ == 80
    assert_same_map(streamed, whole, X, y, rtol=1e-10)


@settings(max_examples=15, deadline=None)
@given(n_kept=st.integers(20, 70), weighted=st.booleans(), seed=st.integers(0, 1000))
@pytest.mark.parametrize("mapper", STREAMED, ids=named)
def test_forget_undoes_partial_fit(mapper, n_kept, weighted, seed):
    X, y = pairs(seed=seed)
    w = np.random.default_rng(seed).uniform(0.1, 2, len(X)) if weighted else None
    kept, taken = (
        (X[rows], y[rows], None if w is None else w[rows])
        for rows in (slice(n_kept), slice(n_kept, None))
    )
    fitted = clone(mapper).fit(X, y, sample_weight=w).forget(*taken)
    assert_same_map(fitted, clone(mapper).fit(*kept), X, y)
    again = fitted.partial_fit(*taken)
    assert_same_map(again, clone(mapper).fit(X, y, sample_weight=w), X, y)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
@pytest.mark.parametrize("mapper", STREAMED, ids=named)
def test_weights_are_repeated_rows(mapper, seed):
    X, y = pairs(seed=seed)
    w = np.random.default_rng(seed).integers(0, 4, len(X))
    weighted = clone(mapper).fit(X, y, sample_weight=w)
    repeated = clone(mapper).fit(np.repeat(X, w, axis=0), np.repeat(y, w, axis=0))
    assert_same_map(weighted, repeated, X, y)
    assert weighted.n_samples_seen_ == np.count_nonzero(w)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
@pytest.mark.parametrize("mapper", STREAMED, ids=named)
def test_row_order_does_not_matter(mapper, seed):
    X, y = pairs(seed=seed)
    order = np.random.default_rng(seed).permutation(len(X))
    shuffled = clone(mapper).fit(X[order], y[order])
    assert_same_map(shuffled, clone(mapper).fit(X, y), X, y)


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 1000),
    x_scale=st.sampled_from([1e-6, 1.0, 1e6]),
    y_scale=st.sampled_from([1e-6, 1.0, 1e6]),
    offset=st.sampled_from([0.0, 100.0]),
)
@pytest.mark.parametrize("mapper", STREAMED, ids=named)
def test_scale_and_origin_change_no_similarity(mapper, seed, x_scale, y_scale, offset):
    X, y = pairs(seed=seed)
    moved_X, moved_y = x_scale * (X + offset), y_scale * (y - offset)
    plain, moved = clone(mapper).fit(X, y), clone(mapper).fit(moved_X, moved_y)
    assert_allclose(
        similarities(moved, moved_X, moved_y), similarities(plain, X, y), atol=1e-8
    )


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
@pytest.mark.parametrize("mapper", ROTATED, ids=named)
def test_rotation_of_either_side_changes_no_similarity(mapper, seed):
    X, y = pairs(d_x=5, d_y=7, seed=seed)
    turned_X = X @ ortho_group.rvs(5, random_state=seed)
    turned_y = y @ ortho_group.rvs(7, random_state=seed + 1)
    plain, turned = clone(mapper).fit(X, y), clone(mapper).fit(turned_X, turned_y)
    assert_allclose(
        similarities(turned, turned_X, turned_y), similarities(plain, X, y), atol=1e-8
    )


# Products in float32 need 64 columns of X.
@pytest.mark.parametrize(("d_x", "d_y"), [(30, 40), (70, 40)])
@pytest.mark.parametrize("mapper", LINEAR, ids=named)
def test_float32_is_within_1e_4_of_float64_on_ill_conditioned_rows(mapper, d_x, d_y):
    rng = np.random.default_rng(0)
    n = 6000
    basis = ortho_group.rvs(d_x, random_state=0)
    spread = np.geomspace(1.0, 1e-6, d_x)
    X = (rng.normal(size=(n, d_x)) * spread) @ basis
    y = X @ (basis.T / np.sqrt(spread)) @ rng.normal(size=(d_x, d_y)) / 5
    y += 0.5 * rng.normal(size=(n, d_y))
    X, y = (X + 1e3).astype(np.float32), (y + 1e3).astype(np.float32)
    single = clone(mapper).fit(X, y)
    double = clone(mapper).fit(X.astype(np.float64), y.astype(np.float64))
    assert single.transform(X).dtype == np.float32
    signs = 1.0
    for method, rows in (("transform", X), ("transform_target", y), ("predict", X)):
        found = getattr(single, method)(rows)
        expected = getattr(double, method)(rows.astype(np.float64))
        rounding = np.linalg.norm(expected) * np.finfo(np.float32).eps
        if method == "transform":
            signs = np.sign((found * expected).sum(axis=0))
        if method != "predict":
            found = found * signs
        size = np.linalg.norm(expected - expected.mean(axis=0))
        assert np.linalg.norm(found - expected) < 1e-4 * size + rounding, method


DEGENERATE = {
    "two-pairs": lambda rng: (rng.normal(size=(2, 5)), rng.normal(size=(2, 7))),
    "fewer-pairs-than-columns": lambda rng: (
        rng.normal(size=(4, 5)),
        rng.normal(size=(4, 7)),
    ),
    "constant-columns": lambda rng: (
        np.c_[rng.normal(size=(40, 3)), np.full((40, 2), 3.0)],
        np.c_[rng.normal(size=(40, 5)), np.full((40, 2), -1.0)],
    ),
    "one-pair-many-times": lambda rng: (
        np.repeat(rng.normal(size=(1, 5)), 9, axis=0),
        np.repeat(rng.normal(size=(1, 7)), 9, axis=0),
    ),
    "duplicate-rows": lambda rng: (
        np.repeat(rng.normal(size=(3, 5)), 9, axis=0),
        np.repeat(rng.normal(size=(3, 7)), 9, axis=0),
    ),
    "one-target-column": lambda rng: (
        rng.normal(size=(40, 5)),
        rng.normal(size=(40, 1)),
    ),
    "one-column-each": lambda rng: (rng.normal(size=(40, 1)), rng.normal(size=(40, 1))),
    "all-zero-targets": lambda rng: (rng.normal(size=(40, 5)), np.zeros((40, 7))),
    "all-zero-queries": lambda rng: (np.zeros((40, 5)), rng.normal(size=(40, 7))),
    "all-zero": lambda rng: (np.zeros((40, 5)), np.zeros((40, 7))),
    "tiny": lambda rng: (
        1e-150 * rng.normal(size=(40, 5)),
        1e-150 * rng.normal(size=(40, 7)),
    ),
    "far-away": lambda rng: (
        rng.normal(size=(40, 5)) + 1e8,
        rng.normal(size=(40, 7)) + 1e8,
    ),
}


@pytest.mark.filterwarnings("ignore:X has rank:scipy.linalg.LinAlgWarning")
@pytest.mark.filterwarnings("ignore:X and y do not correlate:UserWarning")
@pytest.mark.parametrize("case", DEGENERATE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mapper", ALL + VARIANTS, ids=named)
def test_degenerate_pairs_give_numbers_or_a_clear_error(mapper, dtype, case):
    X, y = DEGENERATE[case](np.random.default_rng(0))
    X, y = X.astype(dtype), y.astype(dtype)
    mapper, message = clone(mapper), ""
    try:
        mapper.fit(X, y)
    except ValueError as error:
        message = str(error)
    if message:
        assert "must be positive" in message or "n_splits" in message, message
        return
    for found in (mapper.transform(X), mapper.transform_target(y), mapper.predict(X)):
        assert np.isfinite(found).all()
    assert mapper.predict(X).shape == y.shape


@pytest.mark.filterwarnings("ignore:X and y do not correlate:UserWarning")
@pytest.mark.parametrize("mapper", LINEAR, ids=named)
def test_targets_that_do_not_vary_are_predicted(mapper):
    X, _ = pairs()
    if isinstance(mapper, LeastSquaresMapper | CCAMapper) or mapper.scaling:
        fitted = clone(mapper).fit(X, np.full((80, 7), 4.0))
        assert_allclose(fitted.predict(X), 4.0, atol=1e-9)


@pytest.mark.parametrize("mapper", ALL, ids=named)
def test_set_output_and_feature_names(mapper):
    X, y = pairs()
    names = [f"dimension {i}" for i in range(5)]
    frame = pd.DataFrame(X, columns=names, index=np.arange(80) + 7)
    fitted = clone(mapper).set_output(transform="pandas").fit(frame, y)
    found = fitted.transform(frame)
    assert isinstance(found, pd.DataFrame)
    assert list(found.columns) == list(fitted.get_feature_names_out())
    assert list(found.index) == list(frame.index)
    assert list(fitted.feature_names_in_) == names
    assert_allclose(found, clone(mapper).fit(X, y).transform(X), rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.transform(frame.rename(columns={"dimension 0": "other"}))


@pytest.mark.parametrize("mapper", ALL, ids=named)
def test_pickled_and_cloned(mapper):
    X, y = pairs()
    fitted = clone(mapper).fit(X, y)
    again = pickle.loads(pickle.dumps(fitted))
    assert_allclose(again.transform(X), fitted.transform(X), rtol=0, atol=0)
    assert_allclose(again.predict(X), fitted.predict(X), rtol=0, atol=0)
    assert not hasattr(clone(fitted), "x_mean_")
    assert_allclose(
        again.partial_fit(X, y).predict(X), fitted.partial_fit(X, y).predict(X)
    )


@pytest.mark.parametrize("mapper", ALL, ids=named)
def test_the_same_input_gives_the_same_bits(mapper):
    X, y = pairs(n=300)
    first, second = (clone(mapper).fit(X, y) for _ in range(2))
    assert (first.transform(X) == second.transform(X)).all()
    assert (first.transform_target(y) == second.transform_target(y)).all()


@pytest.mark.parametrize("mapper", ALL, ids=named)
def test_input_is_left_alone(mapper):
    X, y = pairs(n=300)
    w = np.random.default_rng(0).uniform(size=300)
    given = X.copy(), y.copy(), w.copy()
    for array in (X, y, w):
        array.flags.writeable = False
    fitted = clone(mapper).fit(X, y, sample_weight=w).partial_fit(X, y)
    fitted.transform(X), fitted.transform_target(y), fitted.predict(X)
    for array, before in zip((X, y, w), given, strict=True):
        assert (array == before).all()


@pytest.mark.parametrize("mapper", ALL, ids=named)
def test_sample_weight_is_routed(mapper):
    X, y = pairs()
    w = np.random.default_rng(0).uniform(0.1, 2, 80)
    with config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(
            StandardScaler().set_fit_request(sample_weight=False),
            clone(mapper).set_fit_request(sample_weight=True),
        ).fit(X, y, sample_weight=w)
    scaled = StandardScaler().fit_transform(X)
    expected = clone(mapper).fit(scaled, y, sample_weight=w)
    assert_allclose(pipeline.predict(X), expected.predict(scaled), rtol=1e-9)


def test_groups_are_routed_to_least_squares():
    X, y = pairs()
    groups = np.arange(80) // 5
    with config_context(enable_metadata_routing=True):
        mapper = LeastSquaresMapper(alpha="auto").set_fit_request(groups=True)
        search = GridSearchCV(mapper, {"y_whiten": [0.0, 0.5]}, cv=GroupKFold(3))
        search.fit(X, y, groups=groups)
    expected = LeastSquaresMapper(alpha="auto").fit(X, y, groups=groups)
    assert_allclose(search.best_estimator_.cv_errors_, expected.cv_errors_)


@pytest.mark.parametrize("mapper", LINEAR, ids=named)
def test_memory_beyond_the_data_does_not_grow_with_rows(mapper, tmp_path):
    X, y = pairs(n=60_000, d_x=24, d_y=32, dtype=np.float32)
    size = X.nbytes + y.nbytes
    for name, rows in (("X", X), ("y", y)):
        np.save(tmp_path / f"{name}.npy", rows)
    X, y = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "Xy")
    tracemalloc.start()
    clone(mapper).fit(X, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size / 3


def test_rank_deficiency_warns_at_the_callers_line():
    X, y = pairs(n=4)
    with pytest.warns(LinAlgWarning, match="X has rank 3 of 5") as caught:
        LeastSquaresMapper().fit(X, y)
    assert caught[0].filename == __file__


def ill_conditioned_targets(n=6000, d=70):
    """float32 pairs, of which y alone is ill conditioned (1e6)."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d))
    latent = X @ ortho_group.rvs(d, random_state=1) + 0.5 * rng.normal(size=(n, d))
    y = (latent * np.geomspace(1, 1e-6, d)) @ ortho_group.rvs(d, random_state=0)
    return X.astype(np.float32), y.astype(np.float32)


@pytest.mark.parametrize(
    "mapper",
    [
        ProcrustesMapper(),
        ProcrustesMapper(y_whiten=1.0),
        LeastSquaresMapper(y_whiten=1.0),
        CCAMapper(alpha=0.0),
    ],
    ids=named,
)
def test_float32_is_within_1e_4_of_float64_on_ill_conditioned_targets(mapper):
    X, y = ill_conditioned_targets()
    single = clone(mapper).fit(X, y)
    double = clone(mapper).fit(X.astype(np.float64), y.astype(np.float64))
    signs = 1.0
    for method, rows in (("transform", X), ("transform_target", y), ("predict", X)):
        found = getattr(single, method)(rows)
        expected = getattr(double, method)(rows.astype(np.float64))
        if method == "transform":
            signs = np.sign((found * expected).sum(axis=0))
        if method != "predict":
            found = found * signs
        error = np.linalg.norm(found - expected)
        assert error < 1e-4 * np.linalg.norm(expected), method


def test_a_batch_in_float32_does_not_spoil_an_ill_conditioned_one():
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(3000, 70)), rng.normal(size=(9000, 70))
    B[:, 1] = B[:, 0] + 1e-3 * B[:, 1]
    yA = 1e-3 * A[:, :3]
    yB = np.c_[1e3 * (B[:, 0] - B[:, 1]), B[:, 2:4]] + 0.1 * rng.normal(size=(9000, 3))
    parts = [rows.astype(np.float32) for rows in (1e-3 * A, yA, B, yB)]
    mapper = LeastSquaresMapper().partial_fit(*parts[:2]).partial_fit(*parts[2:])
    A, yA, B, yB = (rows.astype(np.float64) for rows in parts)
    expected = LeastSquaresMapper().fit(np.r_[A, B], np.r_[yA, yB]).predict(B)
    error = np.linalg.norm(mapper.predict(parts[2]) - expected)
    assert error < 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_left", [2, 3, 5])
@pytest.mark.parametrize("mapper", [LeastSquaresMapper(), CCAMapper(alpha=0.0)])
@pytest.mark.parametrize("d", [5, 70])
def test_forgetting_almost_all_pairs_leaves_the_fit_of_the_others(
    mapper, dtype, n_left, d
):
    X, y = pairs(n=2000, d_x=d, d_y=d, dtype=dtype)
    X += np.random.default_rng(1).normal(size=X.shape).astype(dtype)
    left, rest = slice(n_left), slice(n_left, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LinAlgWarning)
        found = clone(mapper).fit(X, y).forget(X[rest], y[rest])
        expected = clone(mapper).fit(X[left], y[left])
    # Columns that vary less are lost in what float32 rounds of 2,000 rows.
    rtol = 1e-7 if dtype == np.float64 else 0.1
    assert_allclose(found.predict(X[left]), expected.predict(X[left]), atol=rtol)
    if isinstance(mapper, LeastSquaresMapper):
        assert found.rank_ == expected.rank_ == n_left - 1
        scale = np.abs(expected.predict(X)).max()
        assert_allclose(found.predict(X), expected.predict(X), atol=rtol * scale)
    else:
        assert found.n_components_ == expected.n_components_


def test_rank_deficiency_after_forget_warns_at_the_callers_line():
    X, y = pairs(n=30)
    mapper = LeastSquaresMapper().fit(X, y)
    with pytest.warns(LinAlgWarning, match="X has rank 1 of 5") as caught:
        mapper.forget(X[2:], y[2:])
    assert caught[0].filename == __file__


def test_procrustes_knows_the_rank_that_forget_leaves():
    X, y = pairs(n=2000)
    assert ProcrustesMapper().fit(X, y).forget(X[3:], y[3:]).rank_ == 2


@pytest.mark.parametrize("mapper", ALL, ids=named)
def test_pairs_of_weight_zero_are_as_good_as_absent(mapper):
    X, y = pairs(n=400)
    w = np.ones(400)
    w[::4] = 0.0
    expected = clone(mapper).fit(X[w > 0], y[w > 0])
    X_far, y_far = X.copy(), y.copy()
    X_far[::4] = y_far[::4] = 1e8
    found = clone(mapper).fit(X_far, y_far, sample_weight=w)
    assert_same_map(found, expected, X, y)
    X_far[0, 0] = np.nan
    with pytest.raises(ValueError, match="X contains NaN"):
        clone(mapper).fit(X_far, y_far, sample_weight=w)


def test_leaving_out_passes_over_pairs_of_weight_zero():
    X, y = pairs(n=400)
    w = np.ones(400)
    w[::4] = 0.0
    expected = LeastSquaresMapper(alpha="auto").fit(X[w > 0], y[w > 0])
    X[::4] = 1e200
    found = LeastSquaresMapper(alpha="auto").fit(X, y, sample_weight=w)
    assert_allclose(found.cv_errors_, expected.cv_errors_, rtol=1e-10)


@pytest.mark.parametrize("mapper", LINEAR, ids=named)
def test_pairs_that_were_never_fitted_are_not_forgotten(mapper):
    X, y = pairs()
    fitted = clone(mapper).fit(X, y)
    before = fitted.predict(X)
    with pytest.raises(ValueError, match="never added"):
        fitted.forget(9 * X[:40], y[:40])
    assert_allclose(fitted.predict(X), before, rtol=0)


@pytest.mark.parametrize("mapper", ALL, ids=named)
def test_dtypes_of_two_sides_make_the_wider_one(mapper):
    X, y = pairs()
    expected = clone(mapper).fit(X.astype(np.float32).astype(float), y + 1e9)
    found = clone(mapper).fit(X.astype(np.float32), y + 1e9)
    assert found.x_mean_.dtype == found.y_mean_.dtype == np.float64
    queries = X.astype(np.float32).astype(float)
    assert_same_map(found, expected, queries, y + 1e9)
    turned = clone(mapper).fit(X, y.astype(np.float32))
    assert turned.x_mean_.dtype == np.float64
    large = clone(mapper).fit(X.astype(np.float32), 1e39 * y)
    assert np.isfinite(large.y_mean_).all()


@pytest.mark.parametrize("mapper", ALL, ids=named)
def test_a_later_batch_in_float32_leaves_the_map_in_float64(mapper):
    X, y = pairs()
    more = X[:3].astype(np.float32), y[:3].astype(np.float32)
    found = clone(mapper).fit(X, y).partial_fit(*more)
    expected = clone(mapper).fit(X, y).partial_fit(*(s.astype(float) for s in more))
    assert found.y_mean_.dtype == np.float64
    assert_same_map(found, expected, X, y)
    single = clone(mapper).fit(X.astype(np.float32), y.astype(np.float32))
    assert single.partial_fit(X, y).y_mean_.dtype == np.float64
    assert single.transform(X).dtype == np.float64


@pytest.mark.parametrize("mapper", STREAMED, ids=named)
def test_a_later_batch_may_be_one_pair_or_none(mapper):
    X, y = pairs()
    found = clone(mapper).fit(X[:79], y[:79]).partial_fit(X[79:], y[79:])
    found.partial_fit(X[:5], y[:5], sample_weight=np.zeros(5))
    found.forget(X[:5], y[:5], sample_weight=[0, 0, 0, 0, 0])
    assert_same_map(found, clone(mapper).fit(X, y), X, y)


def test_parameters_that_need_more_than_is_kept():
    X, y = pairs()
    mapper = LeastSquaresMapper().fit(X, y)
    for parameters in ({"alpha": "auto"}, {"y_whiten": 0.5}):
        changed = pickle.loads(pickle.dumps(mapper)).set_params(**parameters)
        with pytest.raises(ValueError, match="Fit again on all pairs"):
            changed.partial_fit(X, y)
        with pytest.raises(ValueError, match="Fit again on all pairs"):
            changed.forget(X[:9], y[:9])


@pytest.mark.parametrize(
    "mapper", [LeastSquaresMapper(alpha=-1), CCAMapper(weighting=-1)], ids=named
)
def test_forget_checks_parameters(mapper):
    X, y = pairs()
    fitted = type(mapper)().fit(X, y).set_params(**mapper.get_params())
    with pytest.raises(ValueError, match="must be"):
        fitted.forget(X[:9], y[:9])
