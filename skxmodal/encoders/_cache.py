"""Embeddings kept between calls, folds, candidates, processes and runs."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from numbers import Integral
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skxmodal import _paths
from skxmodal._content import DIGEST_SIZE
from skxmodal.encoders import _cache_files as files
from skxmodal.encoders import _cache_records as records
from skxmodal.encoders._cache_store import (
    CacheWarning,
    Store,
    Transaction,
    get_store,
)

Namespace: TypeAlias = bytes | str | Mapping[str, Any]

SMALLEST_BOUND = 4 << 20
_READ_AT_ONCE = 4096
_BYTES_AT_ONCE = 16 << 20
# Uses that are only known to this process are written once they are this many.
_TOUCHED_AT_MOST = 2048
# Pages in use by which an eviction starts and ends. LMDB never writes over a page that
# the last transaction can see, so a file that is quite full could not be changed.
_FULL, _ROOMY = 0.8, 0.6


class EmbeddingCache:
    """Embeddings on disk, by what was encoded and by everything that encoded it.

    Any number of threads and processes may use one folder at the same time. A process
    that is killed loses the batch it was writing, and nothing else. The folder may be
    moved or deleted at any time.

    Parameters
    ----------
    path : str or path
        Folder of the cache. It is made on first use. It must not be on a network's
        file system without locks.
    max_bytes : int, default=None
        Largest size of the file, in bytes; at least 4 MiB. What was used longest ago
        goes first, in chunks of about 100 KiB that were stored together. By default
        the file grows without bound.

    Raises
    ------
    TypeError
        If ``max_bytes`` is no integer.
    ValueError
        If ``max_bytes`` is below 4 MiB, or the path is empty.
    ImportError
        If lmdb is not installed.

    Notes
    -----
    Vectors come back bit for bit. The first vector stored for a key stays: encoding an
    item again in another batch may round its last bits differently.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from skxmodal._content import content_keys
    >>> from skxmodal.encoders import EmbeddingCache
    >>> folder = tempfile.TemporaryDirectory()
    >>> cache = EmbeddingCache(folder.name)
    >>> dog, cat = content_keys(["a dog", "a cat"])
    >>> cache.put_many("an encoder", [dog], np.ones((1, 3), dtype=np.float32))
    >>> vectors, found = cache.get_many("an encoder", [dog, cat])
    >>> found
    array([ True, False])
    >>> vectors[found]
    array([[1., 1., 1.]], dtype=float32)
    >>> cache.info()["n_vectors"]
    1
    >>> folder.cleanup()
    """

    def __init__(
        self, path: str | os.PathLike[str], *, max_bytes: int | None = None
    ) -> None:
        if not os.fspath(path):
            raise ValueError(
                "The path of a cache is empty. Give a folder; '.' is the current one."
            )
        if max_bytes is not None:
            if not isinstance(max_bytes, Integral) or isinstance(max_bytes, bool):
                raise TypeError(
                    "max_bytes must be an integer number of bytes, such as 10**9, or "
                    f"None for no bound, got {max_bytes!r}."
                )
            if max_bytes < SMALLEST_BOUND:
                raise ValueError(
                    f"max_bytes must be at least {SMALLEST_BOUND} (4 MiB) or None for "
                    f"no bound, got {max_bytes}."
                )
        self.path = Path(path).expanduser().absolute()
        self.max_bytes = None if max_bytes is None else int(max_bytes)
        get_store(self.path)

    def __repr__(self) -> str:
        bound = "" if self.max_bytes is None else f", max_bytes={self.max_bytes}"
        return f"EmbeddingCache({str(self.path)!r}{bound})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EmbeddingCache):
            return NotImplemented
        return (self.path, self.max_bytes) == (other.path, other.max_bytes)

    def __hash__(self) -> int:
        return hash((self.path, self.max_bytes))

    def get_many(
        self,
        namespace: Namespace,
        keys: Sequence[bytes],
        dim: int | None = None,
        *,
        return_marks: bool = False,
    ) -> tuple[NDArray[Any], ...]:
        """Look up vectors.

        Parameters
        ----------
        namespace : bytes, str or mapping
            Everything that changes a vector: an encoder's fingerprint.
        keys : sequence of bytes of length n
            Keys of 20 bytes, from :func:`skxmodal._content.content_keys`.
        dim : int, default=None
            Length of a vector, by default that of the vectors stored.
        return_marks : bool, default=False
            Whether the marks are returned too.

        Returns
        -------
        vectors : ndarray of shape (n, dim), float32
            The vectors, with zeros where there is none. Its second axis is of length
            0 if ``dim`` is None and the namespace is unknown.
        found : ndarray of shape (n,), bool
            Which keys were found.
        marks : ndarray of shape (n,), bool
            Which of them were stored with a mark. Only where ``return_marks=True``.
        """
        _check_keys(keys)
        vectors = np.zeros((len(keys), dim or 0), dtype=np.float32)
        found = np.zeros(len(keys), dtype=bool)
        marks = np.zeros(len(keys), dtype=bool)
        with self._or_go_on("read"):
            store = get_store(self.path)
            for start in range(0, len(keys), _READ_AT_ONCE):
                rows = slice(start, start + _READ_AT_ONCE)
                with store.reading() as txn:
                    number, width = _find_namespace(txn, namespace)
                    if number is None or (dim is not None and dim != width):
                        break
                    if vectors.shape[1] != width:
                        vectors = np.zeros((len(keys), width), dtype=np.float32)
                    places = records.find(txn, number, keys[rows])
                    found[rows], used = records.read(txn, places, vectors[rows])
                    marks[rows] = records.marked(places) & found[rows]
                for chunk_id in used:
                    store.touched.pop(chunk_id, None)
                    store.touched[chunk_id] = None
            if len(store.touched) > _TOUCHED_AT_MOST:
                _write_touched(store)
        return (vectors, found, marks) if return_marks else (vectors, found)

    def put_many(
        self,
        namespace: Namespace,
        keys: Sequence[bytes],
        vectors: ArrayLike,
        marks: ArrayLike | None = None,
    ) -> None:
        """Store vectors, all of them or, if the process is killed, whole batches.

        Parameters
        ----------
        namespace : bytes, str or mapping
            Everything that changes a vector: an encoder's fingerprint.
        keys : sequence of bytes of length n
            Keys of 20 bytes. Those that are there already keep their vector.
        vectors : array-like of shape (n, dim)
            Their vectors, stored as float32.
        marks : array-like of shape (n,) of bool, default=None
            Vectors to mark, which stay so. Encoders mark texts that were cut.

        Raises
        ------
        ValueError
            If there are not as many vectors or marks as keys, or the vectors are not
            as long as those in the namespace.
        """
        _check_keys(keys)
        rows = np.asarray(vectors, dtype=np.float32)
        if rows.ndim != 2 or len(rows) != len(keys):
            raise ValueError(
                f"Expected a vector for each of {len(keys)} keys, an array of shape "
                f"({len(keys)}, dim), got shape {rows.shape}."
            )
        marked = np.zeros(len(keys), dtype=bool)
        if marks is not None:
            marked = np.asarray(marks, dtype=bool)
            if marked.shape != (len(keys),):
                raise ValueError(
                    f"Expected a mark for each of {len(keys)} keys, got shape "
                    f"{marked.shape}."
                )
        room = self.max_bytes or 16 * _BYTES_AT_ONCE
        at_once = min(_BYTES_AT_ONCE, room // 16) // max(1, 4 * rows.shape[1])
        with self._or_go_on("write"):
            store = get_store(self.path)
            for start in range(0, len(keys), max(1, at_once)):
                part = slice(start, start + max(1, at_once))
                self._put(store, namespace, keys[part], rows[part], marked[part])

    def hash_files(self, paths: Sequence[str]) -> list[bytes]:
        """Digest files, reading only those that changed since they were digested.

        Parameters
        ----------
        paths : sequence of str
            The files.

        Returns
        -------
        digests : list of bytes
            As :func:`skxmodal._content.hash_file` gives them.

        Raises
        ------
        OSError
            If a file can't be read.
        """
        digests: list[bytes | None] = [None] * len(paths)
        states = [files.state_of(path) for path in paths]
        store = get_store(self.path)
        with self._or_go_on("read"):
            for start in range(0, len(paths), _READ_AT_ONCE):
                part = slice(start, start + _READ_AT_ONCE)
                with store.reading() as txn:
                    digests[part] = files.known_digests(txn, paths[part], states[part])
        unknown = [path for path, d in zip(paths, digests, strict=True) if d is None]
        hashed = files.hash_files(unknown)
        if any(state is not None for _, state in hashed):
            with self._or_go_on("write"):
                for start in range(0, len(unknown), _READ_AT_ONCE):
                    part = slice(start, start + _READ_AT_ONCE)
                    self._put_files(store, unknown[part], hashed[part])
        fresh = iter(hashed)
        return [next(fresh)[0] if digest is None else digest for digest in digests]

    def info(self) -> dict[str, Any]:
        """Say what the cache holds.

        Returns
        -------
        info : dict
            ``path``, ``max_bytes``; ``n_bytes`` on disk and ``n_bytes_used`` of them;
            ``n_vectors``, ``n_files`` whose digest is known; and ``namespaces``, a
            list of dicts with ``namespace``, ``dim``, ``n_vectors`` and ``n_bytes``
            (of the vectors alone).
        """
        store = get_store(self.path)
        _write_touched(store)
        with store.reading() as txn:
            names = _namespaces(txn)
            counts = dict.fromkeys(names, 0)
            for _, number, n_rows in records.chunk_heads(txn):
                counts[number] += n_rows
            used, n_files = txn.used_bytes(), txn.n_entries(b"files")
        spaces = [
            {
                "namespace": name,
                "dim": dim,
                "n_vectors": counts[number],
                "n_bytes": 4 * dim * counts[number],
            }
            for number, (name, dim) in names.items()
            if counts[number]
        ]
        return {
            "path": str(self.path),
            "max_bytes": self.max_bytes,
            "n_bytes": store.file_bytes(),
            "n_bytes_used": used,
            "n_vectors": sum(counts.values()),
            "n_files": n_files,
            "namespaces": spaces,
        }

    def clear(self, namespace: Namespace | None = None) -> None:
        """Delete the vectors, all of them or one namespace's.

        Parameters
        ----------
        namespace : bytes, str or mapping, default=None
            The namespace to delete. By default the whole cache, and its file.
        """
        store = get_store(self.path)
        if namespace is None:
            store.replace()
            return

        def delete(txn: Transaction) -> None:
            number, _ = _find_namespace(txn, namespace)
            heads = list(records.chunk_heads(txn))
            for chunk_id, owner, _ in heads:
                if owner == number:
                    records.delete(txn, chunk_id)

        store.write(delete)
        store.compact()

    def check(self) -> list[str]:
        """Read everything, and look for faults.

        Returns
        -------
        faults : list of str
            What is wrong, in words; empty if nothing is.
        """
        with get_store(self.path).reading() as txn:
            faults = records.find_faults(txn)
            names = _namespaces(txn)
            strays = {
                number
                for _, number, _ in records.chunk_heads(txn)
                if number not in names
            }
        return faults + [f"namespace {number} has no name" for number in sorted(strays)]

    def _put(
        self,
        store: Store,
        namespace: Namespace,
        keys: Sequence[bytes],
        vectors: NDArray[np.float32],
        marks: NDArray[np.bool_],
    ) -> None:
        def put(txn: Transaction) -> None:
            number = _add_namespace(txn, namespace, vectors.shape[1])
            records.touch(txn, list(store.touched))
            records.write(txn, number, keys, vectors, marks)

        self._write_in_bounds(store, put, vectors.nbytes + len(keys) * 100)
        store.touched.clear()

    def _put_files(
        self,
        store: Store,
        paths: Sequence[str],
        hashed: Sequence[tuple[bytes, bytes | None]],
    ) -> None:
        self._write_in_bounds(
            store,
            lambda txn: files.record(txn, paths, hashed),
            len(paths) * files.ROOM_OF_A_FILE,
        )

    def _write_in_bounds(
        self, store: Store, change: Callable[[Transaction], None], n_bytes: int
    ) -> None:
        """Apply a change that takes so much room, after making it where it is short."""
        if self.max_bytes is not None:
            self._make_room(store, n_bytes)
        try:
            store.write(change, max_bytes=self.max_bytes)
        except _lmdb().MapFullError:
            # Free pages may lie too scattered for a chunk, and a copy is in one piece.
            store.compact()
            store.write(change, max_bytes=self.max_bytes)
        if self.max_bytes is not None and store.file_bytes() > self.max_bytes:
            store.compact()

    def _make_room(self, store: Store, n_bytes: int) -> None:
        bound = self.max_bytes or 0

        def evict(txn: Transaction) -> bool:
            files.trim(txn, bound)
            used = txn.used_bytes()
            if used + n_bytes <= _FULL * bound:
                return False
            records.touch(txn, list(store.touched))
            for chunk_id in records.least_recently_used(txn):
                if used + n_bytes <= _ROOMY * bound:
                    break
                records.delete(txn, chunk_id)
                used = txn.used_bytes()
            return True

        with store.reading() as txn:
            enough = txn.used_bytes() + n_bytes <= _FULL * bound
        if not enough:
            store.write(evict, max_bytes=None)

    @contextlib.contextmanager
    def _or_go_on(self, purpose: str) -> Iterator[None]:
        """Warn if the cache can't be used: nothing that was encoded is lost for it."""
        lmdb = _lmdb()
        try:
            yield
        except (OSError, lmdb.Error) as error:
            warnings.warn(
                f"The embedding cache in {self.path} can't be used to {purpose} "
                f"({error}), encoding goes on without it. Give another folder as "
                f"cache= or as ${_paths.CACHE_VARIABLE}, or turn it off with "
                "cache=False.",
                CacheWarning,
                stacklevel=3,
            )


