"""Items by name, in memory once, behind an index that measures what it loses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skxmodal import CrossModalRetriever, LeastSquaresMapper
from skxmodal._content import content_keys
from skxmodal._validation import unit_rows
from skxmodal.datasets import make_paired_embeddings
from skxmodal.neighbors import ExactIndex, IVFIndex
from skxmodal.neighbors._gallery import Gallery


@pytest.fixture
def vectors():
    return unit_rows(np.random.default_rng(0).normal(size=(20, 6)))


def make_gallery(vectors, ids=None, **settings):
    ids = np.arange(len(vectors)) if ids is None else ids
    return Gallery(vectors, ids, content_keys(vectors), **settings)


@pytest.mark.parametrize("wrong", ["3", ["3"], [True], [3.0], [3, "4"], None, [2, 99]])
def test_ids_of_another_type_are_not_in_the_gallery(vectors, wrong):
    gallery = make_gallery(vectors)
    with pytest.raises(ValueError, match="not in the gallery, the first being"):
        gallery.remove(wrong)
    assert gallery.n_items == gallery.index.n_items == 20


@pytest.mark.parametrize(
    "ids", [3, [3], np.array([3]), np.array(3), (np.int32(3),), [3, 3]]
)
def test_ids_are_found_in_any_container(vectors, ids):
    gallery = make_gallery(vectors)
    np.testing.assert_array_equal(gallery.remove(ids), np.delete(np.arange(20), 3))
    assert 3 not in gallery.ids
    assert gallery.index.n_items == 19


def test_paths_name_what_was_given_as_paths(vectors):
    names = np.array([f"pictures/{row}.jpg" for row in range(20)], dtype=object)
    gallery = make_gallery(vectors, names)
    gallery.remove([Path("pictures/4.jpg"), "pictures/5.jpg"])
    gallery.remove("pictures/6.jpg")
    assert gallery.ids.tolist() == np.delete(names, [4, 5, 6]).tolist()


def test_ids_keep_their_type():
    X, y = make_paired_embeddings(n_pairs=40, random_state=0)
    retriever = CrossModalRetriever().fit(X, y)
    with pytest.raises(ValueError, match="Some ids are strings and others like 1"):
        retriever.index(y[:2], ids=[1, "a"])
    retriever.index(y[:2], ids=["1", "a"])
    assert retriever.gallery_ids_.tolist() == ["1", "a"]
    with pytest.raises(ValueError, match="ids are like '1', the new ones like 2"):
        retriever.add(y[2:3], ids=np.array([2], dtype=object))


def test_vectors_are_in_memory_once(vectors):
    gallery = make_gallery(vectors[:10])
    gallery.add(vectors[10:], np.arange(10, 20), content_keys(vectors[10:]))
    assert gallery.index.vectors_ is gallery.vectors
    gallery.remove([2, 11])
    assert gallery.index.vectors_ is gallery.vectors
    np.testing.assert_array_equal(gallery.vectors, np.delete(vectors, [2, 11], axis=0))


class FixedIndex:
    """An index that can't change."""

    def fit(self, rows):
        self.exact = ExactIndex().fit(rows)
        self.vectors_ = self.exact.vectors_
        return self

    def search(self, queries, k):
        return self.exact.search(queries, k)

    @property
    def n_items(self):
        return self.exact.n_items


def test_an_index_that_cannot_change_is_built_anew(vectors):
    gallery = make_gallery(vectors[:15], index=FixedIndex())
    new = vectors[15:]
    gallery.add(new, np.arange(15, 20), content_keys(new))
    assert gallery.n_items == gallery.index.n_items == 20
    assert_array_equal(gallery.search(vectors, 1)[1].ravel(), np.arange(20))
    assert_array_equal(gallery.remove([3, 4]), np.delete(np.arange(20), [3, 4]))
    assert gallery.n_items == gallery.index.n_items == 18
    rows = gallery.search(vectors[[2, 5, 19]], 1)[1].ravel()
    assert_array_equal(gallery.ids[rows], [2, 5, 19])


def test_what_the_index_refuses_is_not_in_the_gallery(vectors):
    gallery = make_gallery(vectors[:10], index="sq8")
    with pytest.raises(ValueError, match="NaN"):
        gallery.add(np.full((1, 6), np.nan), np.array([10]), [b"new"])
    assert gallery.n_items == len(gallery.vectors) == gallery.index.n_items == 10


@pytest.mark.parametrize("hubness", [None, "csls"])
def test_the_loss_is_that_of_queries_from_the_other_side(hubness):
    X, y = make_paired_embeddings(n_pairs=1500, noise=1.0, random_state=0)
    retriever = CrossModalRetriever(
        LeastSquaresMapper(),
        gallery_index=IVFIndex(n_lists=30, n_probe=2),
        hubness=hubness,
    ).fit(X, y)
    sample = X[np.linspace(0, 1499, 256).astype(int)]
    found = retriever.kneighbors(sample, 10, return_distance=False)
    retriever.set_params(gallery_index="exact").fit(X, y)
    expected = retriever.kneighbors(sample, 10, return_distance=False)
    share = np.mean(
        [np.isin(a, b).mean() for a, b in zip(expected, found, strict=True)]
    )
    retriever.set_params(gallery_index=IVFIndex(n_lists=30, n_probe=2)).fit(X, y)
    assert retriever.index_.recall_vs_exact_ == pytest.approx(share, abs=1e-9)
    assert share < 0.95
