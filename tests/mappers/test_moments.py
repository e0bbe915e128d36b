"""Moments against sums over all rows at once."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from skxmodal.mappers import Moments
from skxmodal.mappers._blocks import (
    condition_number,
    cross_may_suffice,
    cross_suffices,
    float32_suffices,
)

LEVELS = ("none", "squares", "full")


def pairs(n, d_x=5, d_y=3, *, offset=0.0, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d_x)) @ rng.normal(size=(d_x, d_x)) + offset
    y = X[:, :1] + rng.normal(size=(n, d_y)) - offset
    return X.astype(dtype), y.astype(dtype)


def wide_pairs(n=9000, d_x=70, d_y=5, *, offset=0.0, seed=0):
    """float32 rows, well conditioned and of enough columns for float32 products."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d_x)) * np.geomspace(1, 0.1, d_x) + rng.normal(size=(n, 1))
    y = X[:, :1] + rng.normal(size=(n, d_y))
    return (X + offset).astype(np.float32), (y - offset).astype(np.float32)


def assert_same(first, second, rtol=1e-10):
    assert first.n_samples == second.n_samples
    assert first.target_products == second.target_products
    names = ["weight", "x_mean", "y_mean", "xx", "xy"]
    if first.target_products != "none":
        names.append("y_squares")
    if first.target_products == "full":
        names.append("yy")
    for name in names:
        a, b = getattr(first, name), getattr(second, name)
        assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max(), err_msg=name)


def assert_sums_of(moments, X, y, rtol=1e-11):
    X, y = X.astype(np.float64), y.astype(np.float64)
    centred, targets = X - X.mean(axis=0), y - y.mean(axis=0)
    expected = {
        "x_mean": X.mean(axis=0),
        "y_mean": y.mean(axis=0),
        "xx": centred.T @ centred,
        "xy": centred.T @ targets,
    }
    if moments.target_products != "none":
        expected["y_squares"] = (targets**2).sum(axis=0)
    if moments.target_products == "full":
        expected["yy"] = targets.T @ targets
    spread = max(X.std(axis=0).max(), y.std(axis=0).max())
    for name, value in expected.items():
        scale = spread if name.endswith("mean") else np.abs(value).max()
        assert_allclose(
            getattr(moments, name), value, rtol=rtol, atol=rtol * scale, err_msg=name
        )


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("n", [2, 3, 100, 9000])
def test_sums_of_all_rows(n, level):
    X, y = pairs(n)
    moments = Moments.from_arrays(X, y, target_products=level)
    assert moments.n_samples == moments.weight == n
    assert_sums_of(moments, X, y)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_are_repeated_rows(level, dtype):
    X, y = pairs(9000) if dtype == np.float64 else wide_pairs()
    w = np.random.default_rng(1).integers(0, 4, size=len(X))
    moments = Moments.from_arrays(X, y, w, target_products=level)
    assert moments.n_samples == np.count_nonzero(w)
    assert moments.weight == w.sum()
    rtol = 1e-11 if dtype == np.float64 else 2e-6
    assert_sums_of(moments, np.repeat(X, w, axis=0), np.repeat(y, w, axis=0), rtol)


@pytest.mark.parametrize("offset", [1e3, 1e7])
@pytest.mark.parametrize("level", LEVELS)
def test_large_offsets_do_not_cancel(offset, level):
    X, y = pairs(5000, offset=offset)
    moments = Moments.from_arrays(X, y, target_products=level)
    assert_sums_of(moments, X, y, rtol=1e-9)


@pytest.mark.parametrize("offset", [0.0, 1.0, 1e3])
@pytest.mark.parametrize("level", LEVELS)
def test_float32_products_stay_accurate(offset, level):
    X, y = wide_pairs(offset=offset)
    moments = Moments.from_arrays(X, y, target_products=level)
    assert moments.in_float32
    assert_sums_of(moments, X, y, rtol=2e-6)


