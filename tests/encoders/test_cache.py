from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone

from skxmodal._content import content_keys
from skxmodal.encoders._cache import EmbeddingCache, resolve_cache
from skxmodal.encoders._cache_store import (
    ORPHAN_SECONDS,
    SMALLEST_MAP,
    CacheWarning,
    get_store,
)


def _items(n, dim=8, seed=0):
    keys = content_keys([f"caption {seed} {i}" for i in range(n)])
    rng = np.random.default_rng(seed)
    return keys, rng.standard_normal((n, dim)).astype(np.float32)


def _run(script, *arguments):
    """Run a script in a process of its own, and give what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def cache(tmp_path):
    return EmbeddingCache(tmp_path / "cache")


@pytest.mark.parametrize("dim", [1, 8, 384, 40_000])
def test_vectors_come_back_bit_for_bit(cache, dim):
    keys, vectors = _items(50, dim)
    vectors.flat[:5] = [np.inf, -0.0, 1e-45, np.finfo(np.float32).max, np.nan]
    cache.put_many("encoder", keys, vectors)
    back, found = cache.get_many("encoder", keys)
    assert found.all()
    assert back.dtype == np.float32
    assert back.tobytes() == vectors.tobytes()
    assert cache.check() == []


def test_any_order_and_repetition_of_keys(cache):
    keys, vectors = _items(300)
    for start in range(0, 300, 70):
        part = slice(start, start + 70)
        cache.put_many("encoder", keys[part], vectors[part])
    rows = np.random.default_rng(1).integers(0, 300, 1000)
    back, found = cache.get_many("encoder", [keys[row] for row in rows])
    assert found.all()
    assert_array_equal(back, vectors[rows])


def test_what_is_not_there_is_not_found(cache):
    keys, vectors = _items(10)
    back, found = cache.get_many("encoder", keys, dim=8)
    assert not found.any()
    assert back.shape == (10, 8)
    assert cache.get_many("encoder", keys)[0].shape == (10, 0)
    cache.put_many("encoder", keys[::2], vectors[::2])
    back, found = cache.get_many("encoder", keys)
    assert_array_equal(found, np.arange(10) % 2 == 0)
    assert_array_equal(back[found], vectors[::2])
    assert_array_equal(back[~found], 0)
    assert not cache.get_many("encoder", keys, dim=9)[1].any()


def test_nothing_to_look_up_and_nothing_to_store(cache):
    cache.put_many("encoder", [], np.zeros((0, 8)))
    back, found = cache.get_many("encoder", [], dim=8)
    assert back.shape == (0, 8)
    assert found.shape == (0,)


def test_each_encoder_has_its_own_vectors(cache):
    keys, vectors = _items(10)
    spaces = ["encoder", b"encoder", {"model": "encoder"}, {"model": "other"}]
    for factor, namespace in enumerate(spaces):
        cache.put_many(namespace, keys, factor * vectors)
    for factor, namespace in enumerate(spaces):
        assert_array_equal(cache.get_many(namespace, keys)[0], factor * vectors)
    # The order of a fingerprint's entries says nothing.
    cache.put_many({"b": 1, "a": 2}, keys, vectors)
    assert cache.get_many({"a": 2, "b": 1}, keys)[1].all()


def test_the_first_vector_stays(cache):
    keys, vectors = _items(10)
    cache.put_many("encoder", keys[:6], vectors[:6])
    cache.put_many("encoder", keys + keys[::-1], np.zeros((20, 8)))
    back, _ = cache.get_many("encoder", keys)
    assert_array_equal(back[:6], vectors[:6])
    assert_array_equal(back[6:], 0)
    assert cache.info()["n_vectors"] == 10
    assert cache.check() == []


def test_marks_come_back_with_their_vectors(cache):
    keys, vectors = _items(300)
    marks = np.arange(300) % 7 == 0
    cache.put_many("encoder", keys[:200], vectors[:200], marks[:200])
    # The mark of the first vector stays, as the vector does.
    cache.put_many("encoder", keys[:10], vectors[:10], ~marks[:10])
    back, found, marked = cache.get_many("encoder", keys, return_marks=True)
    assert_array_equal(back[:200], vectors[:200])
    assert_array_equal(marked, marks & found)
    # Without marks no vector has one.
    cache.put_many("encoder", keys[200:], vectors[200:])
    *_, marked = cache.get_many("encoder", keys[200:], return_marks=True)
    assert not marked.any()
    assert cache.check() == []


def test_bad_input_is_refused(cache):
    keys, vectors = _items(3)
    cache.put_many("encoder", keys, vectors)
    with pytest.raises(ValueError, match=r"length 8, as those stored .* got length 9"):
        cache.put_many("encoder", keys, np.zeros((3, 9)))
    with pytest.raises(ValueError, match=r"each of 3 keys.*got shape \(2, 8\)"):
        cache.put_many("encoder", keys, vectors[:2])
    with pytest.raises(ValueError, match="a mark for each of 3 keys"):
        cache.put_many("encoder", keys, vectors, marks=[True])
    with pytest.raises(ValueError, match="Expected keys of 20 bytes"):
        cache.get_many("encoder", [b"short"])
    with pytest.raises(ValueError, match="at least 4194304"):
        EmbeddingCache("somewhere", max_bytes=1000)


def test_the_file_grows_under_every_process_that_has_it_open(cache):
    keys, vectors = _items(20, 384)
    cache.put_many("encoder", keys, vectors)
    # The first map has room for 64 MiB, and the other process writes 80.
    script = """
