"""Imports of packages that only some features need."""

from __future__ import annotations

import importlib
from types import ModuleType


def import_optional(module: str, *, extra: str | None, purpose: str) -> ModuleType:
    """Import a module, or say which extra of skxmodal brings it.

    Parameters
    ----------
    module : str
        Dotted name of the module.
    extra : str or None
        The extra of skxmodal that installs it; None where the package itself does.
    purpose : str
        What needs the module, as the subject of the error's sentence.

    Returns
    -------
    module : module
        The imported module.

    Raises
    ------
    ImportError
        If the module's package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != package:
            raise
        wanted = package if extra is None else f"'skxmodal[{extra}]'"
        raise ImportError(
            f"{purpose} needs the package {package!r}, which is not installed. "
            f"Install it with: pip install {wanted}"
        ) from error
