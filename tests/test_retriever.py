"""CrossModalRetriever on embeddings: search, galleries, scores and bad input."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from skxmodal import (
    CrossModalRetriever,
    LeastSquaresMapper,
    ProcrustesMapper,
    RecallScorer,
)
from skxmodal.metrics import retrieval_ranks
from skxmodal.neighbors import (
    CSLS,
    DualSoftmax,
    ExactIndex,
    InvertedSoftmax,
    LocalScaling,
    QBNorm,
)
from skxmodal.persistence import PersistenceError, save

N_PICTURES, N_CAPTIONS = 60, 3


@pytest.fixture(scope="module")
def pairs():
    """Three captions a picture, with a shared latent structure."""
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((N_PICTURES, 6))
    pictures = latent @ rng.standard_normal((6, 12))
    pictures += 3 + 0.2 * rng.standard_normal(pictures.shape)
    groups = np.repeat(np.arange(N_PICTURES), N_CAPTIONS)
    captions = latent[groups] @ rng.standard_normal((6, 8))
    captions += 0.5 * rng.standard_normal(captions.shape)
    return captions, pictures[groups], groups


# The check of array-API input has dependent columns, and scores two targets.
@pytest.mark.filterwarnings("ignore:The score is recall@10:UserWarning")
@pytest.mark.filterwarnings("ignore:X has rank:scipy.linalg.LinAlgWarning")
@parametrize_with_checks(
    [CrossModalRetriever(), CrossModalRetriever(ProcrustesMapper())]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("mapper", [LeastSquaresMapper(), ProcrustesMapper()])
def test_kneighbors_agrees_with_scikit_learn(pairs, mapper):
    X, y, _ = pairs
    search = CrossModalRetriever(mapper).fit(X, y)
    distances, rows = search.kneighbors(X, n_neighbors=7)
    gallery = search.transform_target(y[search.gallery_rows_])
    reference = NearestNeighbors(n_neighbors=7, metric="cosine").fit(gallery)
    expected_distances, expected_rows = reference.kneighbors(search.transform(X))
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(distances, expected_distances, atol=1e-12)


def test_inverse_kneighbors_agrees_with_scikit_learn(pairs):
    X, y, _ = pairs
    search = CrossModalRetriever(ProcrustesMapper()).fit(X, y)
    distances, rows = search.inverse_kneighbors(y[::N_CAPTIONS], n_neighbors=4)
    reference = NearestNeighbors(n_neighbors=4, metric="cosine")
    reference.fit(search.transform(X))
    expected_distances, expected_rows = reference.kneighbors(
        search.transform_target(y[::N_CAPTIONS])
    )
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(distances, expected_distances, atol=1e-12)


def test_identical_pictures_are_one_item(pairs):
    X, y, _ = pairs
    search = CrossModalRetriever().fit(X, y)
    assert len(search.gallery_ids_) == N_PICTURES
    np.testing.assert_array_equal(
        search.gallery_rows_, np.arange(0, len(y), N_CAPTIONS)
    )
    np.testing.assert_array_equal(search.gallery_ids_, search.gallery_rows_)


def test_groups_name_the_gallery(pairs):
    X, y, groups = pairs
    names = np.array([f"picture {group}" for group in groups])
    search = CrossModalRetriever().fit(X, y, groups=names)
    assert search.gallery_ids_.tolist() == [f"picture {i}" for i in range(N_PICTURES)]


def test_groups_of_different_content_warn(pairs):
    X, y, groups = pairs
    with pytest.warns(UserWarning, match="30 of the 30 groups hold targets"):
        search = CrossModalRetriever().fit(X, y, groups=groups // 2)
    assert len(search.gallery_ids_) == N_PICTURES // 2


def test_predict_is_the_first_neighbour(pairs):
    X, y, _ = pairs
    search = CrossModalRetriever().fit(X, y)
    rows = search.predict(X)
    assert rows.dtype.kind == "i"
    np.testing.assert_array_equal(
        rows, search.kneighbors(X, n_neighbors=1, return_distance=False)[:, 0]
    )


def test_score_is_the_hit_rate_of_the_test_gallery(pairs):
    X, y, groups = pairs
    train, test = groups < 30, groups >= 30
    search = CrossModalRetriever(ProcrustesMapper()).fit(X[train], y[train])
    X_shared, y_shared = search.transform(X[test]), search.transform_target(y[test])
    X_shared /= np.linalg.norm(X_shared, axis=1, keepdims=True)
    y_shared /= np.linalg.norm(y_shared, axis=1, keepdims=True)
    scores = X_shared @ y_shared[::N_CAPTIONS].T
    own = scores[np.arange(test.sum()), groups[test] - 30]
    expected = np.mean((scores > own[:, np.newaxis]).sum(axis=1) < 10)
    assert search.score(X[test], y[test]) == expected
    assert search.score(X[test], y[test], groups=groups[test]) == expected
    assert RecallScorer(k=10)(search, X[test], y[test]) == expected


def test_score_in_a_small_gallery_warns(pairs):
    X, y, _ = pairs
    search = CrossModalRetriever().fit(X, y)
    with pytest.warns(UserWarning, match="the 3 pictures of y are no more than that"):
        assert search.score(X[:9], y[:9]) == 1.0


def test_index_replaces_the_gallery(pairs):
    X, y, _ = pairs
    search = CrossModalRetriever().fit(X[:90], y[:90])
    names = np.repeat([f"new {i}" for i in range(30)], N_CAPTIONS)
    assert search.index(y[90:], ids=names) is search
    assert search.gallery_ids_.tolist() == [f"new {i}" for i in range(30)]
    reference = CrossModalRetriever().fit(X[:90], y[:90]).index(y[90:])
    np.testing.assert_array_equal(
        search.kneighbors(X[90:])[1], reference.kneighbors(X[90:])[1]
    )


def test_add_in_parts_is_index_at_once(pairs):
    X, y, _ = pairs
    whole = CrossModalRetriever().fit(X, y)
    parts = CrossModalRetriever().fit(X, y).index(y[:60]).add(y[60:100]).add(y[100:])
    np.testing.assert_array_equal(parts.gallery_ids_, whole.gallery_ids_)
    np.testing.assert_array_equal(parts.gallery_rows_, whole.gallery_rows_)
    np.testing.assert_array_equal(parts.kneighbors(X)[1], whole.kneighbors(X)[1])


def test_add_keeps_one_item_for_one_content(pairs):
    X, y, _ = pairs
    search = CrossModalRetriever().fit(X, y)
    search.add(y[:10])
    assert len(search.gallery_ids_) == N_PICTURES


def test_remove_takes_items_out_by_name(pairs):
    X, y, _ = pairs
    search = CrossModalRetriever().fit(X, y)
    best = search.gallery_ids_[search.predict(X[:1])]
    search.remove(best)
    assert best[0] not in search.gallery_ids_
    assert len(search.gallery_ids_) == N_PICTURES - 1
    kept = CrossModalRetriever().fit(X, y).index(y[y[:, 0] != y[best[0], 0]])
    np.testing.assert_array_equal(search.kneighbors(X)[1], kept.kneighbors(X)[1])


def test_remove_of_an_unknown_id_removes_nothing(pairs):
    X, y, _ = pairs
    search = CrossModalRetriever().fit(X, y)
    with pytest.raises(ValueError, match="1 of the 2 ids are not in the gallery"):
        search.remove([0, 1])
    assert len(search.gallery_ids_) == N_PICTURES


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a", "b"], "ids must have one name for each of the 6 rows"),
        (list("abcdef"), "Row 1 of y has the content of row 0 and the id of row 1"),
        (list("aaaaaa"), "Row 3 of y has the content of row 3 and the id of row 0"),
    ],
)
def test_ids_name_contents_one_to_one(pairs, ids, message):
    X, y, _ = pairs
    search = CrossModalRetriever().fit(X, y)
    with pytest.raises(ValueError, match=message):
        search.index(y[:6], ids=ids)


def test_add_under_another_id_is_refused(pairs):
    X, y, _ = pairs
    search = CrossModalRetriever().fit(X, y)
    with pytest.raises(ValueError, match="in the gallery already, as 0, not as 7"):
        search.add(y[:1], ids=[7])
    with pytest.raises(ValueError, match="Give ids of one type"):
        search.add(y[:1] + 1, ids=["seven"])
    with pytest.raises(ValueError, match="The id 3 is in the gallery already, for"):
        search.add(y[:1] + 1, ids=[3])


def test_n_neighbors_is_within_the_gallery(pairs):
    X, y, _ = pairs
    search = CrossModalRetriever().fit(X, y)
    with pytest.raises(ValueError, match="Expected n_neighbors <= 60"):
        search.kneighbors(X, n_neighbors=61)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        search.kneighbors(X, n_neighbors=0)


def test_unfit_mappers_are_refused(pairs):
    X, y, _ = pairs
    with pytest.raises(ValueError, match="'passthrough' or None, got 'procrustes'"):
        CrossModalRetriever("procrustes").fit(X, y)
    with pytest.raises(TypeError, match="with fit, transform and transform_target"):
        CrossModalRetriever(FunctionTransformer()).fit(X, y)
    with pytest.raises(ValueError, match="Unknown index"):
        CrossModalRetriever(gallery_index="quick").fit(X, y)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"gallery_index": 3}, TypeError, "name of an index or an index.* got 3"),
        ({"gallery_index": None}, TypeError, "name of an index or an index.* got None"),
        ({"gallery_index": ExactIndex}, TypeError, "or an index.* got <class"),
        ({"n_neighbors": -1}, ValueError, "at least 1, got -1"),
    ],
)
def test_bad_parameters_are_refused_before_anything_is_fitted(
    pairs, parameters, error, message
):
    X, y, _ = pairs
    search = CrossModalRetriever(**parameters)
    with pytest.raises(error, match=message):
        search.fit(X, y)
    assert not hasattr(search, "mapper_")


def test_a_gallery_of_nothing_is_refused(pairs):
    X, y, _ = pairs
    search = CrossModalRetriever().fit(X, y)
    for method in (search.index, search.add):
        with pytest.raises(ValueError, match="y is None"):
            method(None)


def test_groups_of_two_types_are_refused(pairs):
    X, y, groups = pairs
    mixed = [1, "1", *groups[2:].tolist()]
    with pytest.raises(ValueError, match="Some groups are strings and others like 1"):
        CrossModalRetriever().fit(X, y, groups=mixed)


def test_an_encoder_that_gives_sparse_rows_is_named(pairs):
    _, y, _ = pairs
    texts = [f"word{row % 7} other" for row in range(len(y))]
    search = CrossModalRetriever(query_encoder=TfidfVectorizer())
    with pytest.raises(TypeError, match=r"encoder of X.*sparse.*TruncatedSVD"):
        search.fit(texts, y)
    dense = make_pipeline(TfidfVectorizer(), TruncatedSVD(3, random_state=0))
    assert search.set_params(query_encoder=dense).fit(texts, y).predict(texts[:1]) >= 0


@pytest.mark.parametrize("form", ["frame", "array", "polars"])
def test_one_column_of_paths_names_the_gallery(pairs, form):
    X, y, groups = pairs
    paths = [f"{group}.jpg" for group in groups]
    column = {
        "frame": pd.DataFrame({"path": paths}),
        "array": np.array(paths, dtype=object)[:, None],
        "polars": pl.DataFrame({"path": paths}),
    }[form]
    numbers = FunctionTransformer(
        lambda rows: y[: len(rows)], feature_names_out=None, check_inverse=False
    )
    search = CrossModalRetriever(target_encoder=numbers).fit(X, column)
    assert search.gallery_ids_.tolist() == list(dict.fromkeys(paths))
    assert search.gallery_items_ == list(dict.fromkeys(paths))
    with pytest.raises(ValueError, match="y holds raw items"):
        CrossModalRetriever().fit(X, column)


def test_raw_items_without_an_encoder_are_refused(pairs):
    X, y, _ = pairs
    with pytest.raises(ValueError, match=r"CrossModalRetriever\(query_encoder=\.\.\."):
        CrossModalRetriever().fit(["a dog"] * len(y), y)
    with pytest.raises(ValueError, match=r"CrossModalRetriever\(target_encoder=\.\.\."):
        CrossModalRetriever().fit(X, [Path("dog.jpg")] * len(X))


def test_lengths_must_agree(pairs):
    X, y, _ = pairs
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        CrossModalRetriever().fit(X, y[:-1])


def test_encoders_of_the_user_encode_both_sides(pairs):
    X, y, groups = pairs
    words = [f"caption {row}" for row in range(len(X))]
    names = [f"picture {group}" for group in groups]

    def embed_words(items):
        return X[[int(item.split()[1]) for item in items]]

    def embed_names(items):
        return y[[N_CAPTIONS * int(item.split()[1]) for item in items]]

    raw = CrossModalRetriever(
        ProcrustesMapper(),
        query_encoder=FunctionTransformer(embed_words),
        target_encoder=FunctionTransformer(embed_names),
    ).fit(words, names)
    plain = CrossModalRetriever(ProcrustesMapper()).fit(X, y)
    np.testing.assert_array_equal(raw.kneighbors(words)[1], plain.kneighbors(X)[1])
    assert raw.gallery_ids_[:2].tolist() == ["picture 0", "picture 1"]
    assert raw.gallery_items_[:2] == ["picture 0", "picture 1"]
    assert raw.score(words, names) == plain.score(X, y)


@pytest.mark.parametrize("mapper", [LeastSquaresMapper(), ProcrustesMapper()])
def test_three_ways_of_writing_it_score_the_same(pairs, mapper):
    X, y, groups = pairs
    settings = {"scoring": RecallScorer(k=3), "cv": GroupKFold(3), "refit": False}
    grid = {"mapper": [mapper]}
    alone = GridSearchCV(CrossModalRetriever(), grid, **settings)
    last = GridSearchCV(
        Pipeline([("text", "passthrough"), ("find", CrossModalRetriever())]),
        {"find__mapper": [mapper]},
        **settings,
    )
    between = GridSearchCV(
        Pipeline([("map", mapper), ("find", CrossModalRetriever("passthrough"))]),
        {"map": [mapper]},
        **settings,
    )
    scores = [
        search.fit(X, y, groups=groups).cv_results_["mean_test_score"]
        for search in (alone, last, between)
    ]
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-12)
    np.testing.assert_allclose(scores[2], scores[0], atol=1e-12)
    assert 0.2 < scores[0][0] < 1


def test_weights_reach_the_mapper(pairs):
    X, y, _ = pairs
    weight = np.r_[np.full(90, 2.0), np.ones(90)]
    weighted = CrossModalRetriever().fit(X, y, sample_weight=weight)
    repeated = CrossModalRetriever().fit(np.r_[X, X[:90]], np.r_[y, y[:90]])
    np.testing.assert_allclose(
        weighted.transform(X), repeated.transform(X), rtol=1e-9, atol=1e-9
    )


def test_clone_and_pickle_keep_the_answers(pairs):
    X, y, _ = pairs
    search = CrossModalRetriever(ProcrustesMapper()).fit(X, y)
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(search.kneighbors(X)[0], again.kneighbors(X)[0])
    refit = clone(search).fit(X, y)
    np.testing.assert_array_equal(search.kneighbors(X)[0], refit.kneighbors(X)[0])


def test_pandas_output_names_the_columns(pairs):
    X, y, _ = pairs
    search = CrossModalRetriever().set_output(transform="pandas").fit(X, y)
    frame = search.transform(X)
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == list(search.get_feature_names_out())
    assert search.kneighbors(X)[1].shape == (len(X), 5)


def test_weights_are_routed_to_the_mapper(pairs):
    X, y, groups = pairs
    weight = np.r_[np.full(90, 2.0), np.ones(90)]
    plain = CrossModalRetriever(LeastSquaresMapper()).fit(X, y, sample_weight=weight)
    with config_context(enable_metadata_routing=True):
        mapper = LeastSquaresMapper().set_fit_request(sample_weight=True)
        routed = CrossModalRetriever(mapper).fit(X, y, sample_weight=weight)
        search = GridSearchCV(
            CrossModalRetriever(mapper).set_fit_request(groups=True),
            {"mapper__alpha": [0.0, 0.1]},
            scoring=RecallScorer(k=3).set_score_request(groups=True),
            cv=GroupKFold(3),
        ).fit(X, y, groups=groups, sample_weight=weight)
        assert search.best_score_ > 0.3
        unasked = CrossModalRetriever(LeastSquaresMapper())
        with pytest.raises(ValueError, match="sample_weight"):
            unasked.fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(routed.transform(X), plain.transform(X))


HUBNESS = [CSLS(k=4), InvertedSoftmax(), DualSoftmax(), QBNorm(), LocalScaling(k=4)]


@pytest.mark.parametrize("hubness", HUBNESS)
def test_a_corrected_gallery_changes_as_if_made_anew(pairs, hubness):
    X, y, _ = pairs
    search = CrossModalRetriever(hubness=hubness).fit(X, y)
    changed = clone(search).fit(X, y).index(y[:90]).add(y[90:]).remove([0, 3])
    anew = clone(search).fit(X, y).index(y[6:])
    np.testing.assert_array_equal(changed.kneighbors(X)[1], anew.kneighbors(X)[1])


@pytest.mark.parametrize("hubness", HUBNESS)
def test_one_query_at_a_time_is_answered_as_in_a_batch(pairs, hubness):
    X, y, _ = pairs
    search = CrossModalRetriever(ProcrustesMapper(), hubness=hubness).fit(X, y)
    together = search.kneighbors(X[:10])[1]
    alone = np.concatenate(
        [search.kneighbors(X[row : row + 1])[1] for row in range(10)]
    )
    np.testing.assert_array_equal(together, alone)
    pictures = y[::N_CAPTIONS][:10]
    together = search.inverse_kneighbors(pictures)[1]
    alone = np.concatenate(
        [search.inverse_kneighbors(pictures[row : row + 1])[1] for row in range(10)]
    )
    np.testing.assert_array_equal(together, alone)


def test_search_orders_as_the_scorer_ranks(pairs):
    X, y, groups = pairs
    for hubness in (None, "csls", CSLS(k=4, bank="queries")):
        search = CrossModalRetriever(ProcrustesMapper(), hubness=hubness).fit(X, y)
        rows = search.kneighbors(X, n_neighbors=N_PICTURES)[1]
        own = (rows == groups[:, np.newaxis]).argmax(axis=1) + 1
        ranks = retrieval_ranks(search, X, y, direction="query_to_target")
        np.testing.assert_array_equal(ranks.query_to_target.best, own)


def test_corrections_are_tuned_like_any_parameter(pairs):
    X, y, groups = pairs
    search = GridSearchCV(
        CrossModalRetriever(hubness=CSLS()),
        {"hubness__k": [2, 5]},
        scoring=RecallScorer(k=3),
        cv=GroupKFold(3),
    ).fit(X, y, groups=groups)
    assert search.best_params_["hubness__k"] in (2, 5)
    assert search.best_estimator_.hubness_.k == search.best_params_["hubness__k"]


def test_save_and_load_keep_the_answers(pairs, tmp_path):
    X, y, _ = pairs
    search = CrossModalRetriever(ProcrustesMapper(), hubness=CSLS(k=4)).fit(X, y)
    folder = search.save(tmp_path / "model")
    again = CrossModalRetriever.load(folder)
    for ours, theirs in zip(search.kneighbors(X), again.kneighbors(X), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    again.add(y[:1] + 1)
    assert len(again.gallery_ids_) == N_PICTURES + 1
    save(search.mapper_, tmp_path / "mapper")
    with pytest.raises(PersistenceError, match="holds a ProcrustesMapper, not a"):
        CrossModalRetriever.load(tmp_path / "mapper")


def html_of(search):
    bundle = search._repr_mimebundle_()
    assert search._repr_html_()
    assert bundle["text/plain"] == repr(search)
    return bundle["text/html"]


def test_a_notebook_names_the_parts_of_an_encoder(pairs):
    X, y, _ = pairs
    two = FeatureUnion(
        [("cbrt", FunctionTransformer(np.cbrt)), ("tanh", FunctionTransformer(np.tanh))]
    )
    search = CrossModalRetriever(
        query_encoder=two, target_encoder=FunctionTransformer(np.tanh)
    ).fit(X, y)
    expected = (
        "FeatureUnion(FunctionTransformer(cbrt), FunctionTransformer(tanh)) and "
        "FunctionTransformer(tanh)"
    )
    assert expected in html_of(search)


def test_a_notebook_shows_gallery_encoders_and_score(pairs):
    X, y, _ = pairs
    search = CrossModalRetriever(ProcrustesMapper(), hubness="csls")
    assert "Gallery" not in html_of(search)
    search.fit(X, y).remove(search.gallery_ids_[:2])
    shown = html_of(search)
    for words in (
        "58 items",
        "180 pairs of 60 items",
        "embeddings and embeddings",
        "ProcrustesMapper, 12 dimensions",
        "CSLS",
    ):
        assert words in shown
    # The pairs of the fit, among all of its pictures, by a sort.
    _, first, item = np.unique(y, axis=0, return_index=True, return_inverse=True)
    queries, gallery = search.transform(X), search.transform_target(y[first])
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    order = np.argsort(-queries @ gallery.T, axis=1)[:, :10]
    expected = (order == np.ravel(item)[:, None]).any(axis=1).mean()
    assert f"{expected:.0%}, which flatters" in shown


def test_a_notebook_shows_no_score_of_a_tiny_gallery_and_no_code(pairs):
    X, y, _ = pairs
    search = CrossModalRetriever(target_encoder=Tagged("<b>")).fit(X[:15], y[:15])
    shown = html_of(search)
    assert "Recall@10" not in shown
    assert "embeddings and Tagged(&lt;b&gt;)" in shown
    with config_context(display="text"):
        assert "text/html" not in search._repr_mimebundle_()


class Tagged(FunctionTransformer):
    """An encoder that has a model's name."""

    def __init__(self, model=None):
        super().__init__()
        self.model = model


