from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("cache_torture.py")


@pytest.mark.parametrize("seed", [0, 1])
def test_processes_killed_at_random_lose_and_damage_nothing(tmp_path, seed):
    n_killed, right, _, n_found, faults, _ = _torture(tmp_path, seed, 50, 0)
    assert n_killed == "50"
    assert right == "True"
    assert n_found == "2000"
    assert faults == "[]"


def test_processes_killed_while_a_bounded_cache_is_full(tmp_path):
    # The vectors take 3 MB and the index some more, so that there are evictions and
    # compactions all the time.
    bound = 4 << 20
    n_killed, right, *n_found, faults, n_bytes = _torture(tmp_path, 2, 50, bound)
    assert n_killed == "50"
    assert right == "True"
    # It is right about vectors that are there: about half of them have room.
    assert min(map(int, n_found)) > 500
    assert faults == "[]"
    assert int(n_bytes) <= bound


def _torture(folder, seed, n_kills, max_bytes):
    arguments = map(str, (SCRIPT, folder, seed, n_kills, max_bytes))
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
