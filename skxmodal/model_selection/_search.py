"""Choice of a mapper and its parameters in one pass over the data."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import ArrayLike, NDArray
from sklearn import get_config
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold, ParameterGrid, check_cv
from sklearn.model_selection._validation import (
    _insert_error_scores,
    _warn_or_raise_about_fit_failures,
)
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.validation import _num_samples, check_array, indexable

from skxmodal._content import content_keys, group_items
from skxmodal._doc_links import DocLinkMixin
from skxmodal._rows import group_by_content
from skxmodal._validation import is_raw
from skxmodal.mappers import Moments
from skxmodal.mappers._blocks import (
    TargetProducts,
    cross_may_suffice,
    cross_suffices,
)
from skxmodal.mappers._folds import are_complements, moments_of_rows, total_moments
from skxmodal.metrics import RecallScorer, RetrievalScorer, check_leakage
from skxmodal.model_selection._one_pass import (
    R2,
    Candidate,
    Pairs,
    RetrieverScore,
    Score,
    score_split,
)
from skxmodal.model_selection._ordinary_fits import score_by_fits
from skxmodal.model_selection._plan import mapper_of, plan
from skxmodal.neighbors._blocks import in_threads

DEFAULT_FOLDS = 5
Split: TypeAlias = tuple[NDArray[np.intp], NDArray[np.intp]]


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
    estimator : mapper, Pipeline or CrossModalRetriever
        The estimator whose parameters are chosen. To choose between classes of
        mappers, give a pipeline of a mapper alone or a retriever, and name the step
        in the grid. Pipelines of more steps are fitted as usual.
    param_grid : dict or list of dict
        Parameters to try, as :class:`~sklearn.model_selection.GridSearchCV` takes
        them.
    scoring : str, callable, list or dict, default=None
        What is measured on the held-out fold; the estimator's own `score` by default.
        "r2" of mappers comes from moments; :class:`~skxmodal.RecallScorer` and
        :class:`~skxmodal.RetrievalScorer` from rank counts.
    n_jobs : int, default=None
        Number of threads, -1 for one a processor; None takes as many as BLAS would.
        Ordinary fits take it as :class:`~sklearn.model_selection.GridSearchCV` does.
    refit : bool, str or callable, default=True
        Whether the best candidate is fitted to all rows; with several metrics, the
        name of the one that decides.
    cv : int, cross-validation generator or iterable, default=None
        The splits. An int, or None for 5, gives
        :class:`~sklearn.model_selection.GroupKFold` where `fit` is given `groups`.
    verbose : int, default=0
        How much is said: 1 of each pass, more than 1 of each split too.
    error_score : "raise" or number, default=nan
        The score of a candidate that can't be fitted or scored on a split.

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

    By the held-out error of mappers of several classes:

    >>> from sklearn.pipeline import Pipeline
    >>> search = MapperSearchCV(
    ...     Pipeline([("mapper", LeastSquaresMapper())]),
    ...     [{"mapper__alpha": [0.0, 0.1, 1.0]}, {"mapper": [CCAMapper(alpha=0.1)]}],
    ... ).fit(X, y)
    >>> search.one_pass_.all()
    np.True_
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
            usual, and so where metadata routing takes `groups` to fits or scorers.

        Returns
        -------
        self : MapperSearchCV
            The fitted search.

        Raises
        ------
        ValueError
            If no candidate can be fitted and scored.
        """
        X, y, groups = indexable(X, y, groups)
        to_split, to_fit, to_score = self._routed(groups, params)
        splits = self._splits(X, y, groups, to_split)
        self.n_splits_ = len(splits)
        candidates = list(ParameterGrid(self.param_grid))
        scorers = self._named_scorers()
        plans = [plan(self.estimator, candidate) for candidate in candidates]
        smallest = min((len(side) for split in splits for side in split), default=0)
        # Metadata, and fits and scores that are undefined, are left to ordinary fits.
        if to_fit or to_score or scorers is None or smallest < 2:
            plans = [None] * len(candidates)
        fast = [row for row, planned in enumerate(plans) if planned is not None]
        slow = [row for row, planned in enumerate(plans) if planned is None]
        self.one_pass_ = np.array([planned is not None for planned in plans])
        outcomes: list[list[dict[str, Any]]] = [[] for _ in candidates]
        if fast and scorers is not None:
            found = self._score_in_one_pass(
                [planned for planned in plans if planned is not None],
                scorers,
                X,
                y,
                splits,
            )
            for row, outcome in zip(fast, found, strict=True):
                outcomes[row] = outcome
        if slow:
            if groups is not None and get_config()["enable_metadata_routing"]:
                params = {"groups": groups, **params}
            by_fits = score_by_fits(
                self.estimator,
                [candidates[row] for row in slow],
                X,
                y,
                splits,
                params,
                scoring=self.scoring,
                n_jobs=self.n_jobs,
                verbose=self.verbose,
                error_score=self.error_score,
            )
            for place, row in enumerate(slow):
                outcomes[row] = by_fits[place * len(splits) :][: len(splits)]
        flat = [outcome for candidate in outcomes for outcome in candidate]
        _warn_or_raise_about_fit_failures(flat, self.error_score)
        _insert_error_scores(flat, self.error_score)
        self.cv_results_ = self._format_results(candidates, len(splits), flat)
        self.multimetric_ = isinstance(flat[0]["test_scores"], dict)
        self._choose(X, y, to_fit)
        return self

    def get_metadata_routing(self) -> MetadataRouter:
        """Say which metadata goes where.

        Returns
        -------
        routing : MetadataRouter
            That of :class:`~sklearn.model_selection.GridSearchCV`, with `groups` for
            the splits wherever `cv` is a number or None.
        """
        router = super().get_metadata_routing()
        if self._counts_folds():
            fit_splits = MethodMapping().add(caller="fit", callee="split")
            router.add(splitter=GroupKFold(), method_mapping=fit_splits)
        return router

    def _counts_folds(self) -> bool:
        return self.cv is None or isinstance(self.cv, Integral)

    def _routed(
        self, groups: Any, params: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """What goes to the splits, to fits and to scorers."""
        if not get_config()["enable_metadata_routing"]:
            return {"groups": groups}, params, {}
        given = params if groups is None else {"groups": groups, **params}
        routed = process_routing(self, "fit", **given)
        return routed.splitter.split, routed.estimator.fit, routed.scorer.score

    def _splits(
        self, X: Any, y: Any, groups: Any, to_split: dict[str, Any]
    ) -> list[Split]:
        cv = self.cv
        if self._counts_folds():
            n_splits = DEFAULT_FOLDS if cv is None else int(cv)
            cv = n_splits if groups is None else GroupKFold(n_splits)
        rows = np.arange(_num_samples(X))
        # Masks and rows counted from the end become row numbers.
        pairs = check_cv(cv).split(X, y, **to_split)
        return [(rows[train], rows[test]) for train, test in pairs]

    def _named_scorers(self) -> dict[str, Any] | None:
        """The scorers by name, with `R2` for r2; None where one is not for maps."""
        of_mapper = mapper_of(self.estimator) is not None
        scoring = self.scoring
        if scoring is None:
            if not of_mapper and not hasattr(self.estimator, "gallery_items"):
                return None
            return {"score": R2 if of_mapper else RetrieverScore()}
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
        splits: list[Split],
    ) -> list[list[dict[str, Any]]]:
        start = time.perf_counter()
        pairs = self._pairs(X, y)
        for train, test in splits:
            if check_leakage(pairs.pictures[train], pairs.pictures[test]):
                break
        levels = {candidate.mapper._target_products() for candidate in candidates}
        level: TargetProducts = "full" if "full" in levels else "squares"
        judge_cross = pairs.X.dtype == np.float32 and any(
            candidate.mapper._judges_cross for candidate in candidates
        )

        if self.verbose > 0:
            sys.stdout.write(
                f"Scoring {len(candidates)} candidates on {len(splits)} splits from "
                "one pass over the rows\n"
            )
        n_samples = _num_samples(X)
        n_threads = None if self.n_jobs is None else effective_n_jobs(self.n_jobs)

        def sums(judged: bool) -> tuple[Callable[..., Moments], list[Moments], Moments]:
            def moments_of(rows: NDArray[np.intp]) -> Moments:
                return moments_of_rows(
                    rows, pairs.X, pairs.y, None, level, judge_cross=judged
                )

            tests = in_threads(moments_of, [test for _, test in splits], n_threads)
            total = total_moments(tests, splits, n_samples, moments_of)
            return moments_of, tests, total

        # All rows are judged at once where they can be, each fold by itself elsewhere.
        judged = judge_cross and not cross_may_suffice(np, pairs.X, pairs.y, None)
        moments_of, tests, total = sums(judged)
        single = judge_cross and not judged and total.in_float32
        if single and not cross_suffices(total.xy):
            moments_of, tests, total = sums(True)
        shared = (time.perf_counter() - start) / len(candidates) / len(splits)

        def score(split: int) -> list[Score]:
            train, test = splits[split]
            if are_complements(train, test, n_samples):
                train_moments = total - tests[split]
            else:
                train_moments = moments_of(train)
            # Fits change their mapper, and splits run side by side.
            own = [Candidate(clone(mapper), hubness) for mapper, hubness in candidates]
            found = score_split(
                own,
                scorers,
                pairs,
                train,
                test,
                train_moments,
                tests[split],
                raises=self.error_score == "raise",
            )
            if self.verbose > 1:
                sys.stdout.write(f"[CV {split + 1}/{len(splits)}] END\n")
            return found

        scores = in_threads(score, range(len(splits)), n_threads)
        return [
            [self._outcome(scores[split][row], shared) for split in range(len(splits))]
            for row in range(len(candidates))
        ]

    def _outcome(self, score: Score, fit_time: float) -> dict[str, Any]:
        """A candidate's scores on one split, as scikit-learn keeps them."""
        values: Any = score.values
        if score.error is not None:
            values = self.error_score
        elif list(values) == ["score"]:
            values = values["score"]
        return {
            "fit_error": score.error,
            "test_scores": values,
            "fit_time": fit_time,
            "score_time": score.seconds,
        }

    def _choose(self, X: Any, y: Any, params: dict[str, Any]) -> None:
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
        scorer = self._get_scorers()[0]
        self.scorer_ = getattr(scorer, "_scorers", scorer)
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
