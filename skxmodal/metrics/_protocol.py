"""Who asks whom: from a fitted estimator and paired rows to ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from skxmodal._validation import is_dask, unit_rows
from skxmodal.metrics._dask_ranks import rank_shards
from skxmodal.metrics._gallery_items import target_items
from skxmodal.metrics._leakage import warn_of_leak
from skxmodal.metrics._ranks import (
    DIRECTIONS,
    QUERY_TO_TARGET,
    TARGET_TO_QUERY,
    Ranks,
    RetrievalRanks,
)
from skxmodal.neighbors import count_ranks
from skxmodal.neighbors._subspace import in_subspace

BOTH = "both"


def unwrap(estimator: Any, X: Any) -> tuple[Any, Any]:
    """The estimator that maps both sides, and X as it reaches it.

    Fitted searches, frozen estimators and pipelines are opened, nested ones too.

    Raises
    ------
    TypeError
        If what is inside has no ``transform`` and ``transform_target``.
    """
    final, steps = opened(estimator)
    if not (hasattr(final, "transform") and hasattr(final, "transform_target")):
        raise TypeError(
            f"Retrieval needs an estimator that maps both sides, with transform and "
            f"transform_target, such as a mapper or a CrossModalRetriever (alone, last "
            f"in a Pipeline, or in a fitted search); got {type(final).__name__}."
        )
    for step in steps:
        X = step.transform(X)
    return final, X


def opened(estimator: Any) -> tuple[Any, list[Any]]:
    """The last estimator inside of others, and the steps that X takes to it."""
    final, steps = estimator, []
    while True:
        if isinstance(final, Pipeline):
            steps += [step for _, _, step in final._iter(with_final=False)]
            final = final[-1]
        elif hasattr(final, "best_estimator_"):
            final = final.best_estimator_
        elif type(final).__name__ == "FrozenEstimator":
            final = final.estimator
        else:
            return final, steps


def retrieval_ranks(
    estimator: Any,
    X: Any,
    y: Any,
    groups: ArrayLike | None = None,
    *,
    direction: str = BOTH,
    n_threads: int | None = None,
) -> RetrievalRanks:
    """Rank the correct items of every query inside the given rows' own gallery.

    Rows of y that are the same picture are one gallery item; captions of it share it
    as their correct item. In the other direction each picture asks once, and all its
    captions are correct.

    Parameters
    ----------
    estimator : fitted estimator
        Anything with ``transform`` and ``transform_target``: a mapper or a
        :class:`~skxmodal.CrossModalRetriever`, alone, last in a Pipeline, or the best
        of a search.
    X : array-like or Dask collection of n queries
        Captions or their embeddings, as the estimator takes them. Dask collections
        are mapped and ranked where they lie, on the cluster of the current client.
    y : array-like or Dask collection of n targets
        Pictures or their embeddings, row-aligned with X.
    groups : array-like of shape (n,), default=None
        The picture of each row. By default rows of equal content are one picture.
    direction : {"both", "query_to_target", "target_to_query"}, default="both"
        Who asks: the queries of X, the targets of y, or both.
    n_threads : int, default=None
        Threads; None takes as many as BLAS would.

    Returns
    -------
    ranks : RetrievalRanks
        The ranks in each direction asked for, with the gallery's size and the number
        of correct items of each query.

    Warns
    -----
    LeakageWarning
        If the estimator remembers having been fitted to pictures of y under other
        captions.

    Raises
    ------
    TypeError
        If the estimator can't map both sides.
    ValueError
        If the direction is unknown or X and y are not row-aligned.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal import LeastSquaresMapper
    >>> from skxmodal.metrics import retrieval_ranks
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 4))
    >>> mapper = LeastSquaresMapper().fit(X, X)
    >>> retrieval_ranks(mapper, X, X, direction="query_to_target").query_to_target
    Ranks(n_queries=100, gallery_size=100, n_correct=1, hubness=None)
    """
    directions = check_direction(direction)
    if is_dask(X) or is_dask(y):
        return _rank_dask(estimator, X, y, groups, directions)
    check_aligned(X, y)
    final, X = unwrap(estimator, X)
    warn_of_leak(final, X, y, groups)
    first_rows, item_of_row = target_items(final, y, groups)
    queries, targets = shared_vectors(final, X, _safe_indexing(y, first_rows))
    return rank_pairs(
        queries,
        targets,
        item_of_row,
        directions=directions,
        corrections=[_correction(final, name, queries, targets) for name in directions],
        n_threads=n_threads,
    )


def check_aligned(X: Any, y: Any) -> None:
    """Refuse sides of different lengths.

    Raises
    ------
    ValueError
        If X and y have different numbers of rows.
    """
    if _num_samples(X) != _num_samples(y):
        raise ValueError(
            f"X has {_num_samples(X)} rows and y {_num_samples(y)}: row i of both "
            "must be one pair."
        )


def shared_vectors(final: Any, X: Any, y: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Unit vectors of both sides, in the coordinates that a retriever searches in."""
    subspace = getattr(final, "subspace_", None)
    queries = unit_rows(final.transform(X))
    targets = unit_rows(final.transform_target(y))
    return in_subspace(queries, subspace), in_subspace(targets, subspace)


