"""Exact search against sorts, whatever the blocks and threads."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from skxmodal.neighbors import ExactIndex, _exact, make_index, top_k


def sort_in_double(queries, gallery, k):
    scores = queries.astype(np.float64) @ gallery.astype(np.float64).T
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, rows, axis=1), rows


@given(
    n_queries=st.integers(1, 9),
    n_items=st.integers(1, 40),
    width=st.integers(1, 4),
    data=st.data(),
)
@settings(max_examples=200, deadline=None)
def test_ties_come_in_the_order_of_rows(n_queries, n_items, width, data):
    k = data.draw(st.sampled_from(sorted({1, (n_items + 1) // 2, n_items})))
    dtype = data.draw(st.sampled_from([np.float16, np.float32, np.float64]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    queries = rng.integers(-2, 3, (n_queries, width)).astype(dtype)
    gallery = rng.integers(-2, 3, (n_items, width)).astype(dtype)
    scores, rows = top_k(queries, gallery, k)
    expected_scores, expected_rows = sort_in_double(queries, gallery, k)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(scores, expected_scores)
    assert rows.dtype == np.int64
    assert scores.dtype == (np.float64 if dtype == np.float64 else np.float32)


@pytest.mark.parametrize("k", [1, 10, 200, 3000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_top_k_over_many_blocks_equals_a_sort(dtype, k):
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(1100, 20)).astype(dtype)
    gallery = rng.normal(size=(7000, 20)).astype(dtype)
    scores, rows = top_k(queries, gallery, k)
    expected_scores, expected_rows = sort_in_double(queries, gallery, k)
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-6, atol=1e-6)
    if dtype == np.float64:
        np.testing.assert_array_equal(rows, expected_rows)
    else:
        # Scores that are equal in single precision come in the order of rows.
        rounded = expected_scores.astype(np.float32)
        alone = np.ones(rounded.shape, dtype=bool)
        alone[:, 1:] &= rounded[:, 1:] != rounded[:, :-1]
        alone[:, :-1] &= rounded[:, 1:] != rounded[:, :-1]
        alone[:, -1] = False
        np.testing.assert_array_equal(rows[alone], expected_rows[alone])
        assert alone.mean() > 0.5 or k == 1


def test_top_k_agrees_with_scikit_learn():
    rng = np.random.default_rng(1)
    queries, gallery = rng.normal(size=(30, 12)), rng.normal(size=(500, 12))
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    peer = NearestNeighbors(n_neighbors=7, metric="cosine", algorithm="brute")
    distances, expected = peer.fit(gallery).kneighbors(queries)
    scores, rows = top_k(queries, gallery, 7)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(1 - scores, distances, atol=1e-12)


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_the_same_bits_whatever_blocks_and_threads(monkeypatch, n_threads):
    rng = np.random.default_rng(2)
    gallery = rng.normal(size=(200, 67)).astype(np.float32)
    # Copies across the borders of blocks must come in the order of rows.
    gallery = gallery[rng.integers(0, 200, 2500)]
    queries = rng.normal(size=(70, 67)).astype(np.float32)
    expected = top_k(queries, gallery, 30, n_threads=1)
    for query_block, gallery_block in [(9, 77), (70, 2500), (11, 640)]:
        monkeypatch.setattr(_exact, "QUERY_BLOCK", query_block)
        monkeypatch.setattr(_exact, "GALLERY_BLOCK", gallery_block)
        scores, rows = top_k(queries, gallery, 30, n_threads=n_threads)
        np.testing.assert_array_equal(rows, expected[1])
        np.testing.assert_array_equal(scores, expected[0])


def test_one_query_is_answered_as_in_a_batch():
    rng = np.random.default_rng(3)
    queries = rng.normal(size=(20, 33)).astype(np.float32)
    gallery = rng.normal(size=(900, 33)).astype(np.float32)
    scores, rows = top_k(queries, gallery, 5)
    for query in range(20):
        alone_scores, alone = top_k(queries[query : query + 1], gallery, 5)
        np.testing.assert_array_equal(alone[0], rows[query])
        np.testing.assert_array_equal(alone_scores[0], scores[query])


@pytest.mark.parametrize("scale", [1e-15, 1e-3, 1e12])
def test_scores_of_any_size(scale):
    rng = np.random.default_rng(4)
    queries = (scale * rng.normal(size=(9, 6))).astype(np.float32)
    gallery = rng.normal(size=(400, 6)).astype(np.float32)
    np.testing.assert_array_equal(
        top_k(queries, gallery, 3)[1], sort_in_double(queries, gallery, 3)[1]
    )


def test_a_gallery_of_one_vector_many_times():
    gallery = np.repeat(np.float32([[0.6, 0.8]]), 5000, axis=0)
    scores, rows = top_k(np.float32([[1, 0], [0, 1]]), gallery, 4)
    np.testing.assert_array_equal(rows, [[0, 1, 2, 3]] * 2)
    np.testing.assert_allclose(scores, [[0.6] * 4, [0.8] * 4], rtol=1e-6)


@pytest.mark.parametrize("k", [0, -1, 4, 2.0, "2"])
def test_k_outside_the_gallery_is_an_error(k):
    with pytest.raises(ValueError, match="from 1 to the gallery's size, 3"):
        top_k(np.eye(3), np.eye(3), k)


def test_infinite_vectors_are_an_error():
    gallery = np.eye(3)
    gallery[1, 1] = np.inf
    with pytest.raises(ValueError, match=r"gallery has NaN or infinite .* in row 1"):
        top_k(np.eye(3), gallery, 1)
    with pytest.raises(ValueError, match=r"queries has NaN or infinite .* in row 1"):
        top_k(gallery, np.ones((3, 3)), 1)


def test_one_unit_in_the_last_place_decides_across_blocks():
    # More items than a block holds, alike but for one of the last.
    gallery = np.zeros((2 * _exact.GALLERY_BLOCK, 8), dtype=np.float32)
    gallery[:, 0] = 1.0
    gallery[-3, 0] = np.nextafter(np.float32(1), np.float32(2))
    scores, rows = top_k(gallery[:2], gallery, 2)
    assert rows.tolist() == [[len(gallery) - 3, 0]] * 2
    assert (scores[:, 0] > scores[:, 1]).all()


def test_an_index_looks_through_what_came_after_a_search():
    index = make_index("exact").fit(np.eye(3, dtype=np.float32))
    index.search(np.eye(3), 1)
    saved = pickle.dumps(make_index("exact").fit(index.vectors_))
    assert pickle.dumps(index) == saved
    for wrong, message in ((np.nan, "NaN or infinite"), (1e38, "leave the range")):
        rows = np.full((1, 3), wrong, dtype=np.float32)
        for changed in (index.add, index.fit):
            changed(rows)
            with pytest.raises(ValueError, match=message):
                index.search(np.full((1, 3), 1e20, dtype=np.float32), 1)
            index.fit(np.eye(3, dtype=np.float32)).search(np.eye(3), 1)
    index.fit(np.diag([1e-4, 1e30]).astype(np.float32)).search(np.eye(2), 1)
    index.remove([1])
    # No longer near the range of float32.
    large = np.full((1, 2), 1e20, dtype=np.float32)
    np.testing.assert_array_equal(index.search(large, 1)[1], [[0]])


def test_index_adds_and_removes():
    index = make_index("exact").fit(np.eye(4)[:3])
    np.testing.assert_array_equal(index.add(np.eye(4)[3:]), [3])
    assert index.n_items == 4
    np.testing.assert_array_equal(index.search(np.eye(4)[3:], 1)[1], [[3]])
    index.remove([0, 2])
    np.testing.assert_array_equal(index.search(np.eye(4)[3:], 1)[1], [[1]])
    with pytest.raises(IndexError):
        index.remove([2])
    with pytest.raises(ValueError, match="No item would stay"):
        index.remove([0, 1])
    with pytest.raises(ValueError, match="queries have 4 columns and the gallery 3"):
        index.add(np.eye(3))
    assert index.n_items == 2


@pytest.mark.parametrize("mmap", [False, True])
def test_index_is_saved_and_loaded(tmp_path, mmap):
    rng = np.random.default_rng(5)
    gallery = rng.normal(size=(50, 6)).astype(np.float32)
    index = ExactIndex().fit(gallery)
    index.save(tmp_path / "index.npy")
    loaded = ExactIndex.load(tmp_path / "index.npy", mmap=mmap)
    assert isinstance(loaded.vectors_, np.memmap) == mmap
    for ours, theirs in zip(
        index.search(gallery, 3), loaded.search(gallery, 3), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_unknown_index_is_an_error():
    with pytest.raises(ValueError, match="Unknown index 'exakt'"):
        make_index("exakt")
    index = ExactIndex()
    assert make_index(index) is index


@pytest.mark.parametrize(
    ("n_queries", "n_threads", "shares"),
    [
        (10, 4, [3, 3, 3, 1]),
        (8, 4, [2, 2, 2, 2]),
        (3, 4, [1, 1, 1]),
        (5, 1, [5]),
        (3000, 1, [1024, 1024, 952]),
    ],
)
def test_queries_are_shared_between_threads(monkeypatch, n_queries, n_threads, shares):
    taken, in_threads = [], _exact.in_threads

    def watched(work, items, n_threads):
        items = list(items)
        taken.append(([rows.stop - rows.start for rows in items], n_threads))
        return in_threads(work, items, n_threads)

    monkeypatch.setattr(_exact, "in_threads", watched)
    rng = np.random.default_rng(0)
    top_k(
        rng.normal(size=(n_queries, 4)), rng.normal(size=(9, 4)), 2, n_threads=n_threads
    )
    assert taken == [(shares, n_threads)]


def test_single_precision_is_searched_in_single_precision(monkeypatch):
    kinds, block_scores = [], _exact.block_scores
    bounds, kth_of_buckets = [], _exact._kth_of_buckets

    def watched_scores(queries, gallery, *rows):
        kinds.extend((queries.dtype, gallery.dtype))
        return block_scores(queries, gallery, *rows)

    def watched_bound(scores, k):
        bounds.append(scores.dtype)
        return kth_of_buckets(scores, k)

    monkeypatch.setattr(_exact, "block_scores", watched_scores)
    monkeypatch.setattr(_exact, "_kth_of_buckets", watched_bound)
    rng = np.random.default_rng(0)
    top_k(
        rng.normal(size=(9, 4)).astype(np.float32),
        rng.normal(size=(5000, 4)).astype(np.float32),
        k=3,
    )
    assert set(kinds) == set(bounds) == {np.dtype(np.float32)}


def test_few_scores_are_computed_twice(monkeypatch):
    found, block_scores = [], _exact.block_scores

    def watched(queries, gallery, query_rows, gallery_rows):
        found.append(len(query_rows))
        return block_scores(queries, gallery, query_rows, gallery_rows)

    monkeypatch.setattr(_exact, "block_scores", watched)
    rng = np.random.default_rng(0)
    queries, gallery = rng.normal(size=(50, 30)), rng.normal(size=(10_000, 30))
    top_k(queries, gallery, k=10)
    # Of ten thousand scores of a query, at the first bound some fifteen are left.
    assert max(found) < 50 * 30
    assert sum(found) < 50 * 60
