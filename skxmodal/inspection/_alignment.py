"""How far two embedding spaces agree, measured before any map is fitted."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_consistent_length

from skxmodal._validation import is_raw, unit_rows
from skxmodal.inspection._neighbor_lists import NeighborLists
from skxmodal.mappers import Moments
from skxmodal.mappers._placement import plain
from skxmodal.neighbors import top_k

# Rows whose neighbour lists are compared at once: 8 MB at 10 neighbours.
_ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class NeighborOverlap:
    """The mutual k-nearest-neighbour overlap of two spaces and its test.

    Attributes
    ----------
    overlap : float
        Mean share of the `n_neighbors` nearest rows that both spaces agree on.

    expected : float
        What unrelated spaces share on average, k / (n - 1).

    p_value : float
        Share of permutations of the pairs, the observed one counted among them, that
        overlap at least as much: (1 + b) / (1 + m). NaN without permutations.

    n_neighbors, n_samples, n_permutations : int
        What it was computed with.

    null_distribution : ndarray of shape (n_permutations,)
        The overlap of each permutation.
    """

    overlap: float
    expected: float
    p_value: float
    n_neighbors: int
    n_samples: int
    n_permutations: int
    null_distribution: NDArray[np.float64] = field(repr=False, compare=False)

    @property
    def lift(self) -> float:
        """The overlap divided by what unrelated spaces share."""
        return self.overlap / self.expected


def linear_cka(X: ArrayLike, y: ArrayLike, *, debiased: bool = True) -> float:
    """Centred kernel alignment of two spaces, with linear kernels.

    It is 1 where one space is a rotated, rescaled and shifted copy of the other. The
    plain estimate is far above 0 for unrelated spaces of more dimensions than rows
    (0.7 is usual at 300 rows); the debiased one is 0 on average, and may be negative.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Embeddings of the queries.

    y : array-like of shape (n_samples, n_targets)
        Embeddings of the targets, row by row those of `X`.

    debiased : bool, default=True
        Whether to use the unbiased estimate of the Hilbert-Schmidt independence
        criterion [2]_ in place of the plain one of [1]_.

    Returns
    -------
    cka : float
        The alignment: from 0 to 1, at most 1 when debiased.

    Raises
    ------
    ValueError
        If the sides differ in rows, hold values that are not finite, do not vary, or
        have fewer than 2 rows (4 when debiased).

    References
    ----------
    .. [1] Kornblith, Norouzi, Lee and Hinton, "Similarity of neural network
       representations revisited", ICML 2019, equation 4. arXiv:1905.00414.
    .. [2] Song, Smola, Gretton, Bedo and Borgwardt, "Feature selection via dependence
       maximization", JMLR 13, 2012, equation 5.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.inspection import linear_cka
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(linear_cka(X, 2 * X[:, ::-1] + 5), 6)
    1.0
    """
    X, y = check_pair(X, y, min_rows=4 if debiased else 2)
    # The alignment has no scale; squares of squares would leave the range of floats.
    x, t = _unit_size(X), _unit_size(y)
    moments = Moments.from_arrays(x, t, target_products="full")
    xy = float(np.sum(moments.xy**2))
    xx = float(np.sum(moments.xx**2))
    yy = float(np.sum(moments.yy**2))
    if debiased:
        xy, xx, yy = (
            _unbiased_hsic(xy, x, t),
            _unbiased_hsic(xx, x, x),
            _unbiased_hsic(yy, t, t),
        )
        if min(xx, yy) <= 0.0:
            raise ValueError(
                "A side varies along too few rows for the debiased alignment: all "
                "but a few rows of X or y are the same. Take debiased=False."
            )
    return float(xy / np.sqrt(xx * yy))


def _unbiased_hsic(
    products: float, x: NDArray[np.float64], y: NDArray[np.float64]
) -> float:
    """n (n - 3) times equation 5 of Song et al. for linear kernels, in O(n d).

    The rows are centred, so sums of a kernel's row are minus its diagonal.
    """
    n = len(x)
    p = np.einsum("ij,ij->i", x, x)
    q = np.einsum("ij,ij->i", y, y)
    diagonal = float(p @ q)
    return (
        (products - diagonal)
        + float(p.sum() * q.sum()) / ((n - 1) * (n - 2))
        - 2.0 / (n - 2) * diagonal
    )


def mutual_knn_overlap(
    X: ArrayLike,
    y: ArrayLike,
    n_neighbors: int = 10,
    *,
    n_permutations: int = 999,
    random_state: Any = None,
) -> NeighborOverlap:
    """Share of nearest neighbours that two spaces agree on, with its null.

    Neighbours are those of the largest cosine about each side's mean, without the row
    itself. Unrelated spaces share k / (n - 1) of them on average, whatever their
    geometry; the p-value comes from permuting the pairs. Of equally near rows those of
    lower numbers count, in each permutation anew; where there are many, unrelated
    spaces share more, and `null_distribution` tells how much.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Embeddings of the queries.

    y : array-like of shape (n_samples, n_targets)
        Embeddings of the targets, row by row those of `X`. Rows that repeat a picture
        are each other's neighbours: pass one row a picture.

    n_neighbors : int, default=10
        How many neighbours of each row are compared, from 1 to n_samples - 1.

    n_permutations : int, default=999
        How many permutations of the pairs the p-value rests on; 0 for none.

    random_state : int, RandomState instance or None, default=None
        Draws the permutations.

    Returns
    -------
    result : NeighborOverlap
        `overlap`, `expected`, `p_value` and what they were computed with.

    Raises
    ------
    ValueError
        If the sides differ in rows, hold values that are not finite or do not vary, or
        if `n_neighbors` or `n_permutations` is out of range.

    References
    ----------
    Huh, Cheung, Wang and Isola, "The platonic representation hypothesis", ICML 2024,
    appendix A. arXiv:2405.07987.

    Phipson and Smyth, "Permutation p-values should never be zero", Statistical
    Applications in Genetics and Molecular Biology 9, 2010: (1 + b) / (1 + m).

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.inspection import mutual_knn_overlap
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> mutual_knn_overlap(X, -X, n_neighbors=5, n_permutations=99, random_state=0)
    NeighborOverlap(overlap=1.0, expected=0.10..., p_value=0.01, n_neighbors=5,
    n_samples=50, n_permutations=99)
    """
    X, y = check_pair(X, y, min_rows=2)
    k = _check_neighbors(n_neighbors, len(X) - 1)
    if not isinstance(n_permutations, Integral) or n_permutations < 0:
        raise ValueError(
            f"n_permutations must be an integer of at least 0, got {n_permutations!r}."
        )
    x_lists = NeighborLists.of(_centred(X), k)
    y_lists = NeighborLists.of(_centred(y), k)
    return _overlap_test(x_lists.rows, y_lists, int(n_permutations), random_state)


def _overlap_test(
    x_lists: NDArray[np.int64],
    y_lists: NeighborLists,
    n_permutations: int,
    random_state: Any,
) -> NeighborOverlap:
    n, k = x_lists.shape
    shared = _count_shared(x_lists, y_lists.rows)
    rng = check_random_state(random_state)
    null = np.empty(n_permutations, dtype=np.int64)
    for m in range(n_permutations):
        pairing = rng.permutation(n)
        null[m] = _count_shared(x_lists, y_lists.relabelled(pairing))
    p_value = (1 + int((null >= shared).sum())) / (1 + n_permutations)
    return NeighborOverlap(
        overlap=shared / (n * k),
        expected=k / (n - 1),
        p_value=p_value if n_permutations else float("nan"),
        n_neighbors=k,
        n_samples=n,
        n_permutations=n_permutations,
        null_distribution=null / (n * k),
    )


def _count_shared(left: NDArray[np.int64], right: NDArray[np.int64]) -> int:
    """How many neighbours the two lists of each row have in common, summed."""
    total = 0
    for start in range(0, len(left), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        same = left[rows, :, np.newaxis] == right[rows, np.newaxis, :]
        total += int(np.count_nonzero(same))
    return total


def effective_rank(X: ArrayLike, *, kind: str = "entropy") -> float:
    """Number of dimensions that a cloud of embeddings really uses.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Embeddings; their mean is removed first.

    kind : {"entropy", "participation"}, default="entropy"
        "entropy" is the exponential of the entropy of the singular values scaled to
        sum to 1 [1]_; "participation" the squared sum of the variances over the sum
        of their squares, which large directions weigh on more.

    Returns
    -------
    rank : float
        From 1 to the rank of the centred `X`.

    Raises
    ------
    ValueError
        If `X` has fewer than two rows, values that are not finite, or no variance; or
        if `kind` is unknown.

    References
    ----------
    .. [1] Roy and Vetterli, "The effective rank", EUSIPCO 2007, definition 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.inspection import effective_rank
    >>> round(effective_rank(np.vstack([np.eye(3), -np.eye(3)])), 6)
    3.0
    """
    if kind not in ("entropy", "participation"):
        raise ValueError(f"kind must be 'entropy' or 'participation', got {kind!r}.")
    X = _check_space(X, "X", min_rows=2)
    centred = _centred(X)
    wide = centred.shape[0] < centred.shape[1]
    products = centred @ centred.T if wide else centred.T @ centred
    variances = np.clip(np.linalg.eigvalsh(products), 0.0, None)
    # Below this, an eigenvalue of the products is rounding.
    variances[variances < len(variances) * np.finfo(float).eps * variances[-1]] = 0.0
    if kind == "participation":
        return float(variances.sum() ** 2 / np.sum(variances**2))
    shares = np.sqrt(variances[variances > 0.0])
    shares /= shares.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


def hubness_skewness(
    gallery: ArrayLike, queries: ArrayLike | None = None, n_neighbors: int = 10
) -> float:
    """Skewness of how often each item is among the nearest neighbours of others.

    A space without hubs is near 0; above 1 a few items crowd many rankings. Rows far
    from the origin make hubs of those near the mean, so centre embeddings that will
    be searched centred. What remains is for CSLS and its like.

    Parameters
    ----------
    gallery : array-like of shape (n_items, d)
        Embeddings of the items that are found.

    queries : array-like of shape (n_queries, d), default=None
        Embeddings in the same space that ask. None: each item asks for the others.

    n_neighbors : int, default=10
        How many items of the largest cosine each query finds.

    Returns
    -------
    skewness : float
        The third standardised moment of the counts; 0 where all are equal.

    Raises
    ------
    ValueError
        If values are not finite, the two sides differ in columns, or `n_neighbors` is
        out of range.

    References
    ----------
    Radovanovic, Nanopoulos and Ivanovic, "Hubs in space", JMLR 11, 2010, section 2.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.inspection import hubness_skewness
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 50))
    >>> bool(hubness_skewness(X) < 1 < hubness_skewness(X + 1))
    True
    """
    alone = queries is None
    gallery = _check_space(gallery, "gallery", min_rows=1 + alone, varies=alone)
    if queries is None:
        lists = _neighbors(gallery, _check_neighbors(n_neighbors, len(gallery) - 1))
    else:
        queries = _check_space(queries, "queries", min_rows=1, varies=False)
        k = _check_neighbors(n_neighbors, len(gallery))
        lists = top_k(unit_rows(queries), unit_rows(gallery), k)[1]
    return _skewness(lists, len(gallery))


def _skewness(lists: NDArray[np.int64], n_items: int) -> float:
    counts = np.bincount(lists.ravel(), minlength=n_items).astype(np.float64)
    counts -= counts.mean()
    variance = float(np.mean(counts**2))
    if variance == 0.0:
        return 0.0
    return float(np.mean(counts**3) / variance**1.5)


def _neighbors(X: NDArray[Any], k: int) -> NDArray[np.int64]:
    """The k rows of the largest cosine with each row, the row itself left out."""
    unit = unit_rows(X)
    rows = top_k(unit, unit, k + 1)[1]
    other = rows != np.arange(len(rows))[:, np.newaxis]
    # Among many copies of a row it may not be in its own list: drop the last then.
    other[other.all(axis=1), -1] = False
    return rows[other].reshape(len(rows), k)


def _centred(X: NDArray[Any]) -> NDArray[np.float64]:
    return X - X.mean(axis=0, dtype=np.float64)


def _unit_size(X: NDArray[Any]) -> NDArray[np.float64]:
    """Centred rows, of which the largest entry is 1."""
    centred = _centred(X)
    return np.asarray(centred / np.abs(centred).max(), dtype=np.float64)


def _check_space(
    X: ArrayLike, name: str, *, min_rows: int, varies: bool = True
) -> NDArray[Any]:
    if is_raw(X):
        raise ValueError(
            f"{name} holds raw items, but alignment is measured between embeddings. "
            f"Encode them first: TextEncoder().transform({name}) for texts, "
            f"ImageEncoder().transform({name}) for pictures."
        )
    rows: NDArray[Any] = check_array(
        plain(X) if hasattr(X, "__array_namespace__") or hasattr(X, "cpu") else X,
        dtype=[np.float64, np.float32],
        ensure_min_samples=min_rows,
        input_name=name,
    )
    if varies and bool(np.all(rows == rows[0])):
        raise ValueError(
            f"All {len(rows)} rows of {name} are the same, so nothing can be said "
            "about its geometry: check the encoder's output."
        )
    return rows


def check_pair(
    X: ArrayLike, y: ArrayLike, *, min_rows: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    X = _check_space(X, "X", min_rows=min_rows)
    y = _check_space(y, "y", min_rows=min_rows)
    check_consistent_length(X, y)
    return X, y


def _check_neighbors(n_neighbors: int, largest: int) -> int:
    if not isinstance(n_neighbors, Integral) or not 1 <= n_neighbors <= largest:
        raise ValueError(
            f"n_neighbors must be an integer from 1 to {largest}, the number of other "
            f"rows, got {n_neighbors!r}."
        )
    return int(n_neighbors)
