"""Ranks of the correct items of each query, in one or both directions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

QUERY_TO_TARGET = "query_to_target"
TARGET_TO_QUERY = "target_to_query"
DIRECTIONS = (QUERY_TO_TARGET, TARGET_TO_QUERY)

Values: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, repr=False, eq=False)
class Ranks:
    """Ranks of the correct items of each query in one gallery.

    Attributes
    ----------
    ranks : ndarray of shape (n_pairs,) of int64
        Ranks from 1, query after query, ascending within each.
    indptr : ndarray of shape (n_queries + 1,) of int64
        Where each query's ranks begin and end.
    gallery_size : int or None
        Number of items that were ranked, where it is known.
    pictures : ndarray of shape (n_queries,) of int64
        The picture each query belongs to: intervals resample pictures.
    hubness : str or None
        Name of the correction of the scores, with its mode.
    direction : {"query_to_target", "target_to_query"} or None
        Who asked, where it is known.

    Raises
    ------
    ValueError
        If the arrays don't fit each other, a rank is beyond the gallery, or the
        direction is unknown.
    """

    ranks: NDArray[np.int64]
    indptr: NDArray[np.int64]
    gallery_size: int | None = None
    pictures: NDArray[np.int64] = field(default=None)  # type: ignore[arg-type]
    hubness: str | None = None
    direction: str | None = None

    def __post_init__(self) -> None:
        for name in ("ranks", "indptr"):
            object.__setattr__(self, name, _integers(name, getattr(self, name)))
        starts = self.indptr
        if (
            not len(starts)
            or (starts[0], starts[-1]) != (0, len(self.ranks))
            or np.any(np.diff(starts) < 0)
        ):
            raise ValueError(
                f"indptr must rise from 0 to the {len(self.ranks)} ranks, with one "
                f"more entry than there are queries; got {starts.tolist()[:9]}."
            )
        largest = self.ranks.max(initial=0)
        if self.gallery_size is not None and largest > self.gallery_size:
            raise ValueError(
                f"A rank of {largest} is beyond a gallery of {self.gallery_size}."
            )
        if self.direction not in (None, *DIRECTIONS):
            raise ValueError(
                f"direction must be None or one of {[*DIRECTIONS]}, got "
                f"{self.direction!r}."
            )
        pictures = self.pictures
        pictures = np.asarray(
            np.arange(self.n_queries) if pictures is None else pictures
        )
        if pictures.shape != (self.n_queries,) or pictures.dtype.kind not in "iu":
            raise ValueError(
                f"pictures must be {self.n_queries} integers, one for each query, got "
                f"shape {pictures.shape} of {pictures.dtype}."
            )
        object.__setattr__(self, "pictures", pictures)

    @classmethod
    def of(
        cls,
        ranks: Any,
        *,
        gallery_size: int | None = None,
        pictures: ArrayLike | None = None,
        hubness: str | None = None,
        direction: str | None = None,
    ) -> Ranks:
        """Ranks from one rank, or a list of ranks, for each query.

        Parameters
        ----------
        ranks : array-like of shape (n_queries,), list of array-like, or Ranks
            Rank of each query's best correct item, or of all of them, from 1. What
            Ranks hold besides is kept where no other value is given.
        gallery_size : int, default=None
            Number of items that were ranked.
        pictures : array-like of shape (n_queries,) of int, default=None
            The picture each query belongs to; by default each has its own.
        hubness : str, default=None
            Name of the correction of the scores.
        direction : {"query_to_target", "target_to_query"}, default=None
            Who asked.

        Returns
        -------
        ranks : Ranks
            The same, in one array.

        Raises
        ------
        ValueError
            If a rank is not an integer from 1 to the gallery's size, a query has no
            correct item, or there isn't one picture for each query.
        """
        given: dict[str, Any] = {
            "gallery_size": gallery_size,
            "pictures": pictures,
            "hubness": hubness,
            "direction": direction,
        }
        given = {name: value for name, value in given.items() if value is not None}
        return replace(as_ranks(ranks), **given)

    @property
    def n_queries(self) -> int:
        """Number of queries."""
        return len(self.indptr) - 1

    @property
    def n_correct(self) -> NDArray[np.int64]:
        """Number of correct items of each query, of shape (n_queries,)."""
        return np.diff(self.indptr)

    @property
    def best(self) -> NDArray[np.int64]:
        """Rank of each query's best correct item, of shape (n_queries,)."""
        return self.ranks[self.indptr[:-1]]

    def __repr__(self) -> str:
        correct = self.n_correct
        count = f"{correct.min()}"
        if correct.min() != correct.max():
            count += f" to {correct.max()}"
        return (
            f"Ranks(n_queries={self.n_queries}, gallery_size={self.gallery_size}, "
            f"n_correct={count}, hubness={self.hubness!r})"
        )


