"""Reports, their intervals, and comparisons of two retrievers."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from scipy.stats import bootstrap, permutation_test

from skxmodal import CrossModalRetriever, LeastSquaresMapper, ProcrustesMapper
from skxmodal.metrics import (
    Ranks,
    RetrievalRanks,
    RetrievalScorer,
    compare_retrievers,
    hit_rate_at_k,
    retrieval_ranks,
    retrieval_report,
)
from skxmodal.metrics._bootstrap import interval_of_means, sums_of_pictures
from skxmodal.metrics._protocol import rank_pairs
from skxmodal.metrics._report import chance_of_hit


def embedded_captions(seed, n_pictures=200, n_captions=5):
    """Captions around their picture, those of one picture off in one direction."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n_pictures, 16))
    blur = np.repeat(latent + 0.8 * rng.normal(size=latent.shape), n_captions, axis=0)
    captions = blur + 0.8 * rng.normal(size=blur.shape)
    captions /= np.linalg.norm(captions, axis=1, keepdims=True)
    pictures = latent / np.linalg.norm(latent, axis=1, keepdims=True)
    return captions, pictures, np.repeat(np.arange(n_pictures), n_captions)


@pytest.fixture(scope="module")
def fitted():
    """A retriever with a test set of 80 pictures and 3 captions each."""
    rng = np.random.default_rng(0)
    latent = np.repeat(rng.normal(size=(200, 6)), 3, axis=0)
    X = latent @ rng.normal(size=(6, 8)) + rng.normal(size=(600, 8))
    y = latent @ rng.normal(size=(6, 10))
    search = CrossModalRetriever(LeastSquaresMapper(), hubness="csls")
    return search.fit(X[:360], y[:360]), X[360:], y[360:]


def test_intervals_cover_the_expected_recall():
    # Pictures, captions and gallery are drawn anew 500 times; the expected recall is
    # the mean over 20,000 other draws, known to 0.0002.
    expected = 0.6837
    covered = {"pictures": 0, "captions": 0}
    for seed in range(500):
        side = rank_pairs(*embedded_captions(seed, 100)).query_to_target
        hits = (side.best <= 1).astype(float)[:, np.newaxis]
        by_picture = sums_of_pictures(side, hits)
        by_caption = hits, np.ones(len(hits))
        for unit, sums in zip(covered, (by_picture, by_caption), strict=True):
            low, high = interval_of_means(
                *sums,
                n_resamples=999,
                confidence_level=0.95,
                rng=np.random.default_rng(seed),
            )
            covered[unit] += int(low[0] <= expected <= high[0])
    assert 0.93 <= covered["pictures"] / 500 <= 0.97, covered
    assert covered["captions"] / 500 < 0.9, covered


def test_intervals_equal_scipy_on_one_query_a_picture():
    rng = np.random.default_rng(1)
    ranks = Ranks.of(rng.integers(1, 30, 300), gallery_size=30)
    report = retrieval_report(
        RetrievalRanks(ranks), ks=[5], output="dict", n_resamples=20_000
    )
    hits = (ranks.best <= 5).astype(float)
    peer = bootstrap((hits,), np.mean, method="BCa", n_resamples=20_000, rng=rng)
    ours = report["query_to_target"]["metrics"]["hit_rate_at_5"]
    assert ours["low"] == pytest.approx(peer.confidence_interval.low, abs=0.004)
    assert ours["high"] == pytest.approx(peer.confidence_interval.high, abs=0.004)
    peer = bootstrap(
        (ranks.best,), np.median, method="percentile", n_resamples=20_000, rng=rng
    )
    ours = report["query_to_target"]["metrics"]["median_rank"]
    assert ours["low"] == pytest.approx(peer.confidence_interval.low, abs=1)
    assert ours["high"] == pytest.approx(peer.confidence_interval.high, abs=1)


def test_intervals_widen_with_confidence_and_shrink_with_pictures():
    def width(n_pictures, level):
        ranks = rank_pairs(*embedded_captions(3, n_pictures))
        report = retrieval_report(ranks, ks=[1], output="dict", confidence_level=level)[
            "query_to_target"
        ]["metrics"]["hit_rate_at_1"]
        assert report["low"] < report["value"] < report["high"]
        return report["high"] - report["low"]

    assert width(60, 0.99) > width(60, 0.95) > width(60, 0.5)
    assert width(60, 0.95) > width(240, 0.95)


