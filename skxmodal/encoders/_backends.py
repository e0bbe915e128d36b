"""Other engines than torch to run a network in, after an export that is checked."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from skxmodal._paths import CACHE_VARIABLE, cache_folder
from skxmodal.encoders._engines import ENGINES

Batch: TypeAlias = Mapping[str, NDArray[Any]]
Run: TypeAlias = Callable[[Batch], NDArray[np.float32]]

BACKENDS = ("torch", *ENGINES)
LOWEST_COSINE = 0.9999
# Raise it when an export of the same network would come out otherwise.
_EXPORT_FORMAT = 1
_FILE = "model.onnx"


class ExportError(RuntimeError):
    """A network's export fails, or gives other vectors than the network."""


def build_run(
    network: Any,
    batches: Sequence[Batch],
    *,
    backend: str,
    dtype: str,
    identity: str,
    free_axes: Mapping[str, Sequence[int]],
) -> Run:
    """Have an engine run a network, from its export on disk where there is one.

    An export that can't be opened any more is made anew.

    Parameters
    ----------
    network : torch.nn.Module
        On the CPU, in float32.
    batches : sequence of dicts of arrays
        Inputs of different sizes along the free axes. The first is exported with, and
        all of them are compared on.
    backend : {"onnx", "openvino"}
        The engine.
    dtype : {"float32", "bfloat16", "int8"}
        What to calculate in.
    identity : str
        Everything the network's vectors depend on.
    free_axes : dict of str to sequence of int
        The axes of each input that may have any length.

    Returns
    -------
    run : callable
        From a batch to its vectors.

    Raises
    ------
    ExportError
        If the export fails, or in float32 the cosine of any vector with the network's
        own is below 0.9999. Vectors of lower precision are not compared: what they
        lose is measured in docs/decisions/0045-lower-precision.md.
    ValueError
        If the engine doesn't calculate in this type.
    ImportError
        If the engine is not installed, saying which extra brings it.
    """
    engine = ENGINES[backend]
    engine.check(dtype)
    facts = network, batches, engine.onnx_dtype(dtype), identity, free_axes
    anew = False
    while True:
        with _exported(*facts, anew=anew) as (file, was_there):
            try:
                run: Run = engine.open(file, dtype)
                break
            except ImportError:
                raise
            except Exception:
                # A file from before may be damaged, which shows in errors of any kind.
                if not was_there:
                    raise
                anew = True
    if dtype == "float32":
        _compare(network, run, batches, f"{backend} {dtype}")
    return run


def cosines(network: Any, run: Run, batches: Sequence[Batch]) -> NDArray[np.float64]:
    """Cosine of each vector of an engine with the network's own.

    Parameters
    ----------
    network : torch.nn.Module
        The network.
    run : callable
        The engine's.
    batches : sequence of dicts of arrays
        What to encode.

    Returns
    -------
    cosines : ndarray of shape (n,)
        NaN where a vector is not finite.
    """
    import torch

    values = []
    for batch in batches:
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(each) for name, each in batch.items()}
            expected = network(**tensors).numpy().astype(np.float64)
        given = np.asarray(run(batch), dtype=np.float64)
        norms = np.linalg.norm(given, axis=1) * np.linalg.norm(expected, axis=1)
        values.append(np.sum(given * expected, axis=1) / norms)
    return np.concatenate(values)


@contextlib.contextmanager
def _exported(
    network: Any,
    batches: Sequence[Batch],
    dtype: str,
    identity: str,
    free_axes: Mapping[str, Sequence[int]],
    *,
    anew: bool,
) -> Iterator[tuple[Path, bool]]:
    """The file of an export, and whether it was there; made and checked where not."""
    import torch

    facts = f"{_EXPORT_FORMAT} {torch.__version__} {dtype} {identity}"
    name = blake2b(facts.encode(), digest_size=16).hexdigest()
    with contextlib.ExitStack() as stack:
        root = _root(stack)
        folder = root / name
        if anew:
            shutil.rmtree(folder, ignore_errors=True)
        was_there = (folder / _FILE).is_file()
        if not was_there:
            draft = root / f"{name}-{uuid.uuid4().hex[:8]}"
            draft.mkdir()
            try:
                _export_checked(network, batches, draft / _FILE, free_axes)
                if dtype == "int8":
                    _quantise(draft / _FILE)
                _put_in_place(draft, folder)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
        yield folder / _FILE, was_there


