"""Approximate indices behind the contract of the exact one."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skxmodal._validation import unit_rows
from skxmodal.neighbors import (
    CSLS,
    ExactIndex,
    HNSWIndex,
    IVFIndex,
    IVFPQIndex,
    ScalarQuantizedIndex,
    make_index,
    top_k,
)

INDICES = [
    HNSWIndex(),
    IVFIndex(n_lists=16),
    IVFPQIndex(n_lists=8, n_bytes=4),
    ScalarQuantizedIndex(),
]
NAMES = ["hnsw", "ivf", "ivfpq", "sq8"]


@pytest.fixture(scope="module")
def gallery():
    """Ten thousand unit vectors around two hundred centres."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(200, 12))
    vectors = centres[rng.integers(0, 200, 10_000)] + 0.4 * rng.normal(
        size=(10_000, 12)
    )
    return unit_rows(vectors).astype(np.float32)


@pytest.fixture(scope="module")
def queries(gallery):
    rng = np.random.default_rng(1)
    noise = 0.1 * rng.normal(size=(200, 12))
    return unit_rows(gallery[:200] + noise).astype(np.float32)


@pytest.fixture(scope="module", params=INDICES, ids=NAMES)
def fitted(request, gallery, queries):
    return clone(request.param).fit(gallery, queries)


def test_the_loss_is_known(fitted, gallery, queries):
    scores, rows = fitted.search(queries, 10)
    expected_scores, expected = top_k(queries, gallery, 10)
    found = np.mean([np.isin(a, b).mean() for a, b in zip(expected, rows, strict=True)])
    # Measured on these very queries when the index was built.
    assert fitted.recall_vs_exact_ == pytest.approx(found)
    assert found > (0.4 if isinstance(fitted, IVFPQIndex) else 0.85)
    assert rows.dtype == np.int64
    assert rows.shape == scores.shape == (200, 10)
    assert np.all(np.diff(scores, axis=1) <= 0)
    assert np.all(np.diff(np.sort(rows, axis=1), axis=1) > 0)
    if isinstance(fitted, HNSWIndex | IVFIndex) and not isinstance(fitted, IVFPQIndex):
        exact = np.einsum("id,ikd->ik", queries, gallery[rows])
        np.testing.assert_allclose(scores, exact, atol=1e-5)
    np.testing.assert_allclose(scores, expected_scores, atol=0.3)


@pytest.mark.parametrize(
    "index",
    [IVFIndex(n_lists=16, n_probe=16), HNSWIndex(ef_search=1000)],
    ids=["ivf", "hnsw"],
)
def test_searched_in_full_it_is_exact(index, gallery, queries):
    gallery = gallery[:1000]
    index = clone(index).fit(gallery, queries)
    assert index.recall_vs_exact_ > 0.999
    np.testing.assert_array_equal(
        index.search(queries[:50], 1)[1], top_k(queries[:50], gallery, 1)[1]
    )


def test_all_rows_can_be_asked_for(fitted):
    small = clone(fitted)
    if isinstance(small, IVFPQIndex):
        small = fitted
        scores, rows = small.search(np.eye(12, dtype=np.float32)[:1], small.n_items)
    else:
        vectors = unit_rows(np.random.default_rng(2).normal(size=(90, 12)))
        small.fit(vectors)
        scores, rows = small.search(vectors[:5], 90)
    assert np.all(np.sort(rows, axis=1) == np.arange(small.n_items))
    assert np.all(np.isfinite(scores))


