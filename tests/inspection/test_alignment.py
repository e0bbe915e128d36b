"""Measures of alignment against independent answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.neighbors import NearestNeighbors

from skxmodal.inspection import (
    effective_rank,
    hubness_skewness,
    linear_cka,
    mutual_knn_overlap,
)


def paired(n=60, d_x=7, d_y=11, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d_x))
    y = X @ rng.normal(size=(d_x, d_y)) + noise * rng.normal(size=(n, d_y))
    return X, y


def random_rotation(d, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def hsic_with_kernels(K, L):
    """Equation 5 of Song et al. as it is written, in O(n^2)."""
    n = len(K)
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    one = np.ones(n)
    return (
        np.trace(K @ L)
        + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (one @ K @ L @ one)
    ) / (n * (n - 3))


def test_linear_cka_equals_kernels():
    X, y = paired()
    H = np.eye(len(X)) - 1 / len(X)
    K, L = H @ X @ X.T @ H, H @ y @ y.T @ H
    plain = np.sum(K * L) / np.sqrt(np.sum(K * K) * np.sum(L * L))
    assert linear_cka(X, y, debiased=False) == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_debiased_cka_equals_kernels(offset):
    X, y = paired()
    K, L = X @ X.T, y @ y.T
    unbiased = hsic_with_kernels(K, L) / np.sqrt(
        hsic_with_kernels(K, K) * hsic_with_kernels(L, L)
    )
    assert linear_cka(X + offset, y - offset) == pytest.approx(unbiased, rel=1e-8)


def test_debiased_cka_of_unrelated_spaces_is_near_zero():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 300)), rng.normal(size=(200, 500))
    assert abs(linear_cka(X, y)) < 0.02
    assert linear_cka(X, y, debiased=False) > 0.5


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(-100, 100),
    debiased=st.booleans(),
)
def test_cka_invariances(seed, scale, shift, debiased):
    X, y = paired(seed=seed)
    order = np.random.default_rng(seed).permutation(len(X))
    moved = scale * X @ random_rotation(X.shape[1], seed) + shift
    before = linear_cka(X, y, debiased=debiased)
    after = linear_cka(moved[order], y[order], debiased=debiased)
    assert after == pytest.approx(before, rel=1e-6, abs=1e-9)
    assert linear_cka(y, X, debiased=debiased) == pytest.approx(before)
    assert linear_cka(X, moved, debiased=debiased) == pytest.approx(1.0)


def centred(X):
    return X - X.mean(axis=0)


def neighbor_sets(X, k):
    search = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute")
    return [set(row) for row in search.fit(X).kneighbors(return_distance=False)]


@pytest.mark.parametrize("k", [1, 5, 20])
def test_overlap_equals_loop(k):
    X, y = paired()
    shared = [
        len(a & b) / k
        for a, b in zip(
            neighbor_sets(centred(X), k), neighbor_sets(centred(y), k), strict=True
        )
    ]
    result = mutual_knn_overlap(X, y, k, n_permutations=0)
    assert result.overlap == pytest.approx(np.mean(shared))
    assert result.expected == pytest.approx(k / (len(X) - 1))
    assert result.lift == pytest.approx(result.overlap / result.expected)
    assert np.isnan(result.p_value)


def test_null_has_its_analytic_mean_and_permutes_pairs():
    X, y = paired()
    result = mutual_knn_overlap(X, y, 5, n_permutations=2000, random_state=0)
    null = result.null_distribution
    standard_error = null.std() / np.sqrt(len(null))
    assert abs(null.mean() - result.expected) < 4 * standard_error
    # One permutation done by hand on the rows themselves.
    rng = np.random.RandomState(0)
    pairing = rng.permutation(len(X))
    by_hand = mutual_knn_overlap(X[pairing], y, 5, n_permutations=0).overlap
    assert null[0] == pytest.approx(by_hand)


def test_p_value_is_exact():
    X, y = paired(noise=20.0)
    result = mutual_knn_overlap(X, y, 3, n_permutations=99, random_state=1)
    b = np.sum(result.null_distribution >= result.overlap)
    assert result.p_value == (1 + b) / 100
    again = mutual_knn_overlap(X, y, 3, n_permutations=99, random_state=1)
    np.testing.assert_array_equal(again.null_distribution, result.null_distribution)


def test_p_values_of_unrelated_spaces_are_uniform():
    rng = np.random.default_rng(0)
    p = [
        mutual_knn_overlap(
            rng.normal(size=(30, 4)),
            rng.normal(size=(30, 6)),
            4,
            n_permutations=49,
            random_state=seed,
        ).p_value
        for seed in range(200)
    ]
    assert stats.kstest(p, "uniform").pvalue > 1e-3


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(1e-2, 1e2))
def test_overlap_invariances(seed, scale):
    X, y = paired(seed=seed)
    order = np.random.default_rng(seed).permutation(len(X))
    moved = scale * X @ random_rotation(X.shape[1], seed) + 3.0
    before = mutual_knn_overlap(X, y, 5, n_permutations=0).overlap
    after = mutual_knn_overlap(moved[order], y[order], 5, n_permutations=0).overlap
    assert after == pytest.approx(before)


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
def test_effective_rank_equals_svd(shape):
    X = np.random.default_rng(0).normal(size=shape) * np.arange(1, shape[1] + 1)
    s = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)
    p = s / s.sum()
    p = p[p > 1e-12]
    assert effective_rank(X) == pytest.approx(np.exp(-np.sum(p * np.log(p))), rel=1e-6)
    ratio = np.sum(s**2) ** 2 / np.sum(s**4)
    assert effective_rank(X, kind="participation") == pytest.approx(ratio)


def test_effective_rank_bounds():
    rng = np.random.default_rng(0)
    line = rng.normal(size=(50, 1)) * np.ones((1, 8)) + 1e3
    assert effective_rank(line) == pytest.approx(1.0, abs=1e-6)
    assert effective_rank(rng.normal(size=(20_000, 4))) == pytest.approx(4, rel=1e-3)


def test_hubness_equals_scipy():
    X, _ = paired(n=150, d_x=40)
    counts = np.zeros(len(X))
    for row in neighbor_sets(X, 5):
        counts[list(row)] += 1
    assert hubness_skewness(X, n_neighbors=5) == pytest.approx(stats.skew(counts))


def test_hubness_of_queries_in_a_gallery():
    rng = np.random.default_rng(0)
    gallery, queries = rng.normal(size=(30, 5)), rng.normal(size=(200, 5))
    unit = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    found = np.argsort(-queries @ unit.T, axis=1)[:, :4]
    counts = np.bincount(found.ravel(), minlength=30)
    skewness = hubness_skewness(gallery, queries, n_neighbors=4)
    assert skewness == pytest.approx(stats.skew(counts))
    assert hubness_skewness(gallery, queries, n_neighbors=30) == 0.0


def test_duplicate_rows_leave_no_row_its_own_neighbor():
    X = np.repeat(np.random.default_rng(0).normal(size=(3, 4)), 20, axis=0)
    result = mutual_knn_overlap(X, X, 5, n_permutations=0)
    assert result.overlap == 1.0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_dtypes(dtype):
    X, y = paired()
    X, y = (10 * X).astype(dtype), (10 * y).astype(dtype)
    wide = X.astype(np.float64), y.astype(np.float64)
    assert linear_cka(X, y) == pytest.approx(linear_cka(*wide), abs=1e-5)
    assert effective_rank(X) == pytest.approx(effective_rank(wide[0]), rel=1e-5)


def test_bad_input():
    X, y = paired()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        linear_cka(X, y[:-1])
    with pytest.raises(ValueError, match="NaN"):
        linear_cka(np.where(X[3] == X, np.nan, X), y)
    with pytest.raises(ValueError, match="All 60 rows of y are the same"):
        mutual_knn_overlap(X, np.ones_like(y))
    with pytest.raises(ValueError, match="from 1 to 59"):
        mutual_knn_overlap(X, y, 60)
    with pytest.raises(ValueError, match="n_permutations"):
        mutual_knn_overlap(X, y, n_permutations=-1)
    with pytest.raises(ValueError, match="minimum of 4"):
        linear_cka(X[:3], y[:3])
    with pytest.raises(ValueError, match="kind"):
        effective_rank(X, kind="stable")
    with pytest.raises(ValueError, match="All 4 rows of X are the same"):
        effective_rank(np.ones((4, 3)))
    with pytest.raises(ValueError, match="Encode"):
        linear_cka(["a dog", "a cat"] * 30, y)
    with pytest.raises(ValueError, match="columns"):
        hubness_skewness(X, y)


def test_ties_are_no_agreement():
    # Few distinct rows, unrelated sides: p-values must not pile up near 0.
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(6, 4))[rng.integers(6, size=60)]
        y = rng.normal(size=(6, 4))[rng.integers(6, size=60)]
        result = mutual_knn_overlap(X, y, 5, n_permutations=99, random_state=seed)
        found.append(result.p_value)
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_the_null_is_the_overlap_of_permuted_rows_among_ties():
    rng = np.random.default_rng(0)
    X, y = (rng.integers(-2, 3, size=(40, 2)).astype(float) for _ in range(2))
    null = mutual_knn_overlap(X, y, 4, n_permutations=20, random_state=0)
    random = np.random.RandomState(0)
    for overlap in null.null_distribution:
        permuted = np.empty_like(y)
        permuted[random.permutation(40)] = y
        by_hand = mutual_knn_overlap(X, permuted, 4, n_permutations=0).overlap
        assert overlap == pytest.approx(by_hand)


@pytest.mark.parametrize("scale", [1e-100, 1e100])
@pytest.mark.parametrize("debiased", [False, True])
def test_alignment_has_no_scale(scale, debiased):
    X, y = paired()
    found = linear_cka(scale * X, y / scale, debiased=debiased)
    assert found == pytest.approx(linear_cka(X, y, debiased=debiased))
