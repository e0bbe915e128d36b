"""How vectors lie in the cache: chunks of rows, and an index of keys.

A row of its own in a leaf of the tree would leave half of the file empty, so rows that
come together are stored together, about 100 KiB of them, and the index says in which
chunk and at which row a key's vector is.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skxmodal._content import DIGEST_SIZE
from skxmodal.encoders._cache_store import Transaction

# Its pages, one more for the header and keys included, make 28 to 31.
CHUNK_BYTES = 112 * 1024
_HEADER = struct.Struct("<IIII")
_PLACE = np.dtype([("chunk", ">u8"), ("row", "<u4")])
_FLOAT = np.dtype("<f4")
_CHUNK_ID = struct.Struct(">Q")
_PREFIX = struct.Struct(">I")
_ROW = struct.Struct("<I")
# A row of a chunk and, in its highest bit, whether the vector is marked.
_MARK = 1 << 31


class Chunk(NamedTuple):
    """Rows that were stored together, as views of the file."""

    namespace: int
    checksum: int
    keys: list[bytes]
    vectors: NDArray[np.float32]
    body: memoryview


def find(txn: Transaction, namespace: int, keys: Sequence[bytes]) -> NDArray[np.void]:
    """Places of the keys, those not there at chunk 0."""
    prefix = _PREFIX.pack(namespace)
    get, entries, nothing = txn.handle.get, txn.databases[b"entries"], bytes(12)
    places = b"".join([get(prefix + key, nothing, entries) for key in keys])
    return np.frombuffer(places, _PLACE)


def read(
    txn: Transaction, places: NDArray[np.void], out: NDArray[np.float32]
) -> tuple[NDArray[np.bool_], list[bytes]]:
    """Copy the vectors at the places to the rows of ``out``.

    Returns
    -------
    found : ndarray of shape (n,)
        Which rows were there.
    used : list of bytes
        The chunks that were read.
    """
    found = places["chunk"] != 0
    rows = np.flatnonzero(found)
    numbers, chunk_of_row = np.unique(places["chunk"][rows], return_inverse=True)
    order = np.argsort(chunk_of_row, kind="stable")
    bounds = np.searchsorted(chunk_of_row, np.arange(len(numbers) + 1), sorter=order)
    used = []
    for position, number in enumerate(numbers.tolist()):
        chunk_id = _CHUNK_ID.pack(number)
        wanted = rows[order[bounds[position] : bounds[position + 1]]]
        value = txn.get(b"chunks", chunk_id)
        if value is None or _HEADER.unpack_from(value)[1] != out.shape[1]:
            found[wanted] = False
            continue
        out[wanted] = _vectors(value)[_rows(places[wanted])]
        used.append(chunk_id)
    return found, used


def marked(places: NDArray[np.void]) -> NDArray[np.bool_]:
    """Which places are those of marked vectors."""
    return (places["row"] & _MARK) != 0


def write(
    txn: Transaction,
    namespace: int,
    keys: Sequence[bytes],
    vectors: NDArray[np.float32],
    marks: NDArray[np.bool_],
) -> int:
    """Store the vectors of the keys that aren't there yet, and say how many."""
    first = np.zeros(len(keys), dtype=bool)
    first[list({key: row for row, key in reversed(list(enumerate(keys)))}.values())] = 1
    new = np.flatnonzero(first & (find(txn, namespace, keys)["chunk"] == 0))
    per_chunk = max(1, CHUNK_BYTES // (4 * max(1, vectors.shape[1])))
    prefix = _PREFIX.pack(namespace)
    stamp = _CHUNK_ID.pack(_tick(txn, 1))
    number = _last_chunk(txn)
    places = []
    for start in range(0, len(new), per_chunk):
        rows = new[start : start + per_chunk]
        chunk_keys = [keys[row] for row in rows]
        body = b"".join(chunk_keys) + vectors[rows].astype(_FLOAT).tobytes()
        number += 1
        chunk_id = _CHUNK_ID.pack(number)
        header = _HEADER.pack(len(rows), vectors.shape[1], zlib.crc32(body), namespace)
        txn.put(b"chunks", chunk_id, header + body)
        txn.put(b"used", chunk_id, stamp)
        places += [
            (prefix + key, chunk_id + _ROW.pack(row | _MARK if mark else row))
            for row, (key, mark) in enumerate(
                zip(chunk_keys, marks[rows].tolist(), strict=True)
            )
        ]
    # In the order of the tree, which is not that of the items.
    txn.cursor(b"entries").putmulti(sorted(places))
    return len(new)


def touch(txn: Transaction, chunk_ids: Sequence[bytes]) -> None:
    """Note that these chunks were used, in this order."""
    present = [chunk_id for chunk_id in chunk_ids if txn.get(b"used", chunk_id)]
    stamp = _tick(txn, len(present))
    for later, chunk_id in enumerate(present):
        txn.put(b"used", chunk_id, _CHUNK_ID.pack(stamp + later))


def least_recently_used(txn: Transaction) -> list[bytes]:
    """Every chunk, the one used longest ago first."""
    stamps = [(bytes(stamp), bytes(key)) for key, stamp in txn.cursor(b"used")]
    return [chunk_id for _, chunk_id in sorted(stamps)]


def delete(txn: Transaction, chunk_id: bytes) -> None:
    """Forget a chunk and the keys in it."""
    value = txn.get(b"chunks", chunk_id)
    if value is not None:
        chunk = parse(value)
        prefix = _PREFIX.pack(chunk.namespace)
        keys = sorted(prefix + key for key in chunk.keys)
        del chunk, value
        for key in keys:
            txn.delete(b"entries", key)
    txn.delete(b"chunks", chunk_id)
    txn.delete(b"used", chunk_id)


def parse(value: memoryview) -> Chunk:
    """The parts of a chunk."""
    n_rows, _, checksum, namespace = _HEADER.unpack_from(value)
    body = memoryview(value)[_HEADER.size :]
    raw = bytes(body[: n_rows * DIGEST_SIZE])
    keys = [raw[i : i + DIGEST_SIZE] for i in range(0, len(raw), DIGEST_SIZE)]
    return Chunk(namespace, checksum, keys, _vectors(value), body)


def chunk_heads(txn: Transaction) -> Iterator[tuple[bytes, int, int]]:
    """Identity, namespace and number of rows of every chunk."""
    for chunk_id, value in txn.cursor(b"chunks"):
        n_rows, _, _, namespace = _HEADER.unpack_from(value)
        yield bytes(chunk_id), namespace, n_rows


def find_faults(txn: Transaction) -> list[str]:
    """Everything that is wrong with the records, in words."""
    faults = []
    n_rows = 0
    for chunk_id, value in txn.cursor(b"chunks"):
        number = _CHUNK_ID.unpack(chunk_id)[0]
        try:
            chunk = parse(value)
        except (struct.error, ValueError) as error:
            faults.append(f"chunk {number} can't be read ({error})")
            continue
        n_rows += len(chunk.keys)
        if zlib.crc32(chunk.body) != chunk.checksum:
            faults.append(f"chunk {number} differs from its checksum")
        places = find(txn, chunk.namespace, chunk.keys)
        expected = np.arange(len(chunk.keys))
        right = (places["chunk"] == number) & (_rows(places) == expected)
        if not right.all():
            faults.append(f"{(~right).sum()} keys of chunk {number} lead elsewhere")
        if txn.get(b"used", bytes(chunk_id)) is None:
            faults.append(f"chunk {number} has no time of use")
    for database, expected_entries in (
        (b"entries", n_rows),
        (b"used", txn.n_entries(b"chunks")),
    ):
        n_entries = txn.n_entries(database)
        if n_entries != expected_entries:
            faults.append(
                f"{database.decode()} has {n_entries} records, not {expected_entries}"
            )
    return faults


def _tick(txn: Transaction, n_ticks: int) -> int:
    """Advance the clock that orders uses, and give the first of the new times."""
    now = int.from_bytes(txn.get(b"meta", b"clock") or b"", "big")
    txn.put(b"meta", b"clock", _CHUNK_ID.pack(now + n_ticks))
    return now + 1


def _last_chunk(txn: Transaction) -> int:
    cursor = txn.cursor(b"chunks")
    return int(_CHUNK_ID.unpack(cursor.key())[0]) if cursor.last() else 0


def _rows(places: NDArray[np.void]) -> NDArray[np.signedinteger[Any]]:
    return (places["row"] & (_MARK - 1)).astype(np.intp)


def _vectors(value: memoryview) -> NDArray[np.float32]:
    n_rows, dim, _, _ = _HEADER.unpack_from(value)
    start = _HEADER.size + n_rows * DIGEST_SIZE
    flat = np.frombuffer(value, _FLOAT, n_rows * dim, start)
    return flat.reshape(n_rows, dim)