def resolve_cache(cache: Any) -> EmbeddingCache | None:
    """Give the cache that an encoder's ``cache`` parameter means.

    Parameters
    ----------
    cache : None, bool, str, path or EmbeddingCache
        None and True mean the default: the platform's cache folder, or
        ``$SKXMODAL_CACHE``, which is a path or "off". False means none, a path means
        a cache there.

    Returns
    -------
    cache : EmbeddingCache or None
        None where embeddings are not kept.

    Raises
    ------
    TypeError
        If ``cache`` is none of these.
    """
    if cache is False:
        return None
    if isinstance(cache, EmbeddingCache):
        return cache
    if cache is None or cache is True:
        configured = os.environ.get(_paths.CACHE_VARIABLE, "")
        if configured.lower() == "off":
            return None
        try:
            return EmbeddingCache(_paths.cache_folder("embeddings"))
        except (ImportError, OSError) as error:
            warnings.warn(
                f"Embeddings are not kept between calls: {error}. Give a folder as "
                f"cache= or as ${_paths.CACHE_VARIABLE}, or turn the cache off with "
                "cache=False.",
                CacheWarning,
                stacklevel=2,
            )
            return None
    if isinstance(cache, str | os.PathLike):
        return EmbeddingCache(cache)
    raise TypeError(
        "cache must be None, a bool, a path or an EmbeddingCache, got "
        f"{type(cache).__name__} ({cache!r:.60})."
    )