def test_ill_conditioned_float32_rows_are_summed_in_float64():
    X, y = wide_pairs()
    X[:, 1] = X[:, 0] + 1e-3 * X[:, 1]
    moments = Moments.from_arrays(X, y)
    assert not moments.in_float32
    assert_sums_of(moments, X, y)


def test_few_rows_or_columns_are_summed_in_float64():
    for X, y in (wide_pairs(n=200), wide_pairs(d_x=60)):
        moments = Moments.from_arrays(X, y, target_products="full")
        assert not moments.in_float32
        assert_sums_of(moments, X, y)


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_float32_rows_whose_squares_leave_float32(scale):
    X, y = wide_pairs()
    X, y = (scale * X).astype(np.float32), (scale * y).astype(np.float32)
    assert_sums_of(Moments.from_arrays(X, y), X, y, rtol=1e-9)


def test_only_y_overflows_in_float32():
    X, y = wide_pairs()
    y = (1e36 * y).astype(np.float32)
    assert_sums_of(Moments.from_arrays(X, y), X, y, rtol=1e-9)


def test_constant_columns_do_not_stop_float32():
    X, y = wide_pairs()
    X[:, 2] = 7.0
    y[:, 1] = -3.0
    moments = Moments.from_arrays(X, y)
    assert moments.in_float32
    assert_allclose(moments.xx[2], 0.0, atol=1e-6)
    assert_allclose(moments.xy[:, 1], 0.0, atol=0.05)
    assert_allclose(moments.y_mean[1], -3.0, rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 60), max_size=5),
    level=st.sampled_from(LEVELS),
    weighted=st.booleans(),
    offset=st.sampled_from([0.0, 100.0]),
)
def test_any_split_gives_the_same(cuts, level, weighted, offset):
    X, y = pairs(60, offset=offset)
    w = np.random.default_rng(2).uniform(0, 2, size=60) if weighted else None
    whole = Moments.from_arrays(X, y, w, target_products=level)
    split = Moments(5, 3, target_products=level)
    for rows in np.split(np.arange(60), sorted(cuts)):
        split.update(X[rows], y[rows], None if w is None else w[rows])
    assert_same(split, whole)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.tuples(*[st.integers(0, 20)] * 3),
    level=st.sampled_from(LEVELS),
    seed=st.integers(0, 100),
)
def test_merging_is_associative_and_commutative(sizes, level, seed):
    first, second, third = (
        Moments.from_arrays(
            *pairs(n, offset=50.0 * k, seed=seed + k), target_products=level
        )
        for k, n in enumerate(sizes)
    )
    if sum(sizes) == 0:
        return
    merged = (first + second) + third
    assert_same(first + (second + third), merged)
    assert_same((third + first) + second, merged)


@settings(max_examples=40, deadline=None)
@given(
    n_kept=st.integers(2, 40), n_taken=st.integers(0, 40), level=st.sampled_from(LEVELS)
)
def test_downdating_undoes_updating(n_kept, n_taken, level):
    X, y = pairs(n_kept + n_taken, offset=10.0)
    w = np.random.default_rng(3).uniform(0.1, 2, size=len(X))
    kept = Moments.from_arrays(
        X[:n_kept], y[:n_kept], w[:n_kept], target_products=level
    )
    both = kept.copy().update(X[n_kept:], y[n_kept:], w[n_kept:])
    assert_same(both.downdate(X[n_kept:], y[n_kept:], w[n_kept:]), kept, rtol=1e-9)


def test_subtracting_undoes_adding_and_leaves_the_operands():
    first = Moments.from_arrays(*pairs(30, seed=1))
    second = Moments.from_arrays(*pairs(20, seed=2))
    before = {name: array.copy() for name, array in first.to_dict().items()}
    assert_same((first + second) - second, first)
    for name, array in first.to_dict().items():
        assert_array_equal(array, before[name])


def test_taking_everything_leaves_nothing():
    X, y = pairs(10)
    moments = Moments.from_arrays(X, y).downdate(X, y)
    assert moments.n_samples == moments.weight == 0
    assert moments.in_float32 is Moments(5, 3).in_float32 is False
    assert_sums_of(moments.update(X + 1e3, y), X + 1e3, y)