def rank_pairs(
    queries: NDArray[Any],
    targets: NDArray[Any],
    item_of_row: NDArray[np.intp],
    *,
    directions: tuple[str, ...] = DIRECTIONS,
    corrections: list[Any] | None = None,
    n_threads: int | None = None,
) -> RetrievalRanks:
    """Ranks of vectors in the shared space, each query with one correct target."""
    n_queries, n_targets = len(queries), len(targets)
    corrections = corrections or [None] * len(directions)
    rows, starts = by_target = _by_target(item_of_row, n_targets)
    one_each = np.arange(n_queries + 1)
    counted: dict[str, NDArray[np.int64]] = {}
    if len(directions) == 2 and corrections == [None, None]:
        forward, backward = count_ranks(
            queries, targets, one_each, item_of_row, both=True, n_threads=n_threads
        )
        counted = {QUERY_TO_TARGET: forward, TARGET_TO_QUERY: backward[rows]}
    else:
        for name, correction in zip(directions, corrections, strict=True):
            forward = name == QUERY_TO_TARGET
            asking, gallery = (queries, targets) if forward else (targets, queries)
            indptr, correct = (one_each, item_of_row) if forward else (starts, rows)
            if correction is not None:
                asking = correction.fold_queries(asking)
                gallery = correction.fold_gallery(gallery)
            counted[name] = count_ranks(
                asking, gallery, indptr, correct, n_threads=n_threads
            )
    labels = dict(zip(directions, map(label_of_correction, corrections), strict=True))
    return _collected(counted, item_of_row, by_target, labels)


def _rank_dask(
    estimator: Any, X: Any, y: Any, groups: Any, directions: tuple[str, ...]
) -> RetrievalRanks:
    """Ranks of Dask collections, counted over their shards."""
    final, X = unwrap(estimator, X)
    both = TARGET_TO_QUERY in directions
    ranks, item_of_row, n_targets = rank_shards(final, X, y, groups, both=both)
    by_target = _by_target(item_of_row, n_targets)
    counted = {QUERY_TO_TARGET: ranks[0] if both else ranks}
    if both:
        counted[TARGET_TO_QUERY] = ranks[1][by_target[0]]
    counted = {name: counted[name] for name in directions}
    return _collected(counted, item_of_row, by_target, {})


def _by_target(
    item_of_row: NDArray[np.intp], n_targets: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows target after target, and where those of each target begin."""
    rows = np.argsort(item_of_row, kind="stable")
    return rows, np.searchsorted(item_of_row[rows], np.arange(n_targets + 1))


def _collected(
    counted: dict[str, NDArray[np.int64]],
    item_of_row: NDArray[np.intp],
    by_target: tuple[NDArray[np.intp], NDArray[np.intp]],
    labels: dict[str, str | None],
) -> RetrievalRanks:
    """Ranks of each direction, those of a picture's captions in ascending order."""
    rows, starts = by_target
    n_queries, n_targets = len(rows), len(starts) - 1
    found = {}
    if QUERY_TO_TARGET in counted:
        found[QUERY_TO_TARGET] = Ranks(
            counted[QUERY_TO_TARGET],
            np.arange(n_queries + 1),
            n_targets,
            np.asarray(item_of_row),
            labels.get(QUERY_TO_TARGET),
            QUERY_TO_TARGET,
        )
    if TARGET_TO_QUERY in counted:
        ranks = counted[TARGET_TO_QUERY]
        ascending = np.lexsort((ranks, item_of_row[rows]))
        found[TARGET_TO_QUERY] = Ranks(
            ranks[ascending],
            starts,
            n_queries,
            np.arange(n_targets),
            labels.get(TARGET_TO_QUERY),
            TARGET_TO_QUERY,
        )
    return RetrievalRanks(**found)


def check_direction(direction: str) -> tuple[str, ...]:
    """The directions that a name stands for.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if direction == BOTH:
        return DIRECTIONS
    if direction not in DIRECTIONS:
        raise ValueError(
            f"direction must be one of {[*DIRECTIONS, BOTH]}, got {direction!r}."
        )
    return (direction,)


def _correction(
    final: Any, direction: str, queries: NDArray[Any], targets: NDArray[Any]
) -> Any:
    if not hasattr(final, "hubness_correction"):
        return None
    if direction == QUERY_TO_TARGET:
        return final.hubness_correction(direction, queries, targets)
    return final.hubness_correction(direction, targets, queries)


def label_of_correction(correction: Any) -> str | None:
    """Name of a hubness correction, with its mode."""
    if correction is None:
        return None
    mode = "transductive" if correction.transductive else "inductive"
    return f"{type(correction).__name__}, {mode}"