@pytest.fixture(scope="module")
def distinct(pairs):
    """One caption a picture."""
    X, y, _ = pairs
    return X[::N_CAPTIONS], y[::N_CAPTIONS]


class GroupedWords(FunctionTransformer):
    """An encoder whose fit takes the group of each word."""

    def fit(self, X, y=None, groups=None):
        self.groups_ = groups
        return self


def numbered(table):
    return lambda words: table[[int(word.split()[-1]) for word in words]]


def test_groups_reach_an_encoder_that_takes_them(distinct):
    X, y = distinct
    words = [f"word {row}" for row in range(len(X))]
    groups = np.arange(len(X))
    encoder = GroupedWords(numbered(X))
    search = CrossModalRetriever(query_encoder=encoder).fit(words, y, groups=groups)
    np.testing.assert_array_equal(search.query_encoder_.groups_, groups)
    search = CrossModalRetriever(query_encoder=encoder).fit(words, y)
    assert search.query_encoder_.groups_ is None


def test_encoders_that_give_no_embeddings_are_named(distinct):
    X, y = distinct
    words = [f"word {row}" for row in range(len(X))]
    spoilt = X.copy()
    spoilt[[3, 5]] = np.nan
    for table, message in (
        (X[:, 0], r"encoder of X must give an array of shape.*got shape"),
        (spoilt, r"2 of the \d+ items of X have no finite embedding \(rows 3, 5\)"),
    ):
        encoder = FunctionTransformer(numbered(table))
        with pytest.raises(ValueError, match=message):
            CrossModalRetriever(query_encoder=encoder).fit(words, y)