def test_more_than_there_is_cannot_be_taken():
    X, y = pairs(10)
    moments = Moments.from_arrays(X[:5], y[:5])
    with pytest.raises(ValueError, match=r"Cannot take 10 rows .* from 5 rows"):
        moments.downdate(X, y)
    with pytest.raises(ValueError, match="Cannot take"):
        moments.downdate(X[:1], y[:1], np.array([5.0]))
    assert_sums_of(moments, X[:5], y[:5])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_a_number_that_is_not_finite_adds_nothing(dtype, bad, side):
    X, y = pairs(9000, dtype=dtype)
    moments = Moments.from_arrays(X, y)
    (X, y)[side][8000, 1] = bad
    with pytest.raises(ValueError, match="NaN, infinity"):
        moments.update(X, y)
    assert moments.n_samples == 9000
    assert np.isfinite(moments.xy).all()


def test_shapes_and_weights_are_checked():
    X, y = pairs(10)
    moments = Moments(5, 3)
    with pytest.raises(ValueError, match=r"\(n, 5\) and y of shape \(n, 3\)"):
        moments.update(X[:, :4], y)
    with pytest.raises(ValueError, match="y of shape"):
        moments.update(X, y[:9])
    for w in (np.ones(9), -np.ones(10), np.full(10, np.nan)):
        with pytest.raises(ValueError, match="sample_weight must hold 10 numbers"):
            moments.update(X, y, w)
    assert moments.n_samples == 0
    with pytest.raises(ValueError, match="target_products must be one of"):
        Moments(5, 3, target_products="all")


def test_only_moments_of_a_kind_combine():
    X, y = pairs(10)
    moments = Moments.from_arrays(X, y)
    with pytest.raises(ValueError, match=r"^Moments combine only"):
        moments + Moments.from_arrays(X, y, target_products="full")
    with pytest.raises(ValueError, match="combine only where"):
        moments += Moments.from_arrays(y, X)


def test_products_that_were_not_kept_are_refused():
    X, y = pairs(10)
    with pytest.raises(ValueError, match="target_products='full'"):
        _ = Moments.from_arrays(X, y).yy
    with pytest.raises(ValueError, match="target_products='squares' or 'full'"):
        _ = Moments.from_arrays(X, y, target_products="none").y_squares


def test_blocks_of_an_iterator():
    X, y = pairs(100)
    w = np.random.default_rng(4).uniform(size=100)
    blocks = ((X[i : i + 7], y[i : i + 7], w[i : i + 7]) for i in range(0, 100, 7))
    assert_same(
        Moments.from_blocks(blocks, target_products="full"),
        Moments.from_arrays(X, y, w, target_products="full"),
    )
    with pytest.raises(ValueError, match=r"^blocks is empty: at least"):
        Moments.from_blocks([], target_products="full")


@pytest.mark.parametrize("level", LEVELS)
def test_dict_of_arrays_round_trip(tmp_path, level):
    moments = Moments.from_arrays(*pairs(20), target_products=level)
    np.savez(tmp_path / "moments.npz", **moments.to_dict())
    with np.load(tmp_path / "moments.npz") as stored:
        again = Moments.from_dict(stored)
    for name, array in moments.to_dict().items():
        assert_array_equal(again.to_dict()[name], array)
    X, y = pairs(10, seed=5)
    assert_same(again.update(X, y), moments.update(X, y))
    assert moments.n_samples == 30


def test_one_target_column_keeps_its_level():
    X, y = pairs(20, d_y=1)
    for level in LEVELS:
        moments = Moments.from_arrays(X, y, target_products=level)
        assert Moments.from_dict(moments.to_dict()).target_products == level


