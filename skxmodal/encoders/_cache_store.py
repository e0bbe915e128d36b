"""The embedding cache's file: one LMDB environment that processes share."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from skxmodal._optional import import_optional

T = TypeVar("T")

# Raise it when the records change: each format has files of its own in the folder.
FORMAT = 1
SMALLEST_MAP = 1 << 26
# A generation nobody points to is rubbish of a killed process once it is this old.
ORPHAN_SECONDS = 3600.0
_ATTEMPTS = 20
_DATABASES = (b"namespaces", b"entries", b"chunks", b"used", b"files", b"meta")


class CacheWarning(UserWarning):
    """The embedding cache can't be used, and encoding goes on without it."""


@dataclass(frozen=True)
class Transaction:
    """A transaction and the store's databases, by name."""

    handle: Any
    databases: dict[bytes, Any]

    def get(self, database: bytes, key: bytes) -> Any:
        return self.handle.get(key, None, self.databases[database])

    def put(self, database: bytes, key: bytes, value: bytes) -> None:
        self.handle.put(key, value, db=self.databases[database])

    def delete(self, database: bytes, key: bytes) -> None:
        self.handle.delete(key, db=self.databases[database])

    def cursor(self, database: bytes) -> Any:
        return self.handle.cursor(self.databases[database])

    def empty(self, database: bytes) -> None:
        self.handle.drop(self.databases[database], delete=False)

    def n_entries(self, database: bytes) -> int:
        return int(self.handle.stat(self.databases[database])["entries"])

    def used_bytes(self, *databases: bytes) -> int:
        """Size of the pages that hold records, all databases' by default."""
        pages = 0
        for name in databases or _DATABASES:
            stat = self.handle.stat(self.databases[name])
            pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return int(pages * stat["psize"])


