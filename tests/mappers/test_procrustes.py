"""Orthogonal Procrustes against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.spatial
from numpy.testing import assert_allclose
from scipy.linalg import orthogonal_procrustes, subspace_angles

from skxmodal import ProcrustesMapper


def pairs(n=80, d_x=6, d_y=6, *, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, max(d_x, d_y)))
    X = latent[:, :d_x] + noise * rng.normal(size=(n, d_x)) + 3.0
    rotation, _ = np.linalg.qr(rng.normal(size=(max(d_x, d_y),) * 2))
    y = 2.0 * (latent @ rotation)[:, :d_y] + noise * rng.normal(size=(n, d_y)) - 1.0
    return X, y


def centred(rows):
    return rows - rows.mean(axis=0)


def test_equal_dimensions_are_scipys():
    X, y = pairs()
    rotation, scale = orthogonal_procrustes(centred(X), centred(y))
    mapper = ProcrustesMapper().fit(X, y)
    assert_allclose(mapper.x_projection_, rotation, atol=1e-11)
    assert_allclose(mapper.coef_, rotation.T, atol=1e-11)
    assert mapper.singular_values_.sum() * len(X) == pytest.approx(scale)
    assert_allclose(mapper.predict(X), centred(X) @ rotation + y.mean(axis=0))
    assert mapper.scale_ == 1.0
    assert mapper.rank_ == 6


@pytest.mark.parametrize(("d_x", "d_y"), [(4, 9), (9, 4)])
def test_unequal_dimensions_are_scipys_with_padding(d_x, d_y):
    X, y = pairs(d_x=d_x, d_y=d_y)
    d = max(d_x, d_y)
    padded = [
        np.pad(centred(rows), [(0, 0), (0, d - rows.shape[1])]) for rows in (X, y)
    ]
    rotation = orthogonal_procrustes(*padded)[0][:d_x, :d_y]
    if d_x > d_y:
        # scipy fills the columns of the padding as it likes; the rest is determined.
        assert_allclose(
            ProcrustesMapper().fit(X, y).x_projection_, rotation, atol=1e-11
        )
    mapper = ProcrustesMapper().fit(X, y)
    R = mapper.x_projection_
    assert R.shape == (d_x, d_y)
    small = R if d_x > d_y else R.T
    assert_allclose(small.T @ small, np.eye(min(d_x, d_y)), atol=1e-12)
    best = np.linalg.svd(centred(X).T @ centred(y), compute_uv=False).sum()
    assert np.vdot(R, centred(X).T @ centred(y)) == pytest.approx(best)


def test_no_semi_orthogonal_map_does_better():
    rng = np.random.default_rng(1)
    X, y = pairs(d_x=3, d_y=5)
    mapper = ProcrustesMapper().fit(X, y)
    residual = ((y - mapper.predict(X)) ** 2).sum()
    for _ in range(50):
        step = 0.2 * rng.normal(size=(3, 5))
        U, _, Vt = np.linalg.svd(mapper.x_projection_ + step, full_matrices=False)
        assert ((centred(y) - centred(X) @ U @ Vt) ** 2).sum() >= residual


@pytest.mark.parametrize("noise", [1e-7, 0.5])
def test_scaling_gives_scipys_disparity(noise):
    X, y = pairs(noise=noise)
    disparity = scipy.spatial.procrustes(y, X)[2]
    mapper = ProcrustesMapper(scaling=True).fit(X, y)
    assert mapper.disparity_ == pytest.approx(disparity, abs=1e-13)
    if noise < 0.1:
        assert mapper.scale_ == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize("scaling", [False, True])
@pytest.mark.parametrize(("d_x", "d_y"), [(4, 9), (9, 4), (6, 6)])
@pytest.mark.parametrize("n_components", [None, 2])
@pytest.mark.parametrize("y_whiten", [0.0, 0.5])
def test_disparity_is_the_part_left_over(scaling, d_x, d_y, n_components, y_whiten):
    X, y = pairs(d_x=d_x, d_y=d_y)
    mapper = ProcrustesMapper(scaling, n_components, y_whiten=y_whiten).fit(X, y)
    values, vectors = np.linalg.eigh(np.cov(y.T, bias=True))
    forward = (vectors * values ** (-y_whiten / 2)) @ vectors.T
    residual = (((y - mapper.predict(X)) @ forward) ** 2).sum()
    total = ((centred(y) @ forward) ** 2).sum()
    assert mapper.disparity_ == pytest.approx(residual / total)


@pytest.mark.parametrize(("d_x", "d_y"), [(4, 9), (9, 4), (6, 6)])
def test_scale_is_the_best_one(d_x, d_y):
    X, y = pairs(d_x=d_x, d_y=d_y)
    mapper = ProcrustesMapper(scaling=True).fit(X, y)
    fitted = mapper.predict(X) - y.mean(axis=0)

    def residual(factor):
        return ((centred(y) - factor * fitted) ** 2).sum()

    assert residual(1.0) < min(residual(0.99), residual(1.01))
    unscaled = ProcrustesMapper().fit(X, y).predict(X) - y.mean(axis=0)
    assert_allclose(fitted, mapper.scale_ * unscaled)


@pytest.mark.parametrize("scaling", [False, True])
@pytest.mark.parametrize("powers", [(0.0, 0.0), (0.5, 0.0), (0.3, 1.0)])
@pytest.mark.parametrize("d_y", [6, 9])
def test_inverse_transform_brings_queries_back(scaling, powers, d_y):
    X, y = pairs(d_y=d_y)
    mapper = ProcrustesMapper(scaling, x_whiten=powers[0], y_whiten=powers[1]).fit(X, y)
    assert_allclose(mapper.inverse_transform(mapper.transform(X)), X, rtol=1e-9)
    Z = mapper.transform_target(y)
    assert mapper.inverse_transform(Z).shape == X.shape
    with pytest.raises(ValueError, match=f"has {d_y} dimensions"):
        mapper.inverse_transform(Z[:, :-1])


def test_inverse_transform_of_fewer_components_projects():
    X, y = pairs()
    mapper = ProcrustesMapper(n_components=2).fit(X, y)
    again = mapper.inverse_transform(mapper.transform(X))
    assert_allclose(mapper.transform(again), mapper.transform(X), atol=1e-12)


@pytest.mark.parametrize(("d_x", "d_y"), [(4, 9), (9, 4)])
def test_components_are_the_leading_singular_vectors(d_x, d_y):
    X, y = pairs(d_x=d_x, d_y=d_y)
    mapper = ProcrustesMapper(n_components=3).fit(X, y)
    U, S, Vt = np.linalg.svd(centred(X).T @ centred(y) / len(X))
    assert_allclose(mapper.singular_values_, S[:3])
    assert_allclose(subspace_angles(mapper.x_projection_, U[:, :3]), 0, atol=1e-7)
    assert_allclose(subspace_angles(mapper.y_projection_, Vt[:3].T), 0, atol=1e-7)
    assert mapper.transform(X).shape == mapper.transform_target(y).shape == (80, 3)
    assert_allclose(mapper.coef_.T, U[:, :3] @ Vt[:3], atol=1e-10)
    assert list(mapper.get_feature_names_out()) == [
        f"procrustesmapper{i}" for i in range(3)
    ]


def test_all_components_are_the_whole_map():
    X, y = pairs(d_x=4, d_y=7)
    whole, split = (ProcrustesMapper(n_components=k).fit(X, y) for k in (None, 4))
    assert_allclose(split.predict(X), whole.predict(X), atol=1e-10)
    assert_allclose(
        split.transform(X) @ split.transform_target(y).T,
        whole.transform(X) @ whole.transform_target(y).T,
        atol=1e-9,
    )


def test_more_components_than_dimensions():
    with pytest.raises(ValueError, match="n_components=5 is more than the smaller"):
        ProcrustesMapper(n_components=5).fit(*pairs(d_x=4, d_y=7))


def test_whitened_sides_are_rotated_as_if_whitened_before():
    X, y = pairs(d_x=4, d_y=7)
    mapper = ProcrustesMapper(x_whiten=1.0, y_whiten=0.5).fit(X, y)

    def whitened(rows, power):
        values, vectors = np.linalg.eigh(np.cov(rows.T, bias=True))
        return centred(rows) @ (vectors * values ** (-power / 2)) @ vectors.T

    white_X, white_y = whitened(X, 1.0), whitened(y, 0.5)
    plain = ProcrustesMapper().fit(white_X, white_y)
    assert_allclose(mapper.transform(X), plain.transform(white_X), atol=1e-10)
    assert_allclose(mapper.transform_target(y), white_y, atol=1e-10)
    assert_allclose(mapper.singular_values_, plain.singular_values_)
    assert mapper.disparity_ == pytest.approx(plain.disparity_)


def test_fully_whitened_sides_have_canonical_correlations():
    rng = np.random.default_rng(2)
    shared = rng.normal(size=(400, 2))
    X = np.c_[shared + rng.normal(size=(400, 2)), rng.normal(size=(400, 2))]
    y = np.c_[shared + rng.normal(size=(400, 2)), rng.normal(size=(400, 3))]
    mapper = ProcrustesMapper(x_whiten=1.0, y_whiten=1.0).fit(X, y)
    first, _ = np.linalg.qr(centred(X))
    second, _ = np.linalg.qr(centred(y))
    correlations = np.linalg.svd(first.T @ second, compute_uv=False)
    assert_allclose(mapper.singular_values_, correlations, atol=1e-10)


def test_fewer_pairs_than_dimensions_stay_semi_orthogonal():
    X, y = pairs(n=4, d_x=6, d_y=9)
    mapper = ProcrustesMapper(scaling=True).fit(X, y)
    R = mapper.x_projection_ / mapper.scale_
    assert_allclose(R @ R.T, np.eye(6), atol=1e-12)
    assert mapper.rank_ == 3


def test_targets_without_variance():
    X, _ = pairs()
    mapper = ProcrustesMapper(scaling=True).fit(X, np.full((80, 3), 7.0))
    assert mapper.rank_ == 0
    assert mapper.disparity_ == 0.0
    assert_allclose(mapper.predict(X), 7.0, atol=1e-12)
    assert np.isfinite(mapper.transform(X)).all()


@pytest.mark.parametrize("scale", [1e-80, 1e70])
def test_rotation_at_any_scale(scale):
    X, y = pairs()
    expected = ProcrustesMapper().fit(X, y)
    found = ProcrustesMapper().fit(scale * X, scale * y)
    assert_allclose(found.coef_, expected.coef_, atol=1e-12)
    assert_allclose(found.singular_values_ / scale / scale, expected.singular_values_)