import sys
import numpy as np
from skxmodal._content import content_keys
from skxmodal.encoders._cache import EmbeddingCache

cache = EmbeddingCache(sys.argv[1])
keys = content_keys(list(range(80)))
for start in range(0, 80, 8):
    rows = np.arange(start, start + 8, dtype=np.float32)
    cache.put_many("large", keys[start:start + 8], np.tile(rows, (2**18, 1)).T)
"""
    _run(script, cache.path)
    back, found = cache.get_many("large", content_keys(list(range(80))))
    assert found.all()
    assert_array_equal(back[:, -1], np.arange(80))
    assert cache.info()["n_bytes"] > 80 << 20
    more, more_vectors = _items(20, 384, seed=1)
    cache.put_many("encoder", more, more_vectors)
    assert_array_equal(cache.get_many("encoder", keys + more)[0][:20], vectors)
    assert cache.check() == []


def test_many_threads(cache):
    keys, vectors = _items(400, 16)
    failures = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(30):
            rows = rng.choice(400, 25, replace=False)
            chosen = [keys[row] for row in rows]
            back, found = cache.get_many("encoder", chosen, dim=16)
            if not np.array_equal(back[found], vectors[rows[found]]):
                failures.append(rows)
            cache.put_many("encoder", chosen, vectors[rows])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    back, found = cache.get_many("encoder", keys)
    assert_array_equal(back[found], vectors[found])
    assert found.sum() > 390
    assert cache.check() == []


def test_forked_children_and_their_parent_go_on(tmp_path):
    script = """
import os, sys, threading
import numpy as np
from skxmodal._content import content_keys
from skxmodal.encoders._cache import EmbeddingCache

cache = EmbeddingCache(sys.argv[1])
keys = content_keys(list(range(1000)))
vectors = np.random.default_rng(0).standard_normal((1000, 32)).astype(np.float32)
cache.put_many("encoder", keys[:100], vectors[:100])
going = True

def write():
    while going:
        cache.put_many("encoder", keys[:100], vectors[:100])
        cache.get_many("encoder", keys)

thread = threading.Thread(target=write)
thread.start()
children = []
for number in range(1, 10):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            first = cache.get_many("encoder", keys[:100])[0]
            rows = slice(100 * number, 100 * number + 100)
            cache.put_many("encoder", keys[rows], vectors[rows])
            code = 0 if np.array_equal(first, vectors[:100]) else 2
        finally:
            os._exit(code)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
