"""Processes that encode the same items into one cache, and are killed at random.

python cache_torture.py FOLDER SEED N_KILLS MAX_BYTES
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time

import numpy as np

from skxmodal._content import content_keys
from skxmodal.encoders._cache import EmbeddingCache

N_ITEMS, N_PROCESSES, BATCH, DIM = 2000, 8, 16, 512
KEYS = content_keys([f"caption {i}" for i in range(N_ITEMS)])


def encode(rows):
    """A stand-in that takes its time, and gives each item the same vector always."""
    time.sleep(0.01)
    return np.stack(
        [np.random.default_rng(row).standard_normal(DIM, np.float32) for row in rows]
    )


def encode_all(cache, seed):
    rows = list(range(N_ITEMS))
    random.Random(seed).shuffle(rows)
    for start in range(0, N_ITEMS, BATCH):
        batch = np.array(rows[start : start + BATCH])
        keys = [KEYS[row] for row in batch]
        vectors, found = cache.get_many("stand-in", keys, dim=DIM)
        if not np.array_equal(vectors[found], EXPECTED[batch[found]]):
            raise AssertionError("a vector was read back wrong")
        missing = batch[~found]
        if len(missing):
            cache.put_many("stand-in", [KEYS[row] for row in missing], encode(missing))


def start_process(cache, seed):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            while True:
                encode_all(cache, seed)
                # Bounded caches lose what they hold, so that there is always work.
                if cache.max_bytes is None and found(cache).all():
                    code = 0
                    break
        finally:
            os._exit(code)
    return child


def found(cache):
    return cache.get_many("stand-in", KEYS, dim=DIM)[1]


def torture(cache, seed, n_kills):
    """Kill a process every few milliseconds, and start another in its place."""
    rng = random.Random(seed)
    children = [start_process(cache, rng.random()) for _ in range(N_PROCESSES)]
    n_killed, codes = 0, []
    while n_killed < n_kills:
        time.sleep(rng.uniform(0, 0.04))
        place = rng.randrange(N_PROCESSES)
        os.kill(children[place], signal.SIGKILL)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(children[place], 0)[1]))
        n_killed += codes[-1] == -signal.SIGKILL
        if codes[-1] == 0:
            # All was encoded before the last was killed: begin again.
            cache.clear()
        children[place] = start_process(cache, rng.random())
    if cache.max_bytes is not None:
        for child in children:
            os.kill(child, signal.SIGKILL)
    for child in children:
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    assert set(codes) <= {0, -signal.SIGKILL}, codes
    return n_killed


EXPECTED = np.stack(
    [np.random.default_rng(i).standard_normal(DIM, np.float32) for i in range(N_ITEMS)]
)

if __name__ == "__main__":
    folder, seed, n_kills, max_bytes = sys.argv[1:]
    cache = EmbeddingCache(folder, max_bytes=int(max_bytes) or None)
    n_killed = torture(cache, int(seed), int(n_kills))
    n_found, right = [], True
    for _ in range(2):
        vectors, there = cache.get_many("stand-in", KEYS, dim=DIM)
        right &= np.array_equal(vectors[there], EXPECTED[there])
        n_found.append(int(there.sum()))
        encode_all(cache, 0)
    n_bytes = cache.info()["n_bytes"]
    report = (n_killed, right, *n_found, cache.check(), n_bytes)
    sys.stdout.write(" ".join(map(str, report)))
