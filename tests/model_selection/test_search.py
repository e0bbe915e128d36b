"""MapperSearchCV against GridSearchCV on the same candidates and splits."""

from __future__ import annotations

import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning, UnsetMetadataPassedError
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    ShuffleSplit,
    cross_val_score,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skxmodal import (
    CCAMapper,
    CrossModalRetriever,
    LeastSquaresMapper,
    ProcrustesMapper,
    RecallScorer,
    RelativeMapper,
    RetrievalScorer,
)
from skxmodal.model_selection import LeakageWarning, MapperSearchCV, _ordinary_fits
from skxmodal.neighbors import CSLS, _blocks
from skxmodal.neighbors._blas import one_thread

# Scores of leaking splits are compared too, as GridSearchCV has them.
pytestmark = pytest.mark.filterwarnings("ignore::skxmodal.metrics.LeakageWarning")

N_PICTURES, N_CAPTIONS = 60, 2

MAPPERS = [
    {"mapper": [LeastSquaresMapper()], "mapper__alpha": [0.0, 0.01, 0.1, 1.0]},
    {"mapper": [LeastSquaresMapper(x_whiten=0.5)], "mapper__alpha": [0.1, 1.0]},
    {"mapper": [LeastSquaresMapper(y_whiten=0.5)], "mapper__alpha": [0.1]},
    {"mapper": [ProcrustesMapper(), ProcrustesMapper(scaling=True)]},
    {"mapper": [CCAMapper()], "mapper__n_components": [2, 4, None]},
]


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((N_PICTURES, 5))
    pictures = latent @ rng.standard_normal((5, 9)) + 2
    pictures += 0.3 * rng.standard_normal(pictures.shape)
    groups = rng.permutation(np.repeat(np.arange(N_PICTURES), N_CAPTIONS))
    captions = latent[groups] @ rng.standard_normal((5, 7))
    captions += 0.5 * rng.standard_normal(captions.shape)
    return captions, pictures[groups], groups


def assert_equal_results(ours, reference, atol=1e-9):
    assert ours["params"] == reference["params"]
    columns = [name for name in reference if "_time" not in name and name != "params"]
    assert set(columns) <= set(ours)
    for name in columns:
        if name.startswith("param_"):
            assert ours[name].tolist() == reference[name].tolist()
        else:
            np.testing.assert_allclose(
                ours[name], reference[name], rtol=0, atol=atol, err_msg=name
            )


@pytest.mark.parametrize(
    "scoring",
    [
        None,
        RecallScorer(k=3),
        RecallScorer(k=3, direction="target_to_query"),
        RecallScorer(k=3, direction="both", metric="recall"),
    ],
)
@pytest.mark.parametrize(
    "cv", [KFold(3), GroupKFold(4), ShuffleSplit(2, random_state=0)]
)
def test_retriever_scores_are_those_of_grid_search(pairs, scoring, cv):
    X, y, groups = pairs
    settings = {"scoring": scoring, "cv": cv}
    ours = MapperSearchCV(CrossModalRetriever(), MAPPERS, **settings)
    reference = GridSearchCV(CrossModalRetriever(), MAPPERS, **settings)
    if isinstance(cv, GroupKFold):
        ours.fit(X, y, groups=groups)
        reference.fit(X, y, groups=groups)
    else:
        ours.fit(X, y)
        reference.fit(X, y)
    assert ours.one_pass_.all()
    assert_equal_results(ours.cv_results_, reference.cv_results_)
    assert ours.best_index_ == reference.best_index_
    np.testing.assert_array_equal(
        ours.best_estimator_.kneighbors(X)[1],
        reference.best_estimator_.kneighbors(X)[1],
    )


@pytest.mark.parametrize("scoring", [None, "r2"])
def test_mapper_errors_are_those_of_grid_search(pairs, scoring):
    X, y, _ = pairs
    grid = {"alpha": [0.001, 0.01, 0.1, 1.0], "x_whiten": [0.0, 0.5]}
    settings = {"scoring": scoring, "cv": KFold(4)}
    ours = MapperSearchCV(LeastSquaresMapper(), grid, **settings).fit(X, y)
    reference = GridSearchCV(LeastSquaresMapper(), grid, **settings).fit(X, y)
    assert_equal_results(ours.cv_results_, reference.cv_results_)
    assert ours.best_params_ == reference.best_params_
    np.testing.assert_allclose(ours.predict(X), reference.predict(X))
    assert ours.score(X, y) == pytest.approx(reference.score(X, y))


