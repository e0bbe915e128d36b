"""Threads, processes, forks and spawned processes give what one thread gives."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import GridSearchCV

from skxmodal import CrossModalRetriever, LeastSquaresMapper, RecallScorer
from skxmodal.datasets import make_paired_embeddings
from skxmodal.neighbors._blocks import count_threads, in_threads

N_THREADS = 16


def in_sixteen_threads(work, items):
    """Results of the work on all items, from threads that begin together."""
    barrier = threading.Barrier(N_THREADS)

    def all_at_once(_):
        barrier.wait()
        return [work(item) for item in items]

    with ThreadPoolExecutor(N_THREADS) as pool:
        return list(pool.map(all_at_once, range(N_THREADS)))


@pytest.mark.parametrize("hubness", [None, "csls", "inverted_softmax"])
def test_sixteen_threads_on_embeddings(hubness):
    X, y = make_paired_embeddings(400, random_state=0)
    search = CrossModalRetriever(hubness=hubness).fit(X, y)
    parts = [slice(start, start + 37) for start in range(0, 400, 37)]

    def answer(part):
        return *search.kneighbors(X[part]), *search.inverse_kneighbors(y[part])

    expected = [answer(part) for part in parts]
    for answers in in_sixteen_threads(answer, parts):
        for ours, theirs in zip(answers, expected, strict=True):
            for array, same in zip(ours, theirs, strict=True):
                assert_array_equal(array, same)


def test_sixteen_threads_on_texts_and_pictures(search, emoji):
    names, pictures = emoji

    def answer(row):
        found = (
            search.kneighbors([names[row]]),
            search.inverse_kneighbors([pictures[row]]),
        )
        return np.concatenate([np.ravel(array) for pair in found for array in pair])

    rows = range(0, 16, 4)
    expected = [answer(row) for row in rows]
    # A network's last bits turn on how many threads it is given.
    for answers in in_sixteen_threads(answer, rows):
        assert_allclose(answers, expected, rtol=0, atol=1e-5)


def test_searches_that_overlap_give_blas_its_threads_back():
    before = count_threads(None)
    inside, first_left = threading.Event(), threading.Event()

    def first(_):
        inside.wait(10)

    def second(_):
        inside.set()
        first_left.wait(10)

    one = threading.Thread(target=in_threads, args=(first, range(2), 2))
    two = threading.Thread(target=in_threads, args=(second, range(2), 2))
    one.start()
    two.start()
    one.join()
    assert count_threads(None) == before
    first_left.set()
    two.join()
    assert count_threads(None) == before


@pytest.mark.filterwarnings("ignore:The score is recall@10")
def test_processes_of_a_grid_search():
    X, y = make_paired_embeddings(120, random_state=0)
    results = [
        GridSearchCV(
            CrossModalRetriever(LeastSquaresMapper()),
            {"mapper__alpha": [0.01, 0.1]},
            scoring=RecallScorer(k=3),
            cv=2,
            n_jobs=n_jobs,
        )
        .fit(X, y)
        .cv_results_["mean_test_score"]
        for n_jobs in (None, 2)
    ]
    assert_array_equal(*results)


_CHILDREN = """
import multiprocessing, sys
import numpy as np
from skxmodal import CrossModalRetriever, ImageEncoder, LeastSquaresMapper, TextEncoder
from skxmodal.datasets import load_openmoji

def answer(search, names, results):
    results.put([array.tolist() for array in search.kneighbors(names)])

if __name__ == "__main__":
    data = load_openmoji()
    names, pictures = data.names[:96:8], data.pictures[:96:8]
    search = CrossModalRetriever(
        LeastSquaresMapper(alpha=0.1),
        query_encoder=TextEncoder(cache=sys.argv[2]),
        target_encoder=ImageEncoder(cache=sys.argv[2]),
    ).fit(names, pictures)
    names = [f"a picture of {name}" for name in names]
    context = multiprocessing.get_context(sys.argv[1])
    results = context.Queue()
    arguments = (search, names, results)
    n_children = int(sys.argv[3])
    children = [
        context.Process(target=answer, args=arguments) for _ in range(n_children)
    ]
    for child in children:
        child.start()
    found = [results.get(timeout=500) for _ in children]
    for child in children:
        child.join(500)
        assert child.exitcode == 0, child.exitcode
    expected = [array.tolist() for array in search.kneighbors(names)]
    for distances, rows in found:
        assert rows == expected[1]
        assert np.allclose(distances, expected[0], rtol=0, atol=1e-6)
    sys.stdout.write("equal")
"""


@pytest.mark.parametrize(("method", "n_children"), [("fork", 2), ("spawn", 1)])
def test_a_fitted_retriever_in_child_processes(method, n_children, tmp_path):
    script = tmp_path / "children.py"
    script.write_text(_CHILDREN)
    done = subprocess.run(
        [sys.executable, script, method, tmp_path / "cache", str(n_children)],
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.stdout == "equal", done.stderr[-2000:]
