"""One thread for BLAS while threads of our own call it, and its own back after."""

from __future__ import annotations

import os
import threading
from types import TracebackType
from typing import Any

from threadpoolctl import ThreadpoolController


class OneThread:
    """Limits BLAS to one thread as long as anyone is inside.

    The limit is the whole process's: the first to enter sets it and the last to leave
    gives the threads back, however the calls of several threads overlap.
    """

    _controller: ThreadpoolController | None
    _limit: Any

    def __init__(self) -> None:
        self._start_again()
        # A fork may copy a lock that is held by a thread that it does not copy.
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._n_threads = self._count()
                self._limit = self._pools().limit(limits=1, user_api="blas")
            self._inside += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._limit.restore_original_limits()

    def n_threads(self) -> int:
        """Threads that BLAS takes while nobody is inside."""
        with self._lock:
            return self._n_threads if self._inside else self._count()

    def _count(self) -> int:
        pools = self._pools().select(user_api="blas").info()
        return max((pool["num_threads"] for pool in pools), default=1)

    def _pools(self) -> ThreadpoolController:
        if self._controller is None:
            self._controller = ThreadpoolController()
        return self._controller

    def _start_again(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._n_threads = 1
        self._limit = None
        self._controller = None

    def _after_fork(self) -> None:
        limit = self._limit if self._inside else None
        self._start_again()
        if limit is not None:
            limit.restore_original_limits()


one_thread = OneThread()
