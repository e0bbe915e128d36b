"""The identity, centred."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

from skxmodal.mappers._passthrough import PassthroughMapper


def pairs(dtype=np.float64, offset=0.0):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 4)) + 1 + offset
    return X.astype(dtype), (X + rng.normal(size=(20, 4)) - 5).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_each_side_is_centred_by_its_training_mean(dtype):
    X, y = pairs(dtype)
    mapper = clone(PassthroughMapper()).fit(X[:15], y[:15])
    tol = 1e-6 if dtype == np.float32 else 1e-14
    assert_allclose(mapper.transform(X), X - X[:15].mean(axis=0), atol=tol)
    assert_allclose(mapper.transform_target(y), y - y[:15].mean(axis=0), atol=tol)
    shift = y[:15].mean(axis=0) - X[:15].mean(axis=0)
    assert_allclose(mapper.predict(X), X + shift, atol=10 * tol)
    assert mapper.transform(X).dtype == dtype
    assert list(mapper.get_feature_names_out())[:1] == ["passthroughmapper0"]


def test_weights_are_repeated_rows():
    X, y = pairs()
    w = np.arange(20) % 3
    weighted = PassthroughMapper().fit(X, y, sample_weight=w)
    repeated = PassthroughMapper().fit(np.repeat(X, w, axis=0), np.repeat(y, w, axis=0))
    assert_allclose(weighted.x_mean_, repeated.x_mean_)
    assert_allclose(weighted.y_mean_, repeated.y_mean_)
    with pytest.raises(ValueError, match="zero"):
        PassthroughMapper().fit(X, y, sample_weight=np.zeros(20))


def test_dimensions_must_agree():
    X, y = pairs()
    with pytest.raises(ValueError, match="X has 4 columns and y has 3: 'passthrough'"):
        PassthroughMapper().fit(X, y[:, :3])
    with pytest.raises(ValueError, match="raw items"):
        PassthroughMapper().fit(X, ["a.jpg"] * 20)
    with pytest.raises(ValueError, match="contains NaN"):
        PassthroughMapper().fit(X, np.full_like(y, np.nan))
