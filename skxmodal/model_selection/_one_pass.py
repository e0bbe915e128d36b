"""Scores of many mappers on one split, from the moments of its two sides."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from traceback import format_exc
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from skxmodal._content import group_items
from skxmodal._validation import unit_rows
from skxmodal.mappers import LeastSquaresMapper, Moments
from skxmodal.mappers._moment_mapper import MomentMapper
from skxmodal.mappers._ridge_path import RidgePath
from skxmodal.metrics import RecallScorer, RetrievalRanks, RetrievalScorer
from skxmodal.metrics._default_score import default_score
from skxmodal.metrics._protocol import check_direction, rank_pairs

# What stands for r2 among the scorers.
R2 = "r2"


class Candidate(NamedTuple):
    """A mapper, and the hubness correction that follows it."""

    mapper: MomentMapper
    hubness: Any = None

    @property
    def is_ridge(self) -> bool:
        """Whether it is one penalty of a path that an eigenbasis serves."""
        return type(self.mapper) is LeastSquaresMapper


class Pairs(NamedTuple):
    """All rows, and the number of the picture that each row of y shows."""

    X: NDArray[Any]
    y: NDArray[Any]
    pictures: NDArray[np.intp]


class Score(NamedTuple):
    """A candidate's scores on one split, by name, the time they took, what failed."""

    values: dict[str, float]
    seconds: float
    error: str | None = None


class RetrieverScore(RecallScorer):
    """`CrossModalRetriever.score`, of ranks that were counted before."""

    def score_ranks(self, found: RetrievalRanks) -> float:
        return default_score(found)


