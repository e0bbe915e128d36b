"""Anything at all: an answer that is right, or an error that is documented.

The number of examples is the profile's: HYPOTHESIS_PROFILE=long draws 6,000 of each.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from skxmodal import (
    CCAMapper,
    CrossModalRetriever,
    LeastSquaresMapper,
    ProcrustesMapper,
    RelativeMapper,
)
from skxmodal.datasets import make_paired_embeddings
from skxmodal.metrics import (
    hit_rate_at_k,
    mean_average_precision,
    mean_reciprocal_rank,
    median_rank,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
)
from skxmodal.neighbors import count_ranks, make_hubness, top_k
from skxmodal.persistence import PersistenceError, load, save

MAPPERS = {
    "least squares": LeastSquaresMapper(),
    "ridge": LeastSquaresMapper(alpha="auto"),
    "whitened": LeastSquaresMapper(alpha=0.1, x_whiten=0.5, y_whiten=0.5),
    "Procrustes": ProcrustesMapper(),
    "CCA": CCAMapper(),
    "relative": RelativeMapper(),
}
FLOATS = {
    "any": {"allow_nan": True, "allow_infinity": True},
    "finite": {"allow_nan": False, "allow_infinity": False},
    "moderate": {"min_value": -1e6, "max_value": 1e6},
    "few": {"min_value": -2, "max_value": 2},
}


@st.composite
def tables(draw, n, d):
    kind = draw(st.sampled_from(sorted(FLOATS)))
    width = draw(st.sampled_from([32, 64]))
    numbers = st.floats(width=width, **FLOATS[kind])
    if kind == "few":
        numbers = st.integers(-2, 2).map(float)
    return draw(hnp.arrays(f"f{width // 8}", (n, d), elements=numbers))


@st.composite
def pairs(draw):
    n, d_x, d_y = (draw(st.integers(low, 8)) for low in (0, 1, 1))
    return draw(tables(n, d_x)), draw(tables(n, d_y))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MAPPERS)
@given(both=pairs())
def test_maps_give_numbers_or_say_why_not(name, both):
    X, y = both
    given_X, given_y = X.copy(), y.copy()
    mapper = type(MAPPERS[name])(**MAPPERS[name].get_params())
    refused = ""
    try:
        mapper.fit(X, y)
    except ValueError as error:
        refused = str(error)
    np.testing.assert_array_equal(X, given_X)
    np.testing.assert_array_equal(y, given_y)
    if refused:
        return
    sizes = np.abs(np.r_[X.ravel(), y.ravel()]).astype(np.float64)
    range_of_type = np.finfo(X.dtype)
    # Squares, and ratios of squares, of other numbers may leave the range.
    moderate = (sizes == 0) | (
        (sizes > float(range_of_type.tiny) ** 0.25)
        & (sizes < float(range_of_type.max) ** 0.25)
    )
    for found in (mapper.transform(X), mapper.transform_target(y), mapper.predict(X)):
        assert len(found) == len(X)
        assert np.isfinite(found).all() or not moderate.all()


@st.composite
def searches(draw):
    n_queries, n_items, d = (draw(st.integers(1, 7)) for _ in range(3))
    return draw(tables(n_queries, d)), draw(tables(n_items, d))


@pytest.mark.filterwarnings("ignore")
@given(both=searches(), data=st.data())
def test_searches_agree_with_a_loop_or_say_why_not(both, data):
    queries, gallery = both
    k = data.draw(st.integers(1, len(gallery)))
    sound = np.isfinite(queries).all() and np.isfinite(gallery).all()
    try:
        scores, rows = top_k(queries, gallery, k)
    except ValueError as error:
        message = str(error)
        assert "leave the range" in message or not sound
        return
    assert sound
    assert all(len(set(row)) == k for row in rows.tolist())
    exact = queries.astype(np.float64) @ gallery.astype(np.float64).T
    exact = exact.astype(scores.dtype)
    size = np.abs(queries).astype(np.float64) @ np.abs(gallery).astype(np.float64).T
    best = -np.sort(-exact, axis=1)[:, :k]
    near = 1e-6 * size.max() + np.finfo(scores.dtype).tiny
    np.testing.assert_allclose(scores, best, rtol=1e-6, atol=near)


@pytest.mark.filterwarnings("ignore")
@given(both=searches(), data=st.data())
def test_ranks_agree_with_a_loop_or_say_why_not(both, data):
    queries, gallery = both
    own = [
        data.draw(st.lists(st.integers(0, len(gallery) - 1), max_size=3, unique=True))
        for _ in queries
    ]
    indptr = np.cumsum([0, *map(len, own)])
    indices = [item for items in own for item in items]
    try:
        ranks = count_ranks(queries, gallery, indptr, indices)
    except ValueError as error:
        message = str(error)
        assert "NaN or infinite" in message or "leave the range" in message
        return
    assert ranks.shape == (len(indices),)
    assert ((ranks >= 1) & (ranks <= len(gallery))).all()
    if not np.array_equal(queries, queries.astype(np.int8)):
        return
    if not np.array_equal(gallery, gallery.astype(np.int8)):
        return
    scores = queries.astype(np.float64) @ gallery.astype(np.float64).T
    place = iter(ranks.tolist())
    for row, items in enumerate(own):
        wrong = np.delete(scores[row], items)
        order = sorted(items, key=lambda item: -scores[row, item])
        found = sorted(next(place) for _ in items)
        expected = [
            1 + position + int((wrong >= scores[row, item]).sum())
            for position, item in enumerate(order)
        ]
        assert found == expected


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["csls", "inverted_softmax", "local_scaling"])
@given(both=searches())
def test_corrections_give_an_order_or_say_why_not(name, both):
    queries, gallery = both
    try:
        correction = make_hubness(name).fit(queries, gallery)
        _, rows = top_k(
            correction.fold_queries(queries),
            correction.fold_gallery(gallery),
            len(gallery),
        )
    except ValueError as error:
        message = str(error)
        assert message
        return
    assert (np.sort(rows, axis=1) == np.arange(len(gallery))).all()


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.filterwarnings("ignore")
@given(ranks=anything | st.lists(st.lists(st.integers(1, 9), max_size=4)), k=anything)
def test_metrics_are_numbers_or_say_why_not(ranks, k):
    at_k = [hit_rate_at_k, recall_at_k, precision_at_k, ndcg_at_k]
    for metric in [*at_k, mean_average_precision, mean_reciprocal_rank, median_rank]:
        arguments = (ranks,) if metric is median_rank else (ranks, k)
        try:
            value = metric(*arguments)
        except (TypeError, ValueError) as error:
            message = str(error)
            assert message
            continue
        assert isinstance(value, float)
        assert 0 <= value <= 1 or metric is median_rank


characters = st.characters(exclude_categories=[])


@settings(max_examples=20)
@given(texts=st.lists(st.text(characters, max_size=40), min_size=1, max_size=4))
def test_any_text_has_a_vector(minilm, texts):
    vectors = minilm.transform(texts)
    assert vectors.shape == (len(texts), 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    X, y = make_paired_embeddings(
        30, n_features_x=4, n_features_y=5, n_latent=3, random_state=0
    )
    search = CrossModalRetriever(hubness="csls").fit(X, y, groups=range(30))
    return save(search, tmp_path_factory.mktemp("saved") / "model"), X, search


@given(data=st.data())
def test_damaged_models_are_refused(saved, tmp_path_factory, data):
    model, X, search = saved
    damaged = tmp_path_factory.getbasetemp() / "damaged"
    shutil.rmtree(damaged, ignore_errors=True)
    shutil.copytree(model, damaged)
    path = data.draw(st.sampled_from(sorted(damaged.iterdir())))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "lose", "insert", "swap", "gone"]))
    extra = data.draw(st.binary(min_size=1, max_size=20))
    if kind == "flip":
        for offset, byte in enumerate(extra[: len(content) - place]):
            content[place + offset] ^= byte
    elif kind == "cut":
        del content[place:]
    elif kind == "lose":
        del content[place : place + len(extra)]
    elif kind == "insert":
        content[place:place] = extra
    elif kind == "swap":
        content = content[place:] + content[:place]
    path.write_bytes(content)
    if kind == "gone":
        path.unlink()
    try:
        again = load(damaged)
    except PersistenceError as error:
        message = str(error)
        assert str(damaged) in message
        return
    # White space of the manifest, and nothing else, may change unnoticed.
    before = (model / path.name).read_bytes()
    assert path.name == "manifest.json" or bytes(content) == before
    assert b"".join(before.split()) == b"".join(bytes(content).split())
    for ours, expected in zip(again.kneighbors(X), search.kneighbors(X), strict=True):
        np.testing.assert_array_equal(ours, expected)