going = False
thread.join()
back, found = cache.get_many("encoder", keys)
print(codes, found.all(), np.array_equal(back, vectors), cache.check())
"""
    assert _run(script, tmp_path / "cache") == f"{[0] * 9} True True []\n"


def test_a_folder_deleted_while_open_is_made_again(cache):
    keys, vectors = _items(10)
    cache.put_many("encoder", keys, vectors)
    shutil.rmtree(cache.path)
    assert not cache.get_many("encoder", keys)[1].any()
    cache.put_many("encoder", keys, vectors)
    assert cache.get_many("encoder", keys)[1].all()
    assert _found_by_another_process(cache.path, 10)


def test_a_folder_moved_while_open_is_found_where_it_went(cache, tmp_path):
    keys, vectors = _items(10)
    cache.put_many("encoder", keys, vectors)
    cache.path.rename(tmp_path / "elsewhere")
    moved = EmbeddingCache(tmp_path / "elsewhere")
    assert_array_equal(moved.get_many("encoder", keys)[0], vectors)
    assert not cache.get_many("encoder", keys)[1].any()
    cache.put_many("encoder", keys[:5], vectors[:5])
    assert_array_equal(cache.get_many("encoder", keys)[1], np.arange(10) < 5)
    assert moved.get_many("encoder", keys)[1].all()


def test_a_folder_reached_by_two_paths_is_one_cache(cache, tmp_path):
    keys, vectors = _items(10)
    cache.put_many("encoder", keys, vectors)
    (tmp_path / "link").symlink_to(cache.path)
    assert EmbeddingCache(tmp_path / "link").get_many("encoder", keys)[1].all()


def _found_by_another_process(path, n_items):
    script = """
import sys
from skxmodal._content import content_keys
from skxmodal.encoders._cache import EmbeddingCache

keys = content_keys([f"caption 0 {i}" for i in range(int(sys.argv[2]))])
print(EmbeddingCache(sys.argv[1]).get_many("encoder", keys)[1].all())
"""
    return _run(script, path, n_items) == "True\n"


def test_clear_deletes_the_file_under_every_process(cache):
    keys, vectors = _items(3000, 384)
    cache.put_many("encoder", keys, vectors)
    before = cache.info()["n_bytes"]
    script = """
import sys
from skxmodal.encoders._cache import EmbeddingCache

