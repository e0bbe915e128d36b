"""Ranks against loops, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skxmodal.neighbors import _ranks, count_ranks, top_k


def rank_by_loops(scores, correct):
    """Rank of each correct item of one list: ties with wrong items go last."""
    ranks = {}
    ordered = sorted(correct, key=lambda item: -scores[item])
    for place, item in enumerate(ordered, start=1):
        wrong = sum(
            scores[other] >= scores[item]
            for other in range(len(scores))
            if other not in correct
        )
        ranks[item] = place + wrong
    return ranks


@st.composite
def problems(draw):
    """Small vectors of few values: ties and duplicates in plenty."""
    n_queries = draw(st.integers(1, 12))
    n_items = draw(st.integers(1, 12))
    width = draw(st.integers(1, 4))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    dtype = draw(st.sampled_from([np.float16, np.float32, np.float64, np.int64]))
    queries = rng.integers(-2, 3, (n_queries, width)).astype(dtype)
    gallery = rng.integers(-2, 3, (n_items, width)).astype(dtype)
    correct = [
        rng.permutation(n_items)[: rng.integers(0, n_items + 1)].tolist()
        for _ in range(n_queries)
    ]
    return queries, gallery, correct


def as_csr(correct):
    indptr = np.cumsum([0, *map(len, correct)])
    return indptr, np.asarray([item for items in correct for item in items], dtype=int)


@given(problems())
@settings(max_examples=200, deadline=None)
def test_ranks_equal_loops(problem):
    queries, gallery, correct = problem
    indptr, indices = as_csr(correct)
    forward, backward = count_ranks(queries, gallery, indptr, indices, both=True)
    scores = queries.astype(np.int64) @ gallery.astype(np.int64).T
    expected = [
        rank_by_loops(scores[query], items)[item]
        for query, items in enumerate(correct)
        for item in items
    ]
    np.testing.assert_array_equal(forward, expected)
    asking = [
        [query for query, items in enumerate(correct) if item in items]
        for item in range(len(gallery))
    ]
    expected = [
        rank_by_loops(scores[:, item], asking[item])[query]
        for query, items in enumerate(correct)
        for item in items
    ]
    np.testing.assert_array_equal(backward, expected)


@given(problems())
@settings(max_examples=50, deadline=None)
def test_one_direction_equals_both(problem):
    queries, gallery, correct = problem
    indptr, indices = as_csr(correct)
    forward, _ = count_ranks(queries, gallery, indptr, indices, both=True)
    np.testing.assert_array_equal(
        count_ranks(queries, gallery, indptr, indices), forward
    )


@pytest.mark.parametrize("n_correct", [1, 5, 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ranks_over_many_blocks_equal_a_count(dtype, n_correct):
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(1500, 24)).astype(dtype)
    gallery = rng.normal(size=(5000, 24)).astype(dtype)
    correct = [rng.choice(5000, n_correct, replace=False) for _ in range(1500)]
    indptr, indices = as_csr(correct)
    found = count_ranks(queries, gallery, indptr, indices, both=True)
    # Scores equal in the inputs' precision are ties.
    scores = (queries.astype(np.float64) @ gallery.astype(np.float64).T).astype(dtype)
    is_correct = np.zeros(scores.shape, dtype=bool)
    is_correct[np.repeat(np.arange(1500), n_correct), indices] = True
    for ranks, lists, mask, owners, items in [
        (found[0], scores, is_correct, np.nonzero(is_correct)[0], indices),
        (found[1], scores.T, is_correct.T, indices, np.nonzero(is_correct)[0]),
    ]:
        for pair in range(0, len(ranks), 7):
            row, own = lists[owners[pair]], lists[owners[pair], items[pair]]
            wrong = np.count_nonzero((row >= own) & ~mask[owners[pair]])
            before = np.count_nonzero((row > own) & mask[owners[pair]])
            assert ranks[pair] == wrong + before + 1


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_ranks_do_not_depend_on_blocks_or_threads(monkeypatch, n_threads):
    rng = np.random.default_rng(1)
    # Every vector four times: whether copies tie must not depend on where they stand.
    queries = np.repeat(rng.normal(size=(90, 67)), 4, axis=0).astype(np.float32)
    gallery = rng.permutation(np.repeat(queries[::4], 4, axis=0) + np.float32(0.5))
    indptr, indices = np.arange(361), rng.integers(0, 360, 360)
    expected = count_ranks(queries, gallery, indptr, indices, both=True, n_threads=1)
    for query_block, gallery_block in [(7, 64), (64, 360), (360, 5)]:
        monkeypatch.setattr(_ranks, "QUERY_BLOCK", query_block)
        monkeypatch.setattr(_ranks, "GALLERY_BLOCK", gallery_block)
        found = count_ranks(
            queries, gallery, indptr, indices, both=True, n_threads=n_threads
        )
        np.testing.assert_array_equal(found, expected)


def test_copies_of_the_correct_item_tie_in_full():
    rng = np.random.default_rng(2)
    item = rng.normal(size=1280).astype(np.float32)
    gallery = np.repeat(item[np.newaxis], 4099, axis=0)
    queries = rng.normal(size=(37, 1280)).astype(np.float32)
    ranks = count_ranks(queries, gallery, np.arange(38), np.arange(37) * 110)
    np.testing.assert_array_equal(ranks, 4099)


def test_a_constant_map_finds_nothing():
    queries = np.ones((50, 8), dtype=np.float32)
    gallery = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    forward, backward = count_ranks(
        queries, gallery, np.arange(51), np.arange(50), both=True
    )
    assert sorted(forward) == list(range(1, 51))
    np.testing.assert_array_equal(backward, 50)


def test_correct_items_that_tie_take_consecutive_places():
    gallery = np.array([[1.0], [1.0], [1.0], [0.5]])
    ranks = count_ranks([[1.0]], gallery, [0, 2], [0, 1])
    # The wrong copy in row 2 comes first, the two correct ones after it.
    np.testing.assert_array_equal(ranks, [2, 3])


def test_ranks_agree_with_the_place_in_top_k():
    rng = np.random.default_rng(3)
    queries = rng.normal(size=(40, 16)).astype(np.float32)
    gallery = rng.normal(size=(300, 16)).astype(np.float32)
    _, rows = top_k(queries, gallery, 300)
    correct = rng.integers(0, 300, 40)
    ranks = count_ranks(queries, gallery, np.arange(41), correct)
    np.testing.assert_array_equal(rows[np.arange(40), ranks - 1], correct)


def test_memmaps_of_halves_are_read_in_blocks(tmp_path):
    rng = np.random.default_rng(4)
    gallery = rng.normal(size=(5000, 32)).astype(np.float16)
    np.save(tmp_path / "gallery.npy", gallery)
    mapped = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    queries = rng.normal(size=(60, 32)).astype(np.float32)
    indptr, indices = np.arange(61), rng.integers(0, 5000, 60)
    np.testing.assert_array_equal(
        count_ranks(queries, mapped, indptr, indices, both=True),
        count_ranks(queries, gallery.astype(np.float32), indptr, indices, both=True),
    )


def test_queries_without_a_correct_item_give_no_rank():
    ranks = count_ranks(np.eye(3), np.eye(3), [0, 0, 1, 1], [1])
    np.testing.assert_array_equal(ranks, [1])
    assert count_ranks(np.eye(3), np.eye(3), [0, 0, 0, 0], []).shape == (0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queries": np.ones(3)}, r"queries must be of shape \(n, d\)"),
        ({"gallery": np.ones((0, 2))}, "gallery must be of shape"),
        ({"gallery": np.ones((3, 5))}, "queries have 2 columns and the gallery 5"),
        (
            {"queries": np.full((3, 2), np.nan)},
            r"queries has NaN or infinite .* 3 of 3",
        ),
        ({"gallery": [["a", "b"]] * 3}, "gallery must hold real numbers"),
        ({"indptr": [0, 1]}, r"indptr must be of shape \(4,\)"),
        ({"indptr": [0, 2, 1, 3]}, "indptr must rise"),
        ({"indptr": [0.0, 1.0, 2.0, 3.0]}, "integers"),
        ({"indices": [0, 1, 3]}, "rows of a gallery of 3 items"),
        ({"indices": [-1, 1, 2]}, "rows of a gallery of 3 items"),
        ({"indptr": [0, 2, 3, 3], "indices": [1, 1, 2]}, "twice"),
        ({"n_threads": 0}, "n_threads must be at least 1"),
    ],
)
def test_bad_input_is_named(change, message):
    given = {
        "queries": np.ones((3, 2)),
        "gallery": np.ones((3, 2)),
        "indptr": [0, 1, 2, 3],
        "indices": [0, 1, 2],
    }
    with pytest.raises(ValueError, match=message):
        count_ranks(**(given | change))


def test_scores_within_rounding_tie_in_double_precision():
    gallery = np.array([[1 - 2 * np.finfo(float).eps, 0.0], [1.0, 0.0]])
    assert count_ranks([[1.0, 0.0]], gallery, [0, 1], [1]) == [2]
    gallery[0, 0] = 1 - 1e-13
    assert count_ranks([[1.0, 0.0]], gallery, [0, 1], [1]) == [1]


def test_owners_with_fewer_correct_items_are_left_out_of_the_comparison(monkeypatch):
    rng = np.random.default_rng(7)
    queries, gallery = (rng.normal(size=(n, 8)).astype(np.float32) for n in (40, 30))
    # One query of forty has a second and a third correct item.
    indptr = np.r_[0, np.arange(3, 43)]
    indices = np.r_[[0, 1, 2], rng.integers(0, 30, 39)]
    compared = []
    count = _ranks._count_reached

    def record(scores, bound, axis):
        compared.append(len(bound))
        return count(scores, bound, axis)

    monkeypatch.setattr(_ranks, "_count_reached", record)
    found = count_ranks(queries, gallery, indptr, indices, n_threads=1)
    # Two bounds on the best of each query, and on the others of the one alone.
    assert sorted(compared) == [1, 1, 1, 1, 40, 40]
    scores = queries[0] @ gallery.T
    best, second, third = -np.sort(-scores[:3])
    wrong = np.array([(scores[3:] >= own).sum() for own in (best, second, third)])
    np.testing.assert_array_equal(np.sort(found[:3]), wrong + [1, 2, 3])
