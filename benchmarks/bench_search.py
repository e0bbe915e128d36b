"""Model choice in one pass against scikit-learn's grid search.

22 candidates (least squares, 20 penalties, Procrustes) in 5 folds. Both run in turn in
one process on the same candidates and splits, and the scores are compared.

    python benchmarks/bench_search.py [--rows 50000] [--repeats 2]
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
from sklearn.model_selection import GridSearchCV, KFold

from skxmodal import (
    CrossModalRetriever,
    LeastSquaresMapper,
    ProcrustesMapper,
    RecallScorer,
)
from skxmodal.model_selection import MapperSearchCV


def make_pairs(n_rows: int, d_x: int = 384, d_y: int = 1280) -> tuple:
    """Embeddings with a decaying spectrum and a shared latent part."""
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((n_rows, 128), dtype=np.float32)
    latent *= np.arange(1, 129, dtype=np.float32) ** -0.5
    sides = []
    for width in (d_x, d_y):
        side = latent @ rng.standard_normal((128, width), dtype=np.float32)
        side += 0.5 * rng.standard_normal(side.shape, dtype=np.float32)
        sides.append(side)
    return tuple(sides)


def peak_memory() -> float:
    """The largest memory the process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def compare(name: str, searches: dict, X, y, repeats: int) -> None:
    """Time the searches in turn and print the ratio of the medians."""
    times: dict[str, list[float]] = {label: [] for label in searches}
    for _ in range(repeats):
        for label, search in searches.items():
            before = peak_memory()
            start = time.perf_counter()
            search.fit(X, y)
            times[label].append(time.perf_counter() - start)
            grown = peak_memory() - before
            print(
                f"  {label:14} {times[label][-1]:8.2f} s, peak memory +{grown:.0f} MB"
            )
    ours, reference = (np.median(times[label]) for label in searches)
    scores = [search.cv_results_["mean_test_score"] for search in searches.values()]
    print(
        f"{name}: {reference / ours:.0f} times faster, largest difference of scores "
        f"{np.abs(scores[0] - scores[1]).max():.1e}"
    )


def main() -> None:
    """Run both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rows-of-recall", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--data", help="not used: the pairs are synthetic")
    arguments = parser.parse_args()
    alphas = [0.0, *np.logspace(-4, 2, 20)]
    grid = [
        {"mapper": [LeastSquaresMapper()], "mapper__alpha": alphas},
        {"mapper": [ProcrustesMapper()]},
    ]
    X, y = make_pairs(arguments.rows)
    print(f"r2 of {len(alphas)} least-squares maps, {X.shape} to {y.shape[1]}, float32")
    settings = {"cv": KFold(5), "refit": False}
    path = {"alpha": alphas}
    compare(
        "error, least squares",
        {
            "MapperSearchCV": MapperSearchCV(LeastSquaresMapper(), path, **settings),
            "GridSearchCV": GridSearchCV(LeastSquaresMapper(), path, **settings),
        },
        X,
        y,
        arguments.repeats,
    )
    X, y = X[: arguments.rows_of_recall], y[: arguments.rows_of_recall]
    print(f"R@10 of 22 retrievers, {X.shape} to {y.shape[1]}, float32")
    settings["scoring"] = RecallScorer(k=10)
    compare(
        "R@10",
        {
            "MapperSearchCV": MapperSearchCV(CrossModalRetriever(), grid, **settings),
            "GridSearchCV": GridSearchCV(CrossModalRetriever(), grid, **settings),
        },
        X,
        y,
        arguments.repeats,
    )


if __name__ == "__main__":
    main()
