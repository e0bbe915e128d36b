"""Where and how precisely to compute."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

PRECISIONS = ("auto", "float32", "bf16")


def resolve_device(device: str | None) -> torch.device:
    """Device to train on.

    Parameters
    ----------
    device : str or None
        A torch device; None takes a CUDA device where there is one, else the CPU.

    Returns
    -------
    device : torch.device

    Raises
    ------
    ValueError
        If the device is unknown to torch or not on this machine.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device={device!r} cannot be used here ({reason}): give 'cpu', or None "
            "for the best device there is"
        ) from error
    return resolved


def resolve_precision(device: torch.device, precision: str) -> str:
    """What products are computed in.

    Parameters
    ----------
    device : torch.device
    precision : {"auto", "float32", "bf16"}
        "auto" is bf16 on a GPU that computes in it, else the data's own precision.

    Returns
    -------
    precision : {"float32", "bf16"}
    """
    if precision != "auto":
        return precision
    fast = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return "bf16" if fast else "float32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Context in which products are computed at the precision asked for.

    Parameters
    ----------
    device : torch.device
    precision : {"auto", "float32", "bf16"}
        See `resolve_precision`.

    Returns
    -------
    context : context manager
    """
    if resolve_precision(device, precision) == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()
