"""Scorers inside scikit-learn's model selection."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    KFold,
    cross_val_score,
    cross_validate,
    learning_curve,
    permutation_test_score,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skxmodal import (
    CrossModalRetriever,
    LeastSquaresMapper,
    ProcrustesMapper,
    RecallScorer,
    RetrievalScorer,
)
from skxmodal.metrics import median_rank, r_sum, retrieval_ranks, retrieval_report
from skxmodal.neighbors import CSLS


@pytest.fixture(scope="module")
def pairs():
    """60 pictures with 3 captions each, their embeddings, and the pictures' numbers."""
    rng = np.random.default_rng(0)
    latent = np.repeat(rng.normal(size=(60, 5)), 3, axis=0)
    X = latent @ rng.normal(size=(5, 8)) + 0.7 * rng.normal(size=(180, 8))
    y = (latent @ rng.normal(size=(5, 10)))[::3] + 0.3 * rng.normal(size=(60, 10))
    return X, np.repeat(y, 3, axis=0), np.repeat(np.arange(60), 3)


def loop_over_queries(estimator, X, y, groups, k):
    """Hit rate of both directions by cosine, sorts and loops."""
    queries, targets = estimator.transform(X), estimator.transform_target(y)
    pictures = np.unique(groups)
    gallery = np.stack([targets[groups == picture][0] for picture in pictures])
    cosine = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ (
        gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    ).T
    forward = [
        groups[row] in pictures[np.argsort(-cosine[row])[:k]] for row in range(len(X))
    ]
    backward = [
        picture in groups[np.argsort(-cosine[:, column])[:k]]
        for column, picture in enumerate(pictures)
    ]
    return np.mean(forward), np.mean(backward)


@pytest.mark.parametrize("k", [1, 5, 60])
def test_scores_equal_loops(pairs, k):
    X, y, groups = pairs
    mapper = ProcrustesMapper().fit(X, y)
    forward, backward = loop_over_queries(mapper, X, y, groups, k)
    assert RecallScorer(k)(mapper, X, y) == pytest.approx(forward)
    scorer = RecallScorer(k, direction="target_to_query")
    assert scorer(mapper, X, y, groups=groups) == pytest.approx(backward)
    both = RecallScorer(k, direction="both")(mapper, X, y)
    assert both == pytest.approx((forward + backward) / 2)
    scores = RetrievalScorer(ks=[k])(mapper, X, y)
    assert scores[f"query_to_target_hit_rate_at_{k}"] == pytest.approx(forward)
    assert scores[f"target_to_query_hit_rate_at_{k}"] == pytest.approx(backward)
    assert scores["r_sum"] == pytest.approx(100 * (forward + backward))
    assert scores["query_to_target_gallery_size"] == 60
    assert scores["target_to_query_gallery_size"] == 180
    assert scores["query_to_target_n_correct"] == 1
    assert scores["target_to_query_n_correct"] == 3


def test_hit_rate_and_recall_are_two_metrics(pairs):
    X, y, _ = pairs
    mapper = LeastSquaresMapper().fit(X, y)
    hit_rate, recall, precision, ndcg = (
        RecallScorer(5, direction="target_to_query", metric=metric)(mapper, X, y)
        for metric in ("hit_rate", "recall", "precision", "ndcg")
    )
    assert hit_rate > recall
    assert precision == pytest.approx(recall * 3 / 5)
    assert 0 < ndcg < 1


def test_estimators_are_opened(pairs):
    X, y, _ = pairs
    scorer = RecallScorer(5)
    mapper = LeastSquaresMapper().fit(StandardScaler().fit_transform(X), y)
    expected = scorer(mapper, StandardScaler().fit_transform(X), y)
    pipeline = make_pipeline(StandardScaler(), LeastSquaresMapper()).fit(X, y)
    assert scorer(pipeline, X, y) == expected
    assert scorer(FrozenEstimator(pipeline), X, y) == expected
    nested = Pipeline([("outer", pipeline)])
    assert scorer(nested, X, y) == expected
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LeastSquaresMapper()),
        {"leastsquaresmapper__alpha": [0]},
        scoring=scorer,
        cv=KFold(2),
    ).fit(X, y)
    assert scorer(search, X, y) == expected
    assert search.score(X, y) == expected
    with pytest.raises(TypeError, match=r"maps both sides.*got StandardScaler"):
        scorer(StandardScaler().fit(X), X, y)


def test_cross_validate_with_and_without_routing(pairs):
    X, y, groups = pairs
    cv = GroupKFold(4)
    scorer = RetrievalScorer((1, 5))
    plain = cross_validate(
        LeastSquaresMapper(), X, y, groups=groups, cv=cv, scoring=scorer
    )
    with sklearn.config_context(enable_metadata_routing=True):
        routed = cross_validate(
            LeastSquaresMapper().set_fit_request(groups=False),
            X,
            y,
            params={"groups": groups},
            cv=cv,
            scoring=scorer.set_score_request(groups=True),
        )
    assert {key for key in plain if key.startswith("test_")} >= {
        "test_query_to_target_hit_rate_at_5",
        "test_target_to_query_gallery_size",
        "test_r_sum",
    }
    np.testing.assert_array_equal(plain["test_query_to_target_gallery_size"], 15)
    for key in plain:
        if key.startswith("test_"):
            np.testing.assert_array_equal(plain[key], routed[key])


