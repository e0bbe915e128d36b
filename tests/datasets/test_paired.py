"""Embeddings made with a known map."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LinearRegression

from skxmodal.datasets import make_paired_embeddings


def test_shapes_and_groups():
    X, y, coef, groups = make_paired_embeddings(
        7,
        n_features_x=5,
        n_features_y=6,
        n_latent=4,
        n_captions=3,
        coef=True,
        return_groups=True,
        random_state=0,
    )
    assert X.shape == (21, 5)
    assert y.shape == (21, 6)
    assert coef.shape == (6, 5)
    assert_array_equal(groups, np.repeat(np.arange(7), 3))
    assert groups.dtype == np.int64
    assert len(np.unique(y, axis=0)) == 7
    assert len(np.unique(X, axis=0)) == 21


def test_without_noise_the_map_is_exact_and_of_known_rank():
    X, y, coef = make_paired_embeddings(
        200, n_latent=10, noise=0, coef=True, random_state=1
    )
    assert_allclose(X @ coef.T, y, atol=1e-12)
    assert np.linalg.matrix_rank(X) == np.linalg.matrix_rank(y) == 10


def test_without_decay_the_map_is_a_partial_isometry():
    _, _, coef = make_paired_embeddings(
        n_latent=12, noise=0, decay=0, coef=True, random_state=2
    )
    singular = np.linalg.svd(coef, compute_uv=False)
    assert_allclose(singular[:12], 1)
    assert_allclose(singular[12:], 0, atol=1e-12)


@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_coef_is_what_least_squares_tends_to(offset):
    X, y, coef = make_paired_embeddings(
        200_000,
        n_features_x=6,
        n_features_y=7,
        n_latent=4,
        noise=0.5,
        offset=offset,
        coef=True,
        random_state=3,
    )
    fitted = LinearRegression().fit(X, y).coef_
    # Standard error of a coefficient is near noise / sqrt(n * noise**2) = 0.0024.
    assert_allclose(fitted, coef, atol=0.0125)
    assert_allclose(np.linalg.norm(X.mean(axis=0)), offset, atol=0.02)
    assert_allclose(np.linalg.norm(y.mean(axis=0)), offset, atol=0.02)


def test_latent_variances_fall_as_said():
    X, _ = make_paired_embeddings(
        100_000,
        n_features_x=4,
        n_features_y=4,
        n_latent=4,
        decay=1.0,
        noise=0,
        random_state=4,
    )
    variances = np.linalg.eigvalsh(np.cov(X.T))[::-1]
    assert_allclose(variances, 1 / np.arange(1, 5) ** 2, rtol=0.03)


def test_random_state_decides():
    first = make_paired_embeddings(random_state=5)
    again = make_paired_embeddings(random_state=5)
    instance = make_paired_embeddings(random_state=np.random.RandomState(5))
    other = make_paired_embeddings(random_state=6)
    for a, b, c, d in zip(first, again, instance, other, strict=True):
        assert_array_equal(a, b)
        assert_array_equal(a, c)
        assert not np.allclose(a, d)


def test_latent_above_a_side():
    with pytest.raises(ValueError, match="n_latent=9 is above the smaller of"):
        make_paired_embeddings(n_features_x=8, n_latent=9)


@pytest.mark.parametrize(
    "bad",
    [
        {"n_pairs": 0},
        {"n_captions": 0},
        {"noise": -0.1},
        {"decay": -1},
        {"offset": np.inf},
        {"offset": np.nan},
        {"n_latent": 2.5},
        {"coef": "yes"},
        {"random_state": "seed"},
    ],
)
def test_parameters_out_of_range(bad):
    with pytest.raises(ValueError, match=f"'{next(iter(bad))}' parameter"):
        make_paired_embeddings(**bad)