EmbeddingCache(sys.argv[1]).clear()
"""
    _run(script, cache.path)
    assert not cache.get_many("encoder", keys)[1].any()
    info = cache.info()
    assert info["n_vectors"] == 0
    assert info["n_bytes"] < before / 20
    assert len(list(cache.path.iterdir())) == 2


def test_clear_of_one_encoder_leaves_the_others(cache):
    keys, vectors = _items(2000, 384)
    cache.put_many("one", keys, vectors)
    cache.put_many("two", keys[:50], vectors[:50])
    cache.clear("one")
    assert not cache.get_many("one", keys)[1].any()
    assert_array_equal(cache.get_many("two", keys[:50])[0], vectors[:50])
    info = cache.info()
    assert [space["namespace"] for space in info["namespaces"]] == ["two"]
    assert info["n_bytes"] < 1 << 20
    assert cache.check() == []
    cache.put_many("one", keys, vectors)
    assert cache.get_many("one", keys)[1].all()


def test_info_counts_what_is_there(cache):
    keys, vectors = _items(30)
    cache.put_many({"model": "a"}, keys, vectors)
    cache.put_many("b", keys[:10], vectors[:10, :3])
    info = cache.info()
    assert info["path"] == str(cache.path)
    assert info["n_vectors"] == 40
    assert info["namespaces"] == [
        {"namespace": '{"model": "a"}', "dim": 8, "n_vectors": 30, "n_bytes": 960},
        {"namespace": "b", "dim": 3, "n_vectors": 10, "n_bytes": 120},
    ]
    data = next(cache.path.glob("*/data.mdb"))
    assert info["n_bytes"] == data.stat().st_size >= info["n_bytes_used"] > 0


def test_a_bound_holds_and_the_latest_stay(tmp_path):
    cache = EmbeddingCache(tmp_path, max_bytes=6 << 20)
    keys, vectors = _items(8000, 384)
    for start in range(0, 8000, 100):
        part = slice(start, start + 100)
        cache.put_many("encoder", keys[part], vectors[part])
        assert cache.info()["n_bytes"] <= 6 << 20
    back, found = cache.get_many("encoder", keys)
    assert_array_equal(back[found], vectors[found])
    # A row of 384 numbers is 1.5 KiB: more than half of the bound holds vectors.
    assert found.sum() > 2000
    assert_array_equal(np.flatnonzero(found), np.arange(8000 - found.sum(), 8000))
    assert cache.check() == []


def test_a_batch_larger_than_the_bound_keeps_its_end(tmp_path):
    cache = EmbeddingCache(tmp_path, max_bytes=4 << 20)
    keys, vectors = _items(20_000, 384)
    cache.put_many("encoder", keys, vectors)
    _, found = cache.get_many("encoder", keys)
    assert found[-1]
    assert 1000 < found.sum() < 2800
    assert cache.info()["n_bytes"] <= 4 << 20


def test_what_was_used_longest_ago_goes_first(tmp_path):
    cache = EmbeddingCache(tmp_path, max_bytes=8 << 20)
    batches = [_items(500, 384, seed) for seed in range(12)]
    for number, (keys, vectors) in enumerate(batches):
        cache.put_many("encoder", keys, vectors)
        # The first batch is read all the time, the second never.
        assert cache.get_many("encoder", batches[0][0])[1].all(), number
    assert not cache.get_many("encoder", batches[1][0])[1].any()
    assert cache.get_many("encoder", batches[-1][0])[1].all()


def test_reading_in_another_process_counts_as_use(tmp_path):
    cache = EmbeddingCache(tmp_path, max_bytes=8 << 20)
    batches = [_items(600, 384, seed) for seed in range(7)]
    for keys, vectors in batches[:4]:
        cache.put_many("encoder", keys, vectors)
    assert _found_by_another_process(tmp_path, 600)
    for keys, vectors in batches[4:]:
        cache.put_many("encoder", keys, vectors)
    assert cache.get_many("encoder", batches[0][0])[1].all()
    assert not cache.get_many("encoder", batches[1][0])[1].any()


def test_a_large_cache_is_brought_within_a_new_bound(tmp_path):
    keys, vectors = _items(8000, 384)
    EmbeddingCache(tmp_path).put_many("encoder", keys, vectors)
    bounded = EmbeddingCache(tmp_path, max_bytes=5 << 20)
    assert bounded.info()["n_bytes"] > 12 << 20
    more, more_vectors = _items(10, 384, seed=1)
    bounded.put_many("encoder", more, more_vectors)
    assert bounded.info()["n_bytes"] <= 5 << 20
    assert bounded.get_many("encoder", more)[1].all()
    assert bounded.get_many("encoder", keys[-500:])[1].all()
    assert bounded.check() == []


def _data_file(cache):
    get_store(cache.path).close()
    return next(cache.path.glob("*/data.mdb"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.write_bytes(data.read_bytes()[: 5 * 4096]),
        lambda data: data.write_bytes(b"not a database" * 5000),
        lambda data: data.write_bytes(data.read_bytes()[:100]),
    ],
)
def test_a_damaged_file_is_replaced(cache, damage):
    keys, vectors = _items(500, 384)
    cache.put_many("encoder", keys, vectors)
    damage(_data_file(cache))
    with pytest.warns(CacheWarning, match="is damaged .* and starts anew"):
        _, found = cache.get_many("encoder", keys)
    assert not found.any()
    cache.put_many("encoder", keys, vectors)
    assert cache.get_many("encoder", keys)[1].all()
    assert cache.check() == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: shutil.rmtree(next(path.glob("format-*-*"))),
        lambda path: next(path.glob("*/data.mdb")).unlink(),
        lambda path: next(path.glob("*/data.mdb")).write_bytes(b""),
        lambda path: next(p for p in path.iterdir() if p.is_file()).write_text(""),
        lambda path: next(p for p in path.iterdir() if p.is_file()).write_text("x\xe9"),
    ],
)
def test_a_part_that_is_missing_is_made_again(cache, damage):
    keys, vectors = _items(50)
    cache.put_many("encoder", keys, vectors)
    get_store(cache.path).close()
    damage(cache.path)
    assert not cache.get_many("encoder", keys)[1].any()
    cache.put_many("encoder", keys, vectors)
    assert cache.get_many("encoder", keys)[1].all()


def test_check_finds_a_changed_vector(cache):
    keys, vectors = _items(500, 384)
    cache.put_many("encoder", keys, vectors)
    data = _data_file(cache)
    content = data.read_bytes()
    assert content.count(vectors[200].tobytes()) == 1
    changed = vectors[200].copy()
    changed[7] += 1
    data.write_bytes(content.replace(vectors[200].tobytes(), changed.tobytes()))
    faults = cache.check()
    assert len(faults) == 1
    assert "differs from its checksum" in faults[0]


def test_other_formats_in_the_folder_are_left_alone(cache):
    keys, vectors = _items(5)
    cache.path.mkdir()
    later = cache.path / "format-99"
    later.write_text("of a later version")
    cache.put_many("encoder", keys, vectors)
    cache.clear()
    assert later.read_text() == "of a later version"


def test_a_folder_that_cannot_be_used_loses_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    cache = EmbeddingCache(tmp_path / "file" / "cache")
    keys, vectors = _items(5)
    with pytest.warns(CacheWarning, match="encoding goes on without it"):
        _, found = cache.get_many("encoder", keys)
    assert not found.any()
    with pytest.warns(CacheWarning, match="can't be used to write"):
        cache.put_many("encoder", keys, vectors)
    with pytest.raises(OSError, match="file"):
        cache.info()


def test_a_cache_is_a_parameter_like_any_other(cache):
    keys, vectors = _items(5)
    cache.put_many("encoder", keys, vectors)
    for copy in (pickle.loads(pickle.dumps(cache)), clone(cache, safe=False)):
        assert copy == cache
        assert hash(copy) == hash(cache)
        assert copy.get_many("encoder", keys)[1].all()
    assert cache != EmbeddingCache(cache.path, max_bytes=4 << 20)
    assert repr(cache) == f"EmbeddingCache({str(cache.path)!r})"
    bounded = EmbeddingCache("/a", max_bytes=4 << 20)
    assert repr(bounded) == "EmbeddingCache('/a', max_bytes=4194304)"


def test_resolve_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SKXMODAL_CACHE", str(tmp_path / "moved"))
    assert resolve_cache(False) is None
    for default in (None, True):
        assert resolve_cache(default).path == tmp_path / "moved" / "embeddings"
    assert resolve_cache(tmp_path / "own").path == tmp_path / "own"
    assert resolve_cache(str(tmp_path)) == EmbeddingCache(tmp_path)
    cache = EmbeddingCache(tmp_path)
    assert resolve_cache(cache) is cache
    with pytest.raises(TypeError, match="cache must be None, a bool, a path"):
        resolve_cache(3)


def test_the_environment_turns_the_default_off_and_no_path(tmp_path, monkeypatch):
    for off in ("off", "OFF"):
        monkeypatch.setenv("SKXMODAL_CACHE", off)
        assert resolve_cache(None) is None
        assert resolve_cache(tmp_path).path == tmp_path


def test_the_default_is_the_platforms_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("SKXMODAL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = resolve_cache(None).path
    assert folder.name == "embeddings"
    assert tmp_path in folder.parents


def test_a_default_that_cannot_be_made_is_no_cache(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SKXMODAL_CACHE", str(tmp_path / "file"))
    with pytest.warns(CacheWarning, match="Embeddings are not kept"):
        assert resolve_cache(None) is None


def test_without_lmdb_the_default_warns_and_a_path_says_what_to_install(tmp_path):
    script = """
