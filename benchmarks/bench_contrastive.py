"""Does contrastive tuning of MiniLM improve retrieval? On the OpenMoji set.

    python benchmarks/bench_contrastive.py

For each of five seeded splits of the 1,923 emoji (three quarters to train on), the last
blocks of MiniLM are tuned on the training part, and text-to-image R@10 (hit rate) among
the held-out quarter is compared with the frozen encoder's, with the same mapper fitted
anew. The interval is that of Student over the seeds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from scipy import stats

from skxmodal import (
    CCAMapper,
    ContrastiveTuner,
    ImageEncoder,
    LeastSquaresMapper,
    ProcrustesMapper,
    TextEncoder,
)
from skxmodal.datasets import load_openmoji
from skxmodal.metrics import hit_rate_at_k, retrieval_ranks
from skxmodal.model_selection import group_train_test_split

MAPPERS = {
    "least squares, alpha=1": LeastSquaresMapper(alpha=1.0),
    "Procrustes": ProcrustesMapper(),
    "CCA": CCAMapper(),
}
K = 10


def rate(mapper, X, y, groups, train, test):
    mapper.fit(X[train], y[train])
    ranks = retrieval_ranks(mapper, X[test], y[test], groups=groups[test])
    return 100 * hit_rate_at_k(ranks.query_to_target, K)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--objective", default="paired")
    parser.add_argument("--trainable", default="last:3")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--device", default=None)
    parser.add_argument("--data", type=Path, help="ignored: the emoji are used")
    arguments = parser.parse_args()
    emoji = load_openmoji()
    names = np.array(emoji.names, dtype=object)
    encoder = TextEncoder("all-MiniLM-L6-v2", device=arguments.device)
    X = encoder.transform(names)
    y = ImageEncoder("efficientnet-lite0", device=arguments.device).transform(
        emoji.pictures
    )
    gains = {name: [] for name in MAPPERS}
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        train, test = group_train_test_split(
            np.arange(len(X)), groups=emoji.groups, test_size=0.25, random_state=seed
        )
        tuner = ContrastiveTuner(
            encoder,
            objective=arguments.objective,
            trainable=arguments.trainable,
            learning_rate=arguments.learning_rate,
            max_epochs=arguments.epochs,
            random_state=seed,
        )
        start, start_cpu = time.perf_counter(), time.process_time()
        groups = emoji.groups[train]
        if arguments.objective == "unsupervised":
            tuner.fit(names[train])
        else:
            tuner.fit(names[train], y[train], groups=groups)
        clock, cpu = time.perf_counter() - start, time.process_time() - start_cpu
        tuned = tuner.transform(names)
        shown = []
        for name, mapper in MAPPERS.items():
            before, after = (
                rate(mapper, vectors, y, emoji.groups, train, test)
                for vectors in (X, tuned)
            )
            gains[name].append(after - before)
            shown.append(f"{name} {before:.1f} -> {after:.1f}")
        gallery = len(np.unique(emoji.groups[test]))
        print(
            f"seed {seed}, gallery {gallery}: {'; '.join(shown)} "
            f"({clock:.0f} s, {cpu:.0f} s of CPU)",
            flush=True,
        )
    if arguments.seeds < 2:
        return
    for name, values in gains.items():
        mean, error = np.mean(values), stats.sem(values)
        reach = stats.t.ppf(0.975, len(values) - 1) * error
        print(
            f"{name}: {mean:+.2f} points of R@{K}, 95% interval over "
            f"{len(values)} seeds {mean - reach:+.2f} to {mean + reach:+.2f}"
        )


if __name__ == "__main__":
    main()
