"""Other ways to keep an estimator: skops, pickle and joblib."""

import io
import pickle

import joblib
import numpy as np
import pytest
import skops.io
from numpy.testing import assert_array_equal

from skxmodal import (
    CCAMapper,
    ContrastiveTuner,
    CrossModalRetriever,
    GMLPMapper,
    ImageEncoder,
    LeastSquaresMapper,
    ProcrustesMapper,
    RelativeMapper,
    TextEncoder,
)
from skxmodal._validation import unit_rows
from skxmodal.datasets import make_paired_embeddings
from skxmodal.model_selection import MapperSearchCV
from skxmodal.neighbors import (
    CSLS,
    DualSoftmax,
    ExactIndex,
    HNSWIndex,
    InvertedSoftmax,
    IVFIndex,
    IVFPQIndex,
    LocalScaling,
    QBNorm,
    ScalarQuantizedIndex,
)

X, Y = make_paired_embeddings(80, random_state=0)


def by_skops(estimator):
    content = skops.io.dumps(estimator)
    types = skops.io.get_untrusted_types(data=content)
    assert [name for name in types if not name.startswith("skxmodal.")] == []
    return skops.io.loads(content, trusted=types)


def by_joblib(estimator):
    stream = io.BytesIO()
    joblib.dump(estimator, stream)
    stream.seek(0)
    return joblib.load(stream)


def by_pickle(estimator):
    return pickle.loads(pickle.dumps(estimator))


@pytest.mark.parametrize("keep", [by_skops, by_joblib, by_pickle])
@pytest.mark.parametrize(
    "estimator",
    [
        LeastSquaresMapper(),
        ProcrustesMapper(),
        CCAMapper(),
        RelativeMapper(),
        GMLPMapper(max_epochs=1, early_stopping=False, random_state=0),
        CrossModalRetriever(),
        CrossModalRetriever("passthrough"),
        CrossModalRetriever(ProcrustesMapper(), hubness="csls"),
        CrossModalRetriever(ProcrustesMapper(), gallery_index=HNSWIndex()),
    ],
    ids=repr,
)
def test_embeddings(keep, estimator):
    fitted = estimator.fit(X, X[:, ::-1] if "passthrough" in repr(estimator) else Y)
    again = keep(fitted)
    assert_array_equal(again.transform(X), fitted.transform(X))
    if hasattr(fitted, "kneighbors"):
        found = again.kneighbors(X)
        for ours, theirs in zip(found, fitted.kneighbors(X), strict=True):
            assert_array_equal(ours, theirs)


@pytest.mark.parametrize("keep", [by_skops, by_joblib, by_pickle])
@pytest.mark.parametrize(
    "index",
    [
        ExactIndex(),
        HNSWIndex(),
        IVFIndex(n_lists=4),
        IVFPQIndex(n_lists=4, n_bytes=4),
        ScalarQuantizedIndex(),
    ],
    ids=repr,
)
def test_indices(keep, index):
    vectors = np.random.default_rng(0).normal(size=(10_000, 8)).astype(np.float32)
    fitted = index.fit(vectors)
    found = keep(fitted).search(vectors[:20], 3)
    for ours, theirs in zip(found, fitted.search(vectors[:20], 3), strict=True):
        assert_array_equal(ours, theirs)


@pytest.mark.parametrize("keep", [by_skops, by_joblib, by_pickle])
@pytest.mark.parametrize(
    "correction",
    [CSLS(), DualSoftmax(), InvertedSoftmax(), LocalScaling(), QBNorm()],
    ids=repr,
)
def test_hubness_corrections(keep, correction):
    bank = unit_rows(X)
    fitted = correction.fit(bank, bank[:40])
    again = keep(fitted)
    assert_array_equal(again.fold_gallery(bank[:40]), fitted.fold_gallery(bank[:40]))
    assert again.get_params() == fitted.get_params()


@pytest.mark.parametrize("keep", [by_skops, by_joblib, by_pickle])
def test_a_choice_of_maps(keep):
    search = MapperSearchCV(
        CrossModalRetriever(), {"mapper": [ProcrustesMapper(), CCAMapper()]}, cv=2
    ).fit(X, Y)
    best = keep(search.best_estimator_)
    assert_array_equal(best.transform(X), search.best_estimator_.transform(X))
    if keep is by_skops:
        # The search itself keeps scikit-learn's own scorer, which is to be trusted.
        content = skops.io.dumps(search)
        types = skops.io.get_untrusted_types(data=content)
        others = [name for name in types if not name.startswith("skxmodal.")]
        assert all(name.startswith("sklearn.metrics._scorer.") for name in others)
        again = skops.io.loads(content, trusted=types)
    else:
        again = keep(search)
    assert again.best_params_.keys() == search.best_params_.keys()
    assert_array_equal(again.transform(X), search.transform(X))


@pytest.mark.parametrize("keep", [by_skops, by_joblib, by_pickle])
def test_a_tuned_encoder(keep, tiny_bert):
    captions = [f"{noun} {number}" for noun in ("cat", "cup") for number in range(8)]
    tuner = ContrastiveTuner(
        TextEncoder(str(tiny_bert), cache=False),
        objective="captions",
        max_epochs=1,
        batch_size=8,
        random_state=0,
    ).fit(captions, groups=[number // 2 for number in range(16)])
    assert_array_equal(keep(tuner).transform(captions), tuner.transform(captions))


@pytest.mark.parametrize("keep", [by_skops, by_joblib, by_pickle])
def test_raw_captions_and_pictures(keep, tiny_bert, tiny_vit, cat, cup):
    search = CrossModalRetriever(
        LeastSquaresMapper(alpha=0.1),
        query_encoder=TextEncoder(str(tiny_bert)),
        target_encoder=ImageEncoder(str(tiny_vit)),
    ).fit(["a cat", "a red cup"], [cat, cup])
    again = keep(search)
    queries = ["a small cat", "a cup"]
    assert_array_equal(
        again.kneighbors(queries, n_neighbors=2)[0],
        search.kneighbors(queries, n_neighbors=2)[0],
    )
    assert_array_equal(again.gallery_ids_, search.gallery_ids_)
