from __future__ import annotations

import os
import threading
import time

import pytest
import torch

from skxmodal._content import content_keys, hash_file
from skxmodal.encoders import _cache_files
from skxmodal.encoders._cache import EmbeddingCache
from skxmodal.encoders._cache_store import get_store


@pytest.fixture
def cache(tmp_path):
    return EmbeddingCache(tmp_path / "cache")


@pytest.fixture
def soon_old(monkeypatch):
    """Files are old enough after a twentieth of a second, so that tests are short."""
    monkeypatch.setattr(_cache_files, "RACY_NANOSECONDS", 50_000_000)
    return 0.1


def _digest_on_record(cache, path, digest):
    """Put another digest on record, to see whether it is taken for the file's own."""
    with get_store(cache.path).reading() as txn:
        record = bytes(txn.get(b"files", _cache_files.file_key(str(path))))
    state = record[:-20]
    get_store(cache.path).write(
        lambda txn: txn.put(b"files", _cache_files.file_key(str(path)), state + digest)
    )


def test_a_file_is_not_read_again(cache, tmp_path, soon_old):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"picture")
    time.sleep(soon_old)
    assert cache.hash_files([str(path)]) == [hash_file(path)]
    assert cache.info()["n_files"] == 1
    _digest_on_record(cache, path, b"x" * 20)
    assert cache.hash_files([str(path)]) == [b"x" * 20]
    assert content_keys([path], kind="picture", hash_files=cache.hash_files) == [
        b"x" * 20
    ]


def test_a_file_that_has_just_changed_is_read_again(cache, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"picture")
    assert cache.hash_files([str(path)]) == [hash_file(path)]
    assert cache.info()["n_files"] == 0


def test_a_time_set_into_the_past_makes_no_file_old(cache, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"picture")
    os.utime(path, ns=(10**18, 10**18))
    cache.hash_files([str(path)])
    assert cache.info()["n_files"] == 0


def test_contents_of_one_size_that_follow_at_once(cache, tmp_path):
    path = tmp_path / "a.jpg"
    for number in range(300):
        path.write_bytes(b"%05d" % number)
        assert cache.hash_files([str(path)]) == [hash_file(path)]


def test_a_replacement_of_one_size_and_time(cache, tmp_path, soon_old):
    path, other = tmp_path / "a.jpg", tmp_path / "b.jpg"
    for replace in (
        lambda: path.write_bytes(other.read_bytes()),
        lambda: other.rename(path),
    ):
        path.write_bytes(b"one picture")
        other.write_bytes(b"two picture")
        for file in (path, other):
            os.utime(file, ns=(10**18, 10**18))
        time.sleep(soon_old)
        first = cache.hash_files([str(path)])
        assert cache.info()["n_files"] == 1
        replace()
        os.utime(path, ns=(10**18, 10**18))
        second = cache.hash_files([str(path)])
        assert first != second == [hash_file(path)]


def test_a_link_that_leads_elsewhere(cache, tmp_path, soon_old):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "a")
    time.sleep(soon_old)
    first = cache.hash_files([str(link)])
    link.unlink()
    link.symlink_to(tmp_path / "b")
    assert first != cache.hash_files([str(link)]) == [hash_file(tmp_path / "b")]


def test_relative_paths_are_those_of_the_folder(cache, tmp_path, soon_old, monkeypatch):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a").write_bytes(folder.encode())
    time.sleep(soon_old)
    digests = []
    for folder in ("one", "two"):
        monkeypatch.chdir(tmp_path / folder)
        digests += cache.hash_files(["a"])
    assert digests[0] != digests[1] == hash_file("a")


def test_many_files(cache, tmp_path, soon_old):
    paths = [tmp_path / f"{i}.jpg" for i in range(100)]
    for path in paths:
        path.write_bytes(path.name.encode())
    time.sleep(soon_old)
    asked = [str(path) for path in paths]
    expected = [hash_file(path) for path in paths]
    assert cache.hash_files(asked[::2]) == expected[::2]
    assert cache.hash_files(asked) == expected
    assert cache.info()["n_files"] == 100


def test_a_missing_file_is_an_error_of_the_file(cache, tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        cache.hash_files([str(tmp_path / "gone.jpg")])


def test_the_table_of_files_keeps_to_its_part_of_a_bound(tmp_path, soon_old):
    cache = EmbeddingCache(tmp_path / "cache", max_bytes=4 << 20)
    paths = [tmp_path / str(i) for i in range(4000)]
    for path in paths:
        path.touch()
    time.sleep(soon_old)
    cache.hash_files([str(path) for path in paths])
    assert cache.info()["n_files"] == 4000
    for part in range(40):
        keys = content_keys([f"{part} {i}" for i in range(100)])
        cache.put_many("encoder", keys, [[0.0] * 384] * 100)
    assert cache.info()["n_files"] == 0
    assert cache.check() == []


def test_digests_keep_within_the_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(_cache_files, "state_of", lambda path: bytes(40))
    monkeypatch.setattr(
        _cache_files,
        "hash_files",
        lambda paths: [(bytes(20), bytes(40)) for _ in paths],
    )
    cache = EmbeddingCache(tmp_path, max_bytes=4 << 20)
    paths = [f"/pictures/{row}.jpg" for row in range(60_000)]
    assert cache.hash_files(paths) == [bytes(20)] * 60_000
    assert cache.info()["n_bytes"] <= 4 << 20
    assert cache.info()["n_files"] > 0
    assert cache.check() == []


@pytest.mark.parametrize("n_threads", [1, 3])
def test_files_are_read_by_as_many_threads_as_torch_has(
    tmp_path, monkeypatch, n_threads
):
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
    seen = set()

    def hash_slowly(path):
        seen.add(threading.get_ident())
        time.sleep(0.01)
        return bytes(20), None

    monkeypatch.setattr(_cache_files, "hash_steady", hash_slowly)
    paths = [str(tmp_path / str(row)) for row in range(20)]
    _cache_files.hash_files(paths)
    assert len(seen) == n_threads
