"""Networks in memory, shared by the encoders that ask for the same one.

Clones of one encoder (the candidates and folds of a search) then load it once. A
network is freed when no encoder holds it and two others were used since.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

KEPT = 2

_lock = threading.Lock()
_locks: dict[str, threading.Lock] = {}
_alive: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
_recent: OrderedDict[str, Any] = OrderedDict()
# Kept here and not on the encoders, whose pickles and clones then hold parameters only.
_held: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
# Keys of networks that a forked process can't run.
_unforked: set[str] = set()
# Networks of the process that this one was forked from. Freeing them could wait for its
# threads.
_left: list[Any] = []


def shared(
    key: str, load: Callable[[], Any], *, holder: Any, forks: bool = True
) -> Any:
    """The network of a key, loaded where it isn't in memory.

    Parameters
    ----------
    key : str
        Everything the network depends on.
    load : callable
        Loads it; called by one thread at a time for a key.
    holder : object
        The encoder that asks. Its network stays in memory as long as it does, or
        until it asks for another.
    forks : bool, default=True
        Whether it works in a forked process too, or has to be loaded anew there.

    Returns
    -------
    network : object
        What ``load`` gave, now or before.
    """
    with _lock:
        lock = _locks.setdefault(key, threading.Lock())
    with lock:
        with _lock:
            network = _alive.get(key)
        if network is None:
            network = load()
        with _lock:
            _alive[key] = network
            if not forks:
                _unforked.add(key)
            _held[holder] = network
            _recent[key] = network
            _recent.move_to_end(key)
            while len(_recent) > KEPT:
                _recent.popitem(last=False)
    return network


def _after_fork() -> None:
    """Make the networks usable in a forked process, whose only thread called fork."""
    global _lock
    _lock = threading.Lock()
    _locks.clear()
    found = dict(_alive)
    for key, network in found.items():
        if hasattr(network, "lock"):
            network.lock = threading.Lock()
        if key in _unforked:
            _left.append(network)
            del _alive[key]
    torch = sys.modules.get("torch")
    if torch is not None and found:
        # OpenMP would wait for ever for the threads that it had before the fork.
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
