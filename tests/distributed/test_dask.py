"""The package on a cluster of worker processes, of which some are killed."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import joblib
import numpy as np
import pandas as pd
import pytest
import zarr
from distributed import Client
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from sklearn.pipeline import Pipeline

from skxmodal import (
    CCAMapper,
    CrossModalRetriever,
    GMLPMapper,
    ImageEncoder,
    LeastSquaresMapper,
    ProcrustesMapper,
    RecallScorer,
    RelativeMapper,
    TextEncoder,
)
from skxmodal._dask import block_names, block_results, reduce_blocks
from skxmodal.datasets import make_paired_embeddings
from skxmodal.distributed import (
    ShardedIndex,
    ShardError,
    count_ranks,
    read_npy,
    read_shards,
    write_shards,
)
from skxmodal.metrics import retrieval_ranks
from skxmodal.neighbors import ExactIndex, HNSWIndex, top_k
from skxmodal.neighbors import count_ranks as count_ranks_here

# Workers don't import the tests: what is defined here travels by value.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

N, D_X, D_Y = 600, 12, 17
MAPPERS = [
    LeastSquaresMapper(alpha=0.1),
    LeastSquaresMapper(alpha=0.1, y_whiten=0.5),
    ProcrustesMapper(scaling=True),
    CCAMapper(),
]


@pytest.fixture(scope="module")
def pairs() -> tuple[np.ndarray, np.ndarray]:
    """Paired rows, with offsets that would cancel badly."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D_X)) * np.linspace(0.1, 3, D_X) + 5
    y = X @ rng.normal(size=(D_X, D_Y)) + rng.normal(size=(N, D_Y)) - 20
    return X, y


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def assert_same_map(mapper: Any, expected: Any) -> None:
    for name in ("coef_", "intercept_", "x_projection_", "y_projection_"):
        ours, theirs = getattr(mapper, name), getattr(expected, name)
        if theirs is None:
            assert ours is None
        else:
            assert_allclose(ours, theirs, rtol=0, atol=1e-10 * np.abs(theirs).max())
    assert mapper.n_samples_seen_ == expected.n_samples_seen_


def fresh(mapper: Any) -> Any:
    return type(mapper)(**mapper.get_params())


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def whole(client: Client) -> Client:
    """The cluster with all workers up, and known to be by their nannies.

    Dask doesn't replace a worker that is killed before its nanny knows.
    """
    client.wait_for_workers(3, timeout=300)
    nannies = client.cluster.workers.values()
    wait_for(lambda: {nanny.process.status.name for nanny in nannies} == {"running"})
    return client


def save_coverage() -> None:
    """Keep what this process ran, where that is counted: a kill would lose it."""
    if "coverage" in sys.modules:
        current = sys.modules["coverage"].Coverage.current()
        if current is not None:
            current.save()


def hold(folder: Path, here: bool) -> None:
    """Wait to be killed, the first time that it comes to the marked piece of work."""
    if here and not (folder / "killed").exists():
        save_coverage()
        (folder / "draft").write_text(str(os.getpid()))
        (folder / "draft").rename(folder / "victim")
        while not (folder / "killed").exists():
            time.sleep(0.02)
        # Killed any moment now, unless the work runs in the process of the tests.
        time.sleep(10)


def killing(folder: Path, work: Callable[[], Any]) -> Any:
    """What the work gives, with the worker that holds in the middle killed."""
    killed: list[int] = []

    def kill() -> None:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            if (folder / "victim").exists():
                # Marked first: whoever takes the work over mustn't hold.
                (folder / "killed").touch()
                killed.append(int((folder / "victim").read_text()))
                if killed[0] != os.getpid():
                    os.kill(killed[0], signal.SIGKILL)
                return
            time.sleep(0.02)

    killer = threading.Thread(target=kill)
    killer.start()
    result = work()
    killer.join()
    assert killed
    assert killed[0] != os.getpid(), "the work did not run on the cluster"
    return result


def held_source(array: np.ndarray, folder: Path, rows: int, block: int) -> Any:
    """A Dask array of which one block waits to be killed when it is read."""

    def read(start: int) -> np.ndarray:
        hold(folder, start == block * rows)
        return array[start : start + rows]

    blocks = [
        da.from_delayed(
            dask.delayed(read)(start),
            array[start : start + rows].shape,
            dtype=array.dtype,
        )
        for start in range(0, len(array), rows)
    ]
    return da.concatenate(blocks)


# Mappers


@pytest.mark.parametrize("mapper", MAPPERS, ids=repr)
@pytest.mark.parametrize("chunks", [(100, D_X), ((1, 7, 292, 300), (5, 7))])
def test_fit_equals_one_machine(
    client: Client, pairs: Any, mapper: Any, chunks: Any
) -> None:
    X, y = pairs
    expected = fresh(mapper).fit(X, y)
    rows = da.from_array(X, chunks=chunks)
    targets = da.from_array(y, chunks=(rows.chunks[0], (7, 10)))
    found = fresh(mapper).fit(rows, targets)
    assert_same_map(found, expected)
    for method, given, array in (
        ("transform", rows, X),
        ("predict", rows, X),
        ("transform_target", targets, y),
    ):
        lazy = getattr(found, method)(given)
        assert isinstance(lazy, da.Array)
        assert lazy.chunks[0] == rows.chunks[0]
        computed = lazy.compute()
        assert computed.shape == lazy.shape
        assert computed.dtype == lazy.dtype
        assert_allclose(computed, getattr(expected, method)(array), atol=1e-9)


