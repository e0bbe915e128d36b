"""Digests of picture files, without reading again those that haven't changed."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from skxmodal._content import hash_file
from skxmodal.encoders._cache_store import Transaction
from skxmodal.encoders._threads import in_threads

# Size, times of change of the content and of the inode, inode, device.
_STATE = struct.Struct("<qqqQQ")
# Fewer are hashed sooner than threads start.
_FEW = 8
# A record with its share of a page that is not full.
ROOM_OF_A_FILE = 200

# A file that changed within this time of being read may change again and keep the same
# times: file systems keep them in steps of up to 2 s (FAT), and so do clocks.
RACY_NANOSECONDS = 3_000_000_000


def state_of(path: str) -> bytes:
    """What tells one content of a file from another, without reading it."""
    stat = Path(path).stat()
    return _STATE.pack(
        stat.st_size,
        stat.st_mtime_ns,
        stat.st_ctime_ns,
        stat.st_ino & 0xFFFFFFFFFFFFFFFF,
        stat.st_dev & 0xFFFFFFFFFFFFFFFF,
    )


def file_key(path: str) -> bytes:
    """Key of a path in the table of files."""
    return blake2b(os.fsencode(Path(path).absolute()), digest_size=16).digest()


def known_digests(
    txn: Transaction, paths: Sequence[str], states: Sequence[bytes]
) -> list[bytes | None]:
    """Digests on record of the files that are in these states."""
    digests: list[bytes | None] = []
    for path, state in zip(paths, states, strict=True):
        entry = txn.get(b"files", file_key(path))
        known = entry is not None and bytes(entry[: _STATE.size]) == state
        digests.append(bytes(entry[_STATE.size :]) if known else None)
    return digests


def hash_steady(path: str) -> tuple[bytes, bytes | None]:
    """Digest of a file, and its state if that will tell of any later change.

    As git's index does with files that are "racily clean", a file is only trusted to
    be unchanged by its times if it was old enough when it was read: then whatever
    changes it later gives it later times.
    """
    before = state_of(path)
    now = time.time_ns()
    digest = hash_file(path)
    _, modified, changed, _, _ = _STATE.unpack(before)
    old_enough = max(modified, changed) < now - RACY_NANOSECONDS
    return digest, before if old_enough and state_of(path) == before else None


def hash_files(paths: Sequence[str]) -> list[tuple[bytes, bytes | None]]:
    """Digest and state of each file, in threads if they are many."""
    if len(paths) < _FEW:
        return [hash_steady(path) for path in paths]
    return list(in_threads(hash_steady, paths))


def record(
    txn: Transaction, paths: Sequence[str], hashed: Sequence[tuple[bytes, bytes | None]]
) -> None:
    """Note the digests whose files can be trusted to stay as they are."""
    for path, (digest, state) in zip(paths, hashed, strict=True):
        if state is not None:
            txn.put(b"files", file_key(path), state + digest)


def trim(txn: Transaction, max_bytes: int) -> None:
    """Empty the table of files if it takes more than a tenth of the room."""
    if txn.used_bytes(b"files") > max_bytes // 10:
        txn.empty(b"files")
