"""How many pairs do I need: recall over the number of training pictures."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.metrics import check_scoring
from sklearn.model_selection import GroupShuffleSplit
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.validation import _num_samples, has_fit_parameter

from skxmodal._rows import group_by_content
from skxmodal._validation import check_groups
from skxmodal.inspection._axes import open_axes
from skxmodal.metrics import RecallScorer, retrieval_ranks
from skxmodal.metrics._protocol import check_aligned, label_of_correction, opened
from skxmodal.metrics._ranks import QUERY_TO_TARGET


class PairsCurveDisplay:
    """Score over the number of captioned pictures fitted, in one test gallery.

    Pictures are drawn with all their captions; each split holds the same pictures out
    for every size, so that the points of a curve compare. Where the curve still
    climbs at its end, more pictures help.

    Make it with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    n_pictures : ndarray of shape (n_sizes,)
        Numbers of training pictures.
    scores : dict of str to ndarray of shape (n_sizes, n_splits)
        Scores on the held-out pictures, by the name of the estimator.
    score_name : str, default="score"
        Label of the vertical axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the last :meth:`plot`.
    figure_ : matplotlib Figure
        Their figure.
    lines_ : list of matplotlib Line2D
        One for each estimator.

    See Also
    --------
    sklearn.model_selection.learning_curve : The same over rows, for any estimator.

    Examples
    --------
    >>> from skxmodal import LeastSquaresMapper, ProcrustesMapper
    >>> from skxmodal.datasets import make_paired_embeddings
    >>> from skxmodal.inspection import PairsCurveDisplay
    >>> X, y = make_paired_embeddings(n_pairs=300, random_state=0)
    >>> display = PairsCurveDisplay.from_estimator(
    ...     {"least squares": LeastSquaresMapper(), "Procrustes": ProcrustesMapper()},
    ...     X,
    ...     y,
    ...     sizes=[50, 100, 200],
    ...     n_splits=2,
    ...     random_state=0,
    ... )
    >>> display.scores["Procrustes"].shape
    (3, 2)
    """

    def __init__(
        self,
        *,
        n_pictures: NDArray[np.int64],
        scores: dict[str, NDArray[np.float64]],
        score_name: str = "score",
    ) -> None:
        self.n_pictures = n_pictures
        self.scores = scores
        self.score_name = score_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        groups: ArrayLike | None = None,
        *,
        sizes: Sequence[int] | None = None,
        scoring: Any = None,
        n_splits: int = 5,
        test_size: float | int = 0.25,
        random_state: Any = None,
        ax: Any = None,
    ) -> PairsCurveDisplay:
        """Fit to growing numbers of pictures and draw the scores.

        Parameters
        ----------
        estimator : estimator, or dict of str to estimators
            What is fitted, under its name if there are several.
        X : array-like of n queries
            Queries.
        y : array-like of n targets
            The target of each query.
        groups : array-like of shape (n,), default=None
            The picture of each row; by default rows of equal content are one. Passed
            on to a fit that takes groups, and to a scorer of this package.
        sizes : sequence of int, default=None
            Numbers of training pictures; by default six up to all of them, evenly
            spaced on a logarithmic axis.
        scoring : str or callable, default=None
            A scorer of one number, or scikit-learn's name of one; by default
            ``RecallScorer(k=10)``.
        n_splits : int, default=5
            Number of random splits.
        test_size : float or int, default=0.25
            Fraction or number of the pictures held out.
        random_state : int, RandomState instance or None, default=None
            Source of the splits and of the order in which pictures are added.
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : PairsCurveDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If a size is no integer or above the number of training pictures, X and y
            are not row-aligned, or the scorer gives several numbers.
        """
        check_aligned(X, y)
        estimators = estimator
        if not isinstance(estimators, dict):
            estimators = {type(estimator).__name__: estimator}
        scoring = RecallScorer(k=10) if scoring is None else scoring
        if groups is None:
            _, pictures = group_by_content(y, kind="found")
        else:
            pictures = check_groups(groups, _num_samples(y))
            groups = np.asarray(groups)
        rng = check_random_state(random_state)
        splitter = GroupShuffleSplit(n_splits, test_size=test_size, random_state=rng)
        splits = list(splitter.split(np.empty(len(pictures)), groups=pictures))
        n_train = min(len(np.unique(pictures[train])) for train, _ in splits)
        chosen = _check_sizes(sizes, n_train)
        scores = {name: np.empty((len(chosen), n_splits)) for name in estimators}
        labels: dict[str, set[str]] = {name: set() for name in estimators}
        galleries: dict[str, set[int]] = {}
        for split, (train, test) in enumerate(splits):
            order = rng.permutation(np.unique(pictures[train]))
            for place, size in enumerate(chosen):
                rows = train[np.isin(pictures[train], order[:size])]
                for name, one in estimators.items():
                    fitted = _fit(one, X, y, groups, rows)
                    scores[name][place, split] = _score(
                        scoring, fitted, X, y, groups, test, galleries
                    )
                    correction = getattr(opened(fitted)[0], "hubness_", None)
                    labels[name].add(label_of_correction(correction) or "")
        named = {}
        for name, one in scores.items():
            corrections = "; ".join(sorted(labels[name] - {""}))
            named[f"{name} ({corrections})" if corrections else name] = one
        name = _name_of_score(scoring, galleries)
        return cls.from_predictions(chosen, named, score_name=name, ax=ax)

    @classmethod
    def from_predictions(
        cls,
        n_pictures: ArrayLike,
        scores: Any,
        *,
        score_name: str = "score",
        ax: Any = None,
    ) -> PairsCurveDisplay:
        """Draw scores that were measured before.

        Parameters
        ----------
        n_pictures : array-like of shape (n_sizes,)
            Numbers of training pictures.
        scores : array-like of shape (n_sizes, n_splits), or dict of str to those
            Scores, by name if of several estimators.
        score_name : str, default="score"
            Label of the vertical axis.
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : PairsCurveDisplay
            The display, drawn.
        """
        named = scores if isinstance(scores, dict) else {"": scores}
        display = cls(
            n_pictures=np.asarray(n_pictures, dtype=np.int64),
            scores={name: np.asarray(one, dtype=float) for name, one in named.items()},
            score_name=score_name,
        )
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> PairsCurveDisplay:
        """Draw the mean of the splits and their range.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : PairsCurveDisplay
            The display itself.
        """
        self.ax_, self.figure_ = open_axes(ax)
        self.lines_ = []
        for name, scores in self.scores.items():
            (line,) = self.ax_.plot(
                self.n_pictures, scores.mean(axis=1), marker="o", label=name or None
            )
            self.ax_.fill_between(
                self.n_pictures,
                scores.min(axis=1),
                scores.max(axis=1),
                color=line.get_color(),
                alpha=0.2,
                linewidth=0,
            )
            self.lines_.append(line)
        n_splits = next(iter(self.scores.values())).shape[1]
        self.ax_.set(
            xscale="log",
            xlabel="pictures fitted",
            ylabel=self.score_name,
            title="How many pairs do I need?",
        )
        self.ax_.set_xticks(self.n_pictures, [f"{size:,}" for size in self.n_pictures])
        self.ax_.minorticks_off()
        self.ax_.grid(alpha=0.3)
        if any(self.scores):
            self.ax_.legend(
                title=f"mean and range of {n_splits} splits",
                fontsize="small",
                title_fontsize="small",
            )
        return self


def _check_sizes(sizes: Sequence[int] | None, largest: int) -> NDArray[np.int64]:
    if sizes is None:
        smallest = min(max(20, largest // 50), largest)
        return np.unique(np.geomspace(smallest, largest, 6).round().astype(np.int64))
    chosen = np.unique(np.asarray(sizes))
    if (
        not len(chosen)
        or chosen.dtype.kind not in "iu"
        or chosen[0] < 2
        or chosen[-1] > largest
    ):
        raise ValueError(
            f"sizes must be from 2 to {largest}, the number of pictures that every "
            f"split leaves to fit, and integers; got {list(sizes)}."
        )
    return chosen.astype(np.int64)


def _fit(one: Any, X: Any, y: Any, groups: Any, rows: NDArray[Any]) -> Any:
    params = {}
    if groups is not None and has_fit_parameter(one, "groups"):
        params["groups"] = groups[rows]
    return clone(one).fit(_safe_indexing(X, rows), _safe_indexing(y, rows), **params)


def _score(
    scoring: Any,
    fitted: Any,
    X: Any,
    y: Any,
    groups: Any,
    rows: NDArray[Any],
    galleries: dict[str, set[int]],
) -> float:
    """The score of some rows, noting the sizes of the galleries that were asked."""
    X, y = _safe_indexing(X, rows), _safe_indexing(y, rows)
    if isinstance(scoring, RecallScorer):
        groups = None if groups is None else groups[rows]
        ranks = retrieval_ranks(fitted, X, y, groups, direction=scoring.direction)
        for name, side in ranks.items():
            galleries.setdefault(name, set()).add(side.gallery_size or 0)
        return scoring.score_ranks(ranks)
    score = check_scoring(fitted, scoring)(fitted, X, y)
    if not isinstance(score, Real):
        raise ValueError(
            f"The curve needs a scorer of one number, but scoring={scoring!r} gave a "
            f"{type(score).__name__}. Give a RecallScorer, or the name of one metric."
        )
    return float(score)


def _name_of_score(scoring: Any, galleries: dict[str, set[int]]) -> str:
    if not isinstance(scoring, RecallScorer):
        return scoring if isinstance(scoring, str) else "score"
    # The field's word for the hit rate; the other recall is named apart.
    metric = {"hit_rate": "recall", "recall": "fraction found"}.get(
        scoring.metric, scoring.metric
    )
    asking = ""
    if scoring.direction != QUERY_TO_TARGET:
        asking = f", {scoring.direction.replace('_', ' ')},"
    sizes = " and ".join(
        " to ".join(f"{size:,}" for size in sorted({min(found), max(found)}))
        for found in galleries.values()
    )
    where = "a gallery" if len(galleries) == 1 else "galleries"
    return f"{metric}@{scoring.k}{asking} in {where} of {sizes}"
