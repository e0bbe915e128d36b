"""Searches in the few dimensions of a linear map."""

from __future__ import annotations

import numpy as np
import pytest

from skxmodal import (
    CCAMapper,
    CrossModalRetriever,
    GMLPMapper,
    LeastSquaresMapper,
    ProcrustesMapper,
    RelativeMapper,
)
from skxmodal._validation import unit_rows
from skxmodal.metrics import retrieval_ranks
from skxmodal.neighbors import count_ranks, make_hubness, query_subspace, top_k
from skxmodal.neighbors._hubness import CORRECTIONS


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 12)) + 3.0
    y = X @ rng.normal(size=(12, 40)) + rng.normal(size=(600, 40)) - 5.0
    return X, y


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mapper", [LeastSquaresMapper(), ProcrustesMapper()])
def test_the_same_neighbours_in_fewer_dimensions(pairs, mapper, dtype):
    X, y = (side.astype(dtype) for side in pairs)
    mapper.fit(X, y)
    basis = query_subspace(mapper, 12, dtype)
    assert basis.dtype == dtype
    assert basis.shape == (40, 12)
    np.testing.assert_allclose(basis.T @ basis, np.eye(12), atol=1e-5)
    queries = unit_rows(mapper.transform(X))
    gallery = unit_rows(mapper.transform_target(y))
    scores, rows = top_k(queries, gallery, 5)
    few_scores, few_rows = top_k(queries @ basis, gallery @ basis, 5)
    np.testing.assert_allclose(few_scores, scores, atol=1e-5)
    assert np.mean(rows == few_rows) > (0.999 if dtype == np.float32 else 0.99999)
    own = np.arange(600), np.arange(601)
    ranks = count_ranks(queries, gallery, own[1], own[0], both=True)
    few_ranks = count_ranks(queries @ basis, gallery @ basis, own[1], own[0], both=True)
    for all_of, few in zip(ranks, few_ranks, strict=True):
        assert np.mean(all_of == few) > 0.999


def test_features_without_rank_are_left_out(pairs):
    X, y = pairs
    doubled = np.hstack([X, X[:, :4]])
    mapper = LeastSquaresMapper(alpha=0.1).fit(doubled, y)
    assert query_subspace(mapper, 16).shape == (40, 12)


def test_maps_that_gain_nothing_are_left_alone(pairs):
    X, y = pairs
    assert query_subspace(CCAMapper().fit(X, y), 12) is None
    assert query_subspace(LeastSquaresMapper().fit(y, X), 40) is None


@pytest.mark.filterwarnings("ignore")
def test_maps_that_are_not_linear_are_left_alone(pairs):
    X, y = pairs
    relative = RelativeMapper(n_anchors=60, random_state=0).fit(X, y)
    assert query_subspace(relative, 12) is None
    network = GMLPMapper(max_epochs=1, random_state=0).fit(X, y)
    assert query_subspace(network, 12) is None


@pytest.mark.parametrize("hubness", [None, *sorted(CORRECTIONS)])
def test_a_retriever_searches_the_subspace(pairs, hubness):
    X, y = pairs
    search = CrossModalRetriever(LeastSquaresMapper(), hubness=hubness)
    search.fit(X[:300], y[:300]).index(y[300:])
    assert search.subspace_.shape == (40, 12)
    queries = unit_rows(search.transform(X[300:]))
    gallery = unit_rows(search.transform_target(y[300:]))
    if hubness is not None:
        bank = unit_rows(search.transform(X[:300]))
        correction = make_hubness(hubness).fit(bank, gallery)
        queries = correction.fold_queries(queries)
        gallery = correction.fold_gallery(gallery)
    scores, rows = top_k(queries, gallery, 10)
    distances, found = search.kneighbors(X[300:], n_neighbors=10)
    np.testing.assert_array_equal(found, rows)
    np.testing.assert_allclose(distances, 1 - scores, atol=1e-9)
    ranks = retrieval_ranks(search, X[300:], y[300:], direction="query_to_target")
    expected = count_ranks(queries, gallery, np.arange(301), np.arange(300))
    np.testing.assert_array_equal(ranks.query_to_target.ranks, expected)
