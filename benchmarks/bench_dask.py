"""Fitting on Dask workers beside the streaming fit of one process, and over shards.

Part 1: `LeastSquaresMapper` on --rows pairs of 384 and 1280 dimensions, float32, that
lie in two `.npy` files and are read in blocks. The same fit

- in this process from the memory maps, with 1 and with 2 threads of BLAS;
- on a cluster of 1 and of 2 worker processes, 1 thread each, with 4 GB a worker
  (a worker above that is killed);

in turn, --rounds times. Printed: rows a second, the ratio to the in-process fit on as
many cores (to be at least 0.8 for 2 workers), bytes between processes for a fit, peak
resident memory of a worker, and the largest relative difference of the maps.

Part 2: the exact search of the top ten, and rank counts, over as many shards as
workers, beside one machine with as many threads: the same rows, and the bytes moved.

The files are made in a temporary folder of --folder and removed at the end. 2,000,000
rows take 13.3 GB.

    python benchmarks/bench_dask.py [--rows 2000000] [--rounds 2] [--folder PATH]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
from distributed import Client, LocalCluster
from numpy.lib.format import open_memmap
from threadpoolctl import threadpool_limits

from skxmodal import LeastSquaresMapper
from skxmodal._validation import unit_rows
from skxmodal.distributed import ShardedIndex, count_ranks, read_npy
from skxmodal.neighbors import count_ranks as count_ranks_here
from skxmodal.neighbors import top_k

WIDTHS = (384, 1280)
BLOCK = 32_768
WORKERS = (1, 2)
MEMORY = "4GB"


def write_pairs(folder: Path, n_rows: int) -> list[Path]:
    """Write two row-aligned files of embeddings, block by block."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal(WIDTHS, dtype=np.float32) / np.sqrt(WIDTHS[0])
    spread = np.arange(1, WIDTHS[0] + 1, dtype=np.float32) ** -0.5
    paths = [folder / "x.npy", folder / "y.npy"]
    sides = [
        open_memmap(path, "w+", np.float32, (n_rows, width))
        for path, width in zip(paths, WIDTHS, strict=True)
    ]
    # Noise is drawn once: drawing it for every block takes longer than the fit.
    noise = 0.1 * rng.standard_normal((BLOCK, WIDTHS[1]), dtype=np.float32)
    for start in range(0, n_rows, BLOCK):
        rows = slice(start, min(start + BLOCK, n_rows))
        n = rows.stop - rows.start
        X = rng.standard_normal((n, WIDTHS[0]), dtype=np.float32) * spread + 0.05
        sides[0][rows] = X
        sides[1][rows] = X @ mixing + np.roll(noise, start // BLOCK, axis=0)[:n]
    for side in sides:
        side.flush()
    return paths


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and the result."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def received(dask_worker: Any) -> int:
    """Bytes that a worker has been sent by the others."""
    return sum(entry["total"] for entry in dask_worker.transfer_incoming_log)


def peak_memory() -> int:
    """Peak resident memory of this process in bytes, mapped files included."""
    # Not getrusage: its peak is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


class Cluster:
    """A number of worker processes on this machine, one thread each."""

    def __init__(self, n_workers: int) -> None:
        self.cluster = LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=MEMORY,
            dashboard_address=":0",
        )
        self.client = Client(self.cluster)
        self.moved_before = 0

    def moved(self) -> int:
        """Bytes between workers since it was last asked."""
        total = sum(self.client.run(received).values())
        moved, self.moved_before = total - self.moved_before, total
        return moved

    def close(self) -> None:
        """Stop the workers."""
        self.client.close()
        self.cluster.close()


