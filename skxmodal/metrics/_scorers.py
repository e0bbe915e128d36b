"""Scorers for scikit-learn's model selection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils.metadata_routing import UNUSED

from skxmodal._doc_links import DocLinkMixin
from skxmodal.metrics._protocol import BOTH, check_direction, retrieval_ranks
from skxmodal.metrics._ranking import (
    hit_rate_at_k,
    mean_reciprocal_rank,
    median_rank,
    r_sum,
    value_of_queries,
)
from skxmodal.metrics._ranks import QUERY_TO_TARGET, RetrievalRanks, check_ks


class _Scorer(DocLinkMixin, BaseEstimator):
    """A scorer that metadata routing can ask for groups."""

    # The first argument is the scorer's subject, not metadata.
    __metadata_request__score = {"estimator": UNUSED}

    def __call__(
        self, estimator: Any, X: Any, y: Any, groups: ArrayLike | None = None
    ) -> Any:
        return self.score(estimator, X, y, groups=groups)

    def score(
        self, estimator: Any, X: Any, y: Any, groups: ArrayLike | None = None
    ) -> Any:
        raise NotImplementedError


class RecallScorer(_Scorer):
    """Recall at K of retrieval inside the given rows' own gallery.

    Pass it as ``scoring`` to :class:`~sklearn.model_selection.GridSearchCV` and its
    relatives: the gallery is then the test fold's own. Larger galleries are harder,
    so scores of folds compare only where the folds are of one size.

    Parameters
    ----------
    k : int, default=10
        Number of places looked at.
    direction : {"query_to_target", "target_to_query", "both"}, \
