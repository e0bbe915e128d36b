"""Where skxmodal keeps files between runs."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from skxmodal._optional import import_optional

CACHE_VARIABLE = "SKXMODAL_CACHE"


def cache_folder(name: str) -> Path:
    """Folder for files that can be made again, created on first use.

    Parameters
    ----------
    name : str
        Subfolder, one for each kind of file.

    Returns
    -------
    folder : pathlib.Path
        ``$SKXMODAL_CACHE/name`` where that variable is set to a path, else the
        platform's own cache folder for skxmodal.
    """
    configured = os.environ.get(CACHE_VARIABLE, "")
    if configured and configured.lower() != "off":
        root = Path(configured).expanduser()
    else:
        platformdirs = import_optional(
            "platformdirs", extra="encoders", purpose="Finding the cache folder"
        )
        root = Path(platformdirs.user_cache_dir("skxmodal", appauthor=False))
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def whole_file(path: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """Write a file that appears under its name once it is whole, or not at all.

    Parameters
    ----------
    path : pathlib.Path
        The file; one that is there is replaced in one step.
    durable : bool, default=False
        Whether to wait until the bytes are on the disk before the file appears.

    Yields
    ------
    stream : binary file
        Where to write. Nothing is left behind when the block raises.
    """
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as stream:
            yield stream
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if durable and os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