@pytest.mark.parametrize("mapper", [ProcrustesMapper(), CCAMapper()])
def test_errors_of_other_maps_come_from_moments_too(pairs, mapper):
    X, y, _ = pairs
    grid = {"n_components": [2, 4, None]}
    ours = MapperSearchCV(mapper, grid, cv=3).fit(X, y)
    reference = GridSearchCV(mapper, grid, cv=3).fit(X, y)
    assert ours.one_pass_.all()
    assert_equal_results(ours.cv_results_, reference.cv_results_)


@pytest.mark.parametrize(
    "scoring",
    [None, "r2", RecallScorer(k=3), {"error": "r2", "recall": RecallScorer(k=3)}],
)
@pytest.mark.parametrize("before", [[], [("nothing", "passthrough")]])
def test_classes_of_mappers_in_a_pipeline(pairs, scoring, before):
    X, y, _ = pairs
    pipeline = Pipeline([*before, ("mapper", LeastSquaresMapper())])
    settings = {"scoring": scoring, "cv": KFold(3)}
    if isinstance(scoring, dict):
        settings["refit"] = "recall"
    ours = MapperSearchCV(pipeline, MAPPERS, **settings).fit(X, y)
    reference = GridSearchCV(pipeline, MAPPERS, **settings).fit(X, y)
    assert ours.one_pass_.all()
    assert_equal_results(ours.cv_results_, reference.cv_results_)
    assert ours.best_params_.keys() == reference.best_params_.keys()
    np.testing.assert_allclose(ours.predict(X), reference.predict(X))


def test_constant_and_single_targets(pairs):
    X, y, _ = pairs
    grid = {"alpha": [0.1, 1.0]}
    constant = np.c_[y, np.full(len(y), 3.0)]
    for targets in (constant, y[:, 0]):
        ours = MapperSearchCV(LeastSquaresMapper(), grid, cv=3).fit(X, targets)
        reference = GridSearchCV(LeastSquaresMapper(), grid, cv=3).fit(X, targets)
        assert_equal_results(ours.cv_results_, reference.cv_results_)


def test_several_metrics_from_one_pass(pairs):
    X, y, _ = pairs
    grid = {"alpha": [0.0, 0.1, 1.0]}
    settings = {
        "scoring": {"error": "r2", "hits": RecallScorer(k=3)},
        "refit": "hits",
        "cv": 3,
    }
    ours = MapperSearchCV(LeastSquaresMapper(), grid, **settings).fit(X, y)
    reference = GridSearchCV(LeastSquaresMapper(), grid, **settings).fit(X, y)
    assert_equal_results(ours.cv_results_, reference.cv_results_)
    assert ours.best_params_ == reference.best_params_


def test_a_scorer_of_many_metrics(pairs):
    X, y, _ = pairs
    grid = {"mapper": [LeastSquaresMapper(), ProcrustesMapper()]}
    settings = {
        "scoring": RetrievalScorer(ks=(1, 5)),
        "refit": "query_to_target_hit_rate_at_5",
        "cv": 3,
    }
    ours = MapperSearchCV(CrossModalRetriever(), grid, **settings).fit(X, y)
    reference = GridSearchCV(CrossModalRetriever(), grid, **settings).fit(X, y)
    assert_equal_results(ours.cv_results_, reference.cv_results_)
    with pytest.raises(ValueError, match="refit must name the one that decides"):
        MapperSearchCV(
            CrossModalRetriever(), grid, scoring=RetrievalScorer(ks=(1,)), cv=3
        ).fit(X, y)


