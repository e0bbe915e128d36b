"""Memory stays within the documented formulas.

What a map's arrays take is measured; all the rest is run in a child whose data is
limited to the formula.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from skxmodal import (
    CCAMapper,
    LeastSquaresMapper,
    ProcrustesMapper,
    RelativeMapper,
)

N, D_X, D_Y = 60_000, 48, 64
# 128 (d_x + d_y)² + 393216 (d_x + d_y), whatever n.
SUMS = 128 * (D_X + D_Y) ** 2 + 393_216 * (D_X + D_Y)
DOUBLE = np.dtype(np.float64).itemsize
FROM_MOMENTS = {
    "least squares": LeastSquaresMapper(),
    "ridge": LeastSquaresMapper(alpha=0.1),
    "ridge chosen": LeastSquaresMapper(alpha="auto"),
    "whitened": LeastSquaresMapper(alpha=0.1, x_whiten=0.5, y_whiten=0.5),
    "Procrustes": ProcrustesMapper(),
    "CCA": CCAMapper(alpha=0.1),
}


@pytest.fixture(scope="module")
def pairs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D_X)).astype(np.float32)
    noise = rng.normal(size=(N, D_Y)).astype(np.float32)
    return X, X @ rng.normal(size=(D_X, D_Y)).astype(np.float32) + noise


def peak(work: Callable[[], Any]) -> int:
    """Most bytes that NumPy's arrays take at once, beyond what is there before."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", FROM_MOMENTS)
def test_a_map_from_moments_has_no_room_for_a_copy_in_double_precision(name, pairs):
    X, y = pairs
    mapper = FROM_MOMENTS[name].fit(X[:500], y[:500])
    copies = DOUBLE * N * np.array([D_X + D_Y, D_X, D_Y, D_X])
    d = mapper.transform(X[:1]).shape[1]
    work = {
        "fit": (lambda: mapper.fit(X, y), SUMS),
        "transform": (lambda: mapper.transform(X), 4 * N * (D_X + 2 * d)),
        "transform_target": (
            lambda: mapper.transform_target(y),
            4 * N * (D_Y + 2 * d),
        ),
        "predict": (lambda: mapper.predict(X), 4 * N * (D_X + 2 * D_Y)),
    }
    for (method, (call, bound)), copy in zip(work.items(), copies, strict=True):
        taken = peak(call)
        assert taken <= bound, method
        assert taken + copy > bound, method


@pytest.mark.parametrize("dtypes", [("i1", "f4"), ("i2", "i2"), ("f4", "f8")])
def test_other_types_of_numbers_take_one_conversion_more(dtypes, pairs):
    X, y = (
        (10 * side).astype(dtype) for side, dtype in zip(pairs, dtypes, strict=True)
    )
    converted = DOUBLE * N * (D_X + D_Y)
    mapper = LeastSquaresMapper(alpha=0.1)
    assert peak(lambda: mapper.fit(X, y)) <= SUMS + converted
    taken = peak(lambda: mapper.transform(X))
    assert taken <= DOUBLE * N * (D_X + 2 * D_Y + D_X)


def test_a_map_by_anchors(pairs):
    X, y = pairs
    mapper = RelativeMapper(n_anchors=100, random_state=0)
    keys = 600 * N
    assert peak(lambda: mapper.fit(X, y)) <= SUMS + keys
    of_result = 4 * N * 3 * 100
    for call, d in (
        (lambda: mapper.transform(X), D_X),
        (lambda: mapper.transform_target(y), D_Y),
        (lambda: mapper.predict(X), D_X + D_Y),
    ):
        assert peak(call) <= of_result + 4 * N * d + 2**25


_CHILD = """
import ctypes, gc, resource, sys
import numpy as np
from skxmodal import (
    CrossModalRetriever, GMLPMapper, LeastSquaresMapper, RecallScorer
)
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
if sys.argv[1] == "gmlp":
    gmlp = GMLPMapper(
        n_tokens=4, width=64, max_epochs=1, random_state=0
    ).fit(X[small], Y[small])
    gmlp.predict(X[small])
threads = 2
# The formulas of docs/reliability.md, in bytes.
blocks = threads * 1024 * 2048 * 21
sums = 128 * (D_X + D_Y) ** 2 + 12 * 32_768 * (D_X + D_Y)
bounds = {
    "fit_mapper": sums,
    "transform": 4 * N * (D_X + 2 * D_Y),
    "gmlp": 4 * N * (D_X + 3 * D_Y) + 2**19 * 4 * 64,
    "fit": sums + 4 * N * (2 * D_X + 6 * D_Y) + 600 * N + (blocks if hubness else 0),
    "kneighbors": 4 * N * (D_X + 4 * D_Y) + 64 * N * K + blocks,
    "scoring": 4 * N * (D_X + 8 * D_Y) + 1000 * N + blocks,
    "quadratic": MIB,
}
work = {
    "fit_mapper": lambda: LeastSquaresMapper(alpha=0.1).fit(X, Y),
    "transform": lambda: search.mapper_.transform(X),
    "gmlp": lambda: (gmlp.transform(X), gmlp.predict(X)),
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
    environment = {
        "OMP_NUM_THREADS": "2",
        "PATH": "",
        # Large arrays go back to the system when they are let go.
        "MALLOC_MMAP_THRESHOLD_": "65536",
    }
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
        ("gmlp", "none"),
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