def test_rows_in_other_chunks_are_rechunked_with_a_warning(
    client: Client, pairs: Any
) -> None:
    X, y = pairs
    expected = LeastSquaresMapper().fit(X, y)
    with pytest.warns(UserWarning, match="y is rechunked by rows to the chunks of X"):
        found = LeastSquaresMapper().fit(
            da.from_array(X, chunks=(100, -1)), da.from_array(y, chunks=(130, -1))
        )
    assert_same_map(found, expected)


def test_unknown_chunk_sizes(client: Client, pairs: Any) -> None:
    X, y = pairs
    kept = X[:, 0] > 5
    expected = LeastSquaresMapper().fit(X[kept], y[kept])
    rows, targets = da.from_array(X, chunks=(100, 5)), da.from_array(y, chunks=(100, 9))
    # The same condition on both sides: blocks pair as they are.
    condition = rows[:, 0] > 5
    some = rows[condition]
    assert np.isnan(some.shape[0])
    found = LeastSquaresMapper().fit(some, targets[condition])
    assert_same_map(found, expected)
    lazy = found.transform(some)
    assert np.isnan(lazy.shape[0])
    assert_allclose(lazy.compute(), expected.transform(X[kept]), atol=1e-9)
    # In other chunks before they were filtered: as many blocks of other lengths.
    other = da.from_array(y, chunks=((50, 150, 100, 100, 100, 100), -1))
    with pytest.warns(UserWarning, match="chunked differently"):
        found = LeastSquaresMapper().fit(
            some, other[da.from_array(kept, other.chunks[0])]
        )
    assert_same_map(found, expected)
    # Known beside unknown, and an array of this process.
    with pytest.warns(UserWarning, match="chunked differently"):
        found = LeastSquaresMapper().fit(some, da.from_array(y[kept], chunks=(40, -1)))
    assert_same_map(found, expected)
    assert_same_map(LeastSquaresMapper().fit(some, y[kept]), expected)