def test_grid_search_with_and_without_routing(pairs):
    X, y, groups = pairs
    grid = {
        "mapper": [LeastSquaresMapper(), ProcrustesMapper()],
        "hubness": [None, CSLS(3)],
    }
    plain = GridSearchCV(
        CrossModalRetriever(), grid, cv=GroupKFold(3), scoring=RecallScorer(3)
    ).fit(X, y, groups=groups)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = GridSearchCV(
            CrossModalRetriever().set_fit_request(groups=True),
            grid,
            cv=GroupKFold(3),
            scoring=RecallScorer(3).set_score_request(groups=True),
        ).fit(X, y, groups=groups)
        assert routed.score(X, y, groups=groups) == plain.score(X, y)
    for key in ("mean_test_score", "std_test_score", "rank_test_score"):
        np.testing.assert_array_equal(plain.cv_results_[key], routed.cv_results_[key])
    assert len(set(plain.cv_results_["mean_test_score"])) > 1


def test_a_dict_of_metrics_feeds_a_search(pairs):
    X, y, groups = pairs
    search = GridSearchCV(
        LeastSquaresMapper(),
        {"alpha": [0.0, 0.1, 1.0]},
        scoring=RetrievalScorer(ks=(1, 5)),
        refit="query_to_target_hit_rate_at_5",
        cv=GroupKFold(3),
    ).fit(X, y, groups=groups)
    results = search.cv_results_
    best = results["mean_test_query_to_target_hit_rate_at_5"].argmax()
    assert search.best_index_ == best
    np.testing.assert_array_equal(results["mean_test_target_to_query_gallery_size"], 60)


def test_halving_search(pairs):
    X, y, _ = pairs
    search = HalvingGridSearchCV(
        LeastSquaresMapper(),
        {"alpha": [0.0, 0.01, 0.1, 1.0]},
        scoring=RecallScorer(3),
        cv=KFold(3),
        min_resources=60,
        random_state=0,
    ).fit(X, y)
    assert search.n_iterations_ == 2
    assert np.all(np.isfinite(search.cv_results_["mean_test_score"]))


def test_learning_curve(pairs):
    X, y, groups = pairs
    _, train, test = learning_curve(
        LeastSquaresMapper(),
        X,
        y,
        groups=groups,
        cv=GroupKFold(3),
        train_sizes=[0.2, 1.0],
        scoring=RecallScorer(3),
    )
    assert np.all(np.isfinite(train))
    assert test[1].mean() > test[0].mean()


def test_permuted_pairs_score_as_chance(pairs):
    X, y, _ = pairs
    score, permuted, p_value = permutation_test_score(
        LeastSquaresMapper(),
        X[::3],
        y[::3],
        scoring=RecallScorer(5),
        cv=KFold(3),
        n_permutations=30,
        random_state=0,
    )
    assert score > 0.7
    # Five of the twenty pictures of a fold.
    assert abs(permuted.mean() - 0.25) < 0.06
    assert p_value == pytest.approx(1 / 31)


def test_permutation_within_pictures_changes_nothing(pairs):
    X, y, groups = pairs
    score, permuted, p_value = permutation_test_score(
        LeastSquaresMapper(),
        X,
        y,
        groups=groups,
        scoring=RecallScorer(5),
        cv=GroupKFold(3),
        n_permutations=3,
    )
    np.testing.assert_array_equal(permuted, score)
    assert p_value == 1.0


def test_k_beyond_the_fold_is_an_error(pairs):
    X, y, groups = pairs
    with pytest.raises(ValueError, match="k=21 is more than the gallery's 20 items"):
        cross_val_score(
            LeastSquaresMapper(),
            X,
            y,
            groups=groups,
            cv=GroupKFold(3),
            scoring=RecallScorer(21),
            error_score="raise",
        )


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        (RecallScorer(direction="up"), "direction must be one of"),
        (RetrievalScorer(directions="text"), "direction must be one of"),
        (RecallScorer(metric="auc"), "metric must be one of"),
        (RecallScorer(k=0), "k must be an integer of at least 1"),
    ],
)
def test_bad_parameters_are_named(pairs, scorer, message):
    X, y, _ = pairs
    with pytest.raises(ValueError, match=message):
        scorer(LeastSquaresMapper().fit(X, y), X, y)


def test_rows_must_be_aligned(pairs):
    X, y, groups = pairs
    mapper = LeastSquaresMapper().fit(X, y)
    with pytest.raises(ValueError, match="X has 180 rows and y 179"):
        retrieval_ranks(mapper, X, y[1:])
    with pytest.raises(ValueError, match="groups has 5 labels for 180 rows"):
        retrieval_ranks(mapper, X, y, groups[:5])


