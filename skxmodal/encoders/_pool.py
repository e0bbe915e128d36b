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
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from skxmodal._progress import Progress

if TYPE_CHECKING:
    from skxmodal.encoders._base import BaseEncoder

Encoded: TypeAlias = tuple[NDArray[np.float32], list[int]]
Work: TypeAlias = tuple[list[Any], list[int]]


def encode_on_devices(
    encoder: BaseEncoder, devices: Sequence[str], chunks: Iterable[Work]
) -> Iterator[Encoded]:
    """Encode chunks of items in one process a device, in order.

    Parameters
    ----------
    encoder : BaseEncoder
        What to encode with. Each process gets a copy for its device.
    devices : sequence of str
        The devices; one named twice runs two processes.
    chunks : iterable of (items, rows)
        Distinct items and their rows among those given.

    Yields
    ------
    encoded : (ndarray of shape (n, d), list of int)
        What the encoder's `_encode` gives for each chunk.
    """
    # A fork would carry over threads' locks, and CUDA doesn't work in one.
    context = multiprocessing.get_context("spawn")
    n_local = sum(device == "cpu" for device in devices)
    threads = max(1, _n_threads() // max(1, n_local))
    workers = [
        ProcessPoolExecutor(
            1,
            mp_context=context,
            initializer=_start,
            initargs=(_for_device(encoder, device), threads),
        )
        for device in devices
    ]
    free: queue.SimpleQueue[ProcessPoolExecutor] = queue.SimpleQueue()
    # Two chunks wait at each process, so that none waits for the next.
    for worker in workers * 2:
        free.put(worker)
    waiting: deque[Future[Encoded]] = deque()
    try:
        for items, rows in chunks:
            # Results wait for earlier ones, and that not without bound.
            if len(waiting) >= 4 * len(workers):
                yield waiting.popleft().result()
            worker = free.get()
            future = worker.submit(_encode, items, rows)
            future.add_done_callback(partial(_give_back, free, worker))
            waiting.append(future)
        while waiting:
            yield waiting.popleft().result()
    finally:
        for worker in workers:
            worker.shutdown(wait=True, cancel_futures=True)


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
        raise RuntimeError("This process was not started by encode_on_devices.")
    with Progress(len(items), "", enabled=False) as bar:
        return _encoder._encode(_encoder._model(), items, rows, bar)