def test_what_would_empty_the_gallery_or_adds_nothing(distinct):
    X, y = distinct
    search = CrossModalRetriever().fit(X, y)
    ids = search.gallery_ids_.copy()
    with pytest.raises(ValueError, match=r"remove every item.*Nothing was removed"):
        search.remove(ids)
    np.testing.assert_array_equal(search.gallery_ids_, ids)
    # What is there already is not added again.
    search.add(y[:3])
    np.testing.assert_array_equal(search.gallery_ids_, ids)
    with pytest.raises(ValueError, match=r"Give ids of one type"):
        search.add(-y[:1], ids=["a name"])
    np.testing.assert_array_equal(search.gallery_ids_, ids)


def test_names_of_items_that_are_a_column_or_objects(distinct, tmp_path):
    X, y = distinct
    paths = [tmp_path / f"picture {row}" for row in range(len(y))]
    for path in paths:
        path.write_text(path.name)
    words = [str(path) for path in paths]
    encoder = FunctionTransformer(
        lambda items: numbered(y)([str(item) for item in np.ravel(items)])
    )
    for targets in (words, pd.Series(words), paths):
        search = CrossModalRetriever(target_encoder=encoder).fit(X, targets)
        assert search.gallery_items_ == words
        assert search.gallery_ids_.tolist() == words
    # Pictures that are bytes have no name but their row.
    encoder = FunctionTransformer(
        lambda items: numbered(y)([bytes(item).decode() for item in items])
    )
    search = CrossModalRetriever(target_encoder=encoder)
    search.fit(X, [word.encode() for word in words])
    assert search.gallery_items_ is None
    assert search.gallery_ids_.tolist() == list(range(len(y)))


def test_gallery_items_by_groups_are_those_of_the_groups(distinct):
    X, y = distinct
    search = CrossModalRetriever().fit(X, y)
    groups = np.arange(len(y)) // 2
    first_rows, item_of_row = search.gallery_items(y, groups)
    np.testing.assert_array_equal(first_rows, np.arange(0, len(y), 2))
    np.testing.assert_array_equal(item_of_row, groups)


def test_counts_of_rows_and_groups_are_named(distinct):
    X, y = distinct
    message = rf"X has {len(X)} rows, y {len(y)}, groups 3\. Row i of y"
    with pytest.raises(ValueError, match=message):
        CrossModalRetriever().fit(X, y, groups=[0, 1, 2])
