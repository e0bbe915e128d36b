"""One cluster of worker processes for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator

import dask
import pytest
from distributed import Client, LocalCluster


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A cluster of three worker processes on this machine."""
    folder = tmp_path_factory.mktemp("dask")
    settings = {
        "temporary-directory": str(folder),
        "distributed.comm.timeouts.connect": "120s",
        "distributed.worker.memory.terminate": False,
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=3,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            silence_logs="CRITICAL",
        ) as cluster,
        Client(cluster, timeout="120s") as connected,
    ):
        assert len(set(connected.run(os.getpid).values()) - {os.getpid()}) == 3
        yield connected
