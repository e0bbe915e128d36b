"""Torch's global generator, lent to one user at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_lock = threading.RLock()


@contextmanager
def own_generator(
    seed: int | None = None, device: torch.device | None = None
) -> Iterator[None]:
    """Within the block torch's global generator is the caller's, and as it was after.

    Dropout draws from that generator alone. Other threads wait their turn, so that a
    seed gives the same bits whatever else is trained.

    Parameters
    ----------
    seed : int, default=None
        To start from; None goes on from the state there is.
    device : torch.device, default=None
        Whose generator is kept beside that of the CPU.
    """
    cuda = [device] if device is not None and device.type == "cuda" else []
    with _lock, torch.random.fork_rng(devices=cuda):
        if seed is not None:
            torch.manual_seed(seed)
        yield


def _after_fork() -> None:
    """A forked process lacks the thread that may have held the lock."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