def test_empty_blocks(client: Client, pairs: Any) -> None:
    X, y = pairs
    X = np.c_[np.arange(N) // 100, X]
    kept = X[:, 0] > 2
    rows = da.from_array(X, chunks=(100, -1))
    targets = da.from_array(y, chunks=(100, -1))
    condition = rows[:, 0] > 2
    found = LeastSquaresMapper(alpha=0.1).fit(rows[condition], targets[condition])
    assert_same_map(found, LeastSquaresMapper(alpha=0.1).fit(X[kept], y[kept]))
    assert found.predict(rows[condition]).compute().shape == (kept.sum(), D_Y)


def test_partial_fit_forget_and_weights(client: Client, pairs: Any) -> None:
    X, y = pairs
    w = np.random.default_rng(1).integers(0, 3, N).astype(float)
    rows, targets = (da.from_array(side, chunks=(90, -1)) for side in (X, y))
    weights = da.from_array(w, chunks=90)
    expected = CCAMapper().fit(X, y, sample_weight=w)
    assert_same_map(CCAMapper().fit(rows, targets, sample_weight=weights), expected)
    assert_same_map(CCAMapper().fit(rows, targets, sample_weight=w), expected)
    found = CCAMapper().partial_fit(rows[:300], targets[:300])
    found.partial_fit(X[300:], y[300:])
    assert_same_map(found, CCAMapper().fit(X, y))
    found.forget(rows[400:], targets[400:])
    assert_same_map(found, CCAMapper().fit(X[:400], y[:400]))


def test_float32_and_one_target(client: Client, pairs: Any) -> None:
    X, y = (side.astype(np.float32) for side in pairs)
    rows, targets = (da.from_array(side, chunks=(100, -1)) for side in (X, y))
    found = ProcrustesMapper().fit(rows, targets)
    assert found.predict(rows).dtype == np.float32
    expected = ProcrustesMapper().fit(X, y)
    assert_allclose(found.predict(X), expected.predict(X), rtol=1e-4)
    one = LeastSquaresMapper().fit(rows, targets[:, 0])
    lazy = one.predict(rows)
    assert lazy.shape == (N,)
    expected = LeastSquaresMapper().fit(X, y[:, 0])
    assert_allclose(lazy.compute(), expected.predict(X), rtol=1e-4)
    lazy = one.transform_target(targets[:, 0])
    assert_allclose(lazy.compute(), expected.transform_target(y[:, 0]), atol=1e-4)


def test_frames_and_their_names(client: Client, pairs: Any) -> None:
    X, y = pairs
    names = [f"x{column}" for column in range(D_X)]
    frame = pd.DataFrame(X, columns=names)
    rows = dd.from_pandas(frame, npartitions=4)
    targets = dd.from_pandas(pd.DataFrame(y), npartitions=4)
    found = LeastSquaresMapper().fit(rows, targets)
    assert_array_equal(found.feature_names_in_, names)
    assert_same_map(found, LeastSquaresMapper().fit(X, y))
    assert_allclose(found.predict(rows).compute(), found.predict(frame))
    with pytest.raises(ValueError, match="feature names"):
        found.predict(rows.rename(columns={"x0": "other"}))


def test_other_mappers_map_dask_arrays_but_say_that_they_cannot_be_fitted(
    client: Client, pairs: Any
) -> None:
    X, y = (side.astype(np.float32) for side in pairs)
    rows, targets = (da.from_array(side, chunks=(100, -1)) for side in (X, y))
    with pytest.raises(TypeError, match="GMLPMapper can't be fitted on Dask"):
        GMLPMapper().fit(rows, targets)
    with pytest.raises(TypeError, match="RelativeMapper can't be fitted on Dask"):
        RelativeMapper().fit(rows, targets)
    mapper = RelativeMapper(n_anchors=50, sparse_output=False, random_state=0).fit(X, y)
    assert_allclose(mapper.transform(rows).compute(), mapper.transform(X), atol=1e-6)


def test_rows_of_this_process_beside_targets_on_the_cluster(
    client: Client, pairs: Any
) -> None:
    X, y = pairs
    found = LeastSquaresMapper(alpha=0.1).fit(X, da.from_array(y, chunks=(130, -1)))
    assert_same_map(found, LeastSquaresMapper(alpha=0.1).fit(X, y))


def test_sparse_rows_have_no_dask_array(client: Client, pairs: Any) -> None:
    X, y = pairs
    mapper = RelativeMapper(n_anchors=50, k=5, sparse_output=True, random_state=0).fit(
        X, y
    )
    with pytest.raises(ValueError, match="sparse_output=False"):
        mapper.transform(da.from_array(X, chunks=(100, -1)))


def test_bad_values_name_their_block(client: Client, pairs: Any) -> None:
    X, y = pairs
    spoilt = X.copy()
    spoilt[250, 3] = np.nan
    rows, targets = (da.from_array(side, chunks=(100, -1)) for side in (spoilt, y))
    mapper = LeastSquaresMapper().fit(X, y)
    with pytest.raises(ValueError, match=r"block 2 of 6 \(rows 200 to 299\).* NaN"):
        mapper.partial_fit(rows, targets)
    assert_same_map(mapper, LeastSquaresMapper().fit(X, y))
    with pytest.raises(ValueError, match="X has 600 rows and y 500"):
        LeastSquaresMapper().fit(rows, targets[:500])
    with pytest.raises(ValueError, match="3 features"):
        mapper.partial_fit(rows[:, :3], targets)
    with pytest.raises(ValueError, match="as y, but maps between embeddings"):
        LeastSquaresMapper().fit(rows, db.from_sequence(["a dog", "a cat"]))
    with pytest.raises(ValueError, match="sample_weight must hold"):
        LeastSquaresMapper().fit(targets, targets, sample_weight=np.full(N, -1.0))


@pytest.mark.parametrize("how", ["leaving out", "folds", "groups"])
def test_penalty_chosen_on_dask_arrays(client: Client, pairs: Any, how: str) -> None:
    X, y = pairs
    w = np.random.default_rng(1).uniform(0.5, 2, N)
    rows, targets, weights = (
        da.from_array(side, chunks=(90, *side.shape[1:])) for side in (X, y, w)
    )
    settings = {"alpha": "auto", "alphas": [1e-4, 0.01, 0.1, 1.0, 10.0]}
    params: dict[str, Any] = {}
    if how == "folds":
        settings["cv"] = 4
    if how == "groups":
        params["groups"] = np.arange(N) // 5
    found = LeastSquaresMapper(**settings).fit(rows, targets, weights, **params)
    expected = LeastSquaresMapper(**settings).fit(X, y, w, **params)
    assert found.alpha_ == expected.alpha_
    assert_allclose(found.cv_errors_, expected.cv_errors_, rtol=1e-9)
    assert_same_map(found, expected)
    with pytest.raises(ValueError, match="cv must part the rows"):
        LeastSquaresMapper(alpha="auto", cv=ShuffleSplit(2, random_state=0)).fit(
            rows, targets
        )


def test_fit_without_a_cluster(pairs: Any) -> None:
    X, y = pairs
    rows, targets = (da.from_array(side, chunks=(100, -1)) for side in (X, y))
    with dask.config.set(scheduler="threads"):
        found = ProcrustesMapper().fit(rows, targets)
        with pytest.raises(RuntimeError, match="there is none"):
            ShardedIndex().fit(rows)
    assert_same_map(found, ProcrustesMapper().fit(X, y))


def test_little_travels(client: Client, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40_000, 8)), rng.normal(size=(40_000, 9))
    for name, side in (("x", X), ("y", y)):
        np.save(tmp_path / f"{name}.npy", side)
    rows, targets = (
        read_npy(tmp_path / f"{name}.npy", chunk_rows=2_000) for name in "xy"
    )

    def received(dask_worker: Any) -> int:
        return sum(entry["total"] for entry in dask_worker.transfer_incoming_log)

    before = sum(client.run(received).values())
    found = LeastSquaresMapper().fit(rows, targets)
    moved = sum(client.run(received).values()) - before
    # Each of twenty moments may travel, and merged ones: 5 MB of rows may not.
    assert 0 < moved < 40 * sys.getsizeof(found.moments_)
    assert X.nbytes + y.nbytes > 5_000_000