class Store:
    """An LMDB environment that survives forks, growth, moves and deletion.

    The folder holds a file that names the current *generation*, a subfolder with the
    environment. Replacing that file replaces the whole store at once, which is how it
    is cleared, compacted and started anew after damage, while others have it open.

    Parameters
    ----------
    folder : Path
        Where the store lives. It is made on first use.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pointer = folder / f"format-{FORMAT}"
        # Chunks read since the last write, in order of reading.
        self.touched: dict[bytes, None] = {}
        self._lock = threading.RLock()
        self._environment: Any = None
        self._databases: dict[bytes, Any] = {}
        self._identity: tuple[int, ...] | None = None
        self._pid = 0
        self._lmdb = import_optional(
            "lmdb", extra="encoders", purpose="The embedding cache"
        )

    @contextlib.contextmanager
    def reading(self) -> Iterator[Transaction]:
        """Give a transaction that reads, its values as views of the file."""
        with self._lock:
            self._open()
            handle = self._begin_reading()
            try:
                yield Transaction(handle, self._databases)
            finally:
                handle.abort()

    def write(
        self, change: Callable[[Transaction], T], *, max_bytes: int | None = None
    ) -> T:
        """Apply a change in one transaction, again from its start if the file grows.

        Parameters
        ----------
        change : callable
            Takes a :class:`Transaction`. It may be called more than once.
        max_bytes : int, default=None
            How far the file may grow.

        Returns
        -------
        result : object
            What ``change`` returned.

        Raises
        ------
        lmdb.MapFullError
            If the file would outgrow ``max_bytes``.
        """
        with self._lock:
            for _ in range(_ATTEMPTS):
                self._open()
                handle, grow = self._begin_writing(), False
                try:
                    # The store may have been replaced while this one waited.
                    if not self._is_current():
                        continue
                    result = change(Transaction(handle, self._databases))
                    handle.commit()
                    return result
                except self._lmdb.MapFullError:
                    grow = True
                finally:
                    handle.abort()
                if grow:
                    self._grow(max_bytes)
            raise self._lmdb.Error(f"The store {self.folder} changes all the time.")

    def file_bytes(self) -> int:
        """Size of the environment's file on disk."""
        with self._lock:
            self._open()
            return (Path(self._environment.path()) / "data.mdb").stat().st_size

    def replace(self) -> None:
        """Start an empty store in place of the current one, which is deleted."""
        with self._lock:
            old = self._read_pointer()
            self.close()
            new = self._make_generation()
            self._point_to(new, replace=True)
            self._remove(old)
            self._remove_orphans()

    def compact(self) -> None:
        """Copy what is used to a new file, and delete the old one."""
        with self._lock:
            self._open()
            old = self._read_pointer()
            handle = self._begin_writing()
            try:
                # Nobody can write before the copy has taken the old one's place.
                if not self._is_current():
                    return
                new = self._new_generation()
                self._environment.copy(str(new), compact=True)
                self._point_to(new, replace=True)
            finally:
                handle.abort()
            self.close()
            self._remove(old)

    def close(self) -> None:
        """Close the file. The next use opens it again."""
        with self._lock:
            if self._environment is not None and self._pid == os.getpid():
                self._environment.close()
            self._environment = None

    def close_if_stale(self) -> None:
        """Close the file if it isn't at this path any more, and nobody uses it."""
        if self._lock.acquire(blocking=False):
            try:
                if not self._is_current():
                    self.close()
            finally:
                self._lock.release()

    def before_fork(self) -> None:
        """Close, since an environment must not be carried over a fork."""
        self._lock.acquire()
        self.close()

    def after_fork(self) -> None:
        """Let the parent's threads, and the child's, go on."""
        self._lock.release()

    def _open(self) -> None:
        if self._environment is not None and self._is_current():
            return
        self.close()
        damage = (
            self._lmdb.CorruptedError,
            self._lmdb.InvalidError,
            self._lmdb.PageNotFoundError,
            self._lmdb.VersionMismatchError,
        )
        for attempt in range(_ATTEMPTS):
            generation = self._read_pointer()
            if generation is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._point_to(self._make_generation(), replace=False)
                continue
            try:
                identity = self._identify()
                self._open_generation(generation)
                if identity != self._identity:
                    self.touched.clear()
                self._identity = identity
            except damage as error:
                warnings.warn(
                    f"The embedding cache in {self.folder} is damaged ({error}) and "
                    "starts anew.",
                    CacheWarning,
                    stacklevel=2,
                )
                self._start_anew(generation)
                continue
            except (OSError, self._lmdb.Error):
                # Deleted or moved in this moment, or open under its former path.
                if not generation.is_dir():
                    self._start_anew(generation)
                close_stale_stores()
                if attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(0.001 * attempt)
                continue
            if self._is_current():
                return
            self.close()
        raise self._lmdb.Error(f"The store {self.folder} changes all the time.")

    def _start_anew(self, generation: Path) -> None:
        if self._read_pointer() == generation:
            self._point_to(self._make_generation(), replace=True)
        self._remove(generation)

    def _open_generation(self, generation: Path) -> None:
        data = generation / "data.mdb"
        present = data.stat().st_size if data.exists() else 0
        environment = self._open_environment(generation, max(SMALLEST_MAP, present))
        try:
            # A file cut short would end the process at the first page that is gone.
            needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
            if data.stat().st_size < needed:
                raise self._lmdb.CorruptedError(f"{data} is cut short")
            environment.reader_check()
            self._databases = self._open_databases(environment)
        except BaseException:
            environment.close()
            raise
        self._environment, self._pid = environment, os.getpid()

    def _open_environment(self, generation: Path, map_size: int) -> Any:
        return self._lmdb.open(
            str(generation),
            map_size=map_size,
            max_dbs=len(_DATABASES),
            max_readers=1024,
            # The system's crash may undo the last batches, and never damages the file.
            metasync=False,
            create=False,
        )

    def _open_databases(self, environment: Any) -> dict[bytes, Any]:
        # Handles opened by a reading transaction would end with it.
        with environment.begin(write=True) as handle:
            return {name: environment.open_db(name, txn=handle) for name in _DATABASES}

    def _begin_reading(self) -> Any:
        try:
            return self._environment.begin(buffers=True)
        except self._lmdb.MapResizedError:
            self._environment.set_mapsize(0)
        except self._lmdb.ReadersFullError:
            # Killed processes leave their places taken.
            self._environment.reader_check()
        return self._environment.begin(buffers=True)

    def _begin_writing(self) -> Any:
        try:
            return self._environment.begin(write=True, buffers=True)
        except self._lmdb.MapResizedError:
            self._environment.set_mapsize(0)
        return self._environment.begin(write=True, buffers=True)

    def _grow(self, max_bytes: int | None) -> None:
        """Double the map, the file itself grows only as it is written."""
        # What a killed reader saw would be kept for ever.
        self._environment.reader_check()
        present = self._environment.info()["map_size"]
        size = 2 * present
        if max_bytes is not None:
            size = min(size, max_bytes // 4096 * 4096)
        if size <= present:
            raise self._lmdb.MapFullError(f"{self.folder} is full at {present} bytes")
        self._environment.set_mapsize(size)

    def _identify(self) -> tuple[int, ...] | None:
        try:
            stat = self.pointer.stat()
        except OSError:
            return None
        return stat.st_dev, stat.st_ino, stat.st_mtime_ns

    def _is_current(self) -> bool:
        return self._identity is not None and self._identify() == self._identity

    def _read_pointer(self) -> Path | None:
        try:
            name = self.pointer.read_text(encoding="ascii", errors="replace").strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not name.startswith(f"{self.pointer.name}-"):
            self.pointer.unlink(missing_ok=True)
            return None
        return self.folder / name

    def _new_generation(self) -> Path:
        generation = self.folder / f"{self.pointer.name}-{uuid.uuid4().hex[:12]}"
        generation.mkdir()
        return generation

    def _make_generation(self) -> Path:
        """Make a complete environment that nobody knows of yet."""
        generation = self._new_generation()
        environment = self._open_environment(generation, SMALLEST_MAP)
        self._open_databases(environment)
        environment.close()
        return generation

    def _point_to(self, generation: Path, *, replace: bool) -> None:
        draft = generation.with_suffix(".draft")
        draft.write_text(generation.name, encoding="ascii")
        try:
            if not replace:
                try:
                    os.link(draft, self.pointer)
                except FileExistsError:
                    # Another process was first.
                    self._remove(generation)
                    return
                except OSError:
                    replace = True
            if replace:
                draft.replace(self.pointer)
        finally:
            draft.unlink(missing_ok=True)

    def _remove(self, generation: Path | None) -> None:
        if generation is not None:
            shutil.rmtree(generation, ignore_errors=True)

    def _remove_orphans(self) -> None:
        current = self._read_pointer()
        for generation in self.folder.glob(f"{self.pointer.name}-*"):
            with contextlib.suppress(OSError):
                age = time.time() - generation.stat().st_mtime
                if generation != current and age > ORPHAN_SECONDS:
                    if generation.is_dir():
                        self._remove(generation)
                    else:
                        generation.unlink()


_stores: dict[Path, Store] = {}
_stores_lock = threading.Lock()


def get_store(folder: Path) -> Store:
    """Give the process's one store of a folder: LMDB must not open a file twice."""
    folder = Path(os.path.realpath(folder))
    with _stores_lock:
        if folder not in _stores:
            _stores[folder] = Store(folder)
        return _stores[folder]


def close_stale_stores() -> None:
    """Close stores whose folder was moved or deleted."""
    for store in list(_stores.values()):
        store.close_if_stale()


def _before_fork() -> None:
    _stores_lock.acquire()
    for _, store in sorted(_stores.items()):
        store.before_fork()


def _after_fork() -> None:
    for store in _stores.values():
        store.after_fork()
    _stores_lock.release()


@atexit.register
def _close_all() -> None:
    for store in list(_stores.values()):
        store.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork,
        after_in_child=_after_fork,
    )