def test_groups_of_several_pictures_are_warned_of(pairs):
    X, y, groups = pairs
    mapper = LeastSquaresMapper().fit(X, y)
    with pytest.warns(UserWarning, match="30 of the 30 groups hold targets of differ"):
        ranks = retrieval_ranks(mapper, X, y, groups // 2).query_to_target
    assert ranks.gallery_size == 30


def test_items_without_content_are_told_by_their_groups(pairs):
    X, y, groups = pairs

    class Boxed(LeastSquaresMapper):
        def transform_target(self, y):
            return super().transform_target(np.array([box["vector"] for box in y]))

    mapper = Boxed().fit(X, y)
    boxes = [{"vector": vector} for vector in y]
    expected = retrieval_ranks(LeastSquaresMapper().fit(X, y), X, y, groups)
    found = retrieval_ranks(mapper, X, boxes, groups)
    np.testing.assert_array_equal(
        found.query_to_target.ranks, expected.query_to_target.ranks
    )
    with pytest.raises(TypeError, match="Row 0"):
        retrieval_ranks(mapper, X, boxes)


def test_scorers_are_cloned_and_shown():
    scorer = RecallScorer(5, direction="both")
    assert clone(scorer).get_params() == scorer.get_params()
    assert repr(scorer) == "RecallScorer(direction='both', k=5)"


@pytest.mark.parametrize("direction", ["query_to_target", "target_to_query"])
def test_one_direction_alone_equals_both(pairs, direction):
    X, y, _ = pairs
    for hubness in (None, CSLS(4), CSLS(4, bank="queries")):
        search = CrossModalRetriever(ProcrustesMapper(), hubness=hubness).fit(X, y)
        both = getattr(retrieval_ranks(search, X, y), direction)
        alone = getattr(retrieval_ranks(search, X, y, direction=direction), direction)
        np.testing.assert_array_equal(both.ranks, alone.ranks)
        np.testing.assert_array_equal(both.indptr, alone.indptr)
        assert both.hubness == alone.hubness
    assert both.hubness == "CSLS, transductive"


def test_ranks_of_a_corrected_retriever_are_those_of_its_search(pairs):
    X, y, groups = pairs
    search = CrossModalRetriever(ProcrustesMapper(), hubness=CSLS(4))
    search.fit(X[:90], y[:90]).index(y[90:])
    rows = search.kneighbors(X[90:], n_neighbors=30, return_distance=False)
    ranks = retrieval_ranks(search, X[90:], y[90:], direction="query_to_target")
    own = groups[90:] - 30
    places = np.argmax(rows == own[:, np.newaxis], axis=1) + 1
    np.testing.assert_array_equal(ranks.query_to_target.best, places)
    assert ranks.query_to_target.hubness == "CSLS, inductive"


def test_larger_is_better_in_every_metric_of_a_search(pairs):
    X, y, groups = pairs
    search = GridSearchCV(
        LeastSquaresMapper(),
        {"alpha": [1e-3, 1e6]},
        scoring=RetrievalScorer(ks=(1, 5)),
        refit="query_to_target_neg_median_rank",
        cv=GroupKFold(3),
    ).fit(X, y, groups=groups)
    found = retrieval_ranks(LeastSquaresMapper().fit(X, y), X, y).query_to_target
    scores = RetrievalScorer(ks=[1])(LeastSquaresMapper().fit(X, y), X, y)
    assert scores["query_to_target_neg_median_rank"] == -median_rank(found)
    results = search.cv_results_
    hits = results["mean_test_query_to_target_hit_rate_at_5"]
    assert search.best_index_ == hits.argmax()


@pytest.mark.parametrize(
    ("ks", "error", "message"),
    [
        (5, TypeError, "ks must be a sequence of integers"),
        ((), ValueError, "at least one k, and each once"),
        ((1, 1), ValueError, "at least one k, and each once"),
    ],
)
def test_numbers_of_places_are_a_sequence_without_repeats(pairs, ks, error, message):
    X, y, _ = pairs
    mapper = LeastSquaresMapper().fit(X, y)
    with pytest.raises(error, match=message):
        RetrievalScorer(ks=ks)(mapper, X, y)
    with pytest.raises(error, match=message):
        retrieval_report(mapper, X, y, ks=ks)
    with pytest.raises(error, match=message):
        r_sum(retrieval_ranks(mapper, X, y), ks)


def test_one_picture_in_several_groups_is_warned_of(pairs):
    X, y, _ = pairs
    mapper = LeastSquaresMapper().fit(X, y)
    with pytest.warns(UserWarning, match="180 groups are shown by 60 different") as got:
        score = RecallScorer(1)(mapper, X, y, groups=np.arange(len(X)))
    assert score == 0
    assert got[0].filename == __file__