def test_a_perfect_score_has_an_interval():
    report = retrieval_report(
        RetrievalRanks(Ranks.of([1] * 50, gallery_size=50)), ks=[1], output="dict"
    )
    hit_rate = report["query_to_target"]["metrics"]["hit_rate_at_1"]
    # With 50 successes of 50, Clopper and Pearson.
    assert hit_rate["low"] == pytest.approx(0.025 ** (1 / 50))
    assert hit_rate["high"] == 1.0
    report = retrieval_report(
        RetrievalRanks(Ranks.of([50] * 50, gallery_size=50)), ks=[1], output="dict"
    )
    hit_rate = report["query_to_target"]["metrics"]["hit_rate_at_1"]
    assert hit_rate["high"] == pytest.approx(1 - 0.025 ** (1 / 50))
    assert hit_rate["low"] == 0.0


def test_chance_is_the_hit_rate_of_random_orders():
    rng = np.random.default_rng(4)
    lists = [
        np.sort(rng.permutation(20)[:n_correct] + 1)
        for n_correct in rng.integers(1, 20, 40)
    ]
    ranks = Ranks.of(lists, gallery_size=20)
    shuffled = [
        np.mean([rng.permutation(20)[: len(correct)].min() < 3 for correct in lists])
        for _ in range(4000)
    ]
    assert chance_of_hit(ranks, 3) == pytest.approx(np.mean(shuffled), abs=0.005)
    assert chance_of_hit(Ranks.of([1, 2], gallery_size=1000), 10) == pytest.approx(0.01)
    assert chance_of_hit(ranks, 20) == 1.0
    assert chance_of_hit(Ranks.of([1]), 1) is None


def test_text_names_what_was_measured(fitted):
    search, X, y = fitted
    text = retrieval_report(search, X, y)
    ranks = retrieval_ranks(search, X, y)
    assert "240 queries of 80 pictures (3 each), gallery of 80, 1 correct each" in text
    assert "80 queries, gallery of 240, 3 correct each" in text
    assert text.count("corrected for hubness: CSLS, inductive") == 2
    assert text.count("95% interval") == 2
    value = f"{100 * hit_rate_at_k(ranks.query_to_target, 10):.1f}%"
    [line, _] = [line for line in text.splitlines() if line.startswith("R@10")]
    assert line.split()[1] == value
    assert line.split()[-1] == "12.5%"
    search = CrossModalRetriever(LeastSquaresMapper()).fit(X, y)
    assert "hubness" not in retrieval_report(search, X, y)


def test_transductive_corrections_are_named(fitted):
    _, X, y = fitted
    from skxmodal.neighbors import CSLS

    search = CrossModalRetriever(hubness=CSLS(bank="queries")).fit(X, y)
    assert retrieval_report(search, X, y).count("CSLS, transductive") == 2


def test_dict_and_table_hold_the_same(fitted):
    search, X, y = fitted
    report = retrieval_report(search, X, y, ks=(1, 5), output="dict")
    table = retrieval_report(search, X, y, ks=(1, 5), output="pandas")
    assert report["query_to_target"]["n_pictures"] == 80
    assert report["target_to_query"]["n_correct"] == {"min": 3, "mean": 3.0, "max": 3}
    assert report["confidence_level"] == 0.95
    assert len(table) == 8
    for _, row in table.iterrows():
        side = report[row["direction"]]
        numbers = side["metrics"][row["metric"]]
        for name in ("value", "low", "high"):
            assert row[name] == numbers[name]
        assert row["gallery_size"] == side["gallery_size"]
        assert row["hubness"] == "CSLS, inductive"
    one = retrieval_report(search, X, y, output="dict", direction="target_to_query")
    assert "query_to_target" not in one
    assert "r_sum" not in one
    table = retrieval_report(search, X, y, output="pandas", direction="target_to_query")
    assert set(table["direction"]) == {"target_to_query"}


def test_ranks_of_one_direction_are_reported_as_that_of_both(fitted):
    search, X, y = fitted
    found = retrieval_ranks(search, X, y)
    # A generator goes on from where it is, which for the first time is the same.
    one, both = (
        retrieval_report(
            ranks, output="dict", random_state=np.random.default_rng(3), ks=(1, 5)
        )
        for ranks in (
            found.query_to_target,
            RetrievalRanks(query_to_target=found.query_to_target),
        )
    )
    assert one == both
    assert set(one) & {"query_to_target", "target_to_query"} == {"query_to_target"}


