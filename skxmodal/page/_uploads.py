"""Uploaded pictures, decoded in a process that may take only so much."""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import sys
import time
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Timer
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from skxmodal._optional import import_optional
from skxmodal._pictures import PictureError, TakesTooLong, open_picture
from skxmodal.page._pictures import check_upload

# Several times what 50 million pixels take.
CPU_SECONDS = 10
WALL_SECONDS = 30
_START_SECONDS = 120
# A transparent picture is held as RGBA four times, and twice as RGB.
_BYTES_A_PIXEL = 32
_BYTES_BESIDE = 256 * 2**20
_HEAD = struct.Struct(">QQQ")
_TOO_MUCH = (
    "That picture takes too much time or memory to decode. Save it again as a plain "
    "JPEG or PNG."
)


class Uploads:
    """Decode uploads one after another, in a process of their own.

    Decoders run in C: no thread could stop one that takes minutes or gigabytes. The
    process that exceeds a limit is ended, and the next upload starts another.

    Parameters
    ----------
    max_pixels : int
        Most pixels of a picture.
    cpu_seconds : int, default=10
        Seconds of processor time that a picture may take.
    max_bytes : int, default=None
        Memory that decoding may take. None allows what `max_pixels` may need.
    """

    def __init__(
        self,
        *,
        max_pixels: int,
        cpu_seconds: int = CPU_SECONDS,
        max_bytes: int | None = None,
    ) -> None:
        if max_bytes is None:
            max_bytes = max_pixels * _BYTES_A_PIXEL + _BYTES_BESIDE
        self._limits = [str(max_pixels), str(cpu_seconds), str(max_bytes)]
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="uploads")
        self._process: subprocess.Popen[bytes] | None = None
        self._end: weakref.finalize[..., Any] | None = None

    def warm_up(self) -> None:
        """Start the process, so that the first upload need not wait for it."""
        self._thread.submit(self._start)

    def decode(self, data: bytes) -> Future[NDArray[np.uint8]]:
        """Decode a picture as soon as those before it are done.

        Parameters
        ----------
        data : bytes
            The file.

        Returns
        -------
        pixels : Future of ndarray of shape (height, width, 3)
            The picture, or a PictureError.
        """
        return self._thread.submit(self._decode, data)

    def close(self) -> None:
        """End the process and decode no more."""
        self._stop()
        self._thread.shutdown(cancel_futures=True)

    def _start(self) -> subprocess.Popen[bytes]:
        self._stop()
        # -P: nothing is imported from the folder that the server was started in.
        command = [sys.executable, "-P", "-m", __name__]
        self._process = subprocess.Popen(
            [*command, *self._limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
                "PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path),
            },
            # Ctrl+C is for the server, which then closes the pipe.
            start_new_session=True,
        )
        self._end = weakref.finalize(self, _end, self._process)
        with _killed_after(_START_SECONDS, self._process):
            assert self._process.stdout is not None
            if self._process.stdout.read(1) != b"\0":
                raise RuntimeError("The process that decodes pictures did not start.")
        return self._process

    def _stop(self) -> None:
        if self._end is not None:
            self._end()

    def _decode(self, data: bytes) -> NDArray[np.uint8]:
        process = self._process
        if process is None or process.poll() is not None:
            process = self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        with _killed_after(WALL_SECONDS, process):
            try:
                process.stdin.write(len(data).to_bytes(8, "big"))
                process.stdin.write(data)
                process.stdin.flush()
                head = process.stdout.read(_HEAD.size)
                if len(head) == _HEAD.size:
                    height, width, length = _HEAD.unpack(head)
                    content = process.stdout.read(length or height * width * 3)
                    if len(content) == length:
                        raise PictureError(content.decode())
                    if len(content) == height * width * 3:
                        pixels = np.frombuffer(content, dtype=np.uint8)
                        return pixels.reshape(height, width, 3)
            except BrokenPipeError:
                pass
        self._stop()
        raise PictureError(_TOO_MUCH)


@contextlib.contextmanager
def _killed_after(seconds: float, process: subprocess.Popen[bytes]) -> Any:
    timer = Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def serve(
    source: BinaryIO, sink: BinaryIO, max_pixels: int, cpu_seconds: int, max_bytes: int
) -> None:
    """Decode what `source` holds, one picture after another, until it ends."""
    # What decoders need is there before anything is counted.
    import_optional("PIL.Image", extra="encoders", purpose="Opening pictures").init()
    _limit_memory(max_bytes)
    sink.write(b"\0")
    sink.flush()
    while length := source.read(8):
        data = source.read(int.from_bytes(length, "big"))
        _limit_time(cpu_seconds)
        height = width = 0
        message, pixels = b"", b""
        try:
            check_upload(data, max_pixels=max_pixels)
            picture = open_picture(data)
            (width, height), pixels = picture.size, picture.tobytes()
        except PictureError as error:
            message = _said(error).encode()
        except MemoryError:
            message = _TOO_MUCH.encode()
        sink.write(_HEAD.pack(height, width, len(message)) + message)
        sink.write(pixels)
        sink.flush()


def _said(error: PictureError) -> str:
    if isinstance(error.__cause__, MemoryError | TakesTooLong):
        return _TOO_MUCH
    # Only what was decoded has a cause, and what the decoder said helps nobody.
    damaged = "That picture is damaged: it can't be read whole."
    return damaged if error.__cause__ is not None else str(error)


def _limit_memory(n_bytes: int) -> None:
    """Let the process have so many bytes more, where the system can say so."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        return
    limit = pages * resource.getpagesize() + n_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_time(seconds: int) -> None:
    """End the process after so many more seconds of processor time."""
    try:
        import resource
    except ImportError:
        return
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = int(time.process_time()) + 1 + seconds
    if hard == resource.RLIM_INFINITY or soft < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer, *map(int, sys.argv[1:]))
