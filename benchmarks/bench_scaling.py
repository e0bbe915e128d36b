"""The cost model of docs/scaling.md: its rates measured, checked, and extrapolated.

1. Rates of this machine: rows a second of the moments of float32 pairs of 384 and 1280
   dimensions, read and summed in blocks by one worker process of one thread, alone and
   with another beside it; multiplications of the exact search, of one query and of 500
   at once; seconds of the scheduler for a task, and of a fit that has next to no rows;
   and bytes a second between two worker processes.
2. The fit simulated with these rates, block by block: workers take blocks from a
   queue, the scheduler hands out one task at a time, moments are merged by a tree of
   eight and travel. Beside the measured fit on 1 and 2 workers, of --rows rows; and
   exact search and rank counts, measured, beside the formulas of the page.
3. The simulation for 10^6, 10^8 and 10^10 pairs and 1 to 1,000 workers, and the time,
   memory and bytes of exact search, and the time of rank counts, by the formulas.

    python benchmarks/bench_scaling.py [--rows 300000] [--network 1.25e9]
"""

from __future__ import annotations

import argparse
import heapq
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import dask
import numpy as np
from distributed import Client, LocalCluster, wait

from skxmodal import LeastSquaresMapper
from skxmodal.distributed import ShardedIndex, count_ranks, read_npy
from skxmodal.mappers import Moments
from skxmodal.neighbors import ExactIndex

D_X, D_Y = 384, 1280
BLOCK = 32_768
FAN_IN = 8
K = 10
MOMENTS_BYTES = 8 * (D_X * D_X + D_X * D_Y)
SIZES = (10**6, 10**8, 10**10)
WORKERS = (1, 10, 100, 1000)


class Rates(NamedTuple):
    """What one worker of one thread does in a second, and what a task costs."""

    rows: float
    search: float
    search_alone: float
    task: float
    start: float
    network: float


class Fit(NamedTuple):
    """A simulated fit."""

    seconds: float
    moved: float
    n_tasks: int