@dataclass(frozen=True)
class RetrievalRanks:
    """Ranks in one or both directions.

    Attributes
    ----------
    query_to_target : Ranks or None
        Each query (a caption) asks the gallery of targets (pictures).
    target_to_query : Ranks or None
        Each target, once, asks the gallery of queries.
    """

    query_to_target: Ranks | None = None
    target_to_query: Ranks | None = None

    def __post_init__(self) -> None:
        for name, ranks in self.items():
            direction = getattr(ranks, "direction", None)
            if direction not in (None, name):
                raise ValueError(
                    f"These ranks are of the direction {direction!r}, not of {name!r}."
                )

    def items(self) -> list[tuple[str, Ranks]]:
        """Give the directions there are.

        Returns
        -------
        items : list of tuple of (str, Ranks)
            Name and ranks of each direction.
        """
        pairs = [(name, getattr(self, name)) for name in DIRECTIONS]
        return [(name, ranks) for name, ranks in pairs if ranks is not None]

    @property
    def gallery_size(self) -> int | None:
        """Number of items ranked, where there is one direction."""
        return as_ranks(self).gallery_size


RanksLike: TypeAlias = Ranks | ArrayLike | Sequence[ArrayLike]


def in_own_direction(ranks: Ranks) -> RetrievalRanks:
    """Ranks of one direction, taken for those of queries where it isn't known."""
    return RetrievalRanks(**{ranks.direction or QUERY_TO_TARGET: ranks})


def as_ranks(ranks: Any) -> Ranks:
    """Ranks from what users hold: one rank a query, or a list of ranks a query.

    Raises
    ------
    TypeError
        If both directions are given where one is needed, or one number.
    ValueError
        If a rank is not an integer from 1, a query has no correct item, or two of its
        correct items share a rank.
    """
    if isinstance(ranks, RetrievalRanks):
        directions = ranks.items()
        if len(directions) != 1:
            raise TypeError(
                "These ranks hold both directions; give one of them: "
                "ranks.query_to_target or ranks.target_to_query."
            )
        ranks = directions[0][1]
    if isinstance(ranks, Ranks):
        _check_ranks(ranks.ranks, ranks.n_correct)
        _check_distinct(ranks)
        return ranks
    if not isinstance(ranks, Iterable):
        raise TypeError(
            f"Expected one rank, or a list of ranks, for each query; got {ranks!r}."
        )
    rows = [np.atleast_1d(np.asarray(row)) for row in ranks]
    if any(row.ndim != 1 for row in rows):
        raise ValueError("ranks must be one rank, or a list of ranks, for each query.")
    n_correct = np.asarray([len(row) for row in rows], dtype=np.int64)
    flat = np.concatenate(rows) if rows else np.empty(0)
    _check_ranks(flat, n_correct)
    ordered = np.concatenate([np.sort(row) for row in rows]).astype(np.int64)
    made = Ranks(ordered, np.r_[0, np.cumsum(n_correct)])
    _check_distinct(made)
    return made


def _check_ranks(flat: NDArray[Any], n_correct: NDArray[np.int64]) -> None:
    if not len(n_correct):
        raise ValueError("There is no query: a metric needs at least one.")
    empty = np.flatnonzero(n_correct == 0)
    if len(empty):
        raise ValueError(
            f"{len(empty)} of {len(n_correct)} queries have no correct item, the "
            f"first is query {empty[0]}. Leave them out: no metric is defined there."
        )
    if flat.dtype.kind not in "iuf" or np.any(flat < 1) or np.any(flat != flat // 1):
        raise ValueError("Ranks must be integers from 1 (the first place) on.")


def _check_distinct(ranks: Ranks) -> None:
    steps = np.diff(ranks.ranks)
    # From one query to the next the ranks may fall.
    steps[ranks.indptr[1:-1] - 1] = 1
    if (steps < 1).any():
        place = int(np.argmax(steps < 1))
        query = int(np.searchsorted(ranks.indptr, place, side="right")) - 1
        raise ValueError(
            f"The ranks of query {query} do not rise, or two of its correct items "
            f"share rank {ranks.ranks[place]}. Give each item its own place, ascending."
        )


def _integers(name: str, values: Any) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or (len(array) and array.dtype.kind not in "iu"):
        raise ValueError(
            f"{name} must be a one-dimensional array of integers, got shape "
            f"{array.shape} of {array.dtype}. Lists of ranks go through Ranks.of."
        )
    return array.astype(np.int64, copy=False)


def check_ks(ks: Any, gallery_size: int | None = None) -> list[int]:
    """The numbers of places looked at, each of them once.

    Raises
    ------
    TypeError
        If they are not a sequence.
    ValueError
        If there are none, one comes twice, or one is out of range.
    """
    if not isinstance(ks, Iterable) or isinstance(ks, str):
        raise TypeError(
            f"ks must be a sequence of integers, such as (1, 5, 10); got {ks!r}."
        )
    checked = [check_k(k, gallery_size) for k in ks]
    if not checked or len(set(checked)) < len(checked):
        raise ValueError(f"ks must name at least one k, and each once; got {checked}.")
    return checked


def check_k(k: Any, gallery_size: int | None) -> int:
    """The number of places looked at, at most the gallery's size.

    Raises
    ------
    ValueError
        If k is not an integer from 1 to the gallery's size.
    """
    if not isinstance(k, Integral) or isinstance(k, bool) or int(k) < 1:
        raise ValueError(f"k must be an integer of at least 1, got {k!r}.")
    if gallery_size is not None and int(k) > gallery_size:
        raise ValueError(
            f"k={k} is more than the gallery's {gallery_size} items, where every "
            "query finds everything. Give a smaller k or a larger gallery."
        )
    return int(k)