def _lmdb() -> Any:
    import lmdb

    return lmdb


def _check_keys(keys: Sequence[bytes]) -> None:
    for key in keys:
        if not isinstance(key, bytes) or len(key) != DIGEST_SIZE:
            raise ValueError(
                f"Expected keys of {DIGEST_SIZE} bytes, as content_keys gives them, "
                f"got {key!r:.60}."
            )


def _as_text(namespace: Namespace) -> str:
    if isinstance(namespace, bytes):
        return namespace.hex()
    if isinstance(namespace, str):
        return namespace
    return json.dumps(dict(namespace), sort_keys=True, default=str)


def _find_namespace(txn: Transaction, namespace: Namespace) -> tuple[int | None, int]:
    digest = blake2b(_as_text(namespace).encode(), digest_size=16).digest()
    record = txn.get(b"namespaces", digest)
    if record is None:
        return None, 0
    entry = json.loads(bytes(record))
    return entry["number"], entry["dim"]


def _add_namespace(txn: Transaction, namespace: Namespace, dim: int) -> int:
    number, known_dim = _find_namespace(txn, namespace)
    if number is not None:
        if dim != known_dim:
            raise ValueError(
                f"Expected vectors of length {known_dim}, as those stored for this "
                f"encoder, got length {dim}."
            )
        return number
    text = _as_text(namespace)
    number = txn.n_entries(b"namespaces") + 1
    entry = {"number": number, "dim": dim, "namespace": text}
    digest = blake2b(text.encode(), digest_size=16).digest()
    txn.put(b"namespaces", digest, json.dumps(entry).encode())
    return number


def _namespaces(txn: Transaction) -> dict[int, tuple[str, int]]:
    entries = [json.loads(bytes(value)) for _, value in txn.cursor(b"namespaces")]
    entries.sort(key=lambda entry: entry["number"])
    return {entry["number"]: (entry["namespace"], entry["dim"]) for entry in entries}


def _write_touched(store: Store) -> None:
    touched = list(store.touched)
    if touched:
        store.write(lambda txn: records.touch(txn, touched))
        store.touched.clear()


@atexit.register
def _write_all_touched() -> None:
    from skxmodal.encoders._cache_store import _stores

    for store in list(_stores.values()):
        # A cache that is gone or full by now needs no times of use.
        with contextlib.suppress(Exception):
            _write_touched(store)