def _root(stack: contextlib.ExitStack) -> Path:
    """Where exports are kept: nowhere if caching is off or has no place."""
    if os.environ.get(CACHE_VARIABLE, "").lower() != "off":
        with contextlib.suppress(OSError, ImportError):
            return cache_folder("exports")
    return Path(stack.enter_context(tempfile.TemporaryDirectory()))


def _put_in_place(draft: Path, folder: Path) -> None:
    try:
        draft.rename(folder)
    except OSError:
        # Another process has made the same export meanwhile.
        if not (folder / _FILE).is_file():
            raise


def _export_checked(
    network: Any,
    batches: Sequence[Batch],
    file: Path,
    free_axes: Mapping[str, Sequence[int]],
) -> None:
    """Export a network by the first exporter that gives the same vectors."""
    problems = []
    for exporter in (_export_traced, _export_captured):
        try:
            with warnings.catch_warnings():
                # Each exporter warns of the other's future and of its own tracing;
                # what it gets wrong is seen in the vectors.
                warnings.simplefilter("ignore")
                exporter(network, batches[0], file, free_axes)
            _compare(network, ENGINES["onnx"].open(file, "float32"), batches, "export")
            return
        except ImportError:
            raise
        except Exception as error:
            # Exporters fail with errors of every kind.
            reason = str(error).strip().splitlines()
            problems.append(
                f"{exporter.__name__.removeprefix('_export_')}: "
                f"{type(error).__name__}: {(reason or [''])[0][:200]}"
            )
    raise ExportError(
        "The network can't be exported: " + "; ".join(problems) + ". Encode with "
        "backend='torch'."
    )


def _compare(network: Any, run: Run, batches: Sequence[Batch], what: str) -> None:
    lowest = cosines(network, run, batches).min()
    # In this direction, so that NaN fails as well.
    if not lowest >= LOWEST_COSINE:
        raise ExportError(
            f"The vectors of the {what} have a cosine down to {lowest:.6f} with the "
            f"network's own, and at least {LOWEST_COSINE} is asked for. Encode with "
            "backend='torch'."
        )


def _export_traced(
    network: Any, batch: Batch, file: Path, free_axes: Mapping[str, Sequence[int]]
) -> None:
    """Export by running the network once and noting each operation."""
    axes = {
        name: {axis: f"{name}_{axis}" for axis in each}
        for name, each in free_axes.items()
    }
    _export(network, batch, file, dynamo=False, dynamic_axes=axes, opset_version=17)


def _export_captured(
    network: Any, batch: Batch, file: Path, free_axes: Mapping[str, Sequence[int]]
) -> None:
    """Export by reading the network's Python code, which is slow and knows more."""
    import torch

    shapes = {
        name: dict.fromkeys(each, torch.export.Dim.DYNAMIC)
        for name, each in free_axes.items()
    }
    _export(network, batch, file, dynamo=True, dynamic_shapes=shapes)


def _export(network: Any, batch: Batch, file: Path, **options: Any) -> None:
    import torch

    # None of it is used again if the exporter before this one failed half way.
    for leftover in file.parent.iterdir():
        leftover.unlink()
    with torch.inference_mode():
        torch.onnx.export(
            network,
            (),
            str(file),
            kwargs={name: torch.from_numpy(each) for name, each in batch.items()},
            input_names=list(batch),
            output_names=["vectors"],
            verbose=False,
            **options,
        )


def _quantise(file: Path) -> None:
    """Make the weights of products 8-bit integers, one scale a column."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    whole = file.with_name("float32.onnx")
    file.rename(whole)
    quantize_dynamic(
        str(whole),
        str(file),
        per_channel=True,
        # Products of 7 bits can't overflow on processors without VNNI.
        reduce_range=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Gemm", "Attention"],
    )
    whole.unlink()
