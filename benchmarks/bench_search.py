"""Model choice in one pass against scikit-learn's grid search.

22 candidates (least squares, 20 penalties, Procrustes) in 5 folds, by r2 and by R@10.
Both run in turn in one process on the same candidates and splits, and the scores are
compared. Memory is the peak beyond the data, of each in a fresh process (Linux).

    python benchmarks/bench_search.py [--rows 50000] [--repeats 2]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline

from skxmodal import (
    CrossModalRetriever,
    LeastSquaresMapper,
    ProcrustesMapper,
    RecallScorer,
)
from skxmodal.model_selection import MapperSearchCV

WAYS = {"MapperSearchCV": MapperSearchCV, "GridSearchCV": GridSearchCV}
ALPHAS = [0.0, *np.logspace(-4, 2, 20)]


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


def make_search(way: str, scoring: str) -> Any:
    """The search that scores all 22 candidates."""
    grid = [
        {"mapper": [LeastSquaresMapper()], "mapper__alpha": ALPHAS},
        {"mapper": [ProcrustesMapper()]},
    ]
    settings = {"cv": KFold(5), "refit": False}
    if scoring == "r2":
        estimator = Pipeline([("mapper", LeastSquaresMapper())])
        return WAYS[way](estimator, grid, scoring="r2", **settings)
    scorer = RecallScorer(k=10)
    return WAYS[way](CrossModalRetriever(), grid, scoring=scorer, **settings)


def run(way: str, scoring: str, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The mean scores of all candidates."""
    return make_search(way, scoring).fit(X, y).cv_results_["mean_test_score"]


def resident(name: str) -> float:
    """Resident memory of the process, in MB: now (VmRSS) or its peak (VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise SystemExit("Memory is read from /proc, on Linux only.")


def print_memory(way: str, scoring: str, n_rows: int) -> None:
    """Print the peak of memory beyond the data, in this fresh process."""
    X, y = make_pairs(n_rows)
    # The peak so far is that of making the data.
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    run(way, scoring, X, y)
    print(f"{resident('VmHWM') - before:.0f}")


def memory_of(way: str, scoring: str, n_rows: int) -> str:
    """The same from a process of its own."""
    command = [sys.executable, __file__, "--memory-of", way, scoring, str(n_rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def compare(scoring: str, n_rows: int, repeats: int) -> None:
    """Time both in turn, and print the ratio of the medians and their memory."""
    X, y = make_pairs(n_rows)
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    scores = {}
    for _ in range(repeats):
        for way in WAYS:
            start = time.perf_counter()
            scores[way] = run(way, scoring, X, y)
            times[way].append(time.perf_counter() - start)
            print(f"  {way:14} {times[way][-1]:8.2f} s", flush=True)
    ours, reference = (np.median(times[way]) for way in WAYS)
    mine, theirs = scores.values()
    print(
        f"{scoring} of {len(mine)} candidates x 5 folds, {X.shape} to {y.shape[1]}, "
        f"float32: {reference / ours:.0f} times faster, largest difference of scores "
        f"{np.abs(mine - theirs).max():.1e}",
        flush=True,
    )
    for way in WAYS:
        print(
            f"  {way:14} peak memory +{memory_of(way, scoring, n_rows)} MB", flush=True
        )


def main() -> None:
    """Run both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rows-of-recall", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--data", help="not used: the pairs are synthetic")
    parser.add_argument("--memory-of", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        way, scoring, n_rows = arguments.memory_of
        print_memory(way, scoring, int(n_rows))
        return
    compare("r2", arguments.rows, arguments.repeats)
    compare("R@10", arguments.rows_of_recall, arguments.repeats)


if __name__ == "__main__":
    main()
