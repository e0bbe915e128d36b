"""Files and shards: what is refused, and what is left when something fails."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from distributed import Client
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError

from skxmodal.distributed import (
    ShardedIndex,
    ShardError,
    count_ranks,
    read_npy,
    read_shards,
    write_shards,
)
from skxmodal.neighbors import ExactIndex, HNSWIndex
from skxmodal.neighbors import count_ranks as count_ranks_here


@pytest.fixture(scope="module")
def gallery() -> np.ndarray:
    """Vectors of a small gallery."""
    return np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)


def lazy(rows: np.ndarray, chunk: int = 20) -> Any:
    return da.from_array(rows, chunks=(chunk, *(-1,) * (rows.ndim - 1)))


def blocks(*made: np.ndarray, width: int = 4, dtype: Any = np.float32) -> Any:
    return da.concatenate(
        [
            da.from_delayed(dask.delayed(block), (len(block), width), dtype=dtype)
            for block in made
        ]
    )


def test_a_folder_that_fails_leaves_nothing(client: Client, tmp_path: Path) -> None:
    def slow(number: int) -> np.ndarray:
        time.sleep(0.02 * (number % 3))
        if number == 7:
            raise OSError("the disk is gone")
        return np.ones((100, 50))

    for attempt in range(6):
        array = da.concatenate(
            [
                da.from_delayed(
                    dask.delayed(slow)(number, dask_key_name=f"s-{attempt}-{number}"),
                    (100, 50),
                    dtype=float,
                )
                for number in range(30)
            ]
        )
        with pytest.raises(ShardError, match=r"Block 7 of 30 .*the disk is gone"):
            write_shards(array, tmp_path / "out")
    # Tasks that ran when it failed may write on for a while.
    deadline = time.monotonic() + 60
    while client.processing() and any(client.processing().values()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert list(tmp_path.iterdir()) == []


def test_half_written_files_are_not_delivered(client: Client, tmp_path: Path) -> None:
    def leaving_a_half(block: np.ndarray) -> np.ndarray:
        # As a worker does that is killed while it writes.
        for folder in tmp_path.glob(".out.*.tmp"):
            (folder / ".0123456789abcdef.part").write_bytes(b"half")
        return block

    array = lazy(np.ones((9, 2)), 3).map_blocks(leaving_a_half, dtype=float)
    folder = write_shards(array, tmp_path / "out")
    assert sorted(path.name for path in folder.iterdir()) == [
        *(f"part-{part:06d}.npy" for part in range(3)),
        "shards.json",
    ]


def test_blocks_that_differ_are_not_written(
    client: Client, gallery: np.ndarray, tmp_path: Path
) -> None:
    for other in (gallery[:20, :3], gallery[:20].astype(np.float64)):
        with pytest.raises(ValueError, match="one shape and dtype: block 1 of 2"):
            write_shards(blocks(gallery[:20], other), tmp_path / "out")
    with pytest.raises(ValueError, match="holds Python objects"):
        write_shards(lazy(gallery.astype(object)), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_files_that_changed_are_refused(client: Client, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.ones((60, 4)))
    array = read_npy(tmp_path / "rows.npy", chunk_rows=20)
    folder = write_shards(array, tmp_path / "shards")
    shards = read_shards(folder)
    for rows in (np.ones((50, 4)), np.ones((60, 4), dtype=np.float32)):
        np.save(tmp_path / "rows.npy", rows)
        with pytest.raises(ValueError, match=r"rows\.npy has changed"):
            array.compute()
        with pytest.raises(ValueError, match=r"Shard \d of 3 .*has changed since"):
            ShardedIndex().fit(array)
    np.save(folder / "part-000001.npy", np.ones((19, 4)))
    with pytest.raises(ValueError, match=r"part-000001\.npy has changed"):
        shards.compute()


def test_files_that_are_something_else(tmp_path: Path) -> None:
    np.savez(tmp_path / "some.npz", a=np.ones(3))
    with pytest.raises(ValueError, match="archive of arrays"):
        read_npy(tmp_path / "some.npz")
    np.save(tmp_path / "one.npy", np.float64(1))
    with pytest.raises(ValueError, match="a single number"):
        read_npy(tmp_path / "one.npy")
    for other in ({"name": "other"}, ["part"]):
        (tmp_path / "shards.json").write_text(json.dumps(other))
        with pytest.raises(ValueError, match="not written by skxmodal"):
            read_shards(tmp_path)


def test_a_refit_that_fails_changes_nothing(
    client: Client, gallery: np.ndarray
) -> None:
    index = ShardedIndex().fit(lazy(gallery))
    expected = index.search(gallery[:5], 3)[1]
    with pytest.raises(ValueError, match="shards differ in width"):
        index.fit(blocks(gallery[:20], gallery[:30, :3]))
    assert (index.n_items, index.n_shards_) == (60, 3)
    assert_array_equal(index.search(gallery[:5], 3)[1], expected)


@pytest.mark.parametrize(
    ("index", "of_gallery"),
    [
        *(("exact", dtype) for dtype in ("f2", "f4", "f8", "i1")),
        (HNSWIndex(ef_search=60), "f4"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("of_queries", ["f2", "f4", "f8", "i1"])
def test_scores_are_of_the_type_declared(
    client: Client, gallery: np.ndarray, index: Any, of_gallery: str, of_queries: str
) -> None:
    items, queries = (10 * gallery).astype(of_gallery), gallery[:9].astype(of_queries)
    found = ShardedIndex(index).fit(lazy(items))
    scores, _ = found.search(lazy(queries, 4), 3)
    eager, _ = found.search(queries, 3)
    assert scores.dtype == scores.compute().dtype == eager.dtype
    here = ExactIndex() if index == "exact" else HNSWIndex(ef_search=60)
    assert eager.dtype == here.fit(items).search(queries, 3)[0].dtype


def test_what_is_no_index_or_no_gallery(client: Client, gallery: np.ndarray) -> None:
    for wrong in (5, ExactIndex, None):
        with pytest.raises(TypeError, match="with fit and search,"):
            ShardedIndex(wrong).fit(lazy(gallery))
    with pytest.raises(NotFittedError):
        _ = ShardedIndex().n_items
    with pytest.raises(TypeError, match=r"sparse: give vectors\.toarray"):
        ShardedIndex().fit(sp.csr_matrix(gallery))
    for wrong in (None, gallery[0], 5):
        with pytest.raises(ValueError, match=r"must be of shape \(n, d\)"):
            ShardedIndex().fit(wrong)
    with pytest.raises(ValueError, match=r"got shape \(60, 0\)"):
        ShardedIndex().fit(gallery[:, :0])
    # Finite numbers whose sum is not.
    with pytest.raises(ValueError, match="range of float64"):
        ShardedIndex().fit(lazy(np.full((4, 3), 1e308), 2)).search(np.ones((1, 3)), 1)


def test_refused_values_are_not_taken_for_a_lost_source(
    client: Client, gallery: np.ndarray
) -> None:
    class Refusing(ExactIndex):
        def fit(self, vectors: Any) -> Any:
            raise (ValueError if len(vectors) > 10 else TypeError)("not these")

    for chunk, kind in ((20, ValueError), (6, TypeError)):
        with pytest.raises(kind, match=r"(?i)shard \d+ of \d+.* not these") as caught:
            ShardedIndex(Refusing()).fit(lazy(gallery, chunk))
        assert "source" not in str(caught.value)


def test_a_column_of_lists(client: Client, gallery: np.ndarray, tmp_path: Path) -> None:
    frame = pd.DataFrame({"name": np.arange(60), "vector": list(gallery)})
    for part in range(3):
        rows = frame[20 * part : 20 * part + 20]
        rows.to_parquet(tmp_path / f"part-{part}.parquet", index=False)
    stored = dd.read_parquet(tmp_path)
    _, expected = ExactIndex().fit(gallery).search(gallery[:9], 3)
    for column in (stored["vector"], stored[["vector"]]):
        index = ShardedIndex().fit(column)
        assert index.n_features_ == 4
        assert_array_equal(index.search(gallery[:9], 3)[1], expected)
    found = count_ranks(gallery, stored["vector"], np.arange(61), np.arange(60))
    expected = count_ranks_here(gallery, gallery, np.arange(61), np.arange(60))
    assert_array_equal(found, expected)