def test_hubness_corrections_are_candidates(pairs):
    X, y, _ = pairs
    grid = {
        "mapper": [LeastSquaresMapper(), ProcrustesMapper()],
        "hubness": [None, "csls", CSLS(k=3), CSLS(k=3, bank="queries")],
    }
    settings = {"scoring": RecallScorer(k=3, direction="both"), "cv": 3}
    ours = MapperSearchCV(CrossModalRetriever(), grid, **settings).fit(X, y)
    reference = GridSearchCV(CrossModalRetriever(), grid, **settings).fit(X, y)
    assert ours.one_pass_.all()
    assert_equal_results(ours.cv_results_, reference.cv_results_)


def test_groups_give_group_folds(pairs):
    X, y, groups = pairs
    grid = {"mapper__alpha": [0.0, 0.1]}
    retriever = CrossModalRetriever(LeastSquaresMapper())
    ours = MapperSearchCV(retriever, grid, cv=3).fit(X, y, groups=groups)
    reference = GridSearchCV(retriever, grid, cv=GroupKFold(3))
    reference.fit(X, y, groups=groups)
    assert_equal_results(ours.cv_results_, reference.cv_results_)
    assert MapperSearchCV(retriever, grid).fit(X, y, groups=groups).n_splits_ == 5


def test_candidates_that_need_rows_are_fitted_as_usual(pairs):
    X, y, _ = pairs
    grid = {"alpha": ["auto", 0.1]}
    ours = MapperSearchCV(LeastSquaresMapper(), grid, cv=3).fit(X, y)
    reference = GridSearchCV(LeastSquaresMapper(), grid, cv=3).fit(X, y)
    assert ours.one_pass_.tolist() == [False, True]
    assert_equal_results(ours.cv_results_, reference.cv_results_)
    weights = np.linspace(1, 2, len(X))
    ours.fit(X, y, sample_weight=weights)
    reference.fit(X, y, sample_weight=weights)
    assert not ours.one_pass_.any()
    assert_equal_results(ours.cv_results_, reference.cv_results_)


def test_raw_items_are_encoded_once_for_all_candidates(pairs):
    X, y, groups = pairs
    calls = []

    def embed_words(words):
        calls.append(len(words))
        return X[[int(word.split()[1]) for word in words]]

    words = [f"caption {row}" for row in range(len(X))]
    retriever = CrossModalRetriever(query_encoder=FunctionTransformer(embed_words))
    settings = {"scoring": RecallScorer(k=3), "cv": GroupKFold(3)}
    ours = MapperSearchCV(retriever, MAPPERS, **settings)
    ours.fit(words, y, groups=groups)
    # Once for the search, once for the refit.
    assert calls == [len(X), len(X)]
    reference = GridSearchCV(CrossModalRetriever(), MAPPERS, **settings)
    reference.fit(X, y, groups=groups)
    np.testing.assert_allclose(
        ours.cv_results_["mean_test_score"],
        reference.cv_results_["mean_test_score"],
        atol=1e-9,
    )


def test_float32_scores_agree(pairs):
    X, y, _ = pairs
    X, y = X.astype(np.float32), y.astype(np.float32)
    grid = {"alpha": [0.01, 0.1, 1.0]}
    ours = MapperSearchCV(LeastSquaresMapper(), grid, cv=3).fit(X, y)
    reference = GridSearchCV(LeastSquaresMapper(), grid, cv=3).fit(X, y)
    assert_equal_results(ours.cv_results_, reference.cv_results_, atol=1e-6)


@pytest.mark.parametrize("ratio", [1e3, 1e5, 1e7])
def test_float32_scores_of_rotations_agree(ratio):
    rng = np.random.default_rng(0)
    X, _ = np.linalg.qr(rng.standard_normal((3000, 70)))
    out, _ = np.linalg.qr(rng.standard_normal((80, 70)))
    y = (X * np.geomspace(1, 1 / ratio, 70)) @ out.T
    X, y = X.astype(np.float32), y.astype(np.float32)
    grid = {"scaling": [False, True]}
    ours = MapperSearchCV(ProcrustesMapper(), grid, cv=KFold(3)).fit(X, y)
    reference = GridSearchCV(ProcrustesMapper(), grid, cv=KFold(3)).fit(X, y)
    assert ours.one_pass_.all()
    scores = reference.cv_results_["mean_test_score"]
    atol = 1e-6 * max(1.0, np.abs(scores).max())
    assert_equal_results(ours.cv_results_, reference.cv_results_, atol=atol)


