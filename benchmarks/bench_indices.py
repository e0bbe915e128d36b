"""Exact and approximate search against faiss and scikit-learn, and when they pay.

Top-10 of 1,000 queries, and of one, in a gallery of 512-d float32 vectors: ours,
faiss's flat index and scikit-learn's brute force in turn in one process. Then the time
to build each approximate index, its time for a query in a batch and for one alone, in
turn with the exact search, its loss, and the number of queries after which building has
paid for itself, on Flickr8k captions where --data is given and on Gaussian vectors,
which are harder, where it is not.

    python benchmarks/bench_indices.py [--items 1000000] [--data PATH]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import faiss
import numpy as np
from sklearn.neighbors import NearestNeighbors

from skxmodal.neighbors import (
    ExactIndex,
    HNSWIndex,
    IVFIndex,
    IVFPQIndex,
    ScalarQuantizedIndex,
)

K = 10
# Queries that are asked one at a time.
N_SINGLE = 200
FILE = "flickr8k_minilm_efflite0.npz"


def gaussian(n: int, width: int, seed: int) -> np.ndarray:
    """Unit rows without structure."""
    vectors = np.random.default_rng(seed).standard_normal((n, width), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def embeddings(folder: Path, n_queries: int) -> tuple[np.ndarray, np.ndarray]:
    """Flickr8k captions: the first captions ask for the others."""
    file = folder / FILE
    if not file.exists():
        raise SystemExit(f"{file} is missing: give the folder that holds it by --data.")
    text = np.load(file)["text"].astype(np.float32)
    text -= text.mean(axis=0)
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    return text[:n_queries], text[n_queries:]


def seconds_of(call) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def compare_exact(queries: np.ndarray, gallery: np.ndarray, rounds: int) -> None:
    """Print the times of exact searches over that of faiss's flat index."""
    flat = faiss.IndexFlatIP(gallery.shape[1])
    flat.add(gallery)
    peer = NearestNeighbors(n_neighbors=K, metric="cosine", algorithm="brute")
    peer.fit(gallery)
    ours = ExactIndex().fit(gallery)
    calls = {
        "faiss flat": lambda: flat.search(queries, K),
        "skxmodal exact": lambda: ours.search(queries, K),
        "scikit-learn": lambda: peer.kneighbors(queries),
    }
    same = np.mean(ours.search(queries, K)[1] == flat.search(queries, K)[1])
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds_of(call))
    print(f"{len(queries)} at once; rows equal to faiss's: {100 * same:.3f}%")
    for name, seconds in times.items():
        ratio = np.median(np.divide(seconds, times["faiss flat"]))
        print(f"{name:16}{ratio:8.2f} x faiss flat")


def compare_approximate(queries: np.ndarray, gallery: np.ndarray, rounds: int) -> None:
    """Print what each index costs to build and saves in searching."""
    indices = [
        HNSWIndex(ef_search=64),
        HNSWIndex(ef_search=256),
        IVFIndex(),
        ScalarQuantizedIndex(),
    ]
    if len(gallery) >= 50_000:
        indices.append(IVFPQIndex())
    builds = [
        seconds_of(lambda index=index: index.fit(gallery, queries)) for index in indices
    ]
    exact = ExactIndex().fit(gallery)
    contestants = [exact, *indices]
    single = queries[:N_SINGLE]
    for name, asked in (
        (f"in batches of {len(queries)}", [queries]),
        ("one at a time", np.split(single, len(single))),
    ):
        times = search_in_turn(contestants, asked, rounds)
        exact_time = times[0]
        print(f"{name}: exact {1e3 * exact_time:.3f} ms a query")
        print(
            f"{'':24}{'build / query':>14}{'query / exact':>15}{'recall':>8}"
            f"{'pays after':>18}"
        )
        for index, build, took in zip(indices, builds, times[1:], strict=True):
            saved = exact_time - took
            pays = f"{build / saved:,.0f} queries" if saved > 0 else "never"
            print(
                f"{index!s:24.24}{build / exact_time:14,.0f}{took / exact_time:15.2f}"
                f"{index.recall_vs_exact_:8.3f}{pays:>18}",
                flush=True,
            )


def search_in_turn(indices: list, asked: list[np.ndarray], rounds: int) -> list[float]:
    """Median seconds a query of each index, all of them once, then all again."""
    n_queries = sum(map(len, asked))
    times: list[list[float]] = [[] for _ in indices]
    for index in indices:
        index.search(asked[0], K)
    for _ in range(rounds):
        for index, own in zip(indices, times, strict=True):
            own.append(
                seconds_of(
                    lambda index=index: [index.search(part, K) for part in asked]
                )
            )
    return [float(np.median(own)) / n_queries for own in times]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--ann-items", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, help="folder of the Flickr8k embeddings")
    options = parser.parse_args()
    queries = gaussian(options.queries, 512, 0)
    if options.items:
        print(f"Gaussian vectors: {options.queries} queries, {options.items} items")
        gallery = gaussian(options.items, 512, 1)
        compare_exact(queries, gallery, options.rounds)
        compare_exact(queries[:1], gallery, 5 * options.rounds)
    if options.data:
        queries, gallery = embeddings(options.data, options.queries)
        print(f"\nFlickr8k captions, MiniLM, centred: {gallery.shape} in the gallery")
    else:
        gallery = gaussian(options.ann_items, 512, 1)
        print(f"\nGaussian vectors (real ones by --data): {gallery.shape}")
    compare_approximate(queries, gallery, options.rounds)


if __name__ == "__main__":
    main()