import sys, warnings
sys.modules["lmdb"] = None
from skxmodal.encoders._cache import resolve_cache
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(resolve_cache(None))
print("pip install 'skxmodal[encoders]'" in str(caught[0].message))
try:
    resolve_cache(sys.argv[1])
except ImportError as error:
    print("pip install 'skxmodal[encoders]'" in str(error))
"""
    assert _run(script, tmp_path).split() == ["None", "True", "True"]


def test_the_working_folder_may_change(tmp_path, monkeypatch):
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path)
    cache = EmbeddingCache("cache")
    keys, vectors = _items(3)
    cache.put_many("encoder", keys, vectors)
    monkeypatch.chdir(tmp_path / "inner")
    assert cache.get_many("encoder", keys)[1].all()
    assert not any(Path.cwd().iterdir())
    assert (tmp_path / "cache").is_dir()


def first_chunk(txn):
    return next(bytes(chunk_id) for chunk_id, _ in txn.cursor(b"chunks"))


def lose_chunk(txn):
    txn.delete(b"chunks", first_chunk(txn))


def lose_time(txn):
    txn.delete(b"used", first_chunk(txn))


def lose_entries(txn):
    for key in [bytes(key) for key, _ in txn.cursor(b"entries")][:2]:
        txn.delete(b"entries", key)


@pytest.mark.parametrize(
    ("lose", "faults"),
    [
        (lose_chunk, ["entries has 10 records, not 0", "used has 1 records, not 0"]),
        (lose_time, ["has no time of use", "used has 0 records, not 1"]),
        (lose_entries, ["2 keys of chunk 1 lead elsewhere", "entries has 8 records"]),
    ],
)
def test_lost_records_are_found_and_written_anew(cache, lose, faults):
    keys, vectors = _items(10)
    cache.put_many("encoder", keys, vectors)
    get_store(cache.path).write(lose)
    found = cache.check()
    assert len(found) == len(faults)
    for ours, expected in zip(found, faults, strict=True):
        assert expected in ours
    # What is left is right, and what isn't there is said to be missing.
    back, there = cache.get_many("encoder", keys, dim=8)
    assert there.sum() == {lose_chunk: 0, lose_time: 10, lose_entries: 8}[lose]
    assert_array_equal(back[there], vectors[there])
    cache.clear()
    cache.put_many("encoder", keys, vectors)
    assert cache.check() == []


def test_a_lost_chunk_is_no_hindrance_to_a_bound(tmp_path):
    cache = EmbeddingCache(tmp_path / "cache", max_bytes=1 << 23)
    keys, vectors = _items(1000, 512)
    cache.put_many("encoder", keys, vectors)
    store = get_store(cache.path)
    # Its time of use leads to nothing.
    store.write(lambda txn: txn.delete(b"chunks", first_chunk(txn)))
    for seed in range(1, 8):
        keys, vectors = _items(1000, 512, seed)
        cache.put_many("encoder", keys, vectors)
    back, found = cache.get_many("encoder", keys)
    assert found.all()
    assert_array_equal(back, vectors)
    assert store.file_bytes() <= 1 << 23


def test_a_store_grows_to_its_bound_and_no_further(tmp_path):
    store = get_store(tmp_path / "cache")
    size = SMALLEST_MAP // 4

    def fill(n):
        def change(txn):
            for number in range(n):
                txn.put(b"meta", f"{number:04d}".encode(), bytes(size))

        return change

    with pytest.raises(store._lmdb.MapFullError, match="is full at"):
        store.write(fill(9), max_bytes=2 * SMALLEST_MAP)
    with store.reading() as txn:
        assert txn.n_entries(b"meta") == 0
    store.write(fill(7), max_bytes=2 * SMALLEST_MAP)
    assert store.file_bytes() <= 2 * SMALLEST_MAP


def test_clearing_removes_what_killed_processes_left(cache):
    keys, vectors = _items(5)
    cache.put_many("encoder", keys, vectors)
    old, young = (cache.path / f"format-1-{name}" for name in ("old", "young"))
    draft = cache.path / "format-1-old.draft"
    for folder in (old, young):
        folder.mkdir()
        (folder / "data.mdb").write_text("")
    draft.write_text("")
    for path in (old, draft):
        os.utime(path, (time.time() - 2 * ORPHAN_SECONDS,) * 2)
    cache.clear()
    assert not old.exists()
    assert not draft.exists()
    # It may be somebody's who is about to point to it.
    assert young.exists()


def test_caches_are_equal_by_path_and_bound(tmp_path):
    cache = EmbeddingCache(tmp_path)
    assert cache == EmbeddingCache(str(tmp_path))
    assert cache != EmbeddingCache(tmp_path, max_bytes=1 << 23)
    assert cache != str(tmp_path)


@pytest.mark.parametrize("bound", ["1GB", 5e6, float("nan"), True, [1 << 23]])
def test_a_bound_is_an_integer_number_of_bytes(tmp_path, bound):
    with pytest.raises(TypeError, match="max_bytes must be an integer number of bytes"):
        EmbeddingCache(tmp_path, max_bytes=bound)


def test_a_bound_may_be_of_numpy(tmp_path):
    cache = EmbeddingCache(tmp_path, max_bytes=np.int64(4 << 20))
    assert repr(cache).endswith("max_bytes=4194304)")


def test_an_empty_path_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for make in (lambda: EmbeddingCache(""), lambda: resolve_cache("")):
        with pytest.raises(ValueError, match="path of a cache is empty"):
            make()
    assert list(tmp_path.iterdir()) == []