def bench_fit(paths: list[Path], rounds: int) -> None:
    """Fit in this process and on workers, in turn."""
    n_rows = len(np.load(paths[0], mmap_mode="r"))
    n_bytes = sum(path.stat().st_size for path in paths)
    print(
        f"LeastSquaresMapper, {n_rows} pairs of {WIDTHS[0]} and {WIDTHS[1]} float32, "
        f"{n_bytes / 1e9:.1f} GB read in blocks of {BLOCK} rows"
    )
    clusters = {n: Cluster(n) for n in WORKERS}
    seconds: dict[tuple[str, int], list[float]] = {}
    moved = dict.fromkeys(WORKERS, 0)
    maps: dict[str, Any] = {}
    try:
        small = [read_npy(path, chunk_rows=BLOCK)[: 2 * BLOCK] for path in paths]
        for cluster in clusters.values():
            # Imports and first calls are not what is measured.
            with cluster.client.as_current():
                LeastSquaresMapper().fit(*small)
            cluster.moved()
        for _ in range(rounds):
            for n, cluster in clusters.items():

                def here() -> Any:
                    mapped = (np.load(path, mmap_mode="r") for path in paths)
                    return LeastSquaresMapper().fit(*mapped)

                def there(client: Client = cluster.client) -> Any:
                    with client.as_current():
                        lazy = (read_npy(path, chunk_rows=BLOCK) for path in paths)
                        return LeastSquaresMapper().fit(*lazy)

                with threadpool_limits(n):
                    taken, maps["here"] = timed(here)
                seconds.setdefault(("process", n), []).append(taken)
                taken, maps["there"] = timed(there)
                seconds.setdefault(("workers", n), []).append(taken)
                moved[n] = cluster.moved()
        print(f"{'':28} rows/s   of one process   moved      peak memory a worker")
        for n, cluster in clusters.items():
            ratios = [
                mine / ours
                for mine, ours in zip(
                    seconds["process", n], seconds["workers", n], strict=True
                )
            ]
            speed = {
                kind: n_rows / statistics.median(seconds[kind, n])
                for kind in ("process", "workers")
            }
            peak = max(cluster.client.run(peak_memory).values())
            print(f"  this process, {n} thread(s)  {speed['process']:9.0f}")
            print(
                f"  {n} worker(s)              {speed['workers']:9.0f}   "
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to "
                f"{max(ratios):.2f})   {moved[n] / 1e6:.1f} MB, "
                f"{moved[n] / n_bytes:.4%} of what is read   {peak / 1e9:.2f} GB"
            )
        scaling = [statistics.median(seconds["workers", n]) for n in WORKERS]
        print(f"  2 workers take {scaling[1] / scaling[0]:.2f} of the time of 1")
        expected = maps["here"].coef_
        difference = np.abs(maps["there"].coef_ - expected).max()
        print(f"  maps differ by {difference / np.abs(expected).max():.1e} relatively")
    finally:
        for cluster in clusters.values():
            cluster.close()


def bench_search(folder: Path, n_items: int, n_queries: int, rounds: int) -> None:
    """Search and rank over two shards, and on one machine, in turn."""
    rng = np.random.default_rng(1)
    gallery = unit_rows(rng.standard_normal((n_items, WIDTHS[0]), dtype=np.float32))
    queries = unit_rows(rng.standard_normal((n_queries, WIDTHS[0]), dtype=np.float32))
    np.save(folder / "gallery.npy", gallery)
    correct = rng.integers(0, n_items, n_queries)
    indptr = np.arange(n_queries + 1)
    print(f"{n_queries} queries in {n_items} items of {WIDTHS[0]} dimensions, 2 shards")
    cluster = Cluster(2)
    try:
        lazy = read_npy(folder / "gallery.npy", chunk_rows=-(-n_items // 2))
        with cluster.client.as_current():
            index = ShardedIndex().fit(lazy)
            index.search(queries[:10], 10)
            cluster.moved()
            pairs = {
                "top ten": (
                    lambda: index.search(queries, 10)[1],
                    lambda: top_k(queries, gallery, 10, n_threads=2)[1],
                ),
                "rank counts": (
                    lambda: count_ranks(queries, lazy, indptr, correct),
                    lambda: count_ranks_here(
                        queries, gallery, indptr, correct, n_threads=2
                    ),
                ),
            }
            for name, (sharded, here) in pairs.items():
                ratios = []
                for _ in range(rounds):
                    ours, found = timed(sharded)
                    mine, expected = timed(here)
                    ratios.append(ours / mine)
                moved = cluster.moved() / rounds
                print(
                    f"  {name}: {statistics.median(ratios):.2f} of the time of one "
                    f"process with 2 threads, {moved / 1e6:.1f} MB between workers, "
                    f"{np.mean(found == expected):.2%} of the answer the same"
                )

    finally:
        cluster.close()


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=2_000)
    parser.add_argument("--folder", type=Path, help="where the files are made")
    parser.add_argument("--data", type=Path, help="ignored: pairs are made")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=arguments.folder) as folder,
        dask.config.set({"temporary-directory": folder}),
    ):
        bench_fit(write_pairs(Path(folder), arguments.rows), arguments.rounds)
        for path in Path(folder).glob("*.npy"):
            path.unlink()
        bench_search(Path(folder), arguments.items, arguments.queries, arguments.rounds)


if __name__ == "__main__":
    main()
