"""What the base does with its input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skxmodal import LeastSquaresMapper, ProcrustesMapper
from skxmodal._validation import check_groups, unit_rows
from skxmodal.mappers import Moments


def pairs(n=30, d_x=4, d_y=6, dtype=np.float64):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, d_x)).astype(dtype), rng.normal(size=(n, d_y)).astype(
        dtype
    )


PICTURE = np.zeros((8, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("y", "described"),
    [
        (["a.jpg"] * 30, r"raw items \(str\)"),
        (np.array(["a.jpg"] * 30), r"raw items \(str_\)"),
        (np.array(["a.jpg"] * 30, dtype=object), r"raw items \(str\)"),
        ([Path("a.jpg")] * 30, r"raw items \(\w*Path\)"),
        ([b"bytes"] * 30, r"raw items \(bytes\)"),
        ([Image.fromarray(PICTURE)] * 30, r"raw items \(Image\)"),
        ([PICTURE] * 30, r"raw items \(ndarray\)"),
        (np.stack([PICTURE] * 30), r"an array of shape \(30, 8, 8, 3\)"),
        ("a.jpg", "a single str"),
    ],
    ids=lambda value: "",
)
@pytest.mark.parametrize("in_pipeline", [False, True])
def test_raw_targets_are_explained(y, described, in_pipeline):
    X, _ = pairs()
    mapper = LeastSquaresMapper()
    estimator = make_pipeline(StandardScaler(), mapper) if in_pipeline else mapper
    with pytest.raises(
        ValueError, match=f"LeastSquaresMapper got {described} as y"
    ) as e:
        estimator.fit(X, y)
    assert "CrossModalRetriever(LeastSquaresMapper(), target_encoder=" in str(e.value)
    assert "encode y beforehand" in str(e.value)


def test_raw_queries_are_explained():
    _, y = pairs()
    with pytest.raises(ValueError, match=r"raw items \(str\) as X.*TextEncoder"):
        ProcrustesMapper().fit(["a caption"] * 30, y)
    mapper = ProcrustesMapper().fit(*pairs())
    with pytest.raises(ValueError, match=r"raw items \(str\) as X"):
        mapper.transform(["a caption"])
    with pytest.raises(ValueError, match=r"raw items \(str\) as y"):
        mapper.transform_target(["a.jpg"])


@pytest.mark.parametrize("side", ["X", "y"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("method", ["fit", "partial_fit", "forget"])
def test_a_number_that_is_not_finite_changes_nothing(side, bad, method):
    X, y = pairs()
    mapper = LeastSquaresMapper().fit(X, y)
    before = mapper.predict(X)
    damaged = {"X": X.copy(), "y": y.copy()}
    damaged[side][7, 2] = bad
    kind = "NaN" if np.isnan(bad) else "infinity"
    with pytest.raises(ValueError, match=f"Input {side} contains {kind}"):
        getattr(mapper, method)(**damaged)
    assert_array_equal(mapper.predict(X), before)
    assert mapper.n_samples_seen_ == 30


def test_targets_of_another_width():
    X, y = pairs()
    mapper = LeastSquaresMapper().fit(X, y)
    message = "y has 5 columns, but LeastSquaresMapper was fitted with 6"
    for call in (
        lambda: mapper.transform_target(y[:, :5]),
        lambda: mapper.partial_fit(X, y[:, :5]),
        lambda: mapper.forget(X, y[:, :5]),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match="X has 3 features"):
        mapper.partial_fit(X[:, :3], y)


def test_sides_of_different_length():
    X, y = pairs()
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples"):
        LeastSquaresMapper().fit(X, y[:-1])


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_pairs(n):
    X, y = pairs()
    with pytest.raises(ValueError, match=f"Found array with {n} sample"):
        LeastSquaresMapper().fit(X[:n], y[:n])


def test_too_little_weight():
    X, y = pairs()
    for w in (np.zeros(30), np.eye(30)[3]):
        with pytest.raises(ValueError, match=r"at least 2 pairs of positive|zero"):
            LeastSquaresMapper().fit(X, y, sample_weight=w)
    with pytest.raises(ValueError, match="Negative values"):
        LeastSquaresMapper().fit(X, y, sample_weight=-np.ones(30))
    with pytest.raises(ValueError, match="NaN"):
        LeastSquaresMapper().fit(X, y, sample_weight=np.full(30, np.nan))


def test_forgetting_too_much_changes_nothing():
    X, y = pairs()
    mapper = LeastSquaresMapper().fit(X, y)
    before = mapper.predict(X)
    with pytest.raises(ValueError, match="at least 2 pairs of positive weight, got 0"):
        mapper.forget(X, y)
    with pytest.raises(ValueError, match="Cannot take 60 rows"):
        mapper.forget(np.r_[X, X], np.r_[y, y])
    assert_array_equal(mapper.predict(X), before)


def test_float32_stays_float32():
    X, y = pairs(dtype=np.float32)
    mapper = LeastSquaresMapper().fit(X, y)
    for array in (
        mapper.coef_,
        mapper.intercept_,
        mapper.transform(X),
        mapper.transform_target(y),
        mapper.predict(X),
    ):
        assert array.dtype == np.float32
    assert mapper.transform(X.astype(np.float64)).dtype == np.float64
    wide = LeastSquaresMapper().fit(*pairs())
    assert wide.transform(X).dtype == np.float32
    assert_allclose(wide.transform(X), wide.transform(X.astype(float)), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.int64, np.float16, np.uint8, bool])
def test_other_numbers_become_float64(dtype):
    X, y = pairs()
    X = (10 * np.abs(X)).astype(dtype)
    mapper = ProcrustesMapper().fit(X, y)
    assert mapper.transform(X).dtype == np.float64
    assert_allclose(
        mapper.coef_, ProcrustesMapper().fit(X.astype(float), y).coef_, atol=1e-12
    )


def test_targets_take_the_dtype_of_the_queries():
    X, y = pairs(dtype=np.float32)
    mapper = LeastSquaresMapper().fit(X, np.round(10 * y).astype(int))
    assert mapper.predict(X).dtype == np.float32


def test_fit_transform_is_the_projection_of_the_queries():
    X, y = pairs()
    Z = LeastSquaresMapper().fit_transform(X, y)
    assert_array_equal(Z, LeastSquaresMapper().fit(X, y).transform(X))


def test_fit_moments():
    X, y = pairs()
    moments = Moments.from_arrays(X, y, target_products="none")
    mapper = LeastSquaresMapper().fit_moments(moments)
    assert_allclose(mapper.predict(X), LeastSquaresMapper().fit(X, y).predict(X))
    moments.update(X, y)
    assert mapper.moments_.n_samples == 30
    mapper.partial_fit(X + 1, y)
    assert mapper.n_samples_seen_ == 60
    with pytest.raises(ValueError, match="at least 2 pairs"):
        mapper.fit_moments(Moments(4, 6))
    with pytest.raises(ValueError, match="target_products='none'"):
        ProcrustesMapper().fit_moments(
            Moments.from_arrays(X, y, target_products="none")
        )


def test_moments_merged_from_two_places_are_one_fit():
    X, y = pairs()
    here, there = (
        Moments.from_arrays(X[rows], y[rows], target_products="squares")
        for rows in (slice(10), slice(10, None))
    )
    merged = ProcrustesMapper().fit_moments(here + there)
    assert_allclose(merged.coef_, ProcrustesMapper().fit(X, y).coef_, atol=1e-10)


def test_groups_are_numbered_in_order_of_appearance():
    assert_array_equal(check_groups(["b", "a", "b", "c"], 4), [0, 1, 0, 2])
    assert_array_equal(check_groups(np.array([7, 7, 3]), 3), [0, 0, 1])
    with pytest.raises(ValueError, match="2 labels for 3 rows"):
        check_groups([1, 2], 3)
    for missing in ([1.0, np.nan], np.array(["a", None], dtype=object)):
        with pytest.raises(ValueError, match=r"no label .* for row 1"):
            check_groups(missing, 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unit_rows(dtype):
    tiny, huge = np.finfo(dtype).tiny, np.finfo(dtype).max
    X = np.array([[3.0, 4.0], [0.0, 0.0], [tiny, 0.0], [huge, huge]], dtype=dtype)
    given = X.copy()
    unit = unit_rows(X)
    half = np.sqrt(0.5)
    assert_allclose(unit, [[0.6, 0.8], [0, 0], [1, 0], [half, half]], rtol=1e-6)
    assert unit.dtype == dtype
    assert_array_equal(X, given)
    assert unit_rows([[3, 4]]).dtype == np.float64
    assert unit_rows(np.empty((0, 3))).shape == (0, 3)