class FittedMap:
    """A mapper solved from moments, as scorers expect a fitted estimator."""

    def __init__(
        self, candidate: Candidate, moments: Moments, pairs: Pairs, train: NDArray[Any]
    ) -> None:
        self._mapper = candidate.mapper._take_moments(moments)
        self._hubness = candidate.hubness
        self._pairs = pairs
        self._train = train

    def transform(self, X: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(self._mapper.transform(X))

    def transform_target(self, y: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(self._mapper.transform_target(y))

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(self._mapper.predict(X))

    def hubness_correction(
        self, direction: str, queries: NDArray[Any], gallery: NDArray[Any]
    ) -> Any:
        if self._hubness is None:
            return None
        bank = queries
        if not self._hubness.transductive:
            if direction == "query_to_target":
                bank = unit_rows(self.transform(self._pairs.X[self._train]))
            else:
                first_rows, _ = group_items(self._pairs.pictures[self._train])
                targets = self._pairs.y[self._train[first_rows]]
                bank = unit_rows(self.transform_target(targets))
        return clone(self._hubness).fit(bank, gallery)


def score_split(
    candidates: Sequence[Candidate],
    scorers: dict[str, Any],
    pairs: Pairs,
    train: NDArray[np.intp],
    test: NDArray[np.intp],
    train_moments: Moments,
    test_moments: Moments,
    *,
    raises: bool,
) -> list[Score]:
    """Score every candidate on one split.

    Parameters
    ----------
    candidates : sequence of Candidate
        What to score.
    scorers : dict of str to scorer
        `R2`, a `RecallScorer`, a `RetrievalScorer`, or any scorer of mappers.
    pairs : Pairs
        All rows.
    train, test : ndarray of int
        The rows of the split's two sides.
    train_moments, test_moments : Moments
        The moments of those rows.
    raises : bool
        Whether what goes wrong is raised, or kept as the candidate's error.

    Returns
    -------
    scores : list of Score
        One for each candidate.
    """
    ridges = [row for row, candidate in enumerate(candidates) if candidate.is_ridge]
    paths = _Paths(train_moments)
    ranker = _RidgeRanker(pairs, test, train_moments)

    def values_of(row: int) -> dict[str, float]:
        candidate = candidates[row]
        fitted: FittedMap | None = None
        values: dict[str, float] = {}
        for name, scorer in scorers.items():
            if scorer is R2 and row in fast_r2:
                values[name] = fast_r2[row]
                continue
            in_basis = (
                candidate.is_ridge
                and candidate.hubness is None
                and candidate.mapper.y_whiten == 0
                and isinstance(scorer, RecallScorer | RetrievalScorer)
            )
            if in_basis:
                path = paths[candidate.mapper.x_whiten]
                value = ranker.score(scorer, path, candidate.mapper.alpha)
            else:
                if fitted is None:
                    fitted = FittedMap(candidate, train_moments, pairs, train)
                value = _score_fitted(scorer, fitted, pairs, test, test_moments)
            if isinstance(value, dict):
                values.update(value)
            else:
                values[name] = value
        return values

    fast_r2: dict[int, float] = {}
    if any(scorer is R2 for scorer in scorers.values()):
        fast_r2 = _r2_of_ridges(candidates, ridges, paths, test_moments)
        if all(scorer is R2 for scorer in scorers.values()):
            paths.clear()
    scores = []
    for row in range(len(candidates)):
        start = perf_counter()
        values, error = {}, None
        try:
            values = values_of(row)
        except Exception:
            # As in GridSearchCV: whatever goes wrong costs this candidate's score.
            if raises:
                raise
            error = format_exc()
        scores.append(Score(values, perf_counter() - start, error))
    return scores


class _Paths(dict[float, RidgePath]):
    """Ridge solutions by the power that X is whitened with, made when asked for."""

    def __init__(self, moments: Moments) -> None:
        super().__init__()
        self._moments = moments

    def __missing__(self, power: float) -> RidgePath:
        self[power] = RidgePath(self._moments, power)
        return self[power]


def _score_fitted(
    scorer: Any,
    fitted: FittedMap,
    pairs: Pairs,
    test: NDArray[np.intp],
    test_moments: Moments,
) -> Any:
    if scorer is R2:
        return _r2_of_map(fitted, test_moments)
    groups = pairs.pictures[test]
    if isinstance(scorer, RecallScorer | RetrievalScorer):
        return scorer(fitted, pairs.X[test], pairs.y[test], groups=groups)
    return scorer(fitted, pairs.X[test], pairs.y[test])


def _r2_of_ridges(
    candidates: Sequence[Candidate],
    ridges: list[int],
    paths: _Paths,
    test_moments: Moments,
) -> dict[int, float]:
    """Mean coefficient of determination of each ridge candidate, by its row."""
    squares = test_moments.y_squares
    weights, constant, _ = _weights_of_columns(test_moments)
    if constant.any():
        return {}
    found: dict[int, Any] = {}
    for power in {candidates[row].mapper.x_whiten for row in ridges}:
        path = paths[power]
        rows = [row for row in ridges if candidates[row].mapper.x_whiten == power]
        alphas = [candidates[row].mapper.alpha for row in rows]
        errors = path.errors(test_moments, alphas, weights)
        found.update(zip(rows, 1.0 - errors / len(squares), strict=True))
    return {row: float(value) for row, value in found.items()}


def _r2_of_map(fitted: FittedMap, test_moments: Moments) -> float:
    """Mean coefficient of determination of a linear map, from moments."""
    mapper = fitted._mapper
    coef = np.asarray(mapper.coef_, dtype=np.float64).reshape(
        test_moments.n_targets, -1
    )
    dx = test_moments.x_mean - np.asarray(mapper.x_mean_, dtype=np.float64)
    dy = test_moments.y_mean - np.asarray(mapper.y_mean_, dtype=np.float64)
    squares = test_moments.y_squares
    offset = dy - coef @ dx
    errors = squares - 2.0 * np.einsum("cj,jc->c", coef, test_moments.xy)
    errors += np.einsum("cj,cj->c", coef @ test_moments.xx, coef)
    errors = np.maximum(errors + test_moments.weight * offset**2, 0.0)
    weights, constant, rounding = _weights_of_columns(test_moments)
    # As scikit-learn: a constant column scores 1 where it is met, else 0.
    met = (errors <= rounding).astype(float)
    return float(np.where(constant, met, 1.0 - errors * weights).mean())


def _weights_of_columns(
    moments: Moments,
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """One over each column's squares, which are constant, and what rounding leaves."""
    eps = np.finfo(np.float32 if moments.in_float32 else np.float64).eps
    rounding = moments.weight * (8 * eps * moments.y_mean) ** 2
    constant = moments.y_squares <= rounding
    return 1.0 / np.where(constant, 1.0, moments.y_squares), constant, rounding


class _RidgeRanker:
    """Ranks of a test fold under each penalty, in the eigenbasis of X'X.

    The prediction of a query has rank d_x at most, so the map is folded into the
    gallery, which keeps its true norms: products in d_x dimensions, not in d_y.
    """

    def __init__(
        self, pairs: Pairs, test: NDArray[np.intp], train_moments: Moments
    ) -> None:
        self._pairs = pairs
        self._test = test
        self._train_moments = train_moments
        self._bases: dict[int, tuple[NDArray[Any], ...]] = {}
        self._ranks: dict[tuple[int, float, tuple[str, ...]], Any] = {}

    def score(self, scorer: Any, path: RidgePath, alpha: float) -> Any:
        directions = check_direction(
            scorer.direction if isinstance(scorer, RecallScorer) else scorer.directions
        )
        key = (id(path), float(alpha), directions)
        if key not in self._ranks:
            # Of one candidate at a time: its scorers follow each other.
            self._ranks = {key: self._rank(path, alpha, directions)}
        return scorer.score_ranks(self._ranks[key])

    def _basis(self, path: RidgePath) -> tuple[NDArray[Any], ...]:
        if id(path) not in self._bases:
            X, y = self._pairs.X[self._test], self._pairs.y[self._test]
            first_rows, item_of_row = group_items(self._pairs.pictures[self._test])
            dtype = np.float32 if X.dtype == np.float32 else np.float64
            vectors = path.spectrum.vectors.astype(dtype)
            rotated = path.rotated.astype(dtype)
            queries = _centred(X, path.x_mean, dtype) @ vectors
            targets = _centred(y[first_rows], path.y_mean, dtype)
            norms = np.linalg.norm(targets, axis=1, keepdims=True)
            norms[norms == 0] = 1.0
            gallery = (targets @ rotated.T) / norms
            gram = (path.rotated @ path.rotated.T).astype(dtype)
            self._bases[id(path)] = (queries, gallery, item_of_row, gram)
        return self._bases[id(path)]

    def _rank(self, path: RidgePath, alpha: float, directions: tuple[str, ...]) -> Any:
        queries, gallery, item_of_row, gram = self._basis(path)
        factors = path.shrinkage(alpha)[0].astype(queries.dtype)
        shrunk = queries * factors
        squared = np.einsum("ij,ij->i", shrunk @ gram, shrunk)
        norms = np.sqrt(np.maximum(squared, 0.0))[:, np.newaxis]
        norms[norms == 0] = 1.0
        return rank_pairs(
            shrunk / norms,
            gallery,
            item_of_row,
            directions=directions,
            n_threads=1,
        )


def _centred(
    rows: NDArray[Any], mean: NDArray[np.float64], dtype: type
) -> NDArray[Any]:
    return (rows - mean).astype(dtype, copy=False)