def simulate(n_rows: int, n_workers: int, rates: Rates, block: int = BLOCK) -> Fit:
    """Run the queue of blocks and the tree of merges, event by event."""
    n_blocks = -(-n_rows // block)
    seconds_a_block = min(block, n_rows) / rates.rows
    seconds_a_merge = MOMENTS_BYTES / rates.network
    free = [(0.0, worker) for worker in range(n_workers)]
    heapq.heapify(free)
    scheduler = 0.0
    level: list[tuple[float, int]] = []
    moved = 0.0
    for _ in range(n_blocks):
        ready, worker = heapq.heappop(free)
        scheduler = max(scheduler, ready) + rates.task
        level.append((scheduler + seconds_a_block, worker))
        heapq.heappush(free, level[-1])
    n_tasks = n_blocks
    busy = np.zeros(n_workers)
    while len(level) > 1:
        merged = []
        for start in range(0, len(level), FAN_IN):
            parts = level[start : start + FAN_IN]
            owners = [worker for _, worker in parts]
            worker = max(set(owners), key=owners.count)
            n_sent = len(owners) - owners.count(worker)
            scheduler += rates.task
            begin = max(max(done for done, _ in parts), busy[worker])
            busy[worker] = begin + rates.task + n_sent * seconds_a_merge
            merged.append((busy[worker], worker))
            moved += n_sent * MOMENTS_BYTES
        n_tasks += len(merged)
        level = merged
    return Fit(max(level[0][0], scheduler) + rates.start, moved, n_tasks)


def search_seconds(
    n_queries: int, n_items: int, n_workers: int, n_shards: int, rates: Rates
) -> float:
    """Exact search by the formula: products on all workers, a task a shard."""
    work = n_queries * n_items * D_X / n_workers / rates.search
    return max(work, tasks_of_search(n_shards) * rates.task)


def tasks_of_search(n_shards: int) -> float:
    """Tasks of one block of queries: sent, searched in each shard, merged by eight."""
    return 1 + n_shards * (1 + 1 / (FAN_IN - 1))


def counts_seconds(
    n_queries: int, n_items: int, n_workers: int, block: int, rates: Rates
) -> float:
    """Rank counts by the formula: products on all workers, or the scheduler's tasks."""
    work = n_queries * n_items * D_X / n_workers / rates.search
    return max(work, tasks_of_counts(n_queries, n_items, block) * rates.task)


def tasks_of_counts(n_queries: int, n_items: int, block: int) -> float:
    """Tasks of rank counts: of each pair of blocks sent, counted, taken, added."""
    n_parts, n_shards = -(-n_queries // block), -(-n_items // block)
    # Blocks are read, told their rows and their lengths, and score their own pairs.
    return n_parts * n_shards * (3 + 1 / (FAN_IN - 1)) + 5 * n_parts + 3 * n_shards


def per_second(amount: float, call: Callable[[], Any], rounds: int = 3) -> float:
    """The best rate of some rounds, after one that doesn't count."""
    call()
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return amount / min(taken)


def nothing(number: int) -> int:
    """Do nothing, as a task."""
    return number


def some_bytes(n: int) -> np.ndarray:
    """Make bytes where they are asked for."""
    return np.ones(n, dtype=np.uint8)


def sum_blocks(folder: Path, blocks: list[slice]) -> float:
    """Sum the moments of blocks one after another; return the seconds taken."""
    start = time.perf_counter()
    for rows in blocks:
        sides = [np.load(folder / f"{name}.npy", mmap_mode="r")[rows] for name in "xy"]
        Moments.from_arrays(*sides, target_products="none")
    return time.perf_counter() - start


def rows_per_second(
    client: Client, folder: Path, n_rows: int, block: int, n_busy: int
) -> float:
    """What one worker sums in a second while `n_busy` of them do, best of three."""
    blocks = [slice(start, start + block) for start in range(0, n_rows, block)]
    workers = list(client.scheduler_info()["workers"])[:n_busy]
    taken = []
    for _ in range(4):
        futures = [
            client.submit(sum_blocks, folder, blocks, workers=[worker], pure=False)
            for worker in workers
        ]
        taken.append(max(client.gather(futures)))
    return n_rows / min(taken[1:])


def measure(client: Client, folder: Path, n_rows: int, block: int) -> list[Rates]:
    """Measure the rates with one worker at work, and with two."""
    queries, gallery = (
        np.array(np.load(folder / "x.npy", mmap_mode="r")[:rows])
        for rows in (500, 4 * BLOCK)
    )
    index = ExactIndex(n_threads=1).fit(gallery)
    search, search_alone = (
        per_second(some.size * len(gallery), lambda some=some: index.search(some, K))
        for some in (queries, queries[:1])
    )
    n_tasks = 500
    tasks = per_second(
        n_tasks, lambda: wait(client.map(nothing, range(n_tasks), pure=False))
    )
    few = [read_npy(folder / f"{name}.npy", chunk_rows=2000)[:2000] for name in "xy"]
    start = 1 / per_second(1, lambda: LeastSquaresMapper().fit(*few))
    first, second = client.scheduler_info()["workers"]
    held = client.submit(some_bytes, 50_000_000, workers=[first], pure=False)
    wait(held)
    network = per_second(
        50_000_000,
        lambda: client.submit(len, held, workers=[second], pure=False).result(),
        rounds=1,
    )
    return [
        Rates(
            rows_per_second(client, folder, n_rows, block, n_busy),
            search,
            search_alone,
            1 / tasks,
            start,
            network,
        )
        for n_busy in (1, 2)
    ]


def make_pairs(folder: Path, n_rows: int) -> None:
    """Write two row-aligned files of embeddings."""
    rng = np.random.default_rng(0)
    for name, width in (("x", D_X), ("y", D_Y)):
        np.save(
            folder / f"{name}.npy", rng.standard_normal((n_rows, width), np.float32)
        )


def check(n_workers: int, folder: Path, n_rows: int, block: int, rates: Rates) -> None:
    """Print the measured time of a fit, best of three, by the simulated one."""
    with (
        LocalCluster(
            n_workers=n_workers, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        Client(cluster),
    ):
        sides = [read_npy(folder / f"{name}.npy", chunk_rows=block) for name in "xy"]
        LeastSquaresMapper().fit(*(side[: 2 * block] for side in sides))
        measured = 1 / per_second(1, lambda: LeastSquaresMapper().fit(*sides))
    simulated = simulate(n_rows, n_workers, rates, block).seconds
    print(
        f"  {n_workers} worker(s): measured takes {measured / simulated:.2f} of the "
        "simulated time"
    )


def check_searches(n_workers: int, folder: Path, n_rows: int, rates: Rates) -> None:
    """Print the measured times of a search and of rank counts by the formulas."""
    n_items, n_queries = min(n_rows, 65_536), min(n_rows, 2_000)
    block = max(1, n_items // 8)
    with (
        LocalCluster(
            n_workers=n_workers, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        Client(cluster),
    ):
        gallery = read_npy(folder / "x.npy", chunk_rows=block)[:n_items]
        queries = np.array(np.load(folder / "x.npy", mmap_mode="r")[:n_queries])
        index = ShardedIndex(ExactIndex(n_threads=1)).fit(gallery)
        measured = 1 / per_second(1, lambda: index.search(queries, K))
        formula = search_seconds(n_queries, n_items, n_workers, index.n_shards_, rates)
        print(
            f"  {n_workers} worker(s), {n_queries} queries in {n_items} items: search "
            f"takes {measured / formula:.2f} of the formula's time, ",
            end="",
        )
        pairs = np.arange(n_queries + 1), np.arange(n_queries)
        measured = 1 / per_second(1, lambda: count_ranks(queries, gallery, *pairs))
        formula = counts_seconds(n_queries, n_items, n_workers, block, rates)
        print(f"rank counts {measured / formula:.2f}")


def table_of_counts(rates: Rates) -> None:
    """Print rank counts of all queries, and of a sample, by the formula."""
    print("  queries  items  workers  block rows     tasks   scheduler   products")
    for n_queries, n_items, block in (
        (10**6, 10**6, BLOCK),
        (10**8, 10**8, BLOCK),
        (10**8, 10**8, 8 * BLOCK),
        (10**4, 10**8, BLOCK),
        (10**4, 10**10, 8 * BLOCK),
    ):
        for n_workers in WORKERS:
            n_tasks = tasks_of_counts(n_queries, n_items, block)
            work = n_queries * n_items * D_X / n_workers / rates.search
            print(
                f"  {n_queries:.0e}  {n_items:.0e}  {n_workers:7}  {block:10}  "
                f"{n_tasks:8.0f}  {n_tasks * rates.task / 3600:7.2f} h  "
                f"{work / 3600:7.2f} h"
            )


def table_of_fits(rates: Rates) -> None:
    """Print the simulated fits."""
    print("  pairs  workers  block rows   time a fit       moved   tasks   efficiency")
    for n_rows in SIZES:
        # Fewer, larger blocks, so that the scheduler doesn't become the limit.
        block = int(np.clip(n_rows // 20_000, BLOCK, 8 * BLOCK))
        for n_workers in WORKERS:
            fit = simulate(n_rows, n_workers, rates, block)
            ideal = n_rows / rates.rows / n_workers
            print(
                f"  {n_rows:.0e}  {n_workers:7}  {block:10}  {fit.seconds:9.1f} s  "
                f"{fit.moved / 1e9:8.2f} GB  {fit.n_tasks:6}  "
                f"{ideal / fit.seconds:7.0%}"
            )


def table_of_searches(rates: Rates) -> None:
    """Print exact search by the formulas: one query, on all workers."""
    print(
        f"  items  workers  memory a worker   a query of {D_X} dimensions alone   "
        "of 500   its bytes"
    )
    for n_items in SIZES:
        for n_workers in WORKERS:
            memory = 4 * n_items * D_X / n_workers
            alone, together = (
                n_items * D_X / n_workers / rate
                for rate in (rates.search_alone, rates.search)
            )
            moved = n_workers * (4 * D_X + 12 * K)
            print(
                f"  {n_items:.0e}  {n_workers:7}  {memory / 1e9:12.2f} GB  "
                f"{alone:23.4f} s  {together:14.5f} s  {moved / 1e3:9.1f} kB"
            )


def main() -> None:
    """Measure, check and extrapolate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument(
        "--network", type=float, default=1.25e9, help="bytes a second, of the tables"
    )
    parser.add_argument("--folder", type=Path, help="where the files are made")
    parser.add_argument("--data", type=Path, help="ignored: pairs are made")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=arguments.folder) as name,
        dask.config.set({"temporary-directory": name, "logging.distributed": "error"}),
    ):
        folder = Path(name)
        make_pairs(folder, arguments.rows)
        block = min(BLOCK, max(1, arguments.rows // 24))
        with (
            LocalCluster(
                n_workers=2, threads_per_worker=1, dashboard_address=":0"
            ) as cluster,
            Client(cluster) as client,
        ):
            alone, both = measure(client, folder, arguments.rows, block)
        operations = 2 * alone.rows * (D_X**2 + D_X * D_Y)
        print(
            f"one worker: moments of {alone.rows:.0f} rows/s ({operations / 1e9:.0f} "
            f"GFlop/s), {both.rows / alone.rows:.2f} of it beside another; search "
            f"{2 * alone.search / 1e9:.0f} GFlop/s of 500 queries at once, "
            f"{2 * alone.search_alone / 1e9:.1f} of one\na task of the scheduler "
            f"{1e3 * alone.task:.2f} ms, a fit without rows {alone.start:.2f} s, "
            f"{alone.network / 1e9:.2f} GB/s between processes"
        )
        print(f"a fit of {arguments.rows} pairs in blocks of {block}")
        for n_workers, rates in ((1, alone), (2, both)):
            check(n_workers, folder, arguments.rows, block, rates)
        for n_workers in (1, 2):
            check_searches(n_workers, folder, arguments.rows, alone)
    table = alone._replace(network=arguments.network)
    print(f"simulated fits, {arguments.network / 1e9:.2f} GB/s between machines")
    table_of_fits(table)
    print("exact search")
    table_of_searches(table)
    print("rank counts")
    table_of_counts(table)


if __name__ == "__main__":
    main()
