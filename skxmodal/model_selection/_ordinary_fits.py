"""Scores of the candidates that need the rows themselves."""

from __future__ import annotations

from typing import Any

from sklearn import get_config
from sklearn.model_selection import GridSearchCV


def score_by_fits(
    estimator: Any,
    candidates: list[dict[str, Any]],
    X: Any,
    y: Any,
    splits: list[Any],
    metadata: dict[str, Any],
    **settings: Any,
) -> list[dict[str, Any]]:
    """Fit and score every candidate on every split, as GridSearchCV does.

    Parameters
    ----------
    estimator : estimator
        The estimator whose parameters are chosen.
    candidates : list of dict
        The parameters of each candidate.
    X, y : array-like or sequence of items
        All rows.
    splits : list of (train, test)
        Row numbers.
    metadata : dict
        What `fit` of a search takes besides.
    **settings : dict
        Further parameters of :class:`~sklearn.model_selection.GridSearchCV`.

    Returns
    -------
    outcomes : list of dict
        One for each split of each candidate, the first candidate's first.
    """
    search = GridSearchCV(
        estimator,
        [{name: [value] for name, value in one.items()} for one in candidates],
        cv=splits,
        refit=False,
        **settings,
    )
    if get_config()["enable_metadata_routing"]:
        # The splits are made, so that nothing goes to a splitter.
        wanted = search.get_metadata_routing().consumes("fit", metadata)
        metadata = {name: metadata[name] for name in wanted}
    try:
        results = search.fit(X, y, **metadata).cv_results_
    except ValueError as error:
        # Other candidates may be scored all the same.
        if settings["error_score"] == "raise" or "fits failed" not in str(error):
            raise
        failure = {"fit_error": str(error), "test_scores": settings["error_score"]}
        times = {"fit_time": 0.0, "score_time": 0.0}
        return [failure | times for _ in candidates for _ in splits]
    prefix = "mean_test_"
    names = [name.removeprefix(prefix) for name in results if name.startswith(prefix)]
    outcomes = []
    for row in range(len(candidates)):
        for split in range(len(splits)):
            values = {name: results[f"split{split}_test_{name}"][row] for name in names}
            outcomes.append(
                {
                    "fit_error": None,
                    "test_scores": values["score"] if names == ["score"] else values,
                    "fit_time": results["mean_fit_time"][row],
                    "score_time": results["mean_score_time"][row],
                }
            )
    return outcomes
