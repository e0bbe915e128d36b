"""Corrections for hubness by name, and how much of it there is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone

from skxmodal.neighbors._blocks import Rows
from skxmodal.neighbors._csls import CSLS
from skxmodal.neighbors._exact import top_k
from skxmodal.neighbors._hubness_base import HubnessCorrection
from skxmodal.neighbors._inverted_softmax import DualSoftmax, InvertedSoftmax, QBNorm
from skxmodal.neighbors._local_scaling import LocalScaling

CORRECTIONS: dict[str, type[HubnessCorrection]] = {
    "csls": CSLS,
    "dual_softmax": DualSoftmax,
    "inverted_softmax": InvertedSoftmax,
    "local_scaling": LocalScaling,
    "qb_norm": QBNorm,
}


def make_hubness(spec: str | HubnessCorrection | None) -> HubnessCorrection | None:
    """Make an unfitted correction from its name or from an estimator.

    Parameters
    ----------
    spec : str, hubness estimator or None
        A name of the registry, an estimator to clone, or None for no correction.

    Returns
    -------
    correction : hubness estimator or None
        A new estimator.

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> from skxmodal.neighbors import make_hubness
    >>> make_hubness("csls")
    CSLS()
    """
    if spec is None:
        return None
    if isinstance(spec, str):
        if spec not in CORRECTIONS:
            raise ValueError(
                f"Unknown hubness correction {spec!r}; the known are "
                f"{sorted(CORRECTIONS)}."
            )
        return CORRECTIONS[spec]()
    if not isinstance(spec, HubnessCorrection):
        raise TypeError(
            f"hubness must be None, one of {sorted(CORRECTIONS)} or an estimator such "
            f"as CSLS(k=10), got {spec!r}."
        )
    return clone(spec)


def k_occurrence(queries: ArrayLike, gallery: ArrayLike, k: int = 10) -> Rows:
    """How many queries have each gallery item among their k nearest.

    Parameters
    ----------
    queries : array-like of shape (n_queries, d)
        Query vectors.
    gallery : array-like of shape (n_items, d)
        Gallery vectors.
    k : int, default=10
        Number of nearest items looked at, at most n_items.

    Returns
    -------
    occurrence : ndarray of shape (n_items,) of int64
        Counts, ``k * n_queries / n_items`` on average: hubs have many times as many,
        and items that no query finds have 0.

    Raises
    ------
    ValueError
        If shapes don't fit or k is out of range.

    References
    ----------
    .. [1] Radovanović, Nanopoulos and Ivanović, "Hubs in Space: Popular Nearest
       Neighbors in High-Dimensional Data", JMLR 11, 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.neighbors import k_occurrence
    >>> k_occurrence(np.eye(2), [[0.6, 0.8], [0.0, 1.0], [0.5, 0.5]], k=1)
    array([1, 1, 0])
    """
    rows: Any = top_k(queries, gallery, k)[1]
    return np.bincount(rows.ravel(), minlength=len(np.asarray(gallery)))
