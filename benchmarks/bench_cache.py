"""The embedding cache against other stores, and under processes that are killed.

    python benchmarks/bench_cache.py [--items 20000] [--kills 50] [--data PATH]

Microseconds an item to write and to read back, in batches of 1,024, in turn in one
process, and the size on disk: the cache, LMDB with a record for each vector, SQLite,
and joblib.Memory (an item a call, on fewer items). Then the costs of a key. Then the
torture: 8 processes encode the same 2,000 items into one cache while they are killed
at random. With `--data`, pictures are the JPEGs of its `photos500/images`.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import joblib
import lmdb
import numpy as np

from skxmodal._content import content_keys, hash_file
from skxmodal.encoders import EmbeddingCache

BATCH, N_JOBLIB = 1024, 300
TORTURE = Path(__file__).parents[1] / "tests" / "encoders" / "cache_torture.py"


def batches(n_items: int) -> list[slice]:
    """Rows of each batch."""
    return [slice(start, start + BATCH) for start in range(0, n_items, BATCH)]


class Ours:
    """The embedding cache."""

    def __init__(self, folder: str) -> None:
        self.cache = EmbeddingCache(folder)

    def write(self, keys: list[bytes], vectors: np.ndarray) -> None:
        self.cache.put_many("encoder", keys, vectors)

    def read(self, keys: list[bytes], dim: int) -> np.ndarray:
        return self.cache.get_many("encoder", keys, dim)[0]


class RecordEach:
    """LMDB with a record for each vector."""

    def __init__(self, folder: str) -> None:
        self.environment = lmdb.open(folder, map_size=1 << 32, metasync=False)

    def write(self, keys: list[bytes], vectors: np.ndarray) -> None:
        rows = zip(keys, (row.tobytes() for row in vectors), strict=True)
        with self.environment.begin(write=True) as txn:
            txn.cursor().putmulti(sorted(rows))

    def read(self, keys: list[bytes], dim: int) -> np.ndarray:
        with self.environment.begin(buffers=True) as txn:
            joined = b"".join([txn.get(key) for key in keys])
        return np.frombuffer(joined, np.float32).reshape(-1, dim)


class SQLite:
    """A table of keys and vectors, with a write-ahead log."""

    def __init__(self, folder: str) -> None:
        self.connection = sqlite3.connect(f"{folder}/vectors.db")
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("CREATE TABLE v (k BLOB PRIMARY KEY, v BLOB)")

    def write(self, keys: list[bytes], vectors: np.ndarray) -> None:
        rows = zip(keys, (row.tobytes() for row in vectors), strict=True)
        with self.connection:
            self.connection.executemany("INSERT OR IGNORE INTO v VALUES (?, ?)", rows)

    def read(self, keys: list[bytes], dim: int) -> np.ndarray:
        find = "SELECT v FROM v WHERE k = ?"
        found = (self.connection.execute(find, (key,)).fetchone()[0] for key in keys)
        return np.frombuffer(b"".join(found), np.float32).reshape(-1, dim)


def measure(store: Callable, keys: list, vectors: np.ndarray) -> tuple[float, ...]:
    """Microseconds an item to write, to read, and to read shuffled; bytes on disk."""
    n_items, dim = vectors.shape
    shuffled = np.random.default_rng(0).permutation(n_items)
    with tempfile.TemporaryDirectory() as folder:
        opened = store(folder)
        start = time.perf_counter()
        for rows in batches(n_items):
            opened.write(keys[rows], vectors[rows])
        times = [time.perf_counter() - start]
        for order in (np.arange(n_items), shuffled):
            start = time.perf_counter()
            for rows in batches(n_items):
                given = opened.read([keys[row] for row in order[rows]], dim)
                if not np.array_equal(given, vectors[order[rows]]):
                    raise SystemExit(f"{store.__name__} gives other vectors.")
            times.append(time.perf_counter() - start)
        size = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())
    return (*(1e6 * seconds / n_items for seconds in times), size)


def bench_stores(n_items: int, dim: int, repeats: int) -> None:
    """Write and read in every store in turn."""
    vectors = np.random.default_rng(0).standard_normal((n_items, dim), np.float32)
    keys = content_keys([f"caption {row}" for row in range(n_items)])
    print(f"{n_items} vectors of {dim}: microseconds an item", flush=True)
    results: dict[str, list[tuple[float, ...]]] = {}
    of_joblib = []
    for _ in range(repeats):
        for store in (Ours, RecordEach, SQLite):
            results.setdefault(store.__name__, []).append(measure(store, keys, vectors))
        of_joblib.append(measure_joblib(keys[:N_JOBLIB], vectors[:N_JOBLIB]))
    ours = [statistics.median(each) for each in zip(*results["Ours"], strict=True)]
    for name, measured in results.items():
        medians = [statistics.median(each) for each in zip(*measured, strict=True)]
        write, read, shuffled, size = medians
        ratios = [f"{a / b:.2f}" for a, b in zip(medians, ours, strict=True)]
        print(
            f"  {name:11} write {write:6.1f}  read {read:6.1f}  shuffled "
            f"{shuffled:6.1f}  disk {size / vectors.nbytes:.2f} x vectors; "
            f"times ours: {', '.join(ratios)}",
            flush=True,
        )
    write, read = (statistics.median(each) for each in zip(*of_joblib, strict=True))
    print(
        f"  joblib      write {write:6.1f}  read {read:6.1f}, an item a call; "
        f"times ours: {write / ours[0]:.2f}, {read / ours[1]:.2f}",
        flush=True,
    )


def measure_joblib(keys: list[bytes], vectors: np.ndarray) -> tuple[float, float]:
    """Microseconds an item to write to and to read from joblib.Memory."""
    row_of_key = {key: row for row, key in enumerate(keys)}
    with tempfile.TemporaryDirectory() as folder:

        def encode(key: bytes) -> np.ndarray:
            return vectors[row_of_key[key]]

        cached = joblib.Memory(folder, verbose=0).cache(encode)
        times = []
        for _ in range(2):
            start = time.perf_counter()
            for key in keys:
                cached(key)
            times.append(1e6 * (time.perf_counter() - start) / len(keys))
    return times[0], times[1]


def bench_keys(data: Path | None) -> None:
    """What it costs to know an item again."""
    captions = [f"a dog runs along the beach number {row}" for row in range(10_000)]
    start = time.perf_counter()
    content_keys(captions, kind="text")
    print(f"key of a caption {1e2 * (time.perf_counter() - start):.2f} us")
    if data is None:
        return
    photos = [str(path) for path in sorted((data / "photos500/images").glob("*.jpg"))]
    if not photos:
        raise SystemExit(f"{data} holds no photos500/images/*.jpg: see --help.")
    with tempfile.TemporaryDirectory() as folder:
        cache = EmbeddingCache(folder)
        cache.hash_files(photos)
        ways = {
            "reading and hashing": lambda: [hash_file(path) for path in photos],
            "looking up by its state": lambda: cache.hash_files(photos),
        }
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds = time.perf_counter() - start
            print(f"key of a JPEG by {name} {1e6 * seconds / len(photos):.1f} us")


def torture(n_kills: int) -> None:
    """Processes killed at random, without and with a bound."""
    for bound in (0, 4 << 20):
        with tempfile.TemporaryDirectory() as folder:
            arguments = (TORTURE, folder, 0, n_kills, bound)
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, *map(str, arguments)],
                capture_output=True,
                text=True,
                check=True,
            )
            killed, right, kept, found, faults, n_bytes = done.stdout.split()
            print(
                f"{killed} kills among 8 processes in "
                f"{time.perf_counter() - start:.1f} s, bound {bound or 'none'}: every "
                f"vector read right {right}, {kept} of 2000 found at once and {found} "
                f"after one more pass, faults {faults}, {n_bytes} bytes",
                flush=True,
            )


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    for dim in (384, 1280):
        bench_stores(arguments.items, dim, arguments.repeats)
    bench_keys(arguments.data)
    torture(arguments.kills)


if __name__ == "__main__":
    main()
