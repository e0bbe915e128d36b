"""Corrections for hubness against their papers' formulas."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import skew
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid

from skxmodal._validation import unit_rows
from skxmodal.neighbors import (
    CSLS,
    DualSoftmax,
    InvertedSoftmax,
    LocalScaling,
    QBNorm,
    _inverted_softmax,
    k_occurrence,
    make_hubness,
    top_k,
)
from skxmodal.neighbors._hubness import CORRECTIONS


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def spaces(request):
    """Bank, queries and a gallery that all lie to one side, so that hubs appear."""
    rng = np.random.default_rng(0)
    sides = [rng.normal(size=(n, 12)) + 0.4 for n in (300, 40, 90)]
    return [unit_rows(side).astype(request.param) for side in sides]


def nearest_mean(scores, k):
    return np.sort(scores, axis=1)[:, -k:].mean(axis=1)


def csls(bank, queries, gallery):
    cosine = queries @ gallery.T
    r_query = nearest_mean(cosine, 10)
    r_item = nearest_mean(gallery @ bank.T, 10)
    return 2 * cosine - r_query[:, np.newaxis] - r_item


def inverted_softmax(bank, queries, gallery, temperature=0.07):
    scaled = queries @ gallery.T / temperature
    over_bank = logsumexp(bank @ gallery.T / temperature, axis=0) - np.log(len(bank))
    score = scaled - over_bank
    score -= logsumexp(score, axis=1, keepdims=True) - np.log(len(gallery))
    return temperature * score


def dual_softmax(bank, queries, gallery, temperature=0.03):
    scaled = queries @ gallery.T / temperature
    over_bank = logsumexp(bank @ gallery.T / temperature, axis=0) - np.log(len(bank))
    over_gallery = logsumexp(scaled, axis=1, keepdims=True) - np.log(len(gallery))
    return temperature * (2 * scaled - over_bank - over_gallery)


def local_scaling(bank, queries, gallery):
    def distance(a, b):
        return np.sqrt(2 - 2 * a @ b.T)

    s_query = np.sort(distance(queries, gallery), axis=1)[:, 9]
    s_item = np.sort(distance(gallery, bank), axis=1)[:, 9]
    return -(distance(queries, gallery) ** 2) / (s_query[:, np.newaxis] * s_item)


@pytest.mark.parametrize(
    ("correction", "formula"),
    [
        (CSLS(), csls),
        (InvertedSoftmax(), inverted_softmax),
        (DualSoftmax(), dual_softmax),
        (LocalScaling(), local_scaling),
    ],
)
def test_full_scores_are_the_papers(spaces, correction, formula):
    bank, queries, gallery = spaces
    correction = clone(correction).fit(bank, gallery)
    folded_queries = correction.fold_queries(queries)
    folded_gallery = correction.fold_gallery(gallery)
    assert folded_gallery.dtype == folded_queries.dtype == gallery.dtype
    scale, offset = correction.query_terms(queries, gallery)
    assert np.all(scale > 0)
    found = scale[:, np.newaxis] * (folded_queries @ folded_gallery.T)
    found += offset[:, np.newaxis]
    expected = formula(*(side.astype(np.float64) for side in spaces))
    tolerance = 1e-12 if gallery.dtype == np.float64 else 1e-5
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("k", [1, 4])
def test_query_bank_norm_is_the_dynamic_inverted_softmax(spaces, k):
    bank, queries, gallery = (side.astype(np.float64) for side in spaces)
    # A bank of few queries meets few items, so that some queries stay plain.
    bank = bank[:8]
    correction = QBNorm(k=k).fit(bank, gallery)
    plain = queries @ gallery.T
    normalised = inverted_softmax(bank, queries, gallery)
    met = set(np.argsort(-(bank @ gallery.T), axis=1)[:, :k].ravel().tolist())
    folded = correction.fold_queries(queries) @ correction.fold_gallery(gallery).T
    kinds = set()
    for query in range(len(queries)):
        hub = int(plain[query].argmax()) in met
        kinds.add(hub)
        expected = normalised[query] if hub else plain[query]
        np.testing.assert_array_equal(np.argsort(-folded[query]), np.argsort(-expected))
    assert kinds == {True, False}


@pytest.mark.parametrize("name", sorted(CORRECTIONS))
def test_a_query_alone_is_answered_as_in_a_batch(spaces, name):
    bank, queries, gallery = spaces
    correction = make_hubness(name).fit(bank, gallery)
    assert not correction.transductive
    folded = correction.fold_gallery(gallery)
    _, rows = top_k(correction.fold_queries(queries), folded, 5)
    for query in range(len(queries)):
        alone = correction.fold_queries(queries[query : query + 1])
        np.testing.assert_array_equal(top_k(alone, folded, 5)[1][0], rows[query])


@pytest.mark.parametrize("name", sorted(CORRECTIONS))
def test_hubs_lose_their_queries(name):
    rng = np.random.default_rng(1)
    centre = rng.normal(size=24)
    gallery = rng.normal(size=(400, 24))
    # Some items lie where most queries are.
    gallery[:12] += 2 * centre
    queries = unit_rows(rng.normal(size=(800, 24)) + centre)
    bank = unit_rows(rng.normal(size=(1000, 24)) + centre)
    gallery = unit_rows(gallery)
    correction = make_hubness(name).fit(bank, gallery)
    before = k_occurrence(queries, gallery, 10)
    after = k_occurrence(
        correction.fold_queries(queries), correction.fold_gallery(gallery), 10
    )
    assert before.sum() == after.sum() == 8000
    assert skew(after) < 0.9 * skew(before), (skew(after), skew(before))
    assert np.count_nonzero(after == 0) < np.count_nonzero(before == 0)


@pytest.mark.parametrize("name", sorted(CORRECTIONS))
def test_a_bank_of_copies_and_few_queries(name):
    gallery = np.eye(3)
    correction = make_hubness(name).fit(np.eye(3)[[0, 0]], gallery)
    assert np.all(np.isfinite(correction.gallery_offset_))
    assert np.all(np.isfinite(correction.fold_gallery(gallery)))
    _, rows = top_k(
        correction.fold_queries(np.eye(3)), correction.fold_gallery(gallery), 3
    )
    assert sorted(rows[0]) == [0, 1, 2]


def test_the_soft_maximum_over_many_blocks():
    rng = np.random.default_rng(2)
    vectors, others = rng.normal(size=(1030, 5)), rng.normal(size=(2100, 5))
    for temperature in (1e-3, 0.1, 10.0):
        expected = temperature * (
            logsumexp(vectors @ others.T / temperature, axis=1) - np.log(2100)
        )
        found = _inverted_softmax._soft_maximum(vectors, others, temperature)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", sorted(CORRECTIONS))
def test_the_bank_is_thinned_evenly(spaces, name):
    bank, queries, gallery = spaces
    every_third = make_hubness(name).set_params(bank_size=100).fit(bank, gallery)
    chosen = bank[np.linspace(0, 299, 100).astype(int)]
    expected = make_hubness(name).fit(chosen, gallery)
    np.testing.assert_array_equal(every_third.gallery_offset_, expected.gallery_offset_)
    # The queries being answered are never thinned.
    whole = make_hubness(name).set_params(bank_size=10, bank="queries")
    assert whole.transductive
    np.testing.assert_array_equal(
        whole.fit(queries, gallery).gallery_offset_,
        make_hubness(name)
        .set_params(bank_size=None)
        .fit(queries, gallery)
        .gallery_offset_,
    )


@pytest.mark.parametrize("name", sorted(CORRECTIONS))
def test_corrections_are_estimators(name):
    correction = make_hubness(name)
    copy = pickle.loads(pickle.dumps(clone(correction)))
    assert copy.get_params() == correction.get_params()
    for params in ParameterGrid({"bank": ["train", "queries"], "bank_size": [None, 5]}):
        assert (
            clone(correction).set_params(**params).get_params().items()
            >= params.items()
        )


@pytest.mark.parametrize(
    ("correction", "message"),
    [
        (CSLS(k=0), "k must be an integer of at least 1, got 0"),
        (CSLS(k=2.5), "k must be an integer"),
        (LocalScaling(k=True), "k must be an integer"),
        (QBNorm(k=0), "k must be an integer"),
        (InvertedSoftmax(temperature=0.0), "temperature must be a finite number above"),
        (DualSoftmax(temperature=np.nan), "temperature must be a finite number above"),
        (CSLS(bank="test"), "bank must be one of"),
        (CSLS(bank_size=0), "bank_size must be an integer"),
    ],
)
def test_bad_parameters_are_named(correction, message):
    with pytest.raises(ValueError, match=message):
        correction.fit(np.eye(3), np.eye(3))


def test_another_gallery_is_an_error():
    correction = CSLS(k=1).fit(np.eye(3), np.eye(3))
    with pytest.raises(ValueError, match="fitted to 3 gallery items, got 2"):
        correction.fold_gallery(np.eye(3)[:2])


def test_names_and_estimators_make_corrections():
    assert make_hubness(None) is None
    given = CSLS(k=3)
    made = make_hubness(given)
    assert made is not given
    assert made.k == 3
    with pytest.raises(ValueError, match=r"Unknown hubness correction 'cls'.*csls"):
        make_hubness("cls")
    with pytest.raises(TypeError, match="hubness must be None, one of"):
        make_hubness(10)


def test_k_occurrence_equals_a_loop():
    rng = np.random.default_rng(3)
    queries, gallery = rng.normal(size=(30, 4)), rng.normal(size=(20, 4))
    expected = np.zeros(20, dtype=int)
    for query in queries:
        expected[np.argsort(-(gallery @ query))[:3]] += 1
    np.testing.assert_array_equal(k_occurrence(queries, gallery, 3), expected)


@pytest.mark.parametrize("name", sorted(CORRECTIONS))
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_named(name, bad):
    broken = np.eye(3)
    broken[1, 0] = bad
    with pytest.raises(ValueError, match=r"bank_queries has NaN .* first in row 1"):
        make_hubness(name).fit(broken, np.eye(3))
    with pytest.raises(ValueError, match=r"gallery has NaN .* first in row 1"):
        make_hubness(name).fit(np.eye(3), broken)


def test_local_scaling_refuses_rows_that_are_longer_than_unit_vectors():
    with pytest.raises(ValueError, match=r"row 0 of bank_queries is 3 long"):
        LocalScaling(k=1).fit(3 * np.eye(3), np.eye(3))
    with pytest.raises(ValueError, match=r"row 0 of gallery is 3 long"):
        LocalScaling(k=1).fit(np.eye(3), 3 * np.eye(3))
    CSLS(k=1).fit(3 * np.eye(3), np.eye(3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [1e-50, 1e-310])
def test_the_least_temperature_follows_the_nearest_query(dtype, temperature):
    rng = np.random.default_rng(6)
    bank, gallery = (unit_rows(rng.normal(size=(n, 5))).astype(dtype) for n in (30, 20))
    softmax = InvertedSoftmax(temperature=temperature).fit(bank, gallery)
    nearest = (gallery @ bank.T).max(axis=1)
    np.testing.assert_allclose(softmax.gallery_offset_, -nearest, rtol=1e-6)


def test_a_class_in_place_of_a_correction_is_named():
    with pytest.raises(TypeError, match=r"such as CSLS\(k=10\), got .*CSLS'>"):
        make_hubness(CSLS)
