"""Ranks of the correct items against sorts and against the matrix product alone.

Recall@10 of 5,000 queries in a gallery of 100,000 items of 512 dimensions, float32,
every contestant in turn in one process; memory in a fresh process for each, as the
peak of resident memory beyond the inputs (Linux).

    python benchmarks/bench_ranks.py
    python benchmarks/bench_ranks.py --large    # also 100,000 x 100,000
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from skxmodal.neighbors import count_ranks, top_k

K = 10
# Rows of the full similarity matrix that the peers hold at once: 100 MB.
PEER_ROWS = 256


def make_inputs(
    n_queries: int, n_items: int, width: int = 512
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit rows, with each query near its correct item."""
    rng = np.random.default_rng(0)
    gallery = rng.standard_normal((n_items, width), dtype=np.float32)
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    correct = rng.integers(0, n_items, n_queries)
    queries = rng.standard_normal((n_queries, width), dtype=np.float32)
    queries *= np.float32(5.0 / np.sqrt(width))
    for rows in range(0, n_queries, 1000):
        queries[rows : rows + 1000] += gallery[correct[rows : rows + 1000]]
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    return queries, gallery, correct


def product(queries, gallery, correct):
    """The matrix product alone, in blocks."""
    for rows in range(0, len(queries), PEER_ROWS):
        queries[rows : rows + PEER_ROWS] @ gallery.T
    return np.nan


def by_argsort(queries, gallery, correct):
    """Rank of each correct item by a full sort."""
    hits = 0
    for rows in range(0, len(queries), PEER_ROWS):
        own = correct[rows : rows + PEER_ROWS]
        order = np.argsort(-(queries[rows : rows + PEER_ROWS] @ gallery.T), axis=1)
        hits += np.count_nonzero(np.argmax(order == own[:, np.newaxis], axis=1) < K)
    return hits / len(queries)


def by_argpartition(queries, gallery, correct):
    """Whether each correct item is among the first ten, by a partial sort."""
    hits = 0
    for rows in range(0, len(queries), PEER_ROWS):
        own = correct[rows : rows + PEER_ROWS]
        scores = queries[rows : rows + PEER_ROWS] @ gallery.T
        first = np.argpartition(scores, -K, axis=1)[:, -K:]
        hits += np.count_nonzero(first == own[:, np.newaxis])
    return hits / len(queries)


def by_counts(queries, gallery, correct):
    """Ours, one direction."""
    starts = np.arange(len(queries) + 1)
    return np.mean(count_ranks(queries, gallery, starts, correct) <= K)


def by_counts_both(queries, gallery, correct):
    """Ours, both directions from one product."""
    starts = np.arange(len(queries) + 1)
    ranks, _ = count_ranks(queries, gallery, starts, correct, both=True)
    return np.mean(ranks <= K)


def by_top_k(queries, gallery, correct):
    """Ours, exact top-10."""
    _, rows = top_k(queries, gallery, K)
    return np.count_nonzero(rows == correct[:, np.newaxis]) / len(queries)


CONTESTANTS = {
    "product": product,
    "argsort": by_argsort,
    "argpartition": by_argpartition,
    "ranks": by_counts,
    "ranks, both ways": by_counts_both,
    "top-10": by_top_k,
}


def resident(name: str) -> float:
    """A line of the process's status, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise SystemExit("Memory is measured on Linux alone.")


def measure_memory(name: str, n_queries: int, n_items: int) -> None:
    """Print the peak beyond the inputs, in a process of its own."""
    inputs = make_inputs(n_queries, n_items)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    start = time.perf_counter()
    CONTESTANTS[name](*inputs)
    seconds = time.perf_counter() - start
    print(f"{resident('VmHWM') - before:.0f} MB {seconds:.1f} s")


def memory_of(name: str, n_queries: int, n_items: int) -> str:
    """Run the measurement in a fresh process."""
    command = [sys.executable, __file__, "--memory", name]
    command += ["--queries", str(n_queries), "--items", str(n_items)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    """Print times as ratios and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=5_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--data", help="not used: the vectors are made here")
    parser.add_argument("--memory", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        measure_memory(options.memory, options.queries, options.items)
        return
    inputs = make_inputs(options.queries, options.items)
    times: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    recalls = {}
    for _ in range(options.rounds):
        for name, contestant in CONTESTANTS.items():
            start = time.perf_counter()
            recalls[name] = contestant(*inputs)
            times[name].append(time.perf_counter() - start)
    del inputs
    print(f"{options.queries} queries, {options.items} items, 512-d float32")
    print(f"{'':18}{'recall@10':>10}{'time / product':>16}{'time / ranks':>14}")
    for name, recall in recalls.items():
        ratios = [
            np.median(np.divide(times[name], times[other]))
            for other in ("product", "ranks")
        ]
        print(f"{name:18}{recall:10.4f}{ratios[0]:16.2f}{ratios[1]:14.2f}")
    print("\nPeak beyond the inputs, each in a fresh process:")
    for name in CONTESTANTS:
        print(f"{name:18}{memory_of(name, options.queries, options.items).strip()}")
    if options.large:
        size = 100_000
        print(f"\nBoth directions of {size} x {size}, peak beyond the inputs:")
        print(memory_of("ranks, both ways", size, size).strip())


if __name__ == "__main__":
    main()
