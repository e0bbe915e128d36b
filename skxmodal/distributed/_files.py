"""Files that each worker reads its own blocks from, and writes its own into."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxmodal._dask import (
    as_array,
    block_names,
    delayed,
    gather_blocks,
    import_dask,
    row_blocks,
)
from skxmodal._paths import whole_file

MANIFEST = "shards.json"
FORMAT = 1
# Of any width, so that the blocks of two files pair.
BLOCK_ROWS = 32_768


def read_npy(path: str | os.PathLike[str], *, chunk_rows: int = BLOCK_ROWS) -> Any:
    """Read a ``.npy`` file as a Dask array, each block where it is needed.

    Workers map the file themselves, so its rows travel from no process to another. The
    path must lead to it on every worker.

    Parameters
    ----------
    path : str or path
        The file, such as an encoder's ``transform(items, out=path)`` writes.
    chunk_rows : int, default=32768
        Rows of a block. Blocks of equal rows of two files pair in a fit.

    Returns
    -------
    array : Dask array of the file's shape
        Its rows in blocks.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If ``chunk_rows`` is below 1, or the file isn't one array of rows. A block that
        is read after the file has changed raises it too.

    See Also
    --------
    read_shards : The same for a folder that `write_shards` wrote.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from skxmodal.distributed import read_npy
    >>> path = Path(tempfile.mkdtemp()) / "vectors.npy"
    >>> np.save(path, np.eye(5, dtype=np.float32))
    >>> read_npy(path, chunk_rows=2).chunks
    ((2, 2, 1), (5,))
    """
    name = os.fspath(Path(path).expanduser().absolute())
    mapped = _mapped(name)
    if mapped.ndim == 0:
        raise ValueError(f"{name} holds a single number, not rows.")
    n_rows = len(mapped)
    if chunk_rows < 1:
        raise ValueError(f"chunk_rows must be at least 1, got {chunk_rows!r}.")
    starts = range(0, max(1, n_rows), chunk_rows)
    lengths = tuple(min(chunk_rows, n_rows - start) for start in starts)
    return _array(
        _read_rows,
        lengths,
        mapped.shape[1:],
        mapped.dtype,
        path=name,
        chunk_rows=chunk_rows,
        expected=(mapped.shape, mapped.dtype),
    )


def write_shards(array: Any, path: str | os.PathLike[str]) -> Path:
    """Write a Dask array as a folder of ``.npy`` files, one a block.

    Each block is written where it lies, under a temporary name that is then changed,
    and so is the folder once all are there: whoever reads it finds all or nothing, and
    a block that is computed twice, because a worker died, is there once.

    Parameters
    ----------
    array : Dask array or DataFrame
        What to write; chunks may be of unknown size.
    path : str or path
        The new folder, on a disk that every worker reaches.

    Returns
    -------
    path : pathlib.Path
        The folder.

    Raises
    ------
    FileExistsError
        If there is something at ``path`` already; nothing is computed then.
    ShardError
        If a block can't be computed; nothing is left then.
    ValueError
        If the blocks differ in width or dtype, or hold Python objects; nothing is left
        then.

    See Also
    --------
    read_shards : Reads it again.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import dask.array as da
    >>> from skxmodal.distributed import read_shards, write_shards
    >>> folder = Path(tempfile.mkdtemp()) / "gallery"
    >>> read_shards(write_shards(da.ones((5, 2), chunks=(3, 2)), folder)).chunks
    ((3, 2), (2,))
    """
    array = as_array(array, "array")
    if array.dtype.hasobject:
        raise ValueError(
            "array holds Python objects, which .npy files can't hold without pickle: "
            "write an array of numbers, array.astype(float)."
        )
    final = Path(path).expanduser().absolute()
    if final.exists():
        raise FileExistsError(f"{final} exists already: remove it, or write elsewhere.")
    final.parent.mkdir(parents=True, exist_ok=True)
    folder = final.with_name(f".{final.name}.{secrets.token_hex(6)}.tmp")
    folder.mkdir()
    try:
        names = block_names(array)
        leaves = [
            delayed(_write_block)(block, os.fspath(folder), part_name(number))
            for number, block in enumerate(row_blocks(array))
        ]
        parts = gather_blocks(leaves, names)
        _check_alike(parts, names)
        manifest = {"format": FORMAT, "parts": parts}
        (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        _remove_halves(folder, len(parts))
        folder.rename(final)
    except BaseException:
        _remove_folder(folder)
        raise
    return final


def _check_alike(parts: list[dict[str, Any]], names: list[str]) -> None:
    first = parts[0]
    for part, name in zip(parts, names, strict=True):
        if (part["shape"], part["dtype"]) != (first["shape"], first["dtype"]):
            raise ValueError(
                f"Blocks must have rows of one shape and dtype: {name} has rows of "
                f"shape {tuple(part['shape'])} of {part['dtype']}, {names[0]} of "
                f"{tuple(first['shape'])} of {first['dtype']}."
            )


def _remove_halves(folder: Path, n_parts: int) -> None:
    """Remove what a worker that died had begun to write."""
    listed = {MANIFEST, *(part_name(number) for number in range(n_parts))}
    for path in folder.iterdir():
        if path.name not in listed:
            path.unlink()


def _remove_folder(folder: Path) -> None:
    """Remove a folder that tasks may still be writing into."""
    # Under another name no task finds it any more, so that it stays empty.
    with suppress(OSError):
        folder = folder.rename(folder.with_name(f"{folder.name}.removed"))
    shutil.rmtree(folder, ignore_errors=True)


def read_shards(path: str | os.PathLike[str]) -> Any:
    """Read a folder that `write_shards` wrote as a Dask array.

    Parameters
    ----------
    path : str or path
        The folder.

    Returns
    -------
    array : Dask array
        One chunk a file, of known size, mapped where it is needed.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If the folder was written by a newer version, or by something else. A block
        that is read after its file has changed raises it too.

    See Also
    --------
    write_shards : Writes one.
    read_npy : The same for one file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import dask.array as da
    >>> from skxmodal.distributed import read_shards, write_shards
    >>> folder = Path(tempfile.mkdtemp()) / "gallery"
    >>> array = read_shards(write_shards(da.ones((5, 2), chunks=(3, 2)), folder))
    >>> float(array.sum().compute())
    10.0
    """
    folder = Path(path).expanduser().absolute()
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if not isinstance(manifest, dict) or not {"format", "parts"} <= manifest.keys():
        raise ValueError(
            f"{folder / MANIFEST} was not written by skxmodal.distributed.write_shards."
        )
    if manifest["format"] > FORMAT:
        raise ValueError(
            f"{folder} is of format {manifest['format']}, written by a newer skxmodal; "
            f"this one reads up to {FORMAT}."
        )
    parts = manifest["parts"]
    lengths = tuple(part["rows"] for part in parts)
    row = tuple(parts[0]["shape"]), np.dtype(parts[0]["dtype"])
    return _array(
        _read_part, lengths, *row, folder=os.fspath(folder), rows=lengths, row=row
    )


def _array(
    read: Any,
    lengths: tuple[int, ...],
    shape: tuple[int, ...],
    dtype: Any,
    **files: Any,
) -> Any:
    """A Dask array of rows that `read` gives for the number of a block."""
    # Of blocks that are functions of their number, so that reading a block and what
    # is done with it first become one task.
    return import_dask("dask.array").map_blocks(
        read,
        chunks=(lengths, *((size,) for size in shape)),
        dtype=dtype,
        meta=np.empty((0,) * (1 + len(shape)), dtype=dtype),
        name=f"{read.__name__.strip('_')}-{secrets.token_hex(12)}",
        **files,
    )


def _read_rows(
    *,
    path: str,
    chunk_rows: int,
    expected: tuple[tuple[int, ...], np.dtype[Any]],
    block_id: tuple[int, ...] | None = None,
) -> NDArray[Any]:
    start = _number(block_id) * chunk_rows
    # Without the class, so that a block that travels is its own rows and no more.
    return np.asarray(_as_planned(path, *expected)[start : start + chunk_rows])


def _read_part(
    *,
    folder: str,
    rows: tuple[int, ...],
    row: tuple[tuple[int, ...], np.dtype[Any]],
    block_id: tuple[int, ...] | None = None,
) -> NDArray[Any]:
    number = _number(block_id)
    shape, dtype = row
    path = folder + os.sep + part_name(number)
    return np.asarray(_as_planned(path, (rows[number], *shape), dtype))


def _as_planned(
    path: str, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    mapped = _mapped(path)
    if (mapped.shape, mapped.dtype) != (shape, dtype):
        raise ValueError(
            f"{path} has changed since the array was made: expected shape {shape} of "
            f"{dtype}, found {mapped.shape} of {mapped.dtype}. Read it again."
        )
    return mapped


def _number(block_id: tuple[int, ...] | None) -> int:
    assert block_id is not None
    return block_id[0]


def _mapped(path: str) -> NDArray[Any]:
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(mapped, np.ndarray):
        mapped.close()
        raise ValueError(
            f"{path} is an archive of arrays: save the one array with numpy.save."
        )
    return mapped


def part_name(number: int) -> str:
    """Name of the file of a block."""
    return f"part-{number:06d}.npy"


def _write_block(block: Any, folder: str, name: str) -> dict[str, Any]:
    rows = np.asarray(block)
    with whole_file(Path(folder) / name, durable=True) as file:
        np.save(file, rows, allow_pickle=False)
    return {
        "rows": len(rows),
        "shape": list(rows.shape[1:]),
        "dtype": rows.dtype.str,
    }
