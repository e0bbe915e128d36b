"""How sums of paired rows keep account of rounding, and refuse what was never there."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skxmodal.mappers import Moments


def mixed_pairs(n, seed=0):
    """Rows of five and three columns that go together."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5)) @ rng.normal(size=(5, 5))
    return X, X[:, :1] + rng.normal(size=(n, 3))


def drifting_pairs(n, *, step=3.0, seed=0):
    """Rows whose mean moves with every block, in columns of unlike sizes."""
    X, y = mixed_pairs(n, seed)
    place = step * np.arange(n)[:, np.newaxis] / 4096
    return (X + place) * [1.0, 10.0, 1e3, 1e-2, 1.0], (y - place) * [1.0, 50.0, 1e-3]


def single_pairs(n=9000, *, offset=0.0, seed=0):
    """float32 rows that are summed in float32."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 70)) + rng.normal(size=(n, 1))
    y = X[:, :5] + rng.normal(size=(n, 5))
    return (X + offset).astype(np.float32), (y - offset).astype(np.float32)


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("side", ["X", "y"])
def test_a_row_further_out_than_any_there_was_cannot_be_taken(side, offset):
    varied = offset + np.array([[0.0], [10.0], [0.0], [10.0]])
    even = np.array([[1.0], [2.0], [3.0], [4.0]])
    X, y = (varied, even) if side == "X" else (even, varied)
    moments = Moments.from_arrays(X, y)
    # Four rows of mean 5 and variance 25 reach 5 + sqrt(75) at the most.
    far = np.array([[offset + 5.0 + 8.7]])
    first = np.array([[2.5]])
    message = f"never added: column 0 of {side} varies more"
    with pytest.raises(ValueError, match=message):
        moments.downdate(*((far, first) if side == "X" else (first, far)))
    near = far - 0.1
    moments.downdate(*((near, first) if side == "X" else (first, near)))
    assert moments.n_samples == 3


def squares_about_the_shift(moments, X, y):
    """Sums of squares of the columns of both sides, unweighted."""
    arrays = moments.to_dict()
    return [
        ((rows.astype(np.float64) - arrays[f"{side}_shift"]) ** 2).sum(axis=0)
        for side, rows in (("x", X), ("y", y))
    ]


@pytest.mark.parametrize("level", ["squares", "full"])
@pytest.mark.parametrize(
    ("rows", "in_float32", "share"),
    [(drifting_pairs(30_000), False, 2e-15), (single_pairs(), True, 2e-7)],
    ids=["float64", "float32"],
)
def test_rounding_is_counted_by_the_squares_that_are_summed(
    rows, in_float32, share, level
):
    moments = Moments.from_arrays(*rows, target_products=level)
    assert moments.in_float32 == in_float32
    x_squares, y_squares = squares_about_the_shift(moments, *rows)
    assert_allclose(moments.x_rounding, share * x_squares, rtol=0.05)
    assert_allclose(moments.y_rounding, share * y_squares, rtol=0.05)


@pytest.mark.parametrize("name", ["x", "y"])
def test_rounding_grows_with_all_that_is_added_and_taken(name):
    first = Moments.from_arrays(*drifting_pairs(500))
    second = Moments.from_arrays(*drifting_pairs(300, seed=1))
    moved = second.to_dict()[f"{name}_shift"] - first.to_dict()[f"{name}_shift"]
    grown = getattr(second, f"{name}_rounding") + 2e-15 * 300 * moved**2
    before, both = getattr(first, f"{name}_rounding"), first + second
    assert_allclose(getattr(both, f"{name}_rounding"), before + grown, rtol=1e-12)
    less = both - second
    assert_allclose(getattr(less, f"{name}_rounding"), before + 2 * grown, rtol=1e-12)


def test_more_blocks_than_are_held_at_once():
    X, y = drifting_pairs(150_000, step=1.0)
    for w in (None, np.random.default_rng(0).uniform(0.5, 1.5, len(X))):
        moments = Moments.from_arrays(X, y, w)
        w = np.ones(len(X)) if w is None else w
        mean, target = np.average(X, 0, w), np.average(y, 0, w)
        assert_allclose(moments.x_mean, mean, rtol=1e-11)
        assert_allclose(moments.y_mean, target, rtol=1e-11)
        expected = ((X - mean) * w[:, np.newaxis]).T @ (X - mean)
        assert_allclose(moments.xx, expected, rtol=1e-9)
        expected = ((X - mean) * w[:, np.newaxis]).T @ (y - target)
        assert_allclose(moments.xy, expected, rtol=1e-9)


def test_products_of_float32_rows_are_formed_in_float32():
    X, y = single_pairs()
    moments = Moments.from_arrays(X, y)
    exact = Moments.from_arrays(X.astype(np.float64), y.astype(np.float64))
    assert moments.in_float32
    assert not np.allclose(moments.xx, exact.xx, rtol=1e-10)
    assert_allclose(moments.xx, exact.xx, rtol=1e-5, atol=1e-6 * exact.xx.max())


def test_sums_of_both_precisions_are_known_as_such():
    single = Moments.from_arrays(*single_pairs())
    X, y = single_pairs(seed=1)
    double = Moments.from_arrays(X.astype(np.float64), y.astype(np.float64))
    assert (single + double).in_float32
    assert (double + single).in_float32
    assert (single - single + double).in_float32 is False


def test_what_varies_in_the_last_places_of_float32_is_constant_there():
    X, y = single_pairs()
    X[:, 1] = 1.0
    X[::2, 1] = np.nextafter(np.float32(1.0), np.float32(2.0))
    moments = Moments.from_arrays(X, y)
    assert moments.in_float32
    assert not moments.xx[1].any()
    exact = Moments.from_arrays(X.astype(np.float64), y.astype(np.float64))
    assert exact.xx[1, 1] > 0


def test_rows_taken_away_may_differ_by_what_float32_rounds():
    X, y = single_pairs()
    X[:, 1] = 1.0
    row, target = X[:1].astype(np.float64), y[:1].astype(np.float64)
    row[0, 1] += 3e-7
    moments = Moments.from_arrays(X, y)
    assert moments.in_float32
    assert moments.downdate(row, target).n_samples == len(X) - 1
    exact = Moments.from_arrays(X.astype(np.float64), y.astype(np.float64))
    with pytest.raises(ValueError, match="column 1 of X varies more"):
        exact.downdate(row, target)


def test_rows_in_float32_of_two_places_are_not_taken_from_a_third():
    near, y = single_pairs(n=3000)
    far, _ = single_pairs(n=3000, offset=1000.0, seed=1)
    moments = Moments.from_arrays(near, y) + Moments.from_arrays(far, y)
    assert moments.in_float32
    # Rows of mean 500 and variance 500^2 reach 500 (1 + sqrt(6000)) at the most.
    with pytest.raises(ValueError, match="never added"):
        moments.downdate(far[:1] + 50_000, y[:1])


def test_columns_of_zeros_can_be_taken_away():
    X, y = mixed_pairs(30)
    X[:, 1] = y[:, 0] = 0.0
    moments = Moments.from_arrays(X, y).downdate(X[:10], y[:10])
    left = Moments.from_arrays(X[10:], y[10:])
    assert_allclose(moments.xx, left.xx, atol=1e-12)
    assert_allclose(moments.xy, left.xy, atol=1e-12)


@pytest.mark.parametrize("column", [0, 3])
def test_the_column_that_was_never_added_is_named(column):
    X, y = mixed_pairs(50)
    taken = X[:5].copy()
    # Another column goes beyond what there is by less.
    taken[:, 2] *= 60
    taken[:, column] *= 6000
    message = (
        f"Cannot take away rows that were never added: column {column} of X varies "
        "more over them than over all rows that there are. Pass them, and their "
        "weights, as they were added."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Moments.from_arrays(X, y).downdate(taken, y[:5])