def test_any_number_of_threads_gives_the_same_bits(pairs):
    X, y, _ = pairs
    search = MapperSearchCV(LeastSquaresMapper(), {"alpha": [0.0, 0.1]}, cv=5)
    one = clone(search).set_params(n_jobs=1).fit(X, y).cv_results_
    two = clone(search).set_params(n_jobs=2).fit(X, y).cv_results_
    np.testing.assert_array_equal(one["mean_test_score"], two["mean_test_score"])


@pytest.mark.filterwarnings("default::skxmodal.metrics.LeakageWarning")
def test_splits_that_tear_pictures_apart_warn_once(pairs):
    X, y, groups = pairs
    search = MapperSearchCV(LeastSquaresMapper(), {"alpha": [0.1, 1.0]}, cv=3)
    with pytest.warns(LeakageWarning, match="of 33 test pictures are training") as seen:
        search.fit(X, y)
    assert len(seen) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search.fit(X, y, groups=groups)


def encoded_pictures(rows_of):
    """An encoder of pictures that are named by their row."""

    def embed(names):
        return rows_of[[int(name.split()[1]) for name in names]]

    return FunctionTransformer(embed)


class EncoderOfKeys(FunctionTransformer):
    """An encoder that says what its items are: the caption's letters don't count."""

    def content_keys(self, items):
        return [item.lower().encode() for item in items]


@pytest.mark.parametrize("with_keys", [False, True])
def test_raw_targets_are_told_apart_by_their_content(pairs, with_keys):
    X, y, groups = pairs
    names = [f"picture {group}" for group in groups]
    pictures = np.empty((N_PICTURES, y.shape[1]))
    pictures[groups] = y
    encoder = encoded_pictures(pictures)
    if with_keys:
        encoder = EncoderOfKeys(encoder.func)
        # Written in two ways, and one picture all the same.
        names = [name.upper() if row % 2 else name for row, name in enumerate(names)]
    settings = {"scoring": RecallScorer(k=3), "cv": KFold(3)}
    ours = MapperSearchCV(
        CrossModalRetriever(target_encoder=encoder), MAPPERS, **settings
    ).fit(X, names)
    reference = GridSearchCV(CrossModalRetriever(), MAPPERS, **settings).fit(X, y)
    assert ours.one_pass_.all()
    np.testing.assert_allclose(
        ours.cv_results_["mean_test_score"],
        reference.cv_results_["mean_test_score"],
        atol=1e-9,
    )


def test_encoded_targets_need_not_be_raw(pairs):
    X, y, _ = pairs
    negated = CrossModalRetriever(target_encoder=FunctionTransformer(np.negative))
    settings = {"scoring": RecallScorer(k=3), "cv": KFold(3)}
    ours = MapperSearchCV(negated, MAPPERS[:1], **settings).fit(X, -y)
    reference = GridSearchCV(CrossModalRetriever(), MAPPERS[:1], **settings).fit(X, y)
    np.testing.assert_allclose(
        ours.cv_results_["mean_test_score"],
        reference.cv_results_["mean_test_score"],
        atol=1e-9,
    )


def test_encoders_and_estimators_that_must_be_fitted_are_fitted_as_usual(pairs):
    X, y, _ = pairs
    scaled = CrossModalRetriever(query_encoder=StandardScaler())
    settings = {"scoring": RecallScorer(k=3), "cv": KFold(3)}
    grid = {"mapper__alpha": [0.1, 1.0]}
    encoders = {"query_encoder": [None, FunctionTransformer(np.negative)]}
    pipeline = make_pipeline(StandardScaler(), LeastSquaresMapper())
    for estimator, candidates in (
        (scaled.set_params(mapper=LeastSquaresMapper()), grid),
        (CrossModalRetriever(LeastSquaresMapper()), encoders),
        (
            CrossModalRetriever(RelativeMapper(n_anchors=20, random_state=0)),
            {"n_neighbors": [5]},
        ),
        (CrossModalRetriever(LeastSquaresMapper("auto")), {"n_neighbors": [5]}),
        (pipeline, {"leastsquaresmapper__alpha": [0.1, 1.0]}),
    ):
        ours = MapperSearchCV(estimator, candidates, **settings).fit(X, y)
        reference = GridSearchCV(estimator, candidates, **settings).fit(X, y)
        assert not ours.one_pass_.any()
        assert_equal_results(ours.cv_results_, reference.cv_results_)
        assert ours.best_params_ == reference.best_params_


