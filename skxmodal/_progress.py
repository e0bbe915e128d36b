"""Progress bars that need nothing where tqdm is not installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Sized
from types import TracebackType
from typing import Any, TypeVar

Item = TypeVar("Item")


class Progress:
    """A bar that counts items done, shown only where asked for and possible.

    Parameters
    ----------
    total : int or None
        Number of items, None where it isn't known.
    description : str
        What is being done.
    enabled : bool
        Whether to show the bar. Without tqdm none is shown.
    """

    def __init__(self, total: int | None, description: str, enabled: bool) -> None:
        self._bar: Any = None
        # Nothing to do, as where all is in the cache, is done before a bar is drawn.
        if enabled and total != 0 and importlib.util.find_spec("tqdm") is not None:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, desc=description, unit_scale=False)

    def update(self, count: int = 1) -> None:
        """Count more items as done."""
        if self._bar is not None:
            self._bar.update(count)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def progress(
    iterable: Iterable[Item],
    total: int | None = None,
    description: str = "",
    enabled: bool = True,
) -> Iterator[Item]:
    """Yield the items of an iterable, counting them on a bar.

    Parameters
    ----------
    iterable : iterable
        The items.
    total : int or None, default=None
        Number of items, by default ``len(iterable)`` where it has one.
    description : str, default=""
        What is being done.
    enabled : bool, default=True
        Whether to show the bar.

    Yields
    ------
    item : object
        The next item.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    with Progress(total, description, enabled) as bar:
        for item in iterable:
            yield item
            bar.update()
