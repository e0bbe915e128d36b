"""The few dimensions in which a linear map leaves its queries."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr

# Below this share of the dimensions the smaller search repays the projection.
WORTH_IT = 0.8
PROBES = 8


def in_subspace(vectors: NDArray[Any], basis: NDArray[Any] | None) -> NDArray[Any]:
    """Coordinates with the same inner products between the sides, fewer where they can.

    Parameters
    ----------
    vectors : ndarray of shape (n, n_components)
        Unit vectors of the shared space.
    basis : ndarray of shape (n_components, rank) or None
        What :func:`query_subspace` gave.

    Returns
    -------
    vectors : ndarray of shape (n, rank) or (n, n_components)
        As they are where there is no basis.
    """
    return vectors if basis is None else vectors @ basis


def query_subspace(
    mapper: Any, n_features: int, dtype: Any = np.float64
) -> NDArray[Any] | None:
    """Orthonormal basis of the space that a linear mapper's queries lie in.

    A map from 384 to 1280 dimensions has rank 384 at most. With ``basis`` of that
    space, inner products of queries with any vectors are those of
    ``queries @ basis`` with ``vectors @ basis``: unit gallery vectors, projected after
    they were scaled, keep their true norms in the score, and the search multiplies
    384 numbers instead of 1280.

    Parameters
    ----------
    mapper : fitted mapper
        Anything with ``transform``.
    n_features : int
        Number of features of its queries.
    dtype : dtype, default=float64
        Of the basis.

    Returns
    -------
    basis : ndarray of shape (n_components, rank) or None
        None where the mapper is not linear (but for an offset), or the space is not
        much smaller than the shared one.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.mappers import LeastSquaresMapper
    >>> from skxmodal.neighbors import query_subspace
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(50, 3)), rng.normal(size=(50, 8))
    >>> query_subspace(LeastSquaresMapper().fit(X, y), n_features=3).shape
    (8, 3)
    """
    rng = np.random.default_rng(0)
    probes = rng.standard_normal((PROBES, n_features))
    probed = np.asarray(mapper.transform(probes), dtype=np.float64)
    if probed.ndim != 2 or n_features + 1 > WORTH_IT * probed.shape[1]:
        return None
    corners = np.vstack([np.zeros((1, n_features)), np.eye(n_features)])
    images = np.asarray(mapper.transform(corners), dtype=np.float64)
    origin, directions = images[0], images[1:] - images[0]
    expected = origin + probes @ directions
    if not np.allclose(probed, expected, rtol=0, atol=1e-5 * np.abs(expected).max()):
        return None
    spanned = np.vstack([directions, origin]).T
    basis, triangle, _ = qr(spanned, mode="economic", pivoting=True)
    size = np.abs(np.diag(triangle))
    rank = int(np.count_nonzero(size > 1e-9 * size[0]))
    return np.ascontiguousarray(basis[:, :rank], dtype=dtype)