def test_items_that_no_link_leads_to_are_found():
    rows = np.random.default_rng(0).normal(size=(1000, 16)).astype(np.float32)
    rows[:800] = rows[0]
    index = HNSWIndex(n_links=4).fit(rows)
    index.remove([5, 900])
    scores, found = index.search(rows[:3], 998)
    np.testing.assert_array_equal(np.sort(found, axis=1), [np.arange(998)] * 3)
    kept = np.delete(rows, [5, 900], axis=0)
    expected = np.take_along_axis(rows[:3] @ kept.T, found, axis=1)
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_items_are_added_and_removed(fitted, gallery, queries):
    index = copy.deepcopy(fitted)
    exact = ExactIndex().fit(gallery)
    far = np.zeros((3, 12), dtype=np.float32)
    far[:, 0] = [5.0, 6.0, 7.0]
    for each in (index, exact):
        np.testing.assert_array_equal(each.add(far), [10_000, 10_001, 10_002])
        each.remove(np.arange(0, 5000))
        assert each.n_items == 5003
    _, rows = index.search(queries, 10)
    assert rows.min() >= 0
    assert rows.max() < 5003
    _, expected = exact.search(queries, 10)
    found = np.mean([np.isin(a, b).mean() for a, b in zip(expected, rows, strict=True)])
    assert found > (0.4 if isinstance(index, IVFPQIndex) else 0.8)
    if not isinstance(index, IVFPQIndex | ScalarQuantizedIndex):
        np.testing.assert_array_equal(index.search(far[:1], 3)[1], [[5002, 5001, 5000]])
    index.remove([5002])
    assert index.n_items == 5002
    assert index.search(far[:1], 1)[1][0, 0] != 5002
    with pytest.raises(IndexError):
        index.remove([5002])
    with pytest.raises(ValueError, match="No item would stay"):
        index.remove(np.arange(5002))
    # The one it was copied from is as it was.
    assert fitted.n_items == 10_000


def test_saved_pickled_and_copied_indices_answer_alike(fitted, queries, tmp_path):
    expected = fitted.search(queries, 5)
    fitted.save(tmp_path / "index")
    loaded = type(fitted).load(tmp_path / "index")
    assert loaded.get_params() == fitted.get_params()
    assert loaded.recall_vs_exact_ == fitted.recall_vs_exact_
    for other in (loaded, pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        # Once more through a pickle before it was ever searched.
        for index in (pickle.loads(pickle.dumps(other)), other):
            for ours, theirs in zip(index.search(queries, 5), expected, strict=True):
                np.testing.assert_array_equal(ours, theirs)
    wrong = HNSWIndex if not isinstance(fitted, HNSWIndex) else IVFIndex
    with pytest.raises(ValueError, match=f"holds a {type(fitted).__name__}, not a"):
        wrong.load(tmp_path / "index")


@pytest.mark.parametrize("index", INDICES[:2], ids=NAMES[:2])
def test_the_same_vectors_build_the_same_index(index, gallery, queries):
    first, second = (clone(index).fit(gallery[:3000]) for _ in range(2))
    for ours, theirs in zip(
        first.search(queries, 10), second.search(queries, 10), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_corrected_vectors_are_searched(gallery, queries):
    correction = CSLS().fit(queries, gallery)
    folded = correction.fold_gallery(gallery)
    asked = correction.fold_queries(queries)
    index = IVFIndex(n_lists=16, n_probe=16).fit(folded, asked)
    assert index.recall_vs_exact_ > 0.999


def test_faiss_has_its_threads_back(gallery):
    import faiss

    faiss.omp_set_num_threads(2)
    ScalarQuantizedIndex(n_threads=1).fit(gallery).search(gallery[:2], 1)
    assert faiss.omp_get_max_threads() == 2


def test_names_make_indices():
    for name, kind in zip(NAMES, INDICES, strict=True):
        assert type(make_index(name)) is type(kind)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (HNSWIndex(n_links=0), "n_links must be an integer of at least 1"),
        (HNSWIndex(n_links=1), "n_links must be an integer of at least 2"),
        (IVFIndex(n_lists=0), "n_lists must be an integer of at least 1, got 0"),
        (IVFIndex(n_lists=False), "n_lists must be an integer of at least 1"),
        (IVFIndex(n_probe=0), "n_probe must be an integer of at least 1, got 0"),
        (HNSWIndex(ef_search=1.5), "ef_search must be an integer"),
        (IVFIndex(n_probe=-1), "n_probe must be an integer"),
        (IVFPQIndex(n_bytes=None), "n_bytes must be an integer"),
        (ScalarQuantizedIndex(n_threads=0), "n_threads must be at least 1"),
        (IVFPQIndex(), "needs at least 9984 items, got 12. Take the exact index"),
    ],
)
def test_bad_parameters_are_named(index, message):
    with pytest.raises(ValueError, match=message):
        index.fit(np.eye(12))


