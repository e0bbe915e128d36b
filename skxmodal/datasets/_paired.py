"""Embeddings of two views that share a known latent structure."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_params


@validate_params(
    {
        "n_pairs": [Interval(Integral, 1, None, closed="left")],
        "n_features_x": [Interval(Integral, 1, None, closed="left")],
        "n_features_y": [Interval(Integral, 1, None, closed="left")],
        "n_latent": [Interval(Integral, 1, None, closed="left")],
        "n_captions": [Interval(Integral, 1, None, closed="left")],
        "decay": [Interval(Real, 0, None, closed="left")],
        "noise": [Interval(Real, 0, None, closed="left")],
        "offset": [Interval(Real, None, None, closed="neither")],
        "coef": ["boolean"],
        "return_groups": ["boolean"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_paired_embeddings(
    n_pairs: int = 100,
    *,
    n_features_x: int = 24,
    n_features_y: int = 32,
    n_latent: int = 16,
    n_captions: int = 1,
    decay: float = 0.5,
    noise: float = 0.1,
    offset: float = 0.0,
    coef: bool = False,
    return_groups: bool = False,
    random_state: Any = None,
) -> tuple[Any, ...]:
    r"""Make embeddings of pictures and captions with a shared latent structure.

    Each picture has a latent vector :math:`z \sim N(0, S)`, with a diagonal
    :math:`S` whose variances are :math:`(1 + i)^{-2\,\mathrm{decay}}`. Its embedding
    is :math:`y = B z + \mu_y + \epsilon`, and that of each of its captions
    :math:`x = A z + \mu_x + \epsilon'`, where :math:`A` and :math:`B` have
    orthonormal columns and the noise is drawn for every row.

    Parameters
    ----------
    n_pairs : int, default=100
        Number of pictures.
    n_features_x : int, default=24
        Dimensions of a caption's embedding.
    n_features_y : int, default=32
        Dimensions of a picture's embedding.
    n_latent : int, default=16
        Dimensions that both sides share, at most the smaller of the two.
    n_captions : int, default=1
        Captions of each picture.
    decay : float, default=0.5
        How fast the standard deviations of the latent dimensions fall. With 0 all
        are 1, and without noise the best map is then orthogonal.
    noise : float, default=0.1
        Standard deviation of the noise in each dimension of both sides.
    offset : float, default=0.0
        Length of the vector added to all embeddings of a side, in a direction drawn
        for that side: the embeddings of real encoders are not centred.
    coef : bool, default=False
        Whether to return the coefficients of the best linear map.
    return_groups : bool, default=False
        Whether to return the picture that each row belongs to.
    random_state : int, RandomState instance or None, default=None
        Determines all random numbers. Pass an int for reproducible output across
        multiple function calls.

    Returns
    -------
    X : ndarray of shape (n_pairs * n_captions, n_features_x)
        Embeddings of the captions, those of one picture in consecutive rows.
    y : ndarray of shape (n_pairs * n_captions, n_features_y)
        Embedding of each caption's picture: equal rows for one picture.
    coef : ndarray of shape (n_features_y, n_features_x)
        Coefficients of the linear map of least expected squared error from centred
        `X` to centred `y`, as in :class:`~sklearn.linear_model.LinearRegression`:
        :math:`B S A^\top (A S A^\top + \mathrm{noise}^2 I)^{+}`. Only returned if
        `coef` is True.
    groups : ndarray of shape (n_pairs * n_captions,), dtype int64
        Number of each row's picture. Only returned if `return_groups` is True.

    Raises
    ------
    ValueError
        If a parameter is out of range or `n_latent` is above the dimensions of a
        side.

    Examples
    --------
    Without noise least squares finds the map that made the data:

    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from skxmodal.datasets import make_paired_embeddings
    >>> X, y, coef = make_paired_embeddings(noise=0, coef=True, random_state=0)
    >>> X.shape, y.shape
    ((100, 24), (100, 32))
    >>> np.allclose(LinearRegression().fit(X, y).predict(X), X @ coef.T)
    True
    """
    if n_latent > min(n_features_x, n_features_y):
        raise ValueError(
            f"n_latent={n_latent} is above the smaller of n_features_x={n_features_x} "
            f"and n_features_y={n_features_y}; the shared dimensions must fit in both."
        )
    rng = check_random_state(random_state)
    A = _orthonormal_columns(rng, n_features_x, n_latent)
    B = _orthonormal_columns(rng, n_features_y, n_latent)
    mean_x = offset * _orthonormal_columns(rng, n_features_x, 1)[:, 0]
    mean_y = offset * _orthonormal_columns(rng, n_features_y, 1)[:, 0]
    deviations = (1.0 + np.arange(n_latent)) ** -decay
    Z = rng.standard_normal((n_pairs, n_latent)) * deviations
    pictures = Z @ B.T + mean_y
    pictures += noise * rng.standard_normal(pictures.shape)
    groups = np.repeat(np.arange(n_pairs, dtype=np.int64), n_captions)
    X = (Z @ A.T + mean_x)[groups]
    X += noise * rng.standard_normal(X.shape)
    result: tuple[Any, ...] = (X, pictures[groups])
    if coef:
        variances = deviations**2
        result += ((B * (variances / (variances + noise**2))) @ A.T,)
    if return_groups:
        result += (groups,)
    return result


def _orthonormal_columns(
    rng: np.random.RandomState, n_rows: int, n_columns: int
) -> np.ndarray[Any, np.dtype[np.float64]]:
    Q, R = np.linalg.qr(rng.standard_normal((n_rows, n_columns)))
    return Q * np.where(np.diag(R) < 0, -1.0, 1.0)
