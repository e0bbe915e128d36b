"""Work done in threads ahead of what needs it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    ahead: int | None = None,
    n_threads: int | None = None,
) -> Generator[Result, None, None]:
    """Yield what a function gives for each item, in order, from threads.

    Parameters
    ----------
    function : callable
        From an item to its result. It should spend its time outside of the
        interpreter's lock, as decoding does.
    items : iterable
        The items.
    ahead : int, default=None
        How many items are begun at most before their results are asked for. By default
        two for each thread.
    n_threads : int, default=None
        Number of threads, by default torch's, which the user sets.

    Yields
    ------
    result : object
        The next item's.
    """
    if n_threads is None:
        import torch

        n_threads = torch.get_num_threads()
    if ahead is None:
        ahead = 2 * n_threads
    begun: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="skxmodal")
    try:
        for item in items:
            begun.append(pool.submit(function, item))
            if len(begun) > ahead:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
