"""Relative representations against a loop, their invariants, and degenerate input."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone

from skxmodal.mappers import RelativeMapper
from skxmodal.mappers._anchors import content_keys
from skxmodal.mappers._similarities import largest


def paired(n=80, d_x=5, d_y=7, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d_x)) + 2
    y = X @ rng.normal(size=(d_x, d_y)) + 0.5 * rng.normal(size=(n, d_y)) - 3
    return X.astype(dtype), y.astype(dtype)


def described_by_loop(row, mean, anchors, k, power):
    """One row of a relative representation, straight from its definition."""
    cosines = []
    for anchor in anchors:
        a, b = row - mean, anchor - mean
        cosines.append(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
    described = np.zeros(len(anchors))
    for place in sorted(range(len(anchors)), key=lambda i: (-cosines[i], i))[:k]:
        cosine = cosines[place]
        described[place] = np.sign(cosine) * abs(cosine) ** power
    return described


@pytest.mark.parametrize("k", [1, 10, None])
@pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("n_anchors", [30, None])
def test_equals_loop(k, power, n_anchors):
    X, y = paired()
    mapper = RelativeMapper(n_anchors, k=k, power=power, random_state=0).fit(X, y)
    Z, T = mapper.transform(X), mapper.transform_target(y)
    x_mean, y_mean = X.mean(axis=0), y.mean(axis=0)
    predicted = mapper.predict(X)
    for i in range(len(X)):
        expected = described_by_loop(X[i], x_mean, mapper.x_anchors_, k, power)
        np.testing.assert_allclose(Z[i], expected, atol=1e-12)
        np.testing.assert_allclose(
            T[i],
            described_by_loop(y[i], y_mean, mapper.y_anchors_, k, power),
            atol=1e-12,
        )
        weight = np.maximum(expected, 0)
        np.testing.assert_allclose(
            predicted[i], np.average(mapper.y_anchors_, axis=0, weights=weight)
        )


def test_anchors_are_pairs_and_a_fair_draw():
    X, y = paired()
    row_of = {tuple(row): i for i, row in enumerate(X)}
    drawn = np.zeros(len(X))
    for seed in range(300):
        mapper = RelativeMapper(20, random_state=seed).fit(X, y)
        rows = [row_of[tuple(anchor)] for anchor in mapper.x_anchors_]
        assert len(set(rows)) == 20
        np.testing.assert_array_equal(mapper.y_anchors_, y[rows])
        drawn[rows] += 1
    # Each pair is drawn 75 times on average, with a standard deviation of 7.5.
    assert drawn.min() > 75 - 5 * 7.5
    assert drawn.max() < 75 + 5 * 7.5


def test_random_state_repeats_the_draw():
    X, y = paired()
    first = RelativeMapper(20, random_state=3).fit(X, y)
    again = RelativeMapper(20, random_state=3).fit(X, y)
    other = RelativeMapper(20, random_state=4).fit(X, y)
    np.testing.assert_array_equal(first.transform(X), again.transform(X))
    assert not np.array_equal(first.x_anchors_, other.x_anchors_)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_output_equals_dense(dtype):
    X, y = paired(dtype=dtype)
    dense = RelativeMapper(k=7).fit(X, y)
    thin = RelativeMapper(k=7, sparse_output=True).fit(X, y)
    for method, rows in (("transform", X), ("transform_target", y)):
        expected, Z = getattr(dense, method)(rows), getattr(thin, method)(rows)
        assert sparse.issparse(Z)
        assert Z.format == "csr"
        assert Z.dtype == expected.dtype == dtype
        assert Z.nnz == 7 * len(rows)
        np.testing.assert_array_equal(Z.toarray(), expected)


def test_sparse_output_auto_takes_what_is_smaller():
    X, y = paired()
    for k in (5, 50, 53, 60, 80):
        auto = RelativeMapper(k=k, sparse_output="auto").fit(X, y).transform(X)
        Z = sparse.csr_matrix(RelativeMapper(k=k).fit(X, y).transform(X))
        n_bytes = Z.data.nbytes + Z.indices.nbytes + Z.indptr.nbytes
        # The array is 640 bytes a row, CSR 12 for each number and 4 more.
        assert sparse.issparse(auto) == (n_bytes < X.shape[0] * 80 * 8)


def test_largest_takes_lower_columns_where_equal():
    values = np.array([[1.0, 2.0, 2.0, 2.0, 0.0], [3.0, 3.0, 3.0, 3.0, 3.0]])
    expected = [[0, 2, 2, 0, 0], [3, 3, 0, 0, 0]]
    np.testing.assert_array_equal(largest(values, 2).toarray(), expected)


def test_blocks_change_nothing(monkeypatch):
    X, y = paired()
    mapper = RelativeMapper(k=7).fit(X, y)
    whole = mapper.transform(X), mapper.predict(X)
    monkeypatch.setattr("skxmodal.mappers._similarities._BLOCK_ENTRIES", 300)
    np.testing.assert_allclose(mapper.transform(X), whole[0], atol=1e-14)
    np.testing.assert_allclose(mapper.predict(X), whole[1], atol=1e-13)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    cuts=st.sets(st.integers(1, 79), max_size=5),
    n_anchors=st.sampled_from([10, 40, None]),
    weighted=st.booleans(),
)
def test_partial_fit_in_any_split_and_order_equals_fit(seed, cuts, n_anchors, weighted):
    X, y = paired(seed=seed)
    rng = np.random.default_rng(seed)
    w = rng.integers(0, 3, size=len(X)) if weighted else np.ones(len(X))
    whole = RelativeMapper(n_anchors, k=6, random_state=1).fit(X, y, w)
    order = rng.permutation(len(X))
    parts = RelativeMapper(n_anchors, k=6, random_state=1)
    edges = [0, *sorted(cuts), len(X)]
    if cuts and (w[order[: edges[1]]] > 0).sum() < 2:
        return
    for start, stop in itertools.pairwise(edges):
        rows = order[start:stop]
        if start or len(rows) > 1:
            weights = w[rows]
            if weights.any():
                parts.partial_fit(X[rows], y[rows], weights)
        else:
            return
    np.testing.assert_array_equal(parts.x_anchors_, whole.x_anchors_)
    np.testing.assert_allclose(parts.transform(X), whole.transform(X), atol=1e-10)
    np.testing.assert_allclose(parts.predict(X), whole.predict(X), rtol=1e-10)
    assert parts.n_samples_seen_ == whole.n_samples_seen_ == np.count_nonzero(w)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), n_gone=st.integers(1, 78))
def test_forget_undoes(seed, n_gone):
    X, y = paired(seed=seed)
    w = np.random.default_rng(seed).uniform(0.5, 2.0, len(X))
    mapper = RelativeMapper(k=6).fit(X, y, w)
    mapper.forget(X[:n_gone], y[:n_gone], w[:n_gone])
    rest = RelativeMapper(k=6).fit(X[n_gone:], y[n_gone:], w[n_gone:])
    assert mapper.n_anchors_ == rest.n_anchors_ == len(X) - n_gone
    np.testing.assert_allclose(mapper.transform(X), rest.transform(X), atol=1e-9)
    np.testing.assert_allclose(
        mapper.transform_target(y), rest.transform_target(y), atol=1e-9
    )
    np.testing.assert_allclose(mapper.predict(X), rest.predict(X), rtol=1e-8, atol=1e-8)


def test_forget_takes_anchors_where_not_all_pairs_are_kept():
    X, y = paired()
    mapper = RelativeMapper(20, random_state=0).fit(X, y)
    gone = mapper.x_anchors_[:5], mapper.y_anchors_[:5]
    mapper.forget(*gone)
    assert mapper.n_anchors_ == 15
    assert not set(map(tuple, gone[0])) & set(map(tuple, mapper.x_anchors_))
    assert mapper.n_samples_seen_ == 75
    left = [row for row in X if tuple(row) not in set(map(tuple, gone[0]))]
    np.testing.assert_allclose(mapper.x_mean_, np.mean(left, axis=0))


def test_weights_equal_repeated_rows():
    X, y = paired()
    counts = np.random.default_rng(0).integers(0, 4, size=len(X))
    weighted = RelativeMapper(k=9, random_state=0).fit(X, y, counts)
    repeated = RelativeMapper(k=9, random_state=0).fit(
        np.repeat(X, counts, axis=0), np.repeat(y, counts, axis=0)
    )
    assert weighted.n_anchors_ == np.count_nonzero(counts)
    np.testing.assert_allclose(weighted.transform(X), repeated.transform(X))
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X))
    # With every cosine kept, a weight of w is the anchor w times over.
    full = RelativeMapper(k=None, random_state=0).fit(X, y, counts)
    inner = full.transform(X) @ full.transform_target(y).T
    x_mean, y_mean = (np.average(side, axis=0, weights=counts) for side in (X, y))
    ones = np.repeat(np.arange(len(X)), counts)
    Z, T = (
        np.array([described_by_loop(r, m, S[ones], None, 2.0) for r in S])
        for S, m in ((X, x_mean), (y, y_mean))
    )
    np.testing.assert_allclose(inner, Z @ T.T)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(1e-3, 1e3))
def test_rotation_scale_and_shift_change_no_similarity(seed, scale):
    X, y = paired(seed=seed)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(5, 5)))[0]
    moved = scale * X @ rotation + 4
    before = RelativeMapper(n_anchors=None, k=9).fit(X, y)
    after = RelativeMapper(n_anchors=None, k=9).fit(moved, y)
    np.testing.assert_allclose(
        after.transform(moved) @ after.transform_target(y).T,
        before.transform(X) @ before.transform_target(y).T,
        atol=1e-9,
    )


def test_float32_is_near_float64_where_offsets_are_large():
    X, y = paired()
    X, y = X + 1e3, y - 1e3
    narrow = RelativeMapper(k=None).fit(X.astype(np.float32), y.astype(np.float32))
    wide = RelativeMapper(k=None).fit(
        X.astype(np.float32).astype(np.float64), y.astype(np.float32).astype(np.float64)
    )
    assert narrow.transform(X.astype(np.float32)).dtype == np.float32
    ours = narrow.transform(X) @ narrow.transform_target(y).T
    np.testing.assert_allclose(
        ours, wide.transform(X) @ wide.transform_target(y).T, atol=1e-4
    )


def test_the_pair_of_a_query_is_most_alike():
    X, y = paired(n=400)
    mapper = RelativeMapper(n_anchors=None, k=40).fit(X[:300], y[:300])
    sides = mapper.transform(X[300:]), mapper.transform_target(y[300:])
    A, B = (Z / np.linalg.norm(Z, axis=1, keepdims=True) for Z in sides)
    scores = A @ B.T
    ranks = (scores > scores.diagonal()[:, np.newaxis]).sum(axis=1)
    assert np.median(ranks) <= 2


@pytest.mark.parametrize(
    "case", ["two rows", "constant columns", "duplicates", "zero y", "row at the mean"]
)
def test_degenerate_input_gives_finite_answers(case):
    X, y = paired()
    if case == "two rows":
        X, y = X[:2], y[:2]
    elif case == "constant columns":
        X[:, 2], y[:, 0] = 5.0, -1e3
    elif case == "duplicates":
        X, y = np.tile(X[:4], (10, 1)), np.tile(y[:4], (10, 1))
    elif case == "zero y":
        y = np.zeros_like(y)
    else:
        X = np.vstack([X, X.mean(axis=0)])
        y = np.vstack([y, y.mean(axis=0)])
    mapper = RelativeMapper(k=5).fit(X, y)
    for answer in (mapper.transform(X), mapper.transform_target(y), mapper.predict(X)):
        assert np.isfinite(answer).all()
    if case == "duplicates":
        assert mapper.n_anchors_ == 4
        np.testing.assert_array_equal(mapper.anchor_weights_, 10)
    if case == "zero y":
        np.testing.assert_array_equal(mapper.predict(X), 0)


def test_unlike_everything_predicts_the_mean():
    X = np.array([[1.0, 0.0], [0.9, 0.1], [1.0, -0.1], [0.9, 0.0]])
    y = np.arange(8.0).reshape(4, 2)
    mapper = RelativeMapper(k=1).fit(X, y, [1.0, 1.0, 1.0, 1e-6])
    mapper.x_mean_, mapper._x_unit = np.zeros(2), X / np.hypot(*X.T)[:, None]
    np.testing.assert_allclose(mapper.predict([[-1.0, 0.0]]), [mapper.y_mean_])


def test_one_target_column():
    X, y = paired()
    mapper = RelativeMapper(k=5).fit(X, y[:, 0])
    assert mapper.predict(X).shape == (80,)
    assert mapper.transform_target(y[:, 0]).shape == (80, 80)


def test_content_keys_tell_pairs_apart():
    X, y = paired()
    assert len(np.unique(content_keys(X, y))) == len(X)
    assert len(
        np.unique(content_keys(np.vstack([X, X]), np.vstack([y, y[::-1]])))
    ) == 2 * len(X)
    zeros = np.zeros((1, 2))
    assert content_keys(zeros, zeros) == content_keys(-zeros, zeros)


def test_state_goes_through_pickle_and_clone():
    X, y = paired()
    mapper = RelativeMapper(20, random_state=0).fit(X[:40], y[:40])
    loaded = pickle.loads(pickle.dumps(mapper)).partial_fit(X[40:], y[40:])
    whole = clone(mapper).fit(X, y)
    np.testing.assert_allclose(loaded.transform(X), whole.transform(X))


def test_bad_input_changes_nothing():
    X, y = paired()
    mapper = RelativeMapper(k=5).fit(X[:40], y[:40])
    before = mapper.transform(X)
    with pytest.raises(ValueError, match="3 of the pairs to forget were never fitted"):
        mapper.forget(X[38:43], y[38:43])
    with pytest.raises(ValueError, match="2 at least must remain"):
        mapper.forget(X[:39], y[:39])
    with pytest.raises(ValueError, match="weigh more than they were fitted with"):
        mapper.forget(X[:3], y[:3], [1.0, 2.0, 1.0])
    with pytest.raises(ValueError, match="NaN"):
        mapper.partial_fit(np.full((3, 5), np.nan), y[:3])
    with pytest.raises(ValueError, match="y has 6 columns"):
        mapper.partial_fit(X, y[:, :6])
    np.testing.assert_array_equal(mapper.transform(X), before)
    with pytest.raises(ValueError, match="2 pairs of positive weight, got 1"):
        RelativeMapper().fit(X, y, np.eye(len(X))[0])
    few = RelativeMapper(1, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="No anchor would remain"):
        few.forget(few.x_anchors_, few.y_anchors_)
    for wrong in [{"k": 0}, {"n_anchors": 0}, {"power": 0.0}, {"sparse_output": "csr"}]:
        with pytest.raises(ValueError, match=f"The '{next(iter(wrong))}' parameter"):
            RelativeMapper(**wrong).fit(X, y)


def test_weights_that_exceed_all_there_was_are_refused():
    X, y = paired(60)
    mapper = RelativeMapper(n_anchors=10, random_state=0).fit(X, y)
    others = np.random.default_rng(3).normal(size=X[:10].shape)
    with pytest.raises(ValueError, match="cannot forget pairs of total weight 90"):
        mapper.forget(others, y[:10], np.full(10, 9.0))


def test_a_pair_is_one_anchor_in_either_dtype():
    X, y = (rows.astype(np.float32) for rows in paired(60))
    double = X.astype(np.float64), y.astype(np.float64)
    mapper = RelativeMapper(random_state=0).fit(X, y).partial_fit(*double)
    assert mapper.n_anchors_ == 60
    assert mapper.x_anchors_.dtype == np.float64
    assert (mapper.anchor_weights_ == 2).all()
    assert mapper.forget(X, y).n_anchors_ == 60


def test_a_later_batch_in_float64_keeps_its_digits():
    X, y = paired(60)
    single = X.astype(np.float32), y.astype(np.float32)
    mapper = RelativeMapper(random_state=0).fit(single[0][:9], single[1][:9])
    mapper.partial_fit(X[9:], y[9:])
    assert {*X[9:, 0]} <= {*mapper.x_anchors_[:, 0]}
