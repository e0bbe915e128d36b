"""Where the rows of an encoder go: a new array, a given one, or a file."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

_FLOAT = np.dtype("<f4")


class Output(Protocol):
    """What rows are written to, block after block."""

    def __enter__(self) -> Output: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def check(self, start: int, n_rows: int) -> None:
        """Raise ValueError if there is no room for so many rows."""

    def block(self, start: int, n_rows: int, dimension: int) -> NDArray[np.float32]:
        """Rows from `start` on, to be written to."""

    def finish(self, n_rows: int) -> NDArray[np.float32]:
        """All of the rows, once they are written."""


class _Nothing:
    """An output with nothing to open or close."""

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return

    def check(self, start: int, n_rows: int) -> None:
        return


class NewArray(_Nothing):
    """An array in memory, of one block."""

    def block(self, start: int, n_rows: int, dimension: int) -> NDArray[np.float32]:
        self.rows = np.empty((n_rows, dimension), dtype=np.float32)
        return self.rows

    def finish(self, n_rows: int) -> NDArray[np.float32]:
        return self.rows


class GivenArray(_Nothing):
    """An array of the caller's, a memory map for instance.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        The array.
    """

    def __init__(self, rows: NDArray[np.float32]) -> None:
        self.rows = rows

    def check(self, start: int, n_rows: int) -> None:
        if self.rows.ndim != 2 or start + n_rows > len(self.rows):
            raise ValueError(
                f"out must have shape (n, d), a row for each of at least "
                f"{start + n_rows} items, got {self.rows.shape}."
            )

    def block(self, start: int, n_rows: int, dimension: int) -> NDArray[np.float32]:
        if self.rows.shape[1] != dimension:
            raise ValueError(
                f"out must have shape {(len(self.rows), dimension)}, got "
                f"{self.rows.shape}."
            )
        return self.rows[start : start + n_rows]

    def finish(self, n_rows: int) -> NDArray[np.float32]:
        if n_rows != len(self.rows):
            raise ValueError(
                f"out must have one row an item, {n_rows} rows, got {len(self.rows)}. "
                f"Its first {n_rows} rows are written."
            )
        return self.rows


class NpyFile:
    """A ``.npy`` file, which appears under its name once it is whole.

    Parameters
    ----------
    path : Path
        The file. One that is there is replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._part = path.with_name(f".{secrets.token_hex(8)}.part")
        self._dimension = 0

    def __enter__(self) -> NpyFile:
        self._stream = self._part.open("x+b")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()
        self._part.unlink(missing_ok=True)

    def check(self, start: int, n_rows: int) -> None:
        return

    def block(self, start: int, n_rows: int, dimension: int) -> NDArray[np.float32]:
        self._dimension = dimension
        # The longest header there can be, so that the last has the same length.
        self._write_header(2**62)
        self._offset = self._stream.tell()
        end = self._offset + (start + n_rows) * dimension * _FLOAT.itemsize
        self._stream.truncate(end)
        return np.memmap(
            self._part,
            dtype=_FLOAT,
            mode="r+",
            offset=self._offset + start * dimension * _FLOAT.itemsize,
            shape=(n_rows, dimension),
        )

    def finish(self, n_rows: int) -> NDArray[np.float32]:
        self._write_header(n_rows)
        if self._stream.tell() != self._offset:
            raise RuntimeError("numpy's headers of .npy files differ in length.")
        self._stream.close()
        self._part.replace(self.path)
        return np.asanyarray(np.load(self.path, mmap_mode="r"))

    def _write_header(self, n_rows: int) -> None:
        self._stream.seek(0)
        header = {
            "descr": np.lib.format.dtype_to_descr(_FLOAT),
            "fortran_order": False,
            "shape": (n_rows, self._dimension),
        }
        np.lib.format.write_array_header_1_0(self._stream, header)
        self._stream.flush()


def open_output(out: Any) -> Output:
    """Give the output that an ``out`` argument means.

    Parameters
    ----------
    out : None, ndarray of shape (n, d), str or path
        A new array, the caller's array, or a file.

    Returns
    -------
    output : Output
        To be used in a ``with`` statement.

    Raises
    ------
    TypeError
        If ``out`` is none of these, or an array of another type than float32.
    ValueError
        If the array can't be written to.
    """
    if out is None:
        return NewArray()
    if isinstance(out, str | os.PathLike):
        return NpyFile(Path(out).expanduser())
    if not isinstance(out, np.ndarray):
        raise TypeError(
            "out must be None, an array, or the path of a .npy file, got "
            f"{type(out).__name__}."
        )
    if out.dtype != np.float32:
        raise TypeError(f"out must be an array of float32, got {out.dtype}.")
    if not out.flags.writeable:
        raise ValueError(
            "out is read-only. Give an array that can be written to, a memory map of "
            "mode 'r+' for instance."
        )
    return GivenArray(out)
