"""Stopping a training by hand without losing it."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class InterruptGuard:
    """Turn the first Ctrl-C inside the block into a flag.

    The training looks at `interrupted` after each batch and ends in order. A second
    Ctrl-C acts at once, as it would without the guard. Outside the main thread, where
    Python delivers no signal, the guard does nothing.

    Attributes
    ----------
    interrupted : bool
        Whether Ctrl-C was pressed.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self._previous: Any = None
        self._installed = False

    def __enter__(self) -> InterruptGuard:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.getsignal(signal.SIGINT)
            # Ignored on purpose by the parent (nohup), or set from C: leave it alone.
            if self._previous not in (signal.SIG_IGN, None):
                signal.signal(signal.SIGINT, self._note)
                self._installed = True
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = True
        self._restore()

    def _restore(self) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, self._previous)
            self._installed = False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()