def test_scorer_of_one_direction_has_no_sum_of_both(fitted):
    search, X, y = fitted
    scorer = RetrievalScorer(ks=(1, 5), directions="target_to_query")
    scores = scorer(search, X, y)
    assert "r_sum" not in scores
    assert all(name.startswith("target_to_query") for name in scores)
    both = RetrievalScorer(ks=(1, 5))(search, X, y)
    assert both.items() >= scores.items()


def test_the_same_seed_gives_the_same_report(fitted):
    search, X, y = fitted
    assert retrieval_report(search, X, y) == retrieval_report(search, X, y)
    other = retrieval_report(search, X, y, random_state=1)
    assert other != retrieval_report(search, X, y)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"output": "html"}, ValueError, "output must be one of"),
        ({"n_resamples": 10}, ValueError, "at least 100, got 10"),
        ({"confidence_level": 95}, ValueError, "between 0 and 1, got 95"),
        ({"ks": (1, 81)}, ValueError, "k=81 is more than the gallery's 80"),
        ({"y": None, "X": None}, TypeError, "Give a fitted estimator with X and y"),
    ],
)
def test_bad_input_is_named(fitted, change, error, message):
    search, X, y = fitted
    with pytest.raises(error, match=message):
        retrieval_report(**({"estimator": search, "X": X, "y": y} | change))


def test_comparison_equals_scipy():
    rng = np.random.default_rng(5)
    a, b = rng.integers(1, 20, 60), rng.integers(3, 22, 60)
    result = compare_retrievers(
        RetrievalRanks(Ranks.of(a, gallery_size=30)),
        RetrievalRanks(Ranks.of(b, gallery_size=30)),
        n_resamples=20_000,
    )
    hits = (a <= 10).astype(float), (b <= 10).astype(float)
    peer = permutation_test(
        hits,
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
        rng=rng,
    )
    assert result.difference == pytest.approx(peer.statistic)
    assert result.p_value == pytest.approx(peer.pvalue, abs=0.02)
    interval = bootstrap(
        hits,
        lambda x, y, axis: np.mean(x - y, axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        rng=rng,
    ).confidence_interval
    assert result.low == pytest.approx(interval.low, abs=0.001)
    assert result.high == pytest.approx(interval.high, abs=0.001)


def test_pictures_are_exchanged_whole():
    # Five captions that succeed together are one piece of evidence.
    a = np.repeat([1, 1, 1, 1, 1, 9], 5)
    b = np.repeat([9, 9, 9, 9, 9, 1], 5)
    sides = [
        RetrievalRanks(
            Ranks.of(ranks, gallery_size=9, pictures=np.repeat(np.arange(6), 5))
        )
        for ranks in (a, b)
    ]
    result = compare_retrievers(*sides, k=1, n_resamples=20_000)
    assert result.n_pictures == 6
    # 14 of the 64 exchanges differ as much.
    assert result.p_value == pytest.approx(14 / 64, abs=0.02)


def test_p_values_are_uniform_where_nothing_differs():
    p_values = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        good = rng.random(60)
        sides = [
            RetrievalRanks(
                Ranks.of(
                    np.where(rng.random(180) < np.repeat(good, 3), 1, 50),
                    gallery_size=50,
                    pictures=np.repeat(np.arange(60), 3),
                )
            )
            for _ in range(2)
        ]
        p_values.append(compare_retrievers(*sides, k=1, n_resamples=499).p_value)
    assert 0.01 <= np.mean(np.array(p_values) <= 0.05) <= 0.1
    assert 0.4 <= np.mean(np.array(p_values) <= 0.5) <= 0.6


def test_comparison_of_estimators_in_both_directions(fitted):
    search, X, y = fitted
    other = CrossModalRetriever(ProcrustesMapper()).fit(X, y)
    result = compare_retrievers(search, other, X, y, k=5, direction="both")
    assert result.a - result.b == pytest.approx(result.difference)
    assert result.low <= result.difference <= result.high
    assert result.gallery_size == {"query_to_target": 80, "target_to_query": 240}
    assert "hit_rate@5, both, 80 pictures, gallery of 80 and 240" in str(result)
    assert "a CSLS, inductive, b None" in str(result)
    same = compare_retrievers(search, search, X, y, k=5)
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)