def test_a_worker_killed_during_fit(whole: Client, pairs: Any, tmp_path: Path) -> None:
    X, y = pairs
    rows = held_source(X, tmp_path, 60, block=5)
    targets = da.from_array(y, chunks=(60, -1))
    found = killing(tmp_path, lambda: CCAMapper().fit(rows, targets))
    assert_same_map(found, CCAMapper().fit(X, y))


# Encoders

WORDS = [
    "a dog runs",
    "a red bird",
    "the cat sleeps",
    "hello",
    "a man on the road",
    "a dog runs",
    "small blue car",
    "the house in the grass",
    "a child with a ball",
]


def logged(folder: Path) -> Any:
    """A class of encoders that write down what they load and encode, and where."""

    class Logged(TextEncoder):
        def _load(self) -> Any:
            note(folder, "load")
            return super()._load()

        def _encode(self, model: Any, items: Any, rows: Any, bar: Any) -> Any:
            hold(folder, "hold here" in items)
            note(folder, "encode")
            return super()._encode(model, items, rows, bar)

    return Logged


def note(folder: Path, what: str) -> None:
    with (folder / "log.txt").open("a") as file:
        file.write(f"{what} {os.getpid()}\n")


def noted(folder: Path, what: str) -> list[str]:
    lines = (folder / "log.txt").read_text().splitlines()
    return [line.split()[1] for line in lines if line.startswith(what)]


def test_encode_partitions(client: Client, tiny_bert: Path, tmp_path: Path) -> None:
    expected = TextEncoder(tiny_bert, cache=False).transform(WORDS)
    encoder = logged(tmp_path)(tiny_bert, cache=tmp_path / "cache")
    bag = db.from_sequence(WORDS, npartitions=4)
    array = da.from_array(np.array(WORDS, dtype=object), chunks=4)
    column = dd.from_pandas(pd.DataFrame({"caption": WORDS}), npartitions=3)
    for items in (bag, array, column["caption"], column):
        lazy = encoder.fit(items).transform(items)
        assert isinstance(lazy, da.Array)
        assert lazy.dtype == np.float32
        assert_allclose(lazy.compute(), expected, atol=1e-6)
    assert encoder.transform(array).chunks == ((4, 4, 1), (16,))
    # One model a process, and what one partition encoded the others found cached.
    loads = noted(tmp_path, "load")
    assert len(loads) == len(set(loads)) <= 3
    assert str(os.getpid()) not in loads
    n_encoded = len(noted(tmp_path, "encode"))
    encoder.transform(bag).compute()
    assert len(noted(tmp_path, "encode")) == n_encoded


def test_items_that_can_not_be_encoded_say_why(
    client: Client, tiny_bert: Path, tmp_path: Path
) -> None:
    encoder = TextEncoder(tiny_bert, cache=False)
    frame = pd.DataFrame({"caption": WORDS, "split": WORDS})
    with pytest.raises(ValueError, match="one column of items, got 2"):
        encoder.transform(dd.from_pandas(frame, npartitions=2))
    count = dd.from_pandas(frame, npartitions=2)["caption"].count()
    for value in (count, dask.delayed(WORDS)):
        with pytest.raises(TypeError, match=f"got {type(value).__name__}"):
            encoder.transform(value)
    bag = db.from_sequence(WORDS, npartitions=3)
    with pytest.raises(TypeError, match=r"path of a new folder.*got ndarray"):
        encoder.transform(bag, out=np.empty((len(WORDS), 16), dtype=np.float32))
    # Partitions may be generators, and none of their items may be left.
    few = bag.filter(lambda word: word == WORDS[0])
    expected = encoder.transform([word for word in WORDS if word == WORDS[0]])
    assert_allclose(encoder.transform(few).compute(), expected, atol=1e-6)


