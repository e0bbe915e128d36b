"""Memory stays within the documented formulas: a child's data is limited to them."""

from __future__ import annotations

import subprocess
import sys

import pytest

_CHILD = """
import ctypes, gc, resource, sys
import numpy as np
from skxmodal import CrossModalRetriever, LeastSquaresMapper, RecallScorer
from skxmodal.neighbors import top_k

N, M, D_X, D_Y, K = 20_000, 20_000, 48, 64, 10
MIB = 2**20
rng = np.random.default_rng(0)
X = rng.normal(size=(N, D_X)).astype(np.float32)
Y = (X @ rng.normal(size=(D_X, D_Y)) + rng.normal(size=(N, D_Y))).astype(np.float32)
small = slice(0, 2000)
hubness = "csls" if sys.argv[2] == "csls" else None
mapper = LeastSquaresMapper(alpha=0.1)
search = CrossModalRetriever(mapper, hubness=hubness).fit(X[small], Y[small])
if sys.argv[1] == "kneighbors":
    search = search.fit(X, Y)
threads = 2
# The formulas of docs/reliability.md, in bytes.
blocks = threads * 1024 * 2048 * 21
sums = 128 * (D_X + D_Y) ** 2 + 12 * 32_768 * (D_X + D_Y)
bounds = {
    "fit_mapper": sums,
    "transform": 4 * N * (D_X + 2 * D_Y),
    "fit": sums + 4 * N * (2 * D_X + 6 * D_Y) + 600 * N + (blocks if hubness else 0),
    "kneighbors": 4 * N * (D_X + 4 * D_Y) + 64 * N * K + blocks,
    "scoring": 4 * N * (D_X + 8 * D_Y) + 1000 * N + blocks,
    "quadratic": MIB,
}
work = {
    "fit_mapper": lambda: LeastSquaresMapper(alpha=0.1).fit(X, Y),
    "transform": lambda: search.mapper_.transform(X),
    "fit": lambda: CrossModalRetriever(mapper, hubness=hubness).fit(X, Y),
    "kneighbors": lambda: search.kneighbors(X, n_neighbors=K),
    "scoring": lambda: RecallScorer(k=10, direction="both")(search, X[2000:], Y[2000:]),
    "quadratic": lambda: np.ones((N, M), dtype=np.float32),
}


def data():
    with open("/proc/self/status") as status:
        (line,) = (line for line in status if line.startswith("VmData"))
    return int(line.split()[1]) * 1024


# Threads and their buffers are there before anything is counted.
LeastSquaresMapper(alpha=0.1).fit(X[small], Y[small])
search.mapper_.transform(X[small])
top_k(Y[:4096], Y[:4096], K)
search.kneighbors(X[:4096])
RecallScorer(k=10, direction="both")(search, X[2000:6096], Y[2000:6096])
gc.collect()
# What is free already would hide what is taken.
ctypes.CDLL(None).malloc_trim(0)
bound = bounds[sys.argv[1]]
# A thread's stack is reserved when it starts, whatever it holds.
stacks = (1 + threads) * 9 * MIB
resource.setrlimit(resource.RLIMIT_DATA, (data() + bound + stacks,) * 2)
work[sys.argv[1]]()
sys.stdout.write(f"{bound / MIB:.0f} MiB")
"""


def run(operation: str, hubness: str) -> subprocess.CompletedProcess[str]:
    environment = {"OMP_NUM_THREADS": "2", "PATH": ""}
    return subprocess.run(
        [sys.executable, "-c", _CHILD, operation, hubness],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA is Linux's")
@pytest.mark.parametrize(
    ("operation", "hubness"),
    [
        ("fit_mapper", "none"),
        ("transform", "none"),
        ("fit", "csls"),
        ("kneighbors", "csls"),
        ("scoring", "none"),
    ],
)
def test_memory_is_within_the_formula(operation, hubness):
    done = run(operation, hubness)
    assert done.returncode == 0, done.stderr[-2000:]
    # A quadratic array of float32 would take 1526 MiB.
    assert int(done.stdout.split()[0]) < 300


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA is Linux's")
def test_the_limit_refuses_a_quadratic_array():
    done = run("quadratic", "none")
    assert "MemoryError" in done.stderr
