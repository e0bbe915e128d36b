"""Networks in memory, shared and freed."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from skxmodal.encoders import TextEncoder
from skxmodal.encoders._loaded import KEPT, shared


class Network:
    """Something that may be referred to weakly."""


class Holder:
    """An encoder's stand-in."""


def test_threads_that_ask_at_once_load_once():
    loads = []
    gate = threading.Barrier(8)

    def load():
        loads.append(1)
        return Network()

    def ask(holder):
        gate.wait()
        return shared("at once", load, holder=holder)

    holders = [Holder() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        networks = set(pool.map(ask, holders))
    assert len(loads) == len(networks) == 1


def test_a_network_that_fails_to_load_is_asked_for_again():
    holder = Holder()

    def fail():
        raise OSError("no such folder")

    for _ in range(2):
        with pytest.raises(OSError, match="no such folder"):
            shared("failing", fail, holder=holder)
    assert isinstance(shared("failing", Network, holder=holder), Network)


def test_networks_live_while_held_or_lately_used():
    holders = [Holder() for _ in range(KEPT + 2)]
    alive = [
        weakref.ref(shared(f"number {row}", Network, holder=holder))
        for row, holder in enumerate(holders)
    ]
    gc.collect()
    assert all(reference() is not None for reference in alive)
    first = alive[0]()
    assert shared("number 0", Network, holder=holders[0]) is first
    del first
    # Number 1 is neither among the last ones used nor held any more.
    del holders[1]
    gc.collect()
    assert [reference() is not None for reference in alive] == [True, False, True, True]


def test_encoders_of_equal_settings_share_a_network(tiny_bert):
    first = TextEncoder(tiny_bert, cache=False)
    second = TextEncoder(str(tiny_bert), cache=False, batch_size=5, normalize=False)
    other = TextEncoder(tiny_bert, cache=False, pooling="cls")
    assert first._model() is second._model()
    assert first._model() is not other._model()