def test_encode_pictures_into_a_folder(
    client: Client, tiny_resnet: Path, pictures: np.ndarray, tmp_path: Path
) -> None:
    encoder = ImageEncoder(tiny_resnet, cache=False)
    expected = encoder.transform(pictures)
    lazy = da.from_array(pictures, chunks=(4, 20, 48, 3))
    vectors = encoder.transform(lazy, out=tmp_path / "vectors")
    assert vectors.chunks == ((4, 2), (16,))
    assert_allclose(vectors.compute(), expected, atol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vectors"]
    with pytest.raises(FileExistsError):
        encoder.transform(lazy, out=tmp_path / "vectors")
    broken = db.from_sequence([pictures[0], tmp_path / "gone.png"], npartitions=2)
    with pytest.raises(ShardError, match=r"(?i)block 1 of 2 .*gone\.png"):
        encoder.transform(broken, out=tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vectors"]


def test_encode_on_workers_with_a_resource(
    client: Client, tiny_bert: Path, tmp_path: Path
) -> None:
    address = client.scheduler.address
    command = [sys.executable, "-m", "dask", "worker", address, "--nthreads", "1"]
    command += ["--resources", "GPU=1", "--no-dashboard", "--name", "with-gpu"]
    with (tmp_path / "worker.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--local-directory", str(tmp_path)], stdout=log, stderr=log
        )
    try:
        client.wait_for_workers(4, timeout=300)
        encoder = logged(tmp_path)(tiny_bert, cache=False)
        with dask.annotate(resources={"GPU": 1}):
            lazy = encoder.transform(db.from_sequence(WORDS, npartitions=6))
            found = client.compute(lazy).result(timeout=300)
        assert_allclose(
            found, TextEncoder(tiny_bert, cache=False).transform(WORDS), atol=1e-6
        )
        names = client.run(lambda dask_worker: (os.getpid(), dask_worker.name))
        (with_gpu,) = [pid for pid, name in names.values() if name == "with-gpu"]
        assert set(noted(tmp_path, "encode")) == {str(with_gpu)}
    finally:
        process.terminate()
        process.wait(timeout=60)
        wait_for(lambda: len(client.scheduler_info(n_workers=-1)["workers"]) == 3)


def test_a_worker_killed_while_encoding(
    whole: Client, tiny_bert: Path, tmp_path: Path
) -> None:
    items = [*WORDS[:5], "hold here", *WORDS[5:]]
    encoder = logged(tmp_path)(tiny_bert, cache=False)
    bag = db.from_sequence(items, npartitions=6)
    vectors = killing(
        tmp_path, lambda: encoder.transform(bag, out=tmp_path / "vectors")
    )
    expected = TextEncoder(tiny_bert, cache=False).transform(items)
    assert_allclose(vectors.compute(), expected, atol=1e-6)
    files = sorted(path.name for path in (tmp_path / "vectors").iterdir())
    assert files == [*(f"part-{part:06d}.npy" for part in range(5)), "shards.json"]


# Retrieval


@pytest.fixture(scope="module", params=[np.float32, np.float64])
def vectors(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """Queries and a gallery with many ties."""
    rng = np.random.default_rng(0)
    gallery = unit(rng.integers(-2, 3, size=(700, 5)) + 1e-9)
    queries = unit(rng.integers(-2, 3, size=(250, 5)) + 1e-9)
    return queries.astype(request.param), gallery.astype(request.param)


@pytest.mark.parametrize("chunks", [(64, 5), ((1, 399, 300), (2, 3))])
def test_search_equals_one_machine_ties_included(
    client: Client, vectors: Any, chunks: Any
) -> None:
    queries, gallery = vectors
    index = ShardedIndex().fit(da.from_array(gallery, chunks=chunks))
    assert (index.n_items, index.n_features_) == (700, 5)
    for k in (1, 10, 500, 700):
        scores, rows = index.search(queries, k)
        expected_scores, expected_rows = top_k(queries, gallery, k)
        assert_array_equal(rows, expected_rows)
        assert_array_equal(scores, expected_scores)
    lazy_scores, lazy_rows = index.search(da.from_array(queries, chunks=(99, 4)), 10)
    scores, rows = top_k(queries, gallery, 10)
    assert lazy_rows.chunks == ((99, 99, 52), (10,))
    assert_array_equal(lazy_rows.compute(), rows)
    assert_array_equal(lazy_scores.compute(), scores)


# Dask 2026.8 beside pandas 3.1.
@pytest.mark.filterwarnings("ignore:.*The inplace keyword in DataFrame")
def test_stores_of_vectors(client: Client, vectors: Any, tmp_path: Path) -> None:
    queries, gallery = vectors
    names = [f"v{column}" for column in range(5)]
    dd.from_pandas(pd.DataFrame(gallery, columns=names), npartitions=3).to_parquet(
        tmp_path / "gallery.parquet"
    )
    store = zarr.create_array(
        tmp_path / "gallery.zarr",
        shape=gallery.shape,
        chunks=(200, 5),
        dtype=gallery.dtype,
    )
    store[:] = gallery
    np.save(tmp_path / "gallery.npy", gallery)
    lazy = da.from_array(gallery, chunks=(150, -1))
    shards = write_shards(lazy[lazy[:, 0] > -2], tmp_path / "gallery")
    _, expected = top_k(queries, gallery, 5)
    for source in (
        dd.read_parquet(tmp_path / "gallery.parquet"),
        da.from_zarr(tmp_path / "gallery.zarr"),
        read_npy(tmp_path / "gallery.npy", chunk_rows=123),
        read_shards(shards),
        gallery,
    ):
        assert_array_equal(ShardedIndex().fit(source).search(queries, 5)[1], expected)


def test_a_retriever_whose_gallery_lies_in_shards(client: Client) -> None:
    X, y = make_paired_embeddings(n_pairs=300, random_state=0)
    usual = CrossModalRetriever().fit(X[:250], y[:250])
    spread = CrossModalRetriever(gallery_index=ShardedIndex()).fit(X[:250], y[:250])
    for change in (
        lambda search: search,
        lambda search: search.add(y[250:]),
        lambda search: search.remove([3, 260]),
        lambda search: search.index(y[100:200]),
    ):
        change(usual), change(spread)
        assert_array_equal(spread.gallery_ids_, usual.gallery_ids_)
        for ours, theirs in zip(
            spread.kneighbors(X[:40]), usual.kneighbors(X[:40]), strict=True
        ):
            assert_allclose(ours, theirs, atol=1e-12)


def test_one_faiss_index_a_shard(client: Client) -> None:
    rng = np.random.default_rng(0)
    gallery, queries = (
        unit(rng.normal(size=(n, 16))).astype(np.float32) for n in (900, 40)
    )
    lazy = da.from_array(gallery, chunks=(300, -1))
    index = ShardedIndex(HNSWIndex(ef_search=300)).fit(lazy)
    scores, rows = index.search(queries, 10)
    expected_scores, expected_rows = top_k(queries, gallery, 10)
    assert (rows == expected_rows).mean() > 0.99
    assert_allclose(scores, expected_scores, atol=1e-2)
    kinds = client.gather(
        [client.submit(kind_of, shard) for shard in index._parts.futures]
    )
    assert kinds == ["HNSWIndex"] * 3
    with pytest.raises(ValueError, match=r"shard \d of 3 .*needs at least 9984 items"):
        ShardedIndex("ivfpq").fit(lazy)


def kind_of(shard: Any) -> str:
    return type(shard.index).__name__


def test_index_refuses_what_does_not_fit(client: Client, vectors: Any) -> None:
    queries, gallery = vectors
    lazy = da.from_array(gallery, chunks=(200, -1))
    index = ShardedIndex().fit(lazy)
    with pytest.raises(ValueError, match="from 1 to the gallery's size, 700"):
        index.search(queries, 701)
    with pytest.raises(ValueError, match="4 columns and the gallery 5"):
        index.search(queries[:, :4], 3)
    with pytest.raises(TypeError, match="write_shards"):
        pickle.dumps(index)
    spoilt = gallery.copy()
    spoilt[450, 1] = np.inf
    with pytest.raises(ValueError, match=r"(?s)shard 2 of 4 .*row 50 of the block"):
        ShardedIndex().fit(da.from_array(spoilt, chunks=(200, -1)))
    with pytest.raises(ValueError, match="Unknown index"):
        ShardedIndex("exactly").fit(lazy)
    with pytest.raises(ValueError, match="every block is empty"):
        ShardedIndex().fit(lazy[lazy[:, 0] > 2])
    with pytest.raises(ValueError, match=r"shape \(n, 5\).*got shape \(90, 4\)"):
        index.search(da.from_array(queries[:90, :4], chunks=(30, -1)), 3)
    narrow = dask.delayed(lambda: gallery[:100, :4])()
    uneven = da.concatenate(
        [lazy[:100], da.from_delayed(narrow, (100, 5), dtype=gallery.dtype)]
    )
    with pytest.raises(ValueError, match="shards differ in width"):
        ShardedIndex().fit(uneven)
    words = da.from_array(np.array([["a"], ["b"]]), chunks=1)
    with pytest.raises(ValueError, match="expected rows of numbers"):
        ShardedIndex().fit(words)
    # Before it is fitted there is nothing that could not travel.
    assert pickle.loads(pickle.dumps(ShardedIndex("exact"))).index == "exact"
    scores, rows = index.search(lazy[:0], 3)
    assert scores.shape == rows.shape == (0, 3)
    some = lazy[lazy[:, 0] > 2]
    assert index.search(some, 3)[1].compute().shape == (0, 3)


def test_files_refuse_what_does_not_fit(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.eye(5))
    with pytest.raises(ValueError, match="chunk_rows must be at least 1, got 0"):
        read_npy(tmp_path / "rows.npy", chunk_rows=0)
    folder = write_shards(da.ones((5, 2), chunks=(3, 2)), tmp_path / "gallery")
    manifest = (folder / "shards.json").read_text()
    (folder / "shards.json").write_text(manifest.replace('"format": 1', '"format": 2'))
    with pytest.raises(ValueError, match="format 2, written by a newer skxmodal"):
        read_shards(folder)


def test_distributed_is_not_imported_for_nothing() -> None:
    script = """
import sys
import dask.array as da
import numpy as np
from skxmodal import LeastSquaresMapper

X = np.random.default_rng(0).normal(size=(60, 4))
lazy = da.from_array(X, chunks=(20, -1))
# Dask imports it itself when it computes.
assert "distributed" not in sys.modules
found = LeastSquaresMapper().fit(lazy, lazy)
np.testing.assert_allclose(found.predict(X), X, atol=1e-9)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)


@pytest.mark.parametrize("both", [False, True])
def test_rank_counts_equal_one_machine(
    client: Client, vectors: Any, both: bool
) -> None:
    queries, gallery = vectors
    rng = np.random.default_rng(1)
    n_correct = rng.integers(0, 6, len(queries))
    indptr = np.r_[0, np.cumsum(n_correct)]
    indices = np.concatenate([rng.permutation(700)[:n] for n in n_correct])
    expected = count_ranks_here(queries, gallery, indptr, indices, both=both)
    for chunks in ((70, 90), (250, 699)):
        lazy = (
            da.from_array(side, chunks=(rows, -1))
            for side, rows in zip(vectors, chunks, strict=True)
        )
        assert_array_equal(count_ranks(*lazy, indptr, indices, both=both), expected)
    lazy_gallery = da.from_array(gallery, chunks=(300, -1))
    found = count_ranks(queries, lazy_gallery, indptr, indices, both=both)
    assert_array_equal(found, expected)


def test_products_that_overflow_are_refused(client: Client) -> None:
    rows = np.full((4, 3), 1e19, dtype=np.float32)
    lazy = da.from_array(rows, chunks=(2, -1))
    with pytest.raises(ValueError, match="leave the range of float32"):
        count_ranks(lazy, lazy, [0, 1, 2, 3, 4], [0, 1, 2, 3])


@pytest.mark.parametrize("with_groups", [False, True])
def test_recall_summed_over_shards(
    client: Client, pairs: Any, with_groups: bool
) -> None:
    X, y = pairs
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(N // 4), 4))
    y = y[groups]
    mapper = LeastSquaresMapper().fit(X, y)
    rows, targets = da.from_array(X, chunks=(70, -1)), da.from_array(y, chunks=(90, 9))
    given = groups if with_groups else None
    found = retrieval_ranks(mapper, rows, targets, given)
    expected = retrieval_ranks(mapper, X, y, given)
    for (name, ours), (_, theirs) in zip(found.items(), expected.items(), strict=True):
        assert_array_equal(ours.ranks, theirs.ranks, err_msg=name)
        assert_array_equal(ours.indptr, theirs.indptr)
        assert_array_equal(ours.pictures, theirs.pictures)
        assert ours.gallery_size == theirs.gallery_size
    for scorer in (RecallScorer(k=10), RecallScorer(k=5, direction="both")):
        assert scorer(mapper, rows, targets) == scorer(mapper, X, y)


def test_recall_of_what_is_only_partly_on_the_cluster(
    client: Client, pairs: Any
) -> None:
    X, y = pairs
    rows, targets = da.from_array(X, chunks=(70, -1)), da.from_array(y, chunks=(90, -1))
    mapper = LeastSquaresMapper().fit(X, y)
    scorer = RecallScorer(k=10, direction="both")
    expected = scorer(mapper, X, y)
    frame = dd.from_pandas(pd.DataFrame(y), npartitions=3)
    for queries, gallery in ((rows, y), (X, targets), (rows, frame)):
        assert scorer(mapper, queries, gallery) == expected
    with pytest.raises(ValueError, match="X has 599 rows and y 600"):
        scorer(mapper, rows[1:], targets)
    search = CrossModalRetriever(LeastSquaresMapper(), hubness="csls").fit(X, y)
    with pytest.raises(ValueError, match="Corrections for hubs"):
        scorer(search, rows, targets)


def test_scoring_of_searches(client: Client, pairs: Any) -> None:
    X, y = pairs
    rows, targets = da.from_array(X, chunks=(70, -1)), da.from_array(y, chunks=(90, 9))
    search = CrossModalRetriever(LeastSquaresMapper()).fit(X, y)
    steps = [("map", ProcrustesMapper()), ("find", CrossModalRetriever("passthrough"))]
    lazy = search.transform(rows)
    assert isinstance(lazy, da.Array)
    assert_allclose(lazy.compute(), search.transform(X), atol=1e-9)
    scorer = RecallScorer(k=10, direction="both")
    for estimator in (search, Pipeline(steps).fit(X, y)):
        assert scorer(estimator, rows, targets) == scorer(estimator, X, y)
    assert search.score(rows, targets) == search.score(X, y)
    groups = np.repeat(np.arange(N // 4), 4)
    for sides in ((X, y), (rows, targets)):
        with pytest.warns(UserWarning, match="hold targets of different content"):
            scorer(search.mapper_, *sides, groups=groups)


def test_scoring_of_searches_with_encoders(client: Client, tiny_bert: Path) -> None:
    rng = np.random.default_rng(0)
    words = ["dog", "cat", "bird", "man", "house", "grass", "ball"]
    # Each once: partitions round equal ones apart, and ties would show it.
    texts = [f"a {one} {other}" for one in words for other in words][:40]
    encoder = TextEncoder(tiny_bert, cache=False)
    y = encoder.transform(texts)[:, ::-1] + rng.normal(size=(40, 16)) / 9
    forward = CrossModalRetriever(LeastSquaresMapper(1.0), query_encoder=encoder)
    forward.fit(texts, y)
    backward = CrossModalRetriever(LeastSquaresMapper(1.0), target_encoder=encoder)
    backward.fit(y, texts)
    bag = db.from_sequence(texts, npartitions=3)
    # A partition may be a generator.
    bag = bag.filter(lambda text: True)
    column = dd.from_pandas(pd.DataFrame({"text": texts}), npartitions=3)
    rows = da.from_array(y, chunks=(15, -1))
    scorer = RecallScorer(k=5, direction="both")
    for items in (bag, column["text"], column):
        assert scorer(forward, items, rows) == scorer(forward, texts, y)
        assert scorer(backward, rows, items) == scorer(backward, y, texts)
    assert scorer(forward, texts, rows) == scorer(forward, texts, y)
    assert scorer(backward, rows, texts) == scorer(backward, y, texts)


def test_a_worker_killed_while_it_writes(whole: Client, tmp_path: Path) -> None:
    def block(start: int) -> np.ndarray:
        (tmp_path / f"pid-{start}").write_text(str(os.getpid()))
        return np.ones((1_000_000 if start else 10, 4))

    array = da.concatenate(
        [
            da.from_delayed(dask.delayed(block)(start), (n, 4), dtype=float)
            for start, n in ((0, 10), (1, 1_000_000))
        ]
    )
    killed = []

    def kill() -> None:
        while not killed and writer.is_alive():
            for part in (tmp_path / "to").glob(".*.tmp/.*.part"):
                with suppress(FileNotFoundError):
                    if part.stat().st_size > 1_000_000:
                        killed.append(int((tmp_path / "pid-1").read_text()))
                        os.kill(killed[0], signal.SIGKILL)
                        break
            time.sleep(0.001)

    writer = threading.Thread(target=lambda: write_shards(array, tmp_path / "to" / "x"))
    killer = threading.Thread(target=kill)
    writer.start()
    killer.start()
    writer.join()
    killer.join()
    assert killed
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["x"]
    files = sorted(path.name for path in (tmp_path / "to" / "x").iterdir())
    assert files == ["part-000000.npy", "part-000001.npy", "shards.json"]
    found = np.load(tmp_path / "to" / "x" / "part-000001.npy")
    assert_array_equal(found, np.ones((1_000_000, 4)))


@pytest.mark.parametrize("source_is_gone", [False, True])
def test_a_worker_killed_between_the_sums_and_their_merge(
    whole: Client, tmp_path: Path, source_is_gone: bool
) -> None:
    np.save(tmp_path / "rows.npy", np.ones((60, 2)))
    array = read_npy(tmp_path / "rows.npy", chunk_rows=10)

    def merge(parts: list[Any]) -> Any:
        if source_is_gone:
            (tmp_path / "rows.npy").unlink(missing_ok=True)
        hold(tmp_path, True)
        return sum(parts)

    def summed() -> Any:
        leaves = block_results(lambda number, rows: rows.sum(axis=0), array)
        try:
            return reduce_blocks(leaves, merge, block_names(array))
        except ShardError as error:
            return str(error)

    found = killing(tmp_path, summed)
    if source_is_gone:
        assert re.search(r"Block \d of 6 \(rows \d+ to \d+\) .*rows\.npy", found)
    else:
        assert_array_equal(found, [60, 60])


def test_a_worker_killed_while_ranks_are_counted(whole: Client, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    gallery, queries = rng.normal(size=(600, 6)), rng.normal(size=(90, 6))
    source = held_source(gallery, tmp_path, 100, 3)
    correct = np.arange(91), rng.permutation(600)[:90]
    found = killing(tmp_path, lambda: count_ranks(queries, source, *correct))
    assert_array_equal(found, count_ranks_here(queries, gallery, *correct))


def held_index(folder: Path) -> Any:
    """An exact index of which one shard waits to be killed while it is searched."""

    class Held(ExactIndex):
        def search(self, queries: Any, k: int) -> Any:
            hold(folder, self.vectors_[0, 0] == 7)
            return super().search(queries, k)

    return Held()


def test_a_worker_killed_during_search(whole: Client, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    gallery, queries = rng.normal(size=(600, 6)), rng.normal(size=(30, 6))
    gallery[200, 0] = 7
    index = ShardedIndex(held_index(tmp_path)).fit(
        da.from_array(gallery, chunks=(100, -1))
    )
    scores, rows = killing(tmp_path, lambda: index.search(queries, 10))
    expected_scores, expected_rows = top_k(queries, gallery, 10)
    assert_array_equal(rows, expected_rows)
    assert_array_equal(scores, expected_scores)
    # The shards that were lost are there again.
    assert_array_equal(index.search(queries, 10)[1], expected_rows)


def test_a_lost_shard_whose_source_is_gone_is_named(
    whole: Client, tmp_path: Path
) -> None:
    gallery = unit(np.random.default_rng(0).normal(size=(600, 6)))
    folder = write_shards(
        da.from_array(gallery, chunks=(100, -1)), tmp_path / "gallery"
    )
    lazy = read_shards(folder)
    index = ShardedIndex().fit(lazy)
    (folder / "part-000004.npy").unlink()
    assert_array_equal(index.search(gallery[:9], 1)[1].ravel(), np.arange(9))
    shard = index._parts.futures[4]
    # A search may have copied the shard to the worker that searched it.
    holders = set(whole.who_has([shard])[shard.key])
    whole.run(save_coverage, workers=list(holders))
    for pid in whole.run(os.getpid, workers=list(holders)).values():
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: holders.isdisjoint(whole.who_has([shard]).get(shard.key, ())))
    name = r"(?i)shard 4 of 6 \(rows 400 to 499\).*part-000004\.npy"
    with pytest.raises(ShardError, match=name):
        index.search(gallery[:9], 1)
    with pytest.raises(ShardError, match=name):
        ShardedIndex().fit(lazy)
    with pytest.raises(ShardError, match=name.replace("shard", "block")):
        LeastSquaresMapper().fit(lazy, lazy)


# Model selection


def test_grid_search_on_the_cluster(client: Client, pairs: Any) -> None:
    X, y = pairs
    search = GridSearchCV(
        CrossModalRetriever(LeastSquaresMapper()),
        {"mapper": [ProcrustesMapper(), CCAMapper(), LeastSquaresMapper(alpha=0.1)]},
        scoring=RecallScorer(k=10),
        cv=3,
    )
    expected = search.fit(X, y).cv_results_["mean_test_score"]
    with joblib.parallel_config(backend="dask"):
        found = search.fit(X, y).cv_results_["mean_test_score"]
    assert_allclose(found, expected)
    assert (found > 0.1).all()
