"""Where a network runs, and in which precision."""

from __future__ import annotations

import warnings
from typing import Any

from skxmodal._optional import import_optional

DTYPES = ("float32", "bfloat16", "float16")


def resolve_device(device: Any, backend: str = "torch") -> str:
    """Name of the device to run on.

    Parameters
    ----------
    device : str, torch.device or None
        The device asked for; None takes the first GPU where there is one.
    backend : str, default="torch"
        The engine. Others than torch run on the CPU.

    Returns
    -------
    device : str
        A name that torch knows.

    Raises
    ------
    ValueError
        If torch doesn't know the device, or this machine has none such, or the engine
        doesn't run there.
    """
    torch = import_optional("torch", extra="encoders", purpose="Encoding")
    if backend != "torch":
        if device not in (None, "cpu", torch.device("cpu")):
            raise ValueError(
                f"device={device!r}, but backend={backend!r} runs on the CPU. Pass "
                "device=None, or backend='torch'."
            )
        return "cpu"
    if device is None:
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        named = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device={device!r} is no device of torch's. Pass 'cpu', 'cuda', 'cuda:1', "
            "'mps' or None."
        ) from error
    if named.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device={device!r}, but torch finds no CUDA device here. Pass 'cpu' or "
            "None."
        )
    return str(named)


def warn_of_emulation(dtype: str, device: str) -> None:
    """Warn of a type that the processor has no instructions for.

    Parameters
    ----------
    dtype : str
        The type asked for.
    device : str
        Where to run.

    Warns
    -----
    UserWarning
        If bfloat16 or float16 is emulated.
    """
    import torch

    # Before torch 2.6 nothing tells.
    ask = getattr(torch.cpu, "get_capabilities", None)
    if device != "cpu" or dtype == "float32" or ask is None:
        return
    part = "bf16" if dtype == "bfloat16" else "fp16"
    if not any(has for name, has in ask().items() if part in name):
        warnings.warn(
            f"dtype={dtype!r}, but this processor has no instructions for it: torch "
            "emulates them at a fraction of float32's speed. Pass dtype='float32'.",
            UserWarning,
            stacklevel=2,
        )


def check_dtype(dtype: str) -> None:
    """Check that torch runs networks in a type.

    Parameters
    ----------
    dtype : str
        The type asked for.

    Raises
    ------
    ValueError
        If it is no floating-point type.
    """
    if dtype not in DTYPES:
        raise ValueError(
            f"dtype={dtype!r}, but backend='torch' calculates in {', '.join(DTYPES)}. "
            "Pass one of these, or backend='onnx'."
        )
