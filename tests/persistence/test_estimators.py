"""Estimators saved and loaded give the same answers, here and in another process."""

import importlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator

import skxmodal
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
from skxmodal.datasets import load_openmoji, make_paired_embeddings
from skxmodal.persistence import PersistenceError, load, register, save
from skxmodal.persistence._registry import _MODULES

NO_MODELS = {
    "HubnessCorrection": "the base of corrections",
    "MapperSearchCV": "saved as its best_estimator_",
    "RecallScorer": "a scorer is no model",
    "RetrievalScorer": "a scorer is no model",
}


@pytest.fixture(scope="module")
def pairs():
    return make_paired_embeddings(120, random_state=0)


def public_estimators():
    for part in ("", ".mappers", ".encoders", ".neighbors", ".model_selection"):
        module = importlib.import_module(f"skxmodal{part}")
        for name in module.__all__:
            found = getattr(module, name)
            if isinstance(found, type) and issubclass(found, BaseEstimator):
                yield name


def test_every_public_estimator_can_be_saved():
    missing = set(public_estimators()) - set(_MODULES) - set(NO_MODELS)
    assert missing == set()


def test_every_registered_class_is_where_the_registry_says():
    for name, module in _MODULES.items():
        assert isinstance(getattr(importlib.import_module(module), name), type)


@pytest.mark.parametrize(
    "mapper",
    [
        LeastSquaresMapper(),
        LeastSquaresMapper(alpha=0.1),
        ProcrustesMapper(),
        ProcrustesMapper(scaling=True),
        CCAMapper(),
        RelativeMapper(),
        GMLPMapper(max_epochs=2, early_stopping=False, random_state=0),
    ],
    ids=repr,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mappers_give_the_same_bits_and_go_on_learning(mapper, dtype, pairs, tmp_path):
    X, y = (array.astype(dtype) for array in pairs)
    fitted = clone(mapper).fit(X[:100], y[:100])
    again = load(save(fitted, tmp_path / "model"))
    assert again.get_params() == fitted.get_params()
    for method, side in (("transform", X), ("transform_target", y), ("predict", X)):
        ours, theirs = getattr(again, method)(side), getattr(fitted, method)(side)
        assert ours.dtype == theirs.dtype
        assert_array_equal(ours, theirs)
    for one in (again, fitted):
        if hasattr(one, "partial_fit"):
            one.partial_fit(X[100:], y[100:])
    assert_array_equal(again.transform(X), fitted.transform(X))


def test_an_estimator_that_is_not_fitted(tmp_path):
    again = load(save(LeastSquaresMapper(alpha=0.5), tmp_path / "model"))
    assert again.get_params() == LeastSquaresMapper(alpha=0.5).get_params()
    assert not hasattr(again, "coef_")


@pytest.mark.parametrize("hubness", [None, "csls"])
@pytest.mark.parametrize("ids", [None, "text", "numbers"])
def test_retriever_searches_and_grows_as_before(hubness, ids, pairs, tmp_path):
    X, y = pairs
    names = {
        None: None,
        "text": np.array([f"photo {i}" for i in range(120)], dtype=object),
        "numbers": np.arange(1000, 1120),
    }[ids]
    fitted = CrossModalRetriever(ProcrustesMapper(), hubness=hubness).fit(
        X[:100], y[:100]
    )
    part = None if names is None else names[:90]
    fitted.index(y[:90], ids=part)
    again = load(save(fitted, tmp_path / "model"))
    rest = None if names is None else names[90:]
    for one in (again, fitted):
        one.add(y[90:], ids=rest)
        one.remove(one.gallery_ids_[:3])
    assert_array_equal(again.gallery_ids_, fitted.gallery_ids_)
    assert again.gallery_ids_.dtype == fitted.gallery_ids_.dtype
    for method, side in (("kneighbors", X), ("inverse_kneighbors", y)):
        found = getattr(again, method)(side)
        for ours, theirs in zip(found, getattr(fitted, method)(side), strict=True):
            assert_array_equal(ours, theirs)


@pytest.fixture(scope="module")
def emoji():
    data = load_openmoji(size=64)
    rows = [r for r in range(0, 1923, 48) if len(data.names[r]) < 16]
    return [data.names[row] for row in rows], [data.pictures[row] for row in rows]


def test_raw_captions_and_pictures_in_another_process(
    emoji, tiny_bert, tiny_vit, tmp_path
):
    names, pictures = emoji
    fitted = CrossModalRetriever(
        LeastSquaresMapper(alpha=0.1),
        query_encoder=TextEncoder(str(tiny_bert)),
        target_encoder=ImageEncoder(str(tiny_vit)),
    ).fit(names, pictures)
    save(fitted, tmp_path / "model")
    code = (
        "import json, sys; from skxmodal.persistence import load\n"
        "search = load(sys.argv[1])\n"
        "assert 'pickle' not in type(search).__module__\n"
        "distances, rows = search.kneighbors(json.loads(sys.argv[2]))\n"
        "paths = [[str(p) for p in search.gallery_ids_[r]] for r in rows]\n"
        "print(json.dumps([distances.tolist(), paths]))"
    )
    queries = ["a dog on a beach", "a red car"]
    answer = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "model", json.dumps(queries)],
        capture_output=True,
        text=True,
        check=True,
    )
    distances, rows = fitted.kneighbors(queries)
    expected = [[str(p) for p in fitted.gallery_ids_[r]] for r in rows]
    found = json.loads(answer.stdout)
    np.testing.assert_allclose(found[0], distances, rtol=0, atol=1e-6)
    assert found[1] == expected