default="query_to_target"
        Who asks: the queries of X (captions), the targets of y (pictures), or the mean
        of both.
    metric : {"hit_rate", "recall", "precision", "ndcg"}, default="hit_rate"
        What is averaged over the queries: whether any correct item is among the first
        k (what papers on captions and pictures call recall@K), or the fraction of the
        correct items that is, or the two of information retrieval.

    See Also
    --------
    RetrievalScorer : Several K and both directions in one pass.
    hit_rate_at_k : The metric over ranks.

    Notes
    -----
    Rows of y with equal content are one picture. With metadata routing,
    ``RecallScorer().set_score_request(groups=True)`` says which rows are, instead.

    A single number can't say what it was measured on. :class:`RetrievalScorer` records
    the size of each gallery and the number of correct items beside its scores, and
    :func:`retrieval_ranks` gives both with the ranks.

    :func:`~sklearn.model_selection.permutation_test_score` shuffles y within `groups`
    where it is given them. Groups that are the pictures leave nothing to shuffle, and
    p is 1: give it one caption of each picture, and no groups.

    Only an estimator that keeps its training pictures, as a
    :class:`~skxmodal.CrossModalRetriever` does, can warn of a leak. For a mapper alone
    compare the sides of the split with
    :func:`~skxmodal.model_selection.check_leakage`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import cross_val_score
    >>> from skxmodal import LeastSquaresMapper, RecallScorer
    >>> X = np.random.default_rng(0).normal(size=(60, 4))
    >>> cross_val_score(LeastSquaresMapper(), X, X @ X[:4], scoring=RecallScorer(k=1))
    array([1., 1., 1., 1., 1.])
    """

    def __init__(
        self,
        k: int = 10,
        direction: str = QUERY_TO_TARGET,
        metric: str = "hit_rate",
    ) -> None:
        self.k = k
        self.direction = direction
        self.metric = metric

    def score(
        self, estimator: Any, X: Any, y: Any, groups: ArrayLike | None = None
    ) -> float:
        """Score a fitted estimator.

        Parameters
        ----------
        estimator : fitted estimator
            Anything with ``transform`` and ``transform_target``, also last in a
            Pipeline or in a fitted search.
        X : array-like of n queries
            Captions or their embeddings.
        y : array-like of n targets
            Pictures or their embeddings, row-aligned with X.
        groups : array-like of shape (n,), default=None
            The picture of each row; by default rows of equal content are one.

        Returns
        -------
        score : float
            Between 0 and 1, larger is better.

        Raises
        ------
        ValueError
            If k is above the size of the gallery.
        """
        return self.score_ranks(
            retrieval_ranks(estimator, X, y, groups, direction=self.direction)
        )

    def score_ranks(self, found: RetrievalRanks) -> float:
        """Score ranks that were counted before.

        Parameters
        ----------
        found : RetrievalRanks
            The ranks in the direction that is scored.

        Returns
        -------
        score : float
            Between 0 and 1, larger is better.
        """
        means = [
            value_of_queries(ranks, self.metric, self.k).mean()
            for _, ranks in found.items()
        ]
        return float(np.mean(means))


class RetrievalScorer(_Scorer):
    """Hit rates at several K, ranks and gallery sizes, from one pass.

    Returns a dict, so one pass feeds a multi-metric search: give the search
    ``refit="query_to_target_hit_rate_at_10"``, say. All of its metrics are such that
    larger is better.

    Parameters
    ----------
    ks : sequence of int, default=(1, 5, 10)
        Numbers of places looked at.
    directions : {"both", "query_to_target", "target_to_query"}, default="both"
        Who asks.

    See Also
    --------
    RecallScorer : One number.

    Notes
    -----
    :func:`~sklearn.model_selection.cross_validate`,
    :class:`~sklearn.model_selection.GridSearchCV`,
    :class:`~sklearn.model_selection.RandomizedSearchCV` and
    :class:`~skxmodal.model_selection.MapperSearchCV` take several metrics. Halving
    searches, :func:`~sklearn.model_selection.learning_curve`,
    :func:`~sklearn.model_selection.validation_curve`,
    :func:`~sklearn.model_selection.cross_val_score` and
    :func:`~sklearn.model_selection.permutation_test_score` take one number: give those
    a :class:`RecallScorer`.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal import LeastSquaresMapper
    >>> from skxmodal.metrics import RetrievalScorer
    >>> X = np.random.default_rng(0).normal(size=(60, 4))
    >>> scores = RetrievalScorer(ks=[1])(LeastSquaresMapper().fit(X, X), X, X)
    >>> scores["query_to_target_hit_rate_at_1"], scores["target_to_query_gallery_size"]
    (1.0, 60.0)
    """

    def __init__(self, ks: Sequence[int] = (1, 5, 10), directions: str = BOTH) -> None:
        self.ks = ks
        self.directions = directions

    def score(
        self, estimator: Any, X: Any, y: Any, groups: ArrayLike | None = None
    ) -> dict[str, float]:
        """Score a fitted estimator.

        Parameters
        ----------
        estimator : fitted estimator
            Anything with ``transform`` and ``transform_target``, also last in a
            Pipeline or in a fitted search.
        X : array-like of n queries
            Captions or their embeddings.
        y : array-like of n targets
            Pictures or their embeddings, row-aligned with X.
        groups : array-like of shape (n,), default=None
            The picture of each row; by default rows of equal content are one.

        Returns
        -------
        scores : dict of str to float
            For each direction ``<direction>_hit_rate_at_<k>``,
            ``<direction>_mean_reciprocal_rank``, ``<direction>_neg_median_rank`` (the
            median rank negated, so that larger is better), and what they were measured
            on: ``<direction>_gallery_size`` and ``<direction>_n_correct`` (the mean
            number of correct items a query). For both directions also ``r_sum``.

        Raises
        ------
        TypeError
            If ks is no sequence.
        ValueError
            If a k is above the size of a gallery.
        """
        check_ks(self.ks)
        return self.score_ranks(
            retrieval_ranks(estimator, X, y, groups, direction=self.directions)
        )

    def score_ranks(self, found: RetrievalRanks) -> dict[str, float]:
        """Score ranks that were counted before.

        Parameters
        ----------
        found : RetrievalRanks
            The ranks in the directions that are scored.

        Returns
        -------
        scores : dict of str to float
            As those of :meth:`score`.
        """
        scores: dict[str, float] = {}
        ks = check_ks(self.ks)
        for name, ranks in found.items():
            for k in ks:
                scores[f"{name}_hit_rate_at_{k}"] = hit_rate_at_k(ranks, k)
            scores[f"{name}_mean_reciprocal_rank"] = mean_reciprocal_rank(ranks)
            scores[f"{name}_neg_median_rank"] = -median_rank(ranks)
            scores[f"{name}_gallery_size"] = float(ranks.gallery_size or 0)
            scores[f"{name}_n_correct"] = float(ranks.n_correct.mean())
        if len(check_direction(self.directions)) == 2:
            scores["r_sum"] = r_sum(found, ks)
        return scores