def test_scorers_in_a_list_and_scorers_that_are_not_of_maps(pairs):
    X, y, _ = pairs
    grid = {"alpha": [0.1, 1.0]}
    for scoring, fast in (
        (["r2"], True),
        (["r2", "neg_mean_squared_error"], False),
        ("neg_mean_squared_error", False),
    ):
        refit = "r2" if isinstance(scoring, list) else True
        settings = {"scoring": scoring, "cv": 3, "refit": refit}
        ours = MapperSearchCV(LeastSquaresMapper(), grid, **settings).fit(X, y)
        reference = GridSearchCV(LeastSquaresMapper(), grid, **settings).fit(X, y)
        assert (ours.one_pass_ == fast).all()
        assert_equal_results(ours.cv_results_, reference.cv_results_)


def test_two_scorers_share_one_map_or_one_count_of_ranks(pairs):
    X, y, _ = pairs
    scoring = {"near": RecallScorer(k=1), "far": RecallScorer(k=5)}
    settings = {"scoring": scoring, "cv": 3, "refit": "far"}
    for mapper in (LeastSquaresMapper(), ProcrustesMapper(), CCAMapper()):
        grid = {"mapper": [mapper]}
        ours = MapperSearchCV(CrossModalRetriever(), grid, **settings).fit(X, y)
        reference = GridSearchCV(CrossModalRetriever(), grid, **settings).fit(X, y)
        assert ours.one_pass_.all()
        assert_equal_results(ours.cv_results_, reference.cv_results_)


def test_train_rows_need_not_be_all_others(pairs):
    X, y, _ = pairs
    cv = ShuffleSplit(3, train_size=0.4, test_size=0.3, random_state=0)
    grid = {"alpha": [0.1, 1.0]}
    ours = MapperSearchCV(LeastSquaresMapper(), grid, cv=cv).fit(X, y)
    reference = GridSearchCV(LeastSquaresMapper(), grid, cv=cv).fit(X, y)
    assert_equal_results(ours.cv_results_, reference.cv_results_)


def last_candidate(results):
    return len(results["params"]) - 1


@pytest.mark.parametrize("scoring", [None, {"a": "r2", "b": RecallScorer(k=3)}])
@pytest.mark.parametrize("refit", [False, last_candidate])
def test_refit_may_be_left_out_or_chosen_by_a_function(pairs, scoring, refit):
    X, y, _ = pairs
    settings = {"scoring": scoring, "cv": 3, "refit": refit}
    grid = {"alpha": [0.1, 1e6]}
    ours = MapperSearchCV(LeastSquaresMapper(), grid, **settings).fit(X, y)
    reference = GridSearchCV(LeastSquaresMapper(), grid, **settings).fit(X, y)
    for name in ("best_index_", "best_params_", "best_score_", "best_estimator_"):
        assert hasattr(ours, name) == hasattr(reference, name), name
    if refit:
        assert ours.best_params_ == {"alpha": 1e6}
        np.testing.assert_allclose(ours.predict(X), reference.predict(X))


def test_names_of_columns_are_kept(pairs):
    X, y, _ = pairs
    frame = pd.DataFrame(X, columns=[f"x{column}" for column in range(X.shape[1])])
    search = MapperSearchCV(LeastSquaresMapper(), {"alpha": [0.1]}, cv=3)
    assert search.fit(frame, y).feature_names_in_.tolist() == list(frame.columns)
    assert not hasattr(clone(search).fit(X, y), "feature_names_in_")