def test_bad_searches_are_named(fitted):
    with pytest.raises(ValueError, match="k must be an integer from 1 to"):
        fitted.search(np.ones((1, 12)), fitted.n_items + 1)
    with pytest.raises(ValueError, match="queries have 3 columns and the gallery 12"):
        fitted.search(np.ones((1, 3)), 1)
    with pytest.raises(ValueError, match="vectors have 3 columns and the gallery 12"):
        fitted.add(np.ones((1, 3)))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e200, 1e30])
def test_values_that_single_precision_can_not_search_are_refused(fitted, value):
    index = copy.deepcopy(fitted)
    vectors = np.eye(12)[:3]
    vectors[1, 4] = value
    message = r"NaN or infinite values in 1 of 3 rows, the first in row 1|to unit len"
    for refused in (
        lambda: index.search(vectors, 2),
        lambda: index.add(vectors),
        lambda: clone(index).fit(vectors),
        lambda: clone(index).fit(np.eye(12), queries=vectors),
    ):
        with pytest.raises(ValueError, match=message):
            refused()
    assert index.n_items == fitted.n_items


def test_a_fit_that_fails_changes_nothing(fitted, queries):
    index = copy.deepcopy(fitted)
    attributes = index.n_items, index.recall_vs_exact_, index.n_features_
    expected = index.search(queries, 3)
    bad = np.eye(40)
    bad[3, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        index.fit(bad)
    if isinstance(index, IVFPQIndex):
        with pytest.raises(ValueError, match="needs at least 9984 items"):
            index.fit(np.eye(40))
    assert (index.n_items, index.recall_vs_exact_, index.n_features_) == attributes
    for ours, theirs in zip(index.search(queries, 3), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_pickled_index_can_be_fitted_again(gallery, queries):
    index = pickle.loads(pickle.dumps(ScalarQuantizedIndex().fit(gallery)))
    index.fit(gallery[:100])
    assert index.search(queries, 100)[1].max() == 99


def test_items_that_are_no_numbers_are_not_left_out_in_silence():
    index = IVFIndex().fit(np.eye(12))
    index._index.add(np.full((1, 12), np.nan, dtype=np.float32))
    index._alive = np.ones(13, dtype=bool)
    with pytest.raises(RuntimeError, match="Fewer than 13 of 13 items were found"):
        index.search(np.eye(12), 13)


@pytest.mark.parametrize("index", [ExactIndex(), HNSWIndex()], ids=["exact", "hnsw"])
def test_rows_are_numbers_or_a_mask(index):
    vectors = np.eye(6, 8)
    for rows, stay in (
        (np.arange(6) < 3, 3),
        ([True, False, False, False, False, True], 4),
        ([], 6),
        (4, 5),
        ([1, 1], 5),
    ):
        fitted = clone(index).fit(vectors)
        fitted.remove(rows)
        assert fitted.n_items == stay
    for rows in ([1.7], ["1"], [True, False], np.ones((6, 1), dtype=bool), [None]):
        with pytest.raises(ValueError, match="rows must be row numbers, or a mask"):
            fitted.remove(rows)
    assert fitted.n_items == 5


@pytest.mark.parametrize("index", [ExactIndex(), HNSWIndex()], ids=["exact", "hnsw"])
def test_what_is_not_fitted_says_so(index, tmp_path):
    for use in (
        lambda: index.search(np.eye(3), 1),
        lambda: index.add(np.eye(3)),
        lambda: index.remove([0]),
        lambda: index.n_items,
        lambda: index.save(tmp_path / "index"),
    ):
        with pytest.raises(NotFittedError):
            use()
    for shape in ((3,), (0, 3)):
        with pytest.raises(ValueError, match=r"^vectors must be of shape \(n, d\)"):
            index.fit(np.zeros(shape))


def test_other_files_are_no_indices(tmp_path):
    np.savez(tmp_path / "other.npz", a=1)
    np.save(tmp_path / "other.npy", np.eye(3))
    for name in ("other.npz", "other.npy"):
        with pytest.raises(ValueError, match="holds no HNSWIndex that save wrote"):
            HNSWIndex.load(tmp_path / name)
    with pytest.raises(ValueError, match="several arrays, not the vectors of an Exact"):
        ExactIndex.load(tmp_path / "other.npz")
