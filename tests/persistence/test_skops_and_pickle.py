"""Other ways to keep an estimator: skops, pickle and joblib."""

import io
import pickle

import joblib
import pytest
import skops.io
from numpy.testing import assert_array_equal

from skxmodal import (
    CCAMapper,
    CrossModalRetriever,
    ImageEncoder,
    LeastSquaresMapper,
    ProcrustesMapper,
    RelativeMapper,
    TextEncoder,
)
from skxmodal.datasets import make_paired_embeddings

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
        CrossModalRetriever(),
        CrossModalRetriever("passthrough"),
        CrossModalRetriever(ProcrustesMapper(), hubness="csls"),
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