def scores_of(search, X, y, **params):
    return search.fit(X, y, **params).cv_results_["mean_test_score"]


def test_splits_that_overlap_repeat_or_leave_out_are_scored_as_they_are(pairs):
    X, y, _ = pairs
    rng = np.random.default_rng(0)
    drawn = [(rng.choice(120, 90), rng.permutation(120)[:30]) for _ in range(3)]
    repeated = [(np.arange(80), np.r_[80:100, 80:100]), (np.arange(80), np.r_[0:40])]
    # Every row is tested, and one of them twice.
    twice = [(np.r_[60:120], np.r_[0:60, 0]), (np.r_[0:60], np.r_[60:119])]
    for cv in (drawn, repeated, twice):
        for estimator, grid in (
            (LeastSquaresMapper(), {"alpha": [0.01, 1.0]}),
            (CrossModalRetriever(), {"mapper": [ProcrustesMapper(), CCAMapper()]}),
        ):
            ours = MapperSearchCV(estimator, grid, cv=cv, refit=False)
            reference = GridSearchCV(estimator, grid, cv=cv, refit=False)
            np.testing.assert_allclose(
                scores_of(ours, X, y), scores_of(reference, X, y), atol=1e-9
            )
            assert ours.one_pass_.all()


def test_splits_may_be_masks_and_lists(pairs):
    X, y, _ = pairs
    test = np.arange(120) % 3 == 0
    numbers = np.flatnonzero(~test).tolist(), np.flatnonzero(test).tolist()
    grid = {"alpha": [0.1]}
    expected = scores_of(MapperSearchCV(LeastSquaresMapper(), grid, cv=[numbers]), X, y)
    for cv in ([(~test, test)], [((~test).tolist(), test.tolist())]):
        found = scores_of(MapperSearchCV(LeastSquaresMapper(), grid, cv=cv), X, y)
        np.testing.assert_array_equal(found, expected)


def test_groups_are_routed_as_grid_search_does(pairs):
    X, y, groups = pairs
    coarse = groups // 6
    # Groups of several pictures show the first of them.
    scorer = RecallScorer(k=1)
    with (
        sklearn.config_context(enable_metadata_routing=True),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", ".* groups hold targets")
        estimator = CrossModalRetriever(LeastSquaresMapper()).set_fit_request(
            groups=True
        )
        for wanted in (True, False):
            settings = {
                "scoring": scorer.set_score_request(groups=wanted),
                "cv": GroupKFold(3),
            }
            grid = {"mapper__alpha": [0.1, 10.0]}
            ours = MapperSearchCV(estimator, grid, **settings)
            reference = GridSearchCV(estimator, grid, **settings)
            ours.fit(X, y, groups=coarse)
            reference.fit(X, y, groups=coarse)
            assert_equal_results(ours.cv_results_, reference.cv_results_)
            assert not ours.one_pass_.any()
            assert len(ours.best_estimator_.gallery_ids_) == 10
        with pytest.raises(UnsetMetadataPassedError, match="groups"):
            MapperSearchCV(CrossModalRetriever(LeastSquaresMapper()), grid, cv=3).fit(
                X, y, groups=groups
            )


def test_groups_reach_the_splits_of_a_search_inside_another(pairs):
    X, y, groups = pairs
    seen = []

    class Search(MapperSearchCV):
        def _splits(self, *args):
            seen.append(super()._splits(*args))
            return seen[-1]

    with sklearn.config_context(enable_metadata_routing=True):
        mapper = LeastSquaresMapper().set_fit_request(groups=False)
        search = Search(mapper, {"alpha": [0.1, 1.0]}, cv=3)
        params = {"groups": groups}
        cross_val_score(search, X, y, cv=GroupKFold(2), params=params)
    outer = list(GroupKFold(2).split(X, y, groups))
    assert len(seen) == 2
    for splits, (rows, _) in zip(seen, outer, strict=True):
        for train, test in splits:
            assert not np.isin(groups[rows][train], groups[rows][test]).any()


def test_every_processor_can_be_asked_for(pairs):
    X, y, _ = pairs
    search = MapperSearchCV(LeastSquaresMapper(), {"alpha": [0.1]}, cv=3)
    expected = scores_of(search, X, y)
    for n_jobs in (-1, -2):
        found = scores_of(clone(search).set_params(n_jobs=n_jobs), X, y)
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="n_jobs == 0"):
        search.set_params(n_jobs=0).fit(X, y)


