"""Processes that encode chunks of items, each with a network on a device of its own."""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from skxmodal._progress import Progress
from skxmodal.encoders._devices import resolve_device

if TYPE_CHECKING:
    from skxmodal.encoders._base import BaseEncoder

Encoded: TypeAlias = tuple[NDArray[np.float32], list[int]]
Work: TypeAlias = tuple[list[Any], list[int]]


class DevicePool:
    """One process a device, started when there is work and kept until the exit.

    Parameters
    ----------
    encoder : BaseEncoder
        What to encode with. Each process gets a copy for its device.
    devices : sequence of str or None
        The devices; one named twice runs two processes. None where nothing is to be
        started.

    Raises
    ------
    ValueError
        If the sequence is empty, or this machine has no such device.
    """

    def __init__(self, encoder: BaseEncoder, devices: Sequence[str] | None) -> None:
        self._encoder = encoder
        self._devices = [] if devices is None else _checked(devices, encoder.backend)
        self._workers: list[ProcessPoolExecutor] = []
        self._free: queue.SimpleQueue[ProcessPoolExecutor] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.shutdown(wait=True, cancel_futures=True)

    def encode(self, chunks: Iterable[Work]) -> Iterator[Encoded]:
        """Encode chunks of items, in order.

        Parameters
        ----------
        chunks : iterable of (items, rows)
            Distinct items and their rows among those given.

        Yields
        ------
        encoded : (ndarray of shape (n, d), list of int)
            What the encoder's `_encode` gives for each chunk.
        """
        waiting: deque[Future[Encoded]] = deque()
        for items, rows in chunks:
            if not self._workers:
                self._start_workers()
            # Results wait for earlier ones, and that not without bound.
            if len(waiting) >= 4 * len(self._workers):
                yield waiting.popleft().result()
            worker = self._free.get()
            future = worker.submit(_encode, items, rows)
            future.add_done_callback(partial(_give_back, self._free, worker))
            waiting.append(future)
        while waiting:
            yield waiting.popleft().result()

    def _start_workers(self) -> None:
        # A fork would carry over threads' locks, and CUDA doesn't work in one.
        context = multiprocessing.get_context("spawn")
        threads = max(1, _n_threads() // max(1, self._devices.count("cpu")))
        self._workers = [
            ProcessPoolExecutor(
                1,
                mp_context=context,
                initializer=_start,
                initargs=(_for_device(self._encoder, device), threads),
            )
            for device in self._devices
        ]
        # Two chunks wait at each process, so that none waits for the next.
        for worker in self._workers * 2:
            self._free.put(worker)


def _checked(devices: Sequence[str], backend: str) -> list[str]:
    if not len(devices):
        raise ValueError(
            "devices is empty. Name at least one, such as 'cuda:0', or pass None to "
            "encode in this process."
        )
    if None in devices:
        raise ValueError(
            f"devices={devices!r} holds None. Name every device, such as 'cpu' or "
            "'cuda:0'."
        )
    return [resolve_device(device, backend) for device in devices]


def _give_back(
    free: queue.SimpleQueue[ProcessPoolExecutor],
    worker: ProcessPoolExecutor,
    _: Future[Encoded],
) -> None:
    free.put(worker)


def _n_threads() -> int:
    import torch

    return int(torch.get_num_threads())


def _for_device(encoder: BaseEncoder, device: str) -> BaseEncoder:
    settings = {"device": device, "devices": None, "cache": False}
    settings["show_progress"] = False
    # A copy, not a clone: a tuned encoder has weights of its own.
    return copy(encoder).set_params(**settings)


# The encoder of this process, one of a pool's.
_encoder: BaseEncoder | None = None


def _start(encoder: BaseEncoder, threads: int) -> None:
    global _encoder
    import torch

    # Tokenisers would start threads of their own beside torch's.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    torch.set_num_threads(threads)
    _encoder = encoder


def _encode(items: list[Any], rows: list[int]) -> Encoded:
    if _encoder is None:
        raise RuntimeError("This process was not started by a DevicePool.")
    with Progress(len(items), "", enabled=False) as bar:
        return _encoder._encode(_encoder._model(), items, rows, bar)
