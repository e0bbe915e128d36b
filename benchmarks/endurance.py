"""Operations on retrievers and maps for a given time of computing, memory watched.

    python benchmarks/endurance.py --cpu-minutes 24

Runs the state machine of tests/hard_use/test_endurance.py with new random sequences
until the time is up: add, remove, kneighbors, save, load, partial_fit and forget, each
answer compared with brute force: a wrong one ends the run with the operations that led
to it. Prints operations and resident memory as it goes.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import time
from pathlib import Path

import psutil
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

MACHINE = Path(__file__).parents[1] / "tests" / "hard_use" / "test_endurance.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cpu-minutes", type=float, default=24.0)
    parser.add_argument("--examples", type=int, default=40, help="sequences a round")
    parser.add_argument("--steps", type=int, default=60, help="operations a sequence")
    arguments = parser.parse_args()
    spec = importlib.util.spec_from_file_location("machine", MACHINE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    long = settings(
        max_examples=arguments.examples,
        stateful_step_count=arguments.steps,
        deadline=None,
        database=None,
        derandomize=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    process = psutil.Process()
    memory = []
    while (spent := time.process_time()) < 60 * arguments.cpu_minutes:
        run_state_machine_as_test(module.Endurance, settings=long)
        gc.collect()
        memory.append(process.memory_info().rss / 2**20)
        print(
            f"{time.process_time() / 60:6.1f} CPU-minutes "
            f"{module.Endurance.n_operations:8d} operations {memory[-1]:7.1f} MiB",
            flush=True,
        )
    half = len(memory) // 2
    result = {
        "cpu_minutes": round(spent / 60, 1),
        "operations": module.Endurance.n_operations,
        "mebibytes_first_half": round(max(memory[1 : half + 1], default=0), 1),
        "mebibytes_second_half": round(max(memory[half + 1 :], default=0), 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