@pytest.mark.parametrize("n_jobs", [1, 2, 5])
def test_no_more_threads_than_asked_for(pairs, monkeypatch, n_jobs):
    X, y, groups = pairs
    monkeypatch.setattr(one_thread, "_count", lambda: 8)
    entered, most = set(), []

    class Pool(ThreadPoolExecutor):
        def map(self, function, items):
            def watched(item):
                entered.add(threading.get_ident())
                most.append(len(entered))
                time.sleep(0.01)
                try:
                    return function(item)
                finally:
                    entered.discard(threading.get_ident())

            return super().map(watched, items)

    monkeypatch.setattr(_blocks, "ThreadPoolExecutor", Pool)
    # Enough that ranks are counted in several blocks.
    rows = np.tile(np.arange(len(X)), 100)
    search = MapperSearchCV(
        CrossModalRetriever(),
        {"mapper": [ProcrustesMapper()]},
        cv=5,
        scoring=RecallScorer(k=5),
        refit=False,
        n_jobs=n_jobs,
    )
    search.fit(X[rows], y[rows], groups=groups[rows])
    assert max(most, default=1) == n_jobs


def test_ordinary_fits_are_told_the_number_of_jobs(pairs, monkeypatch):
    X, y, _ = pairs
    asked = []

    class Search(GridSearchCV):
        def fit(self, *args, **params):
            asked.append(self.n_jobs)
            return super().fit(*args, **params)

    monkeypatch.setattr(_ordinary_fits, "GridSearchCV", Search)
    grid = {"x_whiten": [0.0, 0.5]}
    MapperSearchCV(LeastSquaresMapper("auto"), grid, cv=3, n_jobs=1).fit(X, y)
    assert asked == [1]


def test_what_is_done_is_said(pairs, capsys):
    X, y, _ = pairs
    search = MapperSearchCV(LeastSquaresMapper(), {"alpha": [0.1, 1.0]}, cv=3)
    search.fit(X, y)
    assert capsys.readouterr().out == ""
    clone(search).set_params(verbose=2).fit(X, y)
    said = capsys.readouterr().out
    assert "Scoring 2 candidates on 3 splits" in said
    assert sorted(said.split("\n")[1:4]) == [f"[CV {i}/3] END" for i in (1, 2, 3)]


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
@pytest.mark.parametrize("scoring", ["r2", RecallScorer(k=3), RetrievalScorer(ks=(1,))])
def test_a_candidate_that_fails_costs_its_own_score(pairs, scoring):
    X, y, _ = pairs
    several = isinstance(scoring, RetrievalScorer)
    refit = "query_to_target_hit_rate_at_1" if several else True
    grid = [{"alpha": [-1e-4, 0.1]}, {"x_whiten": ["x"]}]
    settings = {"scoring": scoring, "cv": 3, "refit": refit}
    ours = MapperSearchCV(LeastSquaresMapper(), grid, **settings)
    reference = GridSearchCV(LeastSquaresMapper(), grid, **settings)
    for search in (ours, reference):
        with pytest.warns(FitFailedWarning, match="6 fits failed"):
            search.fit(X, y)
    assert_equal_results(ours.cv_results_, reference.cv_results_)
    assert ours.best_params_ == {"alpha": 0.1}
    with pytest.raises(ValueError, match="alpha"):
        clone(ours).set_params(error_score="raise").fit(X, y)
    with pytest.raises(ValueError, match="All the 3 fits failed"):
        clone(ours).set_params(param_grid={"alpha": [-1.0]}).fit(X, y)


