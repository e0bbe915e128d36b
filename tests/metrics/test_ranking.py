"""Metrics over ranks against ranx, definitions in use and loops."""

from __future__ import annotations

import numpy as np
import pytest
import ranx
from hypothesis import given, settings
from hypothesis import strategies as st

from skxmodal.metrics import (
    Ranks,
    RetrievalRanks,
    hit_rate_at_k,
    mean_average_precision,
    mean_reciprocal_rank,
    median_rank,
    ndcg_at_k,
    precision_at_k,
    r_sum,
    recall_at_k,
)
from skxmodal.metrics._protocol import rank_pairs
from skxmodal.metrics._ranking import value_of_queries

AT_K = {
    "hit_rate": hit_rate_at_k,
    "recall": recall_at_k,
    "precision": precision_at_k,
    "ndcg": ndcg_at_k,
    "map": mean_average_precision,
    "mrr": mean_reciprocal_rank,
}


def random_lists(seed, n_queries=40, n_items=30):
    """Ranks of several correct items a query, in lists that order all items."""
    rng = np.random.default_rng(seed)
    return [
        np.sort(rng.permutation(n_items)[: rng.integers(1, 9)] + 1).tolist()
        for _ in range(n_queries)
    ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 3, 10, 30])
def test_equal_to_ranx(seed, k):
    lists = random_lists(seed)
    correct = {
        f"q{query}": {f"item{rank}": 1 for rank in ranks}
        for query, ranks in enumerate(lists)
    }
    run = {
        name: {f"item{rank}": 100.0 - rank for rank in range(1, 31)} for name in correct
    }
    names = [f"{name}@{k}" for name in AT_K]
    expected = ranx.evaluate(ranx.Qrels(correct), ranx.Run(run), names)
    for name, metric in AT_K.items():
        assert metric(lists, k) == pytest.approx(expected[f"{name}@{k}"], abs=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_equal_to_loops(seed, k):
    lists = random_lists(seed, n_queries=7)
    n = len(lists)
    found = [[rank for rank in ranks if rank <= k] for ranks in lists]
    assert hit_rate_at_k(lists, k) == pytest.approx(sum(map(bool, found)) / n)
    assert recall_at_k(lists, k) == pytest.approx(
        sum(len(hits) / len(ranks) for hits, ranks in zip(found, lists, strict=True))
        / n
    )
    assert precision_at_k(lists, k) == pytest.approx(sum(map(len, found)) / k / n)
    assert median_rank(lists) == np.median([min(ranks) for ranks in lists])
    gains = [sum(1 / np.log2(rank + 1) for rank in hits) for hits in found]
    ideal = [
        sum(1 / np.log2(place + 1) for place in range(1, min(k, len(ranks)) + 1))
        for ranks in lists
    ]
    assert ndcg_at_k(lists, k) == pytest.approx(np.mean(np.divide(gains, ideal)))
    assert mean_reciprocal_rank(lists, k) == pytest.approx(
        np.mean([1 / hits[0] if hits else 0.0 for hits in found])
    )
    assert mean_reciprocal_rank(lists) == pytest.approx(
        np.mean([1 / min(ranks) for ranks in lists])
    )
    assert mean_average_precision(lists, k) == pytest.approx(
        np.mean(
            [
                sum((place + 1) / rank for place, rank in enumerate(hits)) / len(ranks)
                for hits, ranks in zip(found, lists, strict=True)
            ]
        )
    )
    assert mean_average_precision(lists) == pytest.approx(
        np.mean(
            [
                np.mean([(place + 1) / rank for place, rank in enumerate(ranks)])
                for ranks in lists
            ]
        )
    )


@given(st.integers(0, 2**32 - 1), st.integers(1, 29))
@settings(max_examples=40, deadline=None)
def test_more_places_never_find_less(seed, k):
    lists = random_lists(seed)
    for metric in (hit_rate_at_k, recall_at_k):
        assert metric(lists, k) <= metric(lists, k + 1)
    assert recall_at_k(lists, k) <= hit_rate_at_k(lists, k)
    assert recall_at_k(lists, 30) == hit_rate_at_k(lists, 30) == 1.0


def flickr_like():
    """12 pictures with 5 captions each in a shared space."""
    rng = np.random.default_rng(0)
    pictures = rng.normal(size=(12, 6))
    captions = np.repeat(pictures, 5, axis=0) + rng.normal(size=(60, 6))
    pictures /= np.linalg.norm(pictures, axis=1, keepdims=True)
    captions /= np.linalg.norm(captions, axis=1, keepdims=True)
    return captions, pictures, np.repeat(np.arange(12), 5)


def test_the_definition_of_karpathy():
    # Image to text: the best rank of the five captions, from a sort of each row;
    # text to image: the rank of the one picture. Recall is the share below K.
    captions, pictures, picture_of_caption = flickr_like()
    similarity = pictures @ captions.T
    best = np.empty(12)
    for picture in range(12):
        order = np.argsort(similarity[picture])[::-1]
        best[picture] = min(
            np.flatnonzero(order == caption)[0]
            for caption in range(5 * picture, 5 * picture + 5)
        )
    of_caption = np.empty(60)
    for caption in range(60):
        order = np.argsort(similarity[:, caption])[::-1]
        of_caption[caption] = np.flatnonzero(order == caption // 5)[0]
    found = rank_pairs(captions, pictures, picture_of_caption)
    assert 0.2 < np.mean(best < 1) < 0.9
    for k in (1, 5, 10):
        assert hit_rate_at_k(found.target_to_query, k) == np.mean(best < k)
        assert hit_rate_at_k(found.query_to_target, k) == np.mean(of_caption < k)
    assert median_rank(found.target_to_query) == np.median(best) + 1
    assert r_sum(found) == pytest.approx(
        100 * sum(np.mean(best < k) + np.mean(of_caption < k) for k in (1, 5, 10))
    )
    sides = [found.query_to_target, found.target_to_query]
    assert r_sum(sides) == r_sum(iter(sides)) == r_sum(found)
    assert r_sum(sides[:1], ks=[1]) == pytest.approx(100 * np.mean(of_caption < 1))


def test_the_definition_of_clip_benchmark():
    # There "recall" is the number of true positives in the first K over that of the
    # positives, and what is reported is whether it is above zero.
    captions, pictures, picture_of_caption = flickr_like()
    scores = captions @ pictures.T
    positive = picture_of_caption[:, np.newaxis] == np.arange(12)
    found = rank_pairs(captions, pictures, picture_of_caption)
    for k in (1, 5, 10):
        for lists, correct, ranks in [
            (scores, positive, found.query_to_target),
            (scores.T, positive.T, found.target_to_query),
        ]:
            top = np.argsort(-lists, axis=1)[:, :k]
            true_positive = np.take_along_axis(correct, top, axis=1).sum(axis=1)
            recall = true_positive / correct.sum(axis=1)
            assert hit_rate_at_k(ranks, k) == pytest.approx((recall > 0).mean())
            assert recall_at_k(ranks, k) == pytest.approx(recall.mean())


def test_one_rank_a_query_is_its_best_item():
    best = np.array([1, 4, 12])
    lists = [[1], [4], [12]]
    for metric in AT_K.values():
        assert metric(best, 5) == metric(lists, 5)
        assert metric(Ranks.of(best), 5) == metric(lists, 5)
        one = RetrievalRanks(query_to_target=Ranks.of(best))
        assert metric(one, 5) == metric(lists, 5)


def test_the_gallery_is_shown():
    ranks = Ranks.of([[1, 3], [2]], gallery_size=40)
    assert repr(ranks) == (
        "Ranks(n_queries=2, gallery_size=40, n_correct=1 to 2, hubness=None)"
    )
    np.testing.assert_array_equal(ranks.n_correct, [2, 1])
    np.testing.assert_array_equal(ranks.best, [1, 2])


@pytest.mark.parametrize("metric", AT_K.values())
@pytest.mark.parametrize("k", [0, -1, 2.5, True, "5"])
def test_k_must_count_places(metric, k):
    with pytest.raises(ValueError, match="k must be an integer of at least 1"):
        metric([1, 2], k)


@pytest.mark.parametrize("metric", AT_K.values())
def test_k_beyond_the_gallery_is_an_error(metric):
    ranks = Ranks.of([1, 2], gallery_size=5)
    metric(ranks, 5)
    with pytest.raises(ValueError, match="k=6 is more than the gallery's 5 items"):
        metric(ranks, 6)


@pytest.mark.parametrize(
    ("ranks", "message"),
    [
        ([0, 1], "integers from 1"),
        ([1.5, 2], "integers from 1"),
        ([float("nan")], "integers from 1"),
        ([], "There is no query"),
        ([[1], []], "1 of 2 queries have no correct item, the first is query 1"),
        ([[[1]]], "one rank, or a list of ranks"),
    ],
)
def test_bad_ranks_are_named(ranks, message):
    with pytest.raises(ValueError, match=message):
        hit_rate_at_k(ranks, 1)


def test_bad_numbers_beside_the_ranks_are_named():
    with pytest.raises(ValueError, match="A rank of 7 is beyond a gallery of 5"):
        Ranks.of([1, 7], gallery_size=5)
    with pytest.raises(ValueError, match="pictures must be 2 integers"):
        Ranks.of([1, 7], pictures=[0])
    both = RetrievalRanks(Ranks.of([1]), Ranks.of([1]))
    with pytest.raises(TypeError, match="hold both directions"):
        hit_rate_at_k(both, 1)


def test_ten_places_unless_told_otherwise():
    ranks = [[rank] for rank in (9, 10, 11, 12)]
    for name in ("hit_rate", "recall", "precision", "ndcg"):
        assert AT_K[name](ranks) == AT_K[name](ranks, 10) != AT_K[name](ranks, 11)
        assert AT_K[name](ranks, 9) != AT_K[name](ranks)


def test_an_unknown_metric_is_an_error_that_lists_the_known():
    ranks = Ranks.of([1, 2])
    with pytest.raises(ValueError, match=r"'hit_rate', 'ndcg', .*got 'hits'\."):
        value_of_queries(ranks, "hits", 1)


@pytest.mark.parametrize(
    "ranks", [[[1], [2, 2]], Ranks(np.array([3, 1]), np.array([0, 2]))]
)
def test_items_that_share_a_place_are_an_error(ranks):
    with pytest.raises(ValueError, match=r"ranks of query [01] do not rise, or two"):
        recall_at_k(ranks, 2)


def test_ranks_of_ranks_keep_what_they_hold():
    ranks = Ranks.of(
        [1, 2],
        gallery_size=9,
        pictures=[3, 3],
        hubness="CSLS, inductive",
        direction="target_to_query",
    )
    same = Ranks.of(ranks)
    assert repr(same) == repr(ranks)
    assert same.direction == "target_to_query"
    np.testing.assert_array_equal(same.pictures, [3, 3])
    assert Ranks.of(ranks, gallery_size=8).gallery_size == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.5], [0, 1]), "ranks must be a one-dimensional array of integers"),
        (([1, 2], [0, 1]), "indptr must rise from 0 to the 2 ranks"),
        (([1, 2], [0, 2, 1, 2]), "indptr must rise from 0 to the 2 ranks"),
        (([5], [0, 1], 3), "A rank of 5 is beyond a gallery of 3"),
        (([1], [0, 1], 3, [0, 1]), "pictures must be 1 integers"),
        (([1], [0, 1], 3, None, None, "both"), "direction must be None or one of"),
    ],
)
def test_ranks_whose_arrays_do_not_fit_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        Ranks(*arguments)


def test_lists_are_taken_as_arrays():
    assert hit_rate_at_k(Ranks([1, 2, 3], [0, 1, 3]), 1) == 0.5


def test_what_is_no_ranks_is_named():
    with pytest.raises(TypeError, match="for each query; got 3"):
        hit_rate_at_k(3)
    one = Ranks.of([1, 2], direction="target_to_query")
    for ranks in (one, RetrievalRanks(target_to_query=one), 3):
        message = (
            "^r_sum needs the ranks of both directions, as RetrievalRanks or as a "
            "sequence of two; got "
        )
        with pytest.raises(TypeError, match=message):
            r_sum(ranks)
    with pytest.raises(ValueError, match="direction 'target_to_query', not of 'query"):
        RetrievalRanks(query_to_target=one)