def test_damaged_arrays_are_refused():
    arrays = Moments.from_arrays(*pairs(20)).to_dict()
    with pytest.raises(ValueError, match=r"need the arrays \['x_sum'\]"):
        Moments.from_dict({k: v for k, v in arrays.items() if k != "x_sum"})
    with pytest.raises(ValueError, match="x_products must hold finite numbers"):
        Moments.from_dict(arrays | {"x_products": np.zeros((2, 2))})
    with pytest.raises(ValueError, match="y_shift must hold finite numbers"):
        Moments.from_dict(arrays | {"y_shift": np.full(3, np.nan)})


def test_memory_map_is_read_in_blocks(tmp_path):
    X, y = pairs(60_000, d_x=40, d_y=60, dtype=np.float32)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y)
    expected = Moments.from_arrays(X, y)
    size = X.nbytes + y.nbytes
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    y = np.load(tmp_path / "y.npy", mmap_mode="r")
    tracemalloc.start()
    moments = Moments.from_arrays(X, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert_same(moments, expected)
    assert peak < size / 5


def test_float32_is_judged_by_correlations_not_by_scale():
    rng = np.random.default_rng(6)
    X = rng.normal(size=(3000, 80)).astype(np.float32)
    assert float32_suffices(np, X * np.geomspace(1e-4, 1e5, 80, dtype=np.float32))
    assert float32_suffices(np, X, X[:, :3])
    assert not float32_suffices(np, X[:239])
    assert not float32_suffices(np, X[:, :63])
    assert not float32_suffices(np, X, X[:, [0, 1, 1]])
    assert not float32_suffices(np, np.ones((3000, 80), dtype=np.float32))


def test_condition_number_of_the_1_norm():
    matrix = np.array([[4.0, 1.0], [1.0, 3.0]])
    assert condition_number(matrix) == pytest.approx(np.linalg.cond(matrix, 1))
    assert condition_number(np.ones((2, 2))) == np.inf
    assert condition_number(-matrix) == np.inf


def test_repr_tells_the_sizes():
    assert repr(Moments.from_arrays(*pairs(4))) == (
        "Moments(n_features=5, n_targets=3, target_products='squares'): 4 rows"
    )


@pytest.mark.parametrize("level", LEVELS)
def test_sums_and_differences_in_place(level):
    X, y = pairs(50)
    whole = Moments.from_arrays(X, y, target_products=level)
    first = Moments.from_arrays(X[:20], y[:20], target_products=level)
    rest = Moments.from_arrays(X[20:], y[20:], target_products=level)
    moments = same = first.copy()
    moments += rest
    assert moments is same
    assert_same(moments, whole)
    moments -= rest
    assert moments is same
    assert_same(moments, first)


def test_y_must_suit_float32_only_where_its_products_are_kept():
    X, y = wide_pairs(d_y=70)
    y[:, 1] = y[:, 0] * (1 + 1e-6)
    single = [
        Moments.from_arrays(X, y, target_products=level).in_float32 for level in LEVELS
    ]
    assert single == [True, True, False]


def test_weights_count_where_float32_overflows():
    X, y = wide_pairs()
    w = np.random.default_rng(1).integers(1, 4, size=len(X)).astype(float)
    y = (1e36 * y).astype(np.float32)
    moments = Moments.from_arrays(X, y, w)
    assert moments.weight == w.sum()
    times = w.astype(int)
    assert_sums_of(moments, np.repeat(X, times, 0), np.repeat(y, times, 0), 1e-9)


def test_stored_moments_are_read_in_double_precision():
    X, y = pairs(30)
    stored = Moments.from_arrays(X, y).to_dict()
    single = {
        name: array if name == "n_samples" else array.astype(np.float32)
        for name, array in stored.items()
    }
    read = Moments.from_dict(single).to_dict()
    assert all(array.dtype == np.float64 for name, array in read.items() if array.ndim)


def test_what_overflows_is_said_in_full():
    X = np.array([[1e200], [-1e200], [3.0]])
    message = (
        "X, y or sample_weight holds NaN, infinity, or numbers whose squares overflow."
    )
    with pytest.raises(ValueError, match=f"^{message}$"):
        Moments.from_arrays(X, X)


@pytest.mark.parametrize("value", [0.1, 1e6 + 0.3, -1e-9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_columns_that_are_constant_up_to_rounding_do_not_vary(value, dtype, weighted):
    for seed in range(20):
        X, y = pairs(100, seed=seed)
        X[:, 1] = y[:, 2] = value
        X, y = X.astype(dtype), y.astype(dtype)
        w = np.random.default_rng(seed).uniform(0.1, 2, 100) if weighted else None
        moments = Moments(5, 3, target_products="full")
        for rows in np.split(np.arange(100), [13, 14, 60]):
            moments.update(X[rows], y[rows], None if w is None else w[rows])
        assert not moments.xx[1].any()
        assert not moments.xx[:, 1].any()
        assert not moments.xy[1].any()
        assert not moments.xy[:, 2].any()
        assert not moments.yy[2].any()
        assert moments.y_squares[2] == 0.0
        assert (np.delete(moments.xx.diagonal(), 1) > 0).all()


def test_a_column_that_varies_in_its_last_places_is_not_constant():
    X, y = pairs(500)
    X[:, 1] = 1.0 + 1e-13 * X[:, 1]
    assert Moments.from_arrays(X, y).xx[1, 1] > 0


def test_every_batch_is_judged_for_float32():
    first = wide_pairs(d_x=70, n=3000)
    X, y = wide_pairs(seed=1)
    X[:, 1] = X[:, 0] + 1e-3 * X[:, 1]
    moments = Moments.from_arrays(*first)
    assert moments.in_float32
    both = moments.copy().update(X, y)
    expected = moments + Moments.from_arrays(X.astype(float), y.astype(float))
    assert_same(both, expected, rtol=1e-13)
    few = moments.copy().update(X[:20], y[:20])
    X, y = X[:20].astype(float), y[:20].astype(float)
    assert_same(few, moments + Moments.from_arrays(X, y), rtol=1e-13)


def pairs_of_ratio(ratio, n=3000, d_x=70, d_y=80):
    """float32 rows whose X'y has singular values of this ratio, X well conditioned."""
    rng = np.random.default_rng(0)
    X, _ = np.linalg.qr(rng.normal(size=(n, d_x)))
    out, _ = np.linalg.qr(rng.normal(size=(d_y, d_x)))
    y = (X * np.geomspace(1, 1 / ratio, d_x)) @ out.T
    return X.astype(np.float32), y.astype(np.float32)


@pytest.mark.parametrize(
    ("ratio", "enough"), [(1e3, True), (1e4, True), (1e5, False), (1e7, False)]
)
@pytest.mark.parametrize("weighted", [False, True])
def test_xy_is_judged_where_asked(ratio, enough, weighted):
    X, y = pairs_of_ratio(ratio)
    w = np.r_[0.0, np.ones(len(X) - 1)] if weighted else None
    moments = Moments(70, 80, judge_cross=True).update(X, y, w)
    assert moments.in_float32 == enough
    assert Moments(70, 80).update(X, y, w).in_float32
    if not enough:
        exact = Moments(70, 80).update(X.astype(float), y.astype(float), w)
        assert_same(moments, exact, rtol=1e-14)


def test_rows_of_weight_zero_have_no_say_in_precision():
    X, y = pairs_of_ratio(1e3)
    w = np.ones(len(X))
    w[::2] = 0.0
    # All of them on one line: their sums of products have one direction.
    X[::2] = y[::2] = np.arange(len(X) // 2)[:, np.newaxis]
    assert Moments(70, 80, judge_cross=True).update(X, y, w).in_float32
    assert not Moments(70, 80, judge_cross=True).update(X, y).in_float32


def test_the_sample_and_the_whole_are_both_judged():
    X, y = pairs_of_ratio(1e5)
    assert cross_may_suffice(np, X, y, None)
    assert not cross_suffices(Moments.from_arrays(X, y).xy)
    assert not cross_may_suffice(np, *pairs_of_ratio(1e7), None)


@pytest.mark.parametrize(
    ("xy", "enough"),
    [
        (np.diag([3.4e4, 1.0]), True),
        (np.diag([3.6e4, 1.0]), False),
        (np.diag([3.4e4, 1.0, 0.0]), True),
        (1e100 * np.diag([3.4e4, 1.0])[:, ::-1], True),
        (1e200 * np.eye(2), False),
        (np.c_[np.eye(2), np.eye(2)], True),
        (np.r_[np.eye(2), np.eye(2)], True),
        (np.ones((2, 3)), False),
        (np.zeros((2, 3)), False),
        (np.array([[np.inf, 0.0], [0.0, 1.0]]), False),
        (np.array([[np.nan, 0.0], [0.0, 1.0]]), False),
    ],
)
def test_when_a_cross_product_suffices(xy, enough):
    assert cross_suffices(xy) == enough
    assert cross_suffices(-xy) == enough


def test_a_refused_downdate_leaves_the_precision():
    X, y = wide_pairs()
    moments = Moments.from_arrays(X[:50].astype(float), y[:50].astype(float))
    with pytest.raises(ValueError, match="Cannot take"):
        moments.downdate(X, y)
    assert not moments.in_float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [1e8, 1e30, 3e38])
@pytest.mark.parametrize("level", LEVELS)
def test_rows_of_weight_zero_are_as_good_as_absent(dtype, value, level):
    X, y = wide_pairs(n=2000)
    w = np.random.default_rng(1).uniform(0.5, 2, size=len(X))
    w[::4] = 0.0
    X[::4] = y[::4] = value
    X, y = X.astype(dtype), y.astype(dtype)
    found = Moments.from_arrays(X, y, w, target_products=level)
    kept = w > 0
    expected = Moments.from_arrays(X[kept], y[kept], w[kept], target_products=level)
    assert found.in_float32 == expected.in_float32
    assert_same(found, expected, rtol=1e-12 if dtype == np.float64 else 1e-5)


def test_a_weight_of_almost_zero_does_no_harm():
    X, y = pairs(2000)
    w = np.ones(len(X))
    w[::4] = 1e-30
    X[::4] = 1e8
    kept = w == 1
    expected = Moments.from_arrays(X[kept], y[kept])
    found = Moments.from_arrays(X, y, w)
    assert_allclose(found.xx, expected.xx, rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize("n", [100, 20_000])
def test_rows_of_weight_zero_must_be_finite(n):
    X, y = pairs(n)
    w = np.ones(n)
    w[: n // 2] = 0.0
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN, infinity"):
        Moments.from_arrays(X, y, w)


def test_rows_that_were_never_added_cannot_be_taken():
    X, y = pairs(200)
    moments = Moments.from_arrays(X, y, target_products="full")
    before = moments.to_dict()
    before = {name: array.copy() for name, array in before.items()}
    with pytest.raises(ValueError, match=r"never added: column .* of X varies more"):
        moments.downdate(9 * X[:100], y[:100])
    with pytest.raises(ValueError, match=r"never added: column .* of y varies more"):
        moments.downdate(X[:100], 9 * y[:100])
    with pytest.raises(ValueError, match="never added"):
        moments.downdate(X[:100] + 9, y[:100])
    for name, array in moments.to_dict().items():
        assert_array_equal(array, before[name])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_left", [1, 2, 5])
@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
def test_rows_that_were_added_can_be_taken(dtype, n_left, offset):
    X, y = wide_pairs(n=3000, offset=offset)
    X, y = X.astype(dtype), y.astype(dtype)
    moments = Moments.from_arrays(X, y, target_products="full")
    for rows in np.split(np.arange(n_left, 3000), [7, 500, 501]):
        moments.downdate(X[rows], y[rows])
    assert moments.n_samples == n_left


def test_everything_of_any_weights_can_be_taken():
    for seed in range(50):
        X, y = pairs(20, seed=seed)
        w = np.random.default_rng(seed).uniform(0.1, 2, 20)
        moments = Moments.from_arrays(X[:7], y[:7], w[:7])
        moments.update(X[7:], y[7:], w[7:]).downdate(X, y, w)
        assert moments.n_samples == moments.weight == 0
    with pytest.raises(ValueError, match="Cannot take 20 rows of total weight"):
        Moments.from_arrays(X, y, w).downdate(X, y, 0.99 * w)


def test_moments_without_rows_have_no_mean():
    for name in ("x_mean", "y_mean", "xx", "xy", "y_squares"):
        with pytest.raises(ValueError, match=r"^These moments hold no rows yet: "):
            getattr(Moments(3, 2), name)


def test_lists_are_rows_too():
    X, y = pairs(6)
    expected = Moments.from_arrays(X, y, np.arange(6.0))
    w = list(range(6))
    assert_same(Moments.from_arrays(X.tolist(), y.tolist(), w), expected)
    assert_same(Moments.from_arrays(pd.DataFrame(X), pd.DataFrame(y), w), expected)
    with pytest.raises(ValueError, match=r"^y must have two dimensions.* y\[:, None\]"):
        Moments.from_arrays(X, y[:, 0])
    with pytest.raises(ValueError, match=r"^X must have two dimensions.* X\[:, None\]"):
        Moments.from_arrays(X[:, 0], y)


def test_sides_of_two_precisions_are_summed_in_double():
    X, y = wide_pairs()
    exact = Moments.from_arrays(X.astype(float), y.astype(float))
    for sides in ((X, y.astype(float)), (X.astype(float), y)):
        moments = Moments.from_arrays(*sides)
        assert not moments.in_float32
        assert_same(moments, exact, rtol=1e-14)


@pytest.mark.parametrize("kind", ["float32", "float16", "bool", "int8"])
def test_weights_of_any_type_are_summed_in_double(kind):
    X, y = pairs(5000)
    w = np.random.default_rng(0).uniform(0, 2, len(X)).astype(kind)
    moments = Moments.from_arrays(X, y, w)
    exact = Moments.from_arrays(X, y, w.astype(float))
    assert moments.weight == exact.weight == w.sum(dtype=float)
    assert_same(moments, exact, rtol=1e-14)


def test_stored_moments_keep_their_precision_and_rounding():
    X, y = wide_pairs()
    moments = Moments(X.shape[1], y.shape[1], judge_cross=True).update(X, y)
    again = Moments.from_dict(moments.to_dict())
    assert again.in_float32
    assert again.judge_cross
    assert_array_equal(again.x_rounding, moments.x_rounding)
    assert_array_equal(again.y_rounding, moments.y_rounding)


def test_arrays_that_no_rows_give_are_refused():
    arrays = Moments.from_arrays(*pairs(20)).to_dict()
    for changed in ({"weight": np.array(-5.0)}, {"n_samples": np.array(-1)}):
        with pytest.raises(ValueError, match=r"^n_samples and weight must"):
            Moments.from_dict(arrays | changed)
    with pytest.raises(ValueError, match="x_products has a negative"):
        Moments.from_dict(arrays | {"x_products": -arrays["x_products"]})


@pytest.mark.parametrize("n", [0, 1])
def test_few_rows_of_little_weight_are_stored(n):
    X, y = pairs(n)
    moments = Moments.from_arrays(X, y, np.full(n, 0.25))
    again = Moments.from_dict(moments.to_dict())
    assert (again.n_samples, again.weight) == (n, 0.25 * n)
    assert_same(again.update(*pairs(9)), moments.update(*pairs(9)))


def test_constant_columns_are_stored():
    X, y = pairs(50)
    for value in (0.0, 0.1, 1e6 + 0.3):
        X[:, 0] = y[:, 0] = value
        moments = Moments.from_arrays(X, y)
        again = Moments.from_dict(moments.to_dict())
        assert_array_equal(again.xx, moments.xx)
        assert_array_equal(again.y_squares, moments.y_squares)


def test_the_size_is_that_of_the_arrays():
    small, large = Moments(3, 5), Moments(300, 500, target_products="full")
    for moments in (small, large):
        n_bytes = sum(array.nbytes for array in moments.to_dict().values())
        assert 0 <= sys.getsizeof(moments) - n_bytes < 100