def test_a_score_that_fails_is_the_error_score(pairs):
    X, y, _ = pairs
    # The last fold is smaller than k.
    cv = [(np.r_[40:120], np.r_[0:40]), (np.r_[0:115], np.r_[115:120])]
    settings = {"scoring": RecallScorer(k=6), "cv": cv, "error_score": -1.0}
    search = MapperSearchCV(LeastSquaresMapper(), {"alpha": [0.1, 1.0]}, **settings)
    with pytest.warns(FitFailedWarning, match="k=6 is more than"):
        search.fit(X, y)
    assert search.cv_results_["split1_test_score"].tolist() == [-1.0, -1.0]
    assert (search.cv_results_["split0_test_score"] > 0).all()
    with pytest.raises(ValueError, match="k=6 is more than"):
        search.set_params(error_score="raise").fit(X, y)


@pytest.mark.filterwarnings("ignore:The score is recall@10")
def test_the_score_of_a_small_gallery_is_the_retrievers_own(pairs):
    X, y, _ = pairs
    search = MapperSearchCV(
        CrossModalRetriever(), {"mapper": [LeastSquaresMapper()]}, cv=3
    )
    assert scores_of(search, X[:18], y[:18]).tolist() == [1.0]
    assert search.one_pass_.all()


class OwnPrediction(LeastSquaresMapper):
    def predict(self, X):
        return 0.5 * super().predict(X)


class OwnSolution(ProcrustesMapper):
    def _solve(self, moments):
        return super()._solve(moments)


class OwnSpace(CrossModalRetriever):
    def transform(self, X):
        return -super().transform(X)


class OwnScore(CrossModalRetriever):
    def score(self, X, y, groups=None):
        return 42.0


class OwnMethodBesides(CrossModalRetriever):
    def describe(self):
        return "a retriever"


@pytest.mark.parametrize(
    ("estimator", "fast"),
    [
        (OwnPrediction(), False),
        (OwnSolution(), True),
        (OwnSpace(), False),
        (CrossModalRetriever(OwnPrediction()), False),
        (OwnScore(), False),
        (OwnMethodBesides(), True),
    ],
)
def test_what_a_subclass_does_otherwise_is_done(pairs, estimator, fast):
    X, y, _ = pairs
    grid = {"alpha": [0.1]} if isinstance(estimator, OwnPrediction) else {}
    if isinstance(estimator, CrossModalRetriever):
        grid = {"n_neighbors": [5]}
    ours = MapperSearchCV(estimator, grid, cv=3)
    np.testing.assert_allclose(
        scores_of(ours, X, y), scores_of(GridSearchCV(estimator, grid, cv=3), X, y)
    )
    assert ours.one_pass_.all() == fast


@pytest.mark.parametrize(
    ("steps", "candidates"),
    [
        ([("scale", StandardScaler()), ("mapper", LeastSquaresMapper())], MAPPERS),
        ([("mapper", CrossModalRetriever())], {"mapper__n_neighbors": [3]}),
        (
            [("mapper", LeastSquaresMapper())],
            {"mapper": [CrossModalRetriever(), OwnPrediction()]},
        ),
    ],
)
def test_other_pipelines_are_fitted_as_usual(pairs, steps, candidates):
    X, y, _ = pairs
    ours = MapperSearchCV(Pipeline(steps), candidates, cv=3).fit(X, y)
    reference = GridSearchCV(Pipeline(steps), candidates, cv=3).fit(X, y)
    assert not ours.one_pass_.any()
    assert_equal_results(ours.cv_results_, reference.cv_results_)


@pytest.mark.parametrize("constant", [0.1, -0.7, 1e6 / 3, 0.0])
def test_constant_targets_need_not_be_exact_in_binary(pairs, constant):
    X, y, _ = pairs
    targets = np.c_[y, np.full(len(y), constant)]
    grid = {"alpha": [0.01, 1.0]}
    ours = MapperSearchCV(LeastSquaresMapper(), grid, cv=3)
    without = scores_of(ours, X, y)
    expected = (without * y.shape[1] + 1) / (y.shape[1] + 1)
    np.testing.assert_allclose(scores_of(ours, X, targets), expected)
    # A map that doesn't meet the constant scores 0 there.
    turned = MapperSearchCV(ProcrustesMapper(), {"scaling": [True]}, cv=3)
    assert 0 < scores_of(turned, X, targets)[0] < 1
