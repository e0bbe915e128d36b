"""State of a training on disk, whole or absent."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skxmodal._paths import whole_file

FILE_NAME = "training.pt"
ABANDONED_AFTER_SECONDS = 3600


def digest(parts: Iterable[Any]) -> str:
    """Name for a training: the same for the same settings and data alone.

    Parameters
    ----------
    parts : iterable of arrays, bytes or objects with a faithful repr

    Returns
    -------
    name : str
        16 hexadecimal digits.

    Examples
    --------
    >>> digest([{"depth": 2}, np.arange(3)]) == digest([{"depth": 2}, np.arange(3)])
    True
    >>> digest([{"depth": 2}]) == digest([{"depth": 3}])
    False
    """
    code = hashlib.blake2b(digest_size=8)
    for part in parts:
        if isinstance(part, np.ndarray):
            code.update(f"{part.dtype.str}{part.shape}".encode())
            code.update(np.ascontiguousarray(part).data.cast("B"))
        else:
            code.update(part if isinstance(part, bytes) else repr(part).encode())
        code.update(b"\0")
    return code.hexdigest()


class Checkpoint:
    """The last state of one training, in a folder of its own.

    Parameters
    ----------
    folder : str or path-like
        Shared by any number of trainings.
    name : str
        Of this training; see `digest`.
    """

    def __init__(self, folder: str | os.PathLike[str], name: str) -> None:
        self.path = Path(folder) / name / FILE_NAME

    def write(self, state: dict[str, Any]) -> None:
        """Replace the state; a kill at any moment leaves the old one or the new."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(self.path, durable=True) as file:
            torch.save(state, file)
        # What a kill in the middle of a write left, and no other process writes now.
        for part in self.path.parent.glob(".*.part"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime > ABANDONED_AFTER_SECONDS:
                    part.unlink()

    def read(self) -> dict[str, Any] | None:
        """Return the state, or None where no training was stopped here.

        Raises
        ------
        ValueError
            If the file is damaged.
        """
        if not self.path.exists():
            return None
        try:
            return torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ValueError(
                f"the checkpoint {self.path} cannot be read ({error}): delete it to "
                "train from the start"
            ) from error