def test_other_weights_of_an_encoder_are_noticed(emoji, tiny_bert, tiny_vit, tmp_path):
    names, pictures = emoji
    model = tmp_path / "bert"
    shutil.copytree(tiny_bert, model)
    fitted = CrossModalRetriever(
        LeastSquaresMapper(alpha=0.1),
        query_encoder=TextEncoder(str(model)),
        target_encoder=ImageEncoder(str(tiny_vit)),
    ).fit(names, pictures)
    save(fitted, tmp_path / "model")
    load(tmp_path / "model")
    weights = model / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    with pytest.raises(PersistenceError, match=r"query_encoder_? is not the encoder"):
        load(tmp_path / "model")
    shutil.rmtree(model)
    with pytest.raises(PersistenceError, match=r"query_encoder_? can't be compared"):
        load(tmp_path / "model")
    again = load(tmp_path / "model", check_encoders=False)
    assert again.get_params()["query_encoder__model"] == str(model)


def test_a_tuned_encoder_keeps_its_weights(emoji, tiny_bert, tiny_vit, tmp_path):
    names, pictures = emoji
    groups = np.arange(len(names)) // 2
    tuner = ContrastiveTuner(
        TextEncoder(str(tiny_bert)),
        objective="captions",
        max_epochs=1,
        batch_size=8,
        random_state=0,
    ).fit(names, groups=groups)
    search = CrossModalRetriever(
        LeastSquaresMapper(alpha=0.1),
        query_encoder=FrozenEstimator(tuner),
        target_encoder=ImageEncoder(str(tiny_vit)),
    ).fit(names, pictures)
    kept = {"tuner": tuner, "encoder": tuner.encoder_, "search": search}
    for folder, one in kept.items():
        again = load(save(one, tmp_path / folder))
        assert_array_equal(again.transform(names), one.transform(names))
    plain = TextEncoder(str(tiny_bert)).transform(names)
    assert not np.allclose(tuner.transform(names), plain, atol=1e-4)


@pytest.mark.parametrize("index", ["hnsw", "ivf"])
def test_approximate_indices(index, pairs, tmp_path):
    X, y = (array.astype(np.float32) for array in pairs)
    fitted = CrossModalRetriever(ProcrustesMapper(), gallery_index=index).fit(X, y)
    again = load(save(fitted, tmp_path / "model"))
    found = again.kneighbors(X)
    for ours, theirs in zip(found, fitted.kneighbors(X), strict=True):
        assert_array_equal(ours, theirs)


def test_code_of_a_hub_is_not_run_unless_asked(tmp_path):
    encoder = TextEncoder("some/model", trust_remote_code=True)
    node = {"type": "object", "class": "TextEncoder", "fitted": {}}
    node["params"] = {**encoder.get_params(deep=False)}
    from skxmodal.persistence._decode import ModelDecoder

    with pytest.raises(PersistenceError, match="trust_remote_code=True"):
        ModelDecoder({}).decode(node, "")
    trusting = ModelDecoder({}, trust_remote_code=True)
    assert trusting.decode(node, "").model == "some/model"


@register
class PowerEncoder(BaseEstimator):
    """An encoder of somebody's own: how long each text is."""

    def __init__(self, power=1.0):
        self.power = power

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return np.array([[len(item) ** self.power, 1.0] for item in X])


def test_an_encoder_of_ones_own(pairs, tmp_path):
    texts = ["x" * (1 + i) for i in range(60)]
    fitted = CrossModalRetriever(
        LeastSquaresMapper(alpha=0.1), query_encoder=PowerEncoder(power=0.5)
    ).fit(texts, pairs[1][:60])
    again = load(save(fitted, tmp_path / "model"))
    assert_array_equal(again.predict(texts), fitted.predict(texts))


def test_metadata_is_kept(tmp_path):
    metadata = {"captions": ["a dog"] * 30, "rows": np.arange(3), "note": None}
    save(LeastSquaresMapper(), tmp_path / "model", metadata=metadata)
    _, again = load(tmp_path / "model", return_metadata=True)
    assert again["captions"] == metadata["captions"]
    assert_array_equal(again["rows"], metadata["rows"])
    assert again["note"] is None


def test_manifest_is_for_people_to_read(tmp_path):
    save(LeastSquaresMapper(alpha=0.5), tmp_path / "model")
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    assert manifest["format"] == "skxmodal"
    assert manifest["format_version"] == 1
    assert manifest["versions"]["skxmodal"] == skxmodal.__version__
    assert {"python", "numpy", "scikit-learn"} <= set(manifest["versions"])
    assert manifest["model"]["class"] == "LeastSquaresMapper"
    assert manifest["model"]["params"]["alpha"] == 0.5
