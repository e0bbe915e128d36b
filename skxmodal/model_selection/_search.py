"""Choice of a mapper and its parameters in one pass over the data."""

from __future__ import annotations

import time
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold, ParameterGrid, check_cv
from sklearn.utils import get_tags
from sklearn.utils.validation import _num_samples, check_array, indexable

from skxmodal._content import content_keys, group_items
from skxmodal._doc_links import DocLinkMixin
from skxmodal._rows import group_by_content
from skxmodal._validation import is_raw
from skxmodal.mappers import Moments
from skxmodal.mappers._blocks import TargetProducts
from skxmodal.mappers._folds import moments_of_rows, total_moments
from skxmodal.mappers._moment_mapper import MomentMapper
from skxmodal.metrics import RecallScorer, RetrievalScorer, check_leakage
from skxmodal.model_selection._one_pass import R2, Candidate, Pairs, score_split
from skxmodal.neighbors import make_hubness
from skxmodal.neighbors._blocks import in_threads

DEFAULT_FOLDS = 5


class MapperSearchCV(DocLinkMixin, GridSearchCV):
    """Search over mappers and their parameters, in one pass over the data.

    It gives what :class:`~sklearn.model_selection.GridSearchCV` gives on the same
    candidates and splits, sooner: the moments of each fold are summed once, the
    training moments of a split are the total less its own fold's, and every linear
    mapper is solved from them; least-squares candidates share one eigendecomposition
    a split. Raw items are encoded once. Candidates that need the rows themselves,
    such as :class:`~skxmodal.GMLPMapper` or ``alpha="auto"``, are fitted as usual.

    Parameters
    ----------
    estimator : mapper or CrossModalRetriever
        The estimator whose parameters are chosen.
    param_grid : dict or list of dict
        Parameters to try, as :class:`~sklearn.model_selection.GridSearchCV` takes
        them.
    scoring : str, callable, list or dict, default=None
        What is measured on the held-out fold; the estimator's own `score` by default.
        "r2" of mappers comes from moments; :class:`~skxmodal.RecallScorer` and
        :class:`~skxmodal.RetrievalScorer` from rank counts.
    n_jobs : int, default=None
        Number of threads; None takes as many as BLAS would.
    refit : bool, str or callable, default=True
        Whether the best candidate is fitted to all rows; with several metrics, the
        name of the one that decides.
    cv : int, cross-validation generator or iterable, default=None
        The splits. An int, or None for 5, gives
        :class:`~sklearn.model_selection.GroupKFold` where `fit` is given `groups`.
    verbose : int, default=0
        How much is said.
    error_score : "raise" or number, default=nan
        The score of a candidate whose fit fails; only for those fitted as usual.

    Attributes
    ----------
    cv_results_ : dict of ndarrays
        As that of :class:`~sklearn.model_selection.GridSearchCV`.
    best_estimator_ : estimator
        The best candidate, fitted to all rows.
    best_score_ : float
        Its mean score on the held-out folds.
    best_params_ : dict
        Its parameters.
    best_index_ : int
        Its place in `cv_results_`.
    n_splits_ : int
        The number of splits.
    one_pass_ : ndarray of shape (n_candidates,) of bool
        Which candidates were scored from moments.

    See Also
    --------
    sklearn.model_selection.GridSearchCV : The same for any estimator.
    sklearn.linear_model.RidgeCV : The pattern, for one penalty.

    Notes
    -----
    On float32 rows, recall under least squares is counted in the eigenbasis of X,
    so that near ties can fall otherwise than in a product of single precision.

    Examples
    --------
    >>> from skxmodal import CCAMapper, LeastSquaresMapper, RecallScorer
    >>> from skxmodal import CrossModalRetriever
    >>> from skxmodal.datasets import make_paired_embeddings
    >>> from skxmodal.model_selection import MapperSearchCV
    >>> X, y = make_paired_embeddings(n_pairs=300, random_state=0)
    >>> search = MapperSearchCV(
    ...     CrossModalRetriever(),
    ...     {"mapper": [LeastSquaresMapper()], "mapper__alpha": [0.0, 0.1, 1.0]},
    ...     scoring=RecallScorer(k=10),
    ... ).fit(X, y)
    >>> sorted(search.best_params_)
    ['mapper', 'mapper__alpha']
    """

    def __init__(
        self,
        estimator: Any,
        param_grid: Any,
        *,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        error_score: Any = np.nan,
    ) -> None:
        super().__init__(
            estimator,
            param_grid,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            error_score=error_score,
        )

    def fit(
        self, X: Any, y: Any = None, *, groups: ArrayLike | None = None, **params: Any
    ) -> MapperSearchCV:
        """Score every candidate and fit the best to all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or sequence of items
            Queries.
        y : array-like of shape (n_samples, n_targets) or sequence of items
            The target of each query.
        groups : array-like of shape (n_samples,), default=None
            Labels of rows that no fold may tear apart, such as the picture of each
            caption.
        **params : dict
            What the estimator's `fit` takes besides. Candidates are then fitted as
            usual.

        Returns
        -------
        self : MapperSearchCV
            The fitted search.
        """
        X, y, groups = indexable(X, y, groups)
        splits = self._splits(X, y, groups)
        self.n_splits_ = len(splits)
        candidates = list(ParameterGrid(self.param_grid))
        scorers = self._named_scorers()
        plans = [self._plan(candidate) for candidate in candidates]
        if params or scorers is None:
            plans = [None] * len(candidates)
        fast = [row for row, plan in enumerate(plans) if plan is not None]
        slow = [row for row, plan in enumerate(plans) if plan is None]
        self.one_pass_ = np.array([plan is not None for plan in plans])
        outcomes: list[list[dict[str, Any]]] = [[] for _ in candidates]
        if fast and scorers is not None:
            found = self._score_in_one_pass(
                [plan for plan in plans if plan is not None], scorers, X, y, splits
            )
            for row, outcome in zip(fast, found, strict=True):
                outcomes[row] = outcome
        if slow:
            chosen = [candidates[row] for row in slow]
            found = self._score_as_usual(chosen, X, y, splits, groups, params)
            for row, outcome in zip(slow, found, strict=True):
                outcomes[row] = outcome
        flat = [outcome for candidate in outcomes for outcome in candidate]
        self.cv_results_ = self._format_results(candidates, len(splits), flat)
        self.multimetric_ = isinstance(flat[0]["test_scores"], dict)
        self._choose(X, y, groups, params)
        return self

    def _splits(
        self, X: Any, y: Any, groups: Any
    ) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        cv = self.cv
        if cv is None or isinstance(cv, Integral):
            n_splits = DEFAULT_FOLDS if cv is None else int(cv)
            cv = n_splits if groups is None else GroupKFold(n_splits)
        return list(check_cv(cv).split(X, y, groups))

    def _named_scorers(self) -> dict[str, Any] | None:
        """The scorers by name, with `R2` for r2; None where one is not for maps."""
        of_mapper = isinstance(self.estimator, MomentMapper)
        scoring = self.scoring
        if scoring is None:
            return {"score": R2 if of_mapper else RecallScorer()}
        if isinstance(scoring, list | tuple | set):
            scoring = {name: name for name in scoring}
        named = scoring if isinstance(scoring, dict) else {"score": scoring}
        scorers: dict[str, Any] = {}
        for name, scorer in named.items():
            if isinstance(scorer, RecallScorer | RetrievalScorer):
                scorers[name] = scorer
            elif scorer == R2 and of_mapper:
                scorers[name] = R2
            else:
                return None
        return scorers

    def _plan(self, params: dict[str, Any]) -> Candidate | None:
        """A candidate to score from moments, or None where it needs the rows."""
        estimator = clone(self.estimator).set_params(**clone(params, safe=False))
        if isinstance(estimator, MomentMapper):
            return None if estimator._reads_rows() else Candidate(estimator)
        if not hasattr(estimator, "gallery_items") or any(
            name.startswith(("query_encoder", "target_encoder")) for name in params
        ):
            return None
        for encoder in (estimator.query_encoder, estimator.target_encoder):
            if encoder is not None and get_tags(encoder).requires_fit:
                return None
        mapper = estimator._make_mapper()
        if not isinstance(mapper, MomentMapper) or mapper._reads_rows():
            return None
        return Candidate(mapper, make_hubness(estimator.hubness))

    def _pairs(self, X: Any, y: Any) -> Pairs:
        """The rows as embeddings, every raw item encoded once."""
        query_encoder = getattr(self.estimator, "query_encoder", None)
        target_encoder = getattr(self.estimator, "target_encoder", None)
        keys = None
        if target_encoder is not None:
            target_encoder = clone(target_encoder).fit(y)
            if hasattr(target_encoder, "content_keys"):
                keys = target_encoder.content_keys(y)
            elif is_raw(y):
                keys = content_keys(y)
            y = np.asarray(target_encoder.transform(y))
        if query_encoder is not None:
            X = np.asarray(clone(query_encoder).fit(X).transform(X))
        floats = [np.float64, np.float32]
        X = check_array(X, dtype=floats, input_name="X", estimator=self)
        y = check_array(
            y, dtype=floats, ensure_2d=False, input_name="y", estimator=self
        )
        y = y[:, np.newaxis] if y.ndim == 1 else y
        y = y.astype(X.dtype, copy=False)
        _, pictures = group_by_content(y) if keys is None else group_items(keys)
        return Pairs(X, y, pictures)

    def _score_in_one_pass(
        self,
        candidates: list[Candidate],
        scorers: dict[str, Any],
        X: Any,
        y: Any,
        splits: list[tuple[NDArray[np.intp], NDArray[np.intp]]],
    ) -> list[list[dict[str, Any]]]:
        start = time.perf_counter()
        pairs = self._pairs(X, y)
        for train, test in splits:
            if check_leakage(pairs.pictures[train], pairs.pictures[test]):
                break
        levels = {candidate.mapper._target_products() for candidate in candidates}
        level: TargetProducts = "full" if "full" in levels else "squares"

        def moments_of(rows: NDArray[np.intp]) -> Moments:
            return moments_of_rows(rows, pairs.X, pairs.y, None, level)

        tests = in_threads(moments_of, [test for _, test in splits], self.n_jobs)
        total = total_moments(tests, splits, _num_samples(X), moments_of)
        shared = (time.perf_counter() - start) / len(candidates) / len(splits)

        def score(split: int) -> list[Any]:
            train, test = splits[split]
            if len(train) + len(test) == _num_samples(X):
                train_moments = total - tests[split]
            else:
                train_moments = moments_of(train)
            # Fits change their mapper, and splits run side by side.
            own = [Candidate(clone(mapper), hubness) for mapper, hubness in candidates]
            return score_split(
                own, scorers, pairs, train, test, train_moments, tests[split]
            )

        scores = in_threads(score, range(len(splits)), self.n_jobs)
        single = list(scorers) == ["score"]
        outcomes = []
        for row in range(len(candidates)):
            found = [scores[split][row] for split in range(len(splits))]
            outcomes.append(
                [
                    {
                        "test_scores": score.values["score"]
                        if single and list(score.values) == ["score"]
                        else score.values,
                        "fit_time": shared,
                        "score_time": score.seconds,
                    }
                    for score in found
                ]
            )
        return outcomes

    def _score_as_usual(
        self,
        candidates: list[dict[str, Any]],
        X: Any,
        y: Any,
        splits: list[Any],
        groups: Any,
        params: dict[str, Any],
    ) -> list[list[dict[str, Any]]]:
        search = GridSearchCV(
            self.estimator,
            [{name: [value] for name, value in one.items()} for one in candidates],
            scoring=self.scoring,
            cv=splits,
            refit=False,
            verbose=self.verbose,
            error_score=self.error_score,
        ).fit(X, y, **params)
        results = search.cv_results_
        names = [
            name.removeprefix("mean_test_")
            for name in results
            if name.startswith("mean_test_")
        ]
        outcomes = []
        for row in range(len(candidates)):
            outcome = []
            for split in range(len(splits)):
                values = {
                    name: results[f"split{split}_test_{name}"][row] for name in names
                }
                outcome.append(
                    {
                        "test_scores": values["score"]
                        if names == ["score"]
                        else values,
                        "fit_time": results["mean_fit_time"][row],
                        "score_time": results["mean_score_time"][row],
                    }
                )
            outcomes.append(outcome)
        return outcomes

    def _choose(self, X: Any, y: Any, groups: Any, params: dict[str, Any]) -> None:
        results = self.cv_results_
        metric = "score"
        if self.multimetric_:
            if self.refit and not callable(self.refit):
                metric = self._metric_to_refit(results)
            elif not self.refit:
                return
        self.best_index_ = self._select_best_index(self.refit, metric, results)
        if not callable(self.refit):
            self.best_score_ = results[f"mean_test_{metric}"][self.best_index_]
        self.best_params_ = results["params"][self.best_index_]
        if not self.refit:
            return
        start = time.perf_counter()
        self.best_estimator_ = clone(self.estimator).set_params(
            **clone(self.best_params_, safe=False)
        )
        self.best_estimator_.fit(X, y, **params)
        self.refit_time_ = time.perf_counter() - start
        self.scorer_ = self._get_scorers()[0]
        if hasattr(self.best_estimator_, "feature_names_in_"):
            self.feature_names_in_ = self.best_estimator_.feature_names_in_

    def _metric_to_refit(self, results: dict[str, Any]) -> str:
        if not isinstance(self.refit, str) or f"mean_test_{self.refit}" not in results:
            names = [
                name.removeprefix("mean_test_")
                for name in results
                if name.startswith("mean_test_")
            ]
            raise ValueError(
                f"With several metrics refit must name the one that decides, of "
                f"{names}, or be False or a callable; got {self.refit!r}."
            )
        return self.refit