def test_other_queries_are_an_error():
    a = RetrievalRanks(Ranks.of([1, 2], gallery_size=9))
    with pytest.raises(ValueError, match="not ranked on the same queries"):
        compare_retrievers(a, RetrievalRanks(Ranks.of([1, 2], gallery_size=8)), k=1)
    with pytest.raises(ValueError, match="not ranked on the same queries"):
        compare_retrievers(a, RetrievalRanks(Ranks.of([1], gallery_size=9)), k=1)
    with pytest.raises(ValueError, match="lack the direction 'target_to_query'"):
        compare_retrievers(a, a, k=1, direction="both")


def test_ranks_of_one_direction_keep_its_name(fitted):
    search, X, y = fitted
    found = retrieval_ranks(search, X, y)
    text = retrieval_report(found.target_to_query)
    assert text.startswith(
        "target to query (image to text)\n80 queries, gallery of 240"
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"direction": "up"}, ValueError, "direction must be one of"),
        ({"direction": "target_to_query"}, ValueError, r"lack .*\['query_to_target'\]"),
        ({"groups": [1, 2]}, TypeError, "without groups"),
        ({"estimator": RetrievalRanks()}, ValueError, "they hold none"),
        ({"digits": "a"}, ValueError, "digits must be an integer"),
    ],
)
def test_bad_input_beside_ranks_is_named(change, error, message):
    ranks = RetrievalRanks(query_to_target=Ranks.of([1, 2], gallery_size=9))
    with pytest.raises(error, match=message):
        retrieval_report(**({"estimator": ranks, "ks": [1]} | change))


def test_one_direction_of_ranks_can_be_chosen(fitted):
    search, X, y = fitted
    ranks = retrieval_ranks(search, X, y)
    one = retrieval_report(ranks, direction="target_to_query", output="dict")
    assert set(one) == {"target_to_query", "confidence_level"}


@pytest.mark.parametrize("size", [10**3, 10**7, 10**8, 10**12])
@pytest.mark.parametrize("n_correct", [1, 5])
def test_chance_keeps_its_digits_in_large_galleries(size, n_correct):
    ranks = Ranks.of([np.arange(1, n_correct + 1)], gallery_size=size)
    for k in (1, 10, 900):
        miss = Fraction(comb(size - n_correct, k), comb(size, k))
        expected = float(1 - miss)
        assert chance_of_hit(ranks, k) == pytest.approx(expected, rel=1e-12)


def test_one_picture_has_no_interval():
    ranks = Ranks.of([1, 1, 4], gallery_size=9, pictures=[0, 0, 0])
    with pytest.warns(UserWarning, match="one picture") as caught:
        report = retrieval_report(ranks, ks=[1], output="dict")
    assert caught[0].filename == __file__
    for numbers in report["query_to_target"]["metrics"].values():
        assert np.isnan([numbers["low"], numbers["high"]]).all()
    other = Ranks.of([1, 2, 4], gallery_size=9, pictures=[0, 0, 0])
    with pytest.warns(UserWarning, match="one picture"):
        result = compare_retrievers(RetrievalRanks(ranks), RetrievalRanks(other), k=1)
    assert result.difference == pytest.approx(1 / 3)
    assert np.isnan([result.low, result.high]).all()


def test_pictures_that_are_all_alike_are_said_to_be():
    ranks = Ranks.of([1, 4] * 30, gallery_size=9, pictures=np.repeat(np.arange(30), 2))
    text = retrieval_report(ranks, ks=[1])
    [line] = [line for line in text.splitlines() if line.startswith("R@1")]
    assert line.split() == ["R@1", "50.0%", "no", "spread", "11.1%"]


def test_both_directions_must_be_of_the_same_pictures():
    def ranks(pictures):
        return RetrievalRanks(
            Ranks.of([1, 2, 1, 2], gallery_size=9, pictures=[5, 5, 3, 3]),
            Ranks.of([1] * len(pictures), gallery_size=9, pictures=pictures),
        )

    for pictures in ([7, 8], [3, 5, 7]):
        one = ranks(pictures)
        with pytest.raises(ValueError, match="two directions are of different picture"):
            compare_retrievers(one, one, k=1, direction="both")
    one = ranks([3, 5])
    assert compare_retrievers(one, one, k=1, direction="both").n_pictures == 2


def test_the_table_has_what_the_text_says(fitted):
    search, X, y = fitted
    table = retrieval_report(search, X, y, output="pandas", confidence_level=0.9)
    report = retrieval_report(search, X, y, output="dict", confidence_level=0.9)
    assert set(table["confidence_level"]) == {0.9}
    assert set(table["r_sum"]) == {report["r_sum"]}
    forward = table[table["direction"] == "query_to_target"]
    assert set(forward["queries_per_picture"]) == {3.0}
