"""The same search written in three ways, on captions and pictures as they come."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline

from skxmodal import (
    CCAMapper,
    CrossModalRetriever,
    ImageEncoder,
    LeastSquaresMapper,
    ProcrustesMapper,
    RecallScorer,
    TextEncoder,
)

# The last has a space of its own, to which only a retriever takes pictures.
MAPPERS = [LeastSquaresMapper(alpha=1.0), ProcrustesMapper(), CCAMapper(8)]


@pytest.fixture(scope="module")
def encoders(tmp_path_factory, tiny_vit):
    cache = tmp_path_factory.mktemp("cache")
    return TextEncoder(cache=cache), ImageEncoder(tiny_vit, cache=cache)


@pytest.fixture(scope="module")
def captioned(emoji):
    """48 emoji with two captions each: strings, paths, and the picture's number."""
    rows = range(0, 1920, 40)
    captions = [
        caption
        for row in rows
        for caption in (emoji.names[row], f"a drawing of {emoji.names[row]}")
    ]
    pictures = [str(emoji.pictures[row]) for row in rows for _ in range(2)]
    return captions, pictures, np.repeat(np.arange(len(rows)), 2)


def test_three_ways_of_writing_it_score_the_same(encoders, captioned):
    text, image = encoders
    captions, pictures, groups = captioned
    settings = {"scoring": RecallScorer(k=3), "cv": GroupKFold(3), "refit": False}
    alone = GridSearchCV(
        CrossModalRetriever(query_encoder=text, target_encoder=image),
        {"mapper": MAPPERS},
        **settings,
    )
    last = GridSearchCV(
        Pipeline([("text", text), ("find", CrossModalRetriever(target_encoder=image))]),
        {"find__mapper": MAPPERS},
        **settings,
    )
    encoded = GridSearchCV(
        Pipeline(
            [("map", ProcrustesMapper()), ("find", CrossModalRetriever("passthrough"))]
        ),
        {"map": MAPPERS[:2]},
        **settings,
    )
    found = [
        alone.fit(captions, pictures, groups=groups),
        last.fit(captions, pictures, groups=groups),
        encoded.fit(text.transform(captions), image.transform(pictures), groups=groups),
    ]
    scores = [search.cv_results_["mean_test_score"] for search in found]
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-12)
    np.testing.assert_allclose(scores[2], scores[0][:2], atol=1e-12)
    assert (scores[0] > 0).all()
    assert (scores[0] < 1).all()
    assert len(set(scores[0])) == len(MAPPERS)


def test_cross_validation_on_raw_pictures(encoders, captioned):
    text, image = encoders
    captions, pictures, groups = captioned
    search = CrossModalRetriever(
        ProcrustesMapper(), query_encoder=text, target_encoder=image
    )
    folds = {"groups": groups, "cv": GroupKFold(3)}
    scores = cross_val_score(search, captions, pictures, **folds)
    encoded = cross_val_score(
        CrossModalRetriever(ProcrustesMapper()),
        text.transform(captions),
        image.transform(pictures),
        **folds,
    )
    np.testing.assert_allclose(scores, encoded, atol=1e-12)
    assert (scores > 0).all()
    assert (scores < 1).all()
