"""The engines that run an exported network."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxmodal._optional import import_optional


@dataclass(frozen=True)
class Engine:
    """An engine and what it can do.

    Attributes
    ----------
    name : str
        As given to ``backend=``.
    dtypes : tuple of str
        What it calculates in.
    open : callable
        From an ONNX file and a dtype to what runs a batch.
    forks : bool
        Whether what it opened runs in a forked process too.
    """

    name: str
    dtypes: tuple[str, ...]
    open: Callable[[Path, str], Callable[[Mapping[str, NDArray[Any]]], Any]]
    forks: bool

    def check(self, dtype: str) -> None:
        """Raise ValueError if the engine doesn't calculate in this type."""
        if dtype not in self.dtypes:
            raise ValueError(
                f"dtype={dtype!r}, but backend={self.name!r} calculates in "
                f"{', '.join(self.dtypes)}. Pass one of these, or backend='torch'."
            )

    def onnx_dtype(self, dtype: str) -> str:
        """Type of the weights in the file: lower ones than float32 but int8 aren't."""
        return dtype if dtype == "int8" else "float32"


def n_threads() -> int:
    """Number of threads of an engine: torch's, which is the user's."""
    import torch

    return int(torch.get_num_threads())


def _open_onnx(file: Path, dtype: str) -> Any:
    onnxruntime = import_optional("onnxruntime", extra="onnx", purpose="backend='onnx'")
    options = onnxruntime.SessionOptions()
    # Each of the threads that bring batches calculates its own.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(file), options, providers=["CPUExecutionProvider"]
    )
    inputs = {each.name for each in session.get_inputs()}

    def run(batch: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        # An input that a network does not use is not in its graph.
        wanted = {name: values for name, values in batch.items() if name in inputs}
        return np.asarray(session.run(None, wanted)[0], dtype=np.float32)

    return run


@lru_cache
def _openvino_core(process: int) -> Any:
    """OpenVINO's core of a process, which a forked child can't take over.

    Where the processor has matrix tiles, a core gives its thread another stack for
    signals and later restores the one before, which may be gone: the next Ctrl-C ends
    the process. So there is one core, opened on a thread that no signal reaches.
    """
    import openvino

    opened: list[Any] = []

    def open_core() -> None:
        core = openvino.Core()
        # A core is without its plugins until one of them is asked for.
        core.get_versions("CPU")
        opened.append(core)

    thread = threading.Thread(target=open_core)
    thread.start()
    thread.join()
    return opened[0]


def _open_openvino(file: Path, dtype: str) -> Any:
    import_optional("openvino", extra="openvino", purpose="backend='openvino'")
    core = _openvino_core(os.getpid())
    compiled = core.compile_model(
        core.read_model(os.fspath(file)),
        "CPU",
        {
            # Left to itself it calculates in bfloat16 where the processor has it.
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[dtype],
            "INFERENCE_NUM_THREADS": n_threads(),
            # As many batches at a time as there are threads that bring them.
            "NUM_STREAMS": n_threads(),
        },
    )
    inputs = {name for each in compiled.inputs for name in each.get_names()}
    # A request holds one thread's tensors.
    own = threading.local()

    def run(batch: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        wanted = {name: values for name, values in batch.items() if name in inputs}
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        results = own.request.infer(wanted)
        return np.array(results[compiled.output(0)], dtype=np.float32)

    return run


ENGINES = {
    "onnx": Engine("onnx", ("float32", "int8"), _open_onnx, forks=True),
    # It runs on threads of its own, which aren't forked.
    "openvino": Engine(
        "openvino", ("float32", "bfloat16"), _open_openvino, forks=False
    ),
}
