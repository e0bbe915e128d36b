"""Import of torchvision, and of what imports it, beside a CPU build of torch.

The torchvision wheel on PyPI is built for CUDA. Beside a CPU torch its compiled
operators don't load, and its import fails where it describes the first of them. No
image network needs them, so declaring their schemas is enough.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from types import ModuleType
from typing import Any

from skxmodal._optional import import_optional

_SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_lock = threading.RLock()
# Freed with its schemas when nothing refers to it any more.
_declared: list[Any] = []


def import_torchvision(*, purpose: str = "Encoding pictures") -> ModuleType:
    """Import torchvision, declaring the operators a CPU torch lacks where it must.

    Parameters
    ----------
    purpose : str, default="Encoding pictures"
        What needs torchvision, for the error where it is not installed.

    Returns
    -------
    torchvision : module
        The imported module.

    Raises
    ------
    ImportError
        If torch or torchvision is not installed.
    RuntimeError
        If torchvision fails to import for any other reason.
    """
    with _lock:
        import_optional("torch", extra="encoders", purpose=purpose)
        try:
            return import_optional("torchvision", extra="encoders", purpose=purpose)
        except RuntimeError as error:
            if "operator torchvision::" not in str(error):
                raise
        _declare_missing_operators()
        for name in [name for name in sys.modules if name.startswith("torchvision.")]:
            del sys.modules[name]
        return import_optional("torchvision", extra="encoders", purpose=purpose)


def import_transformers(*, purpose: str = "Encoding") -> ModuleType:
    """Import transformers, after the torchvision that it imports where installed.

    Parameters
    ----------
    purpose : str, default="Encoding"
        What needs transformers, for the error where it is not installed.

    Returns
    -------
    transformers : module
        The imported module.

    Raises
    ------
    ImportError
        If torch or transformers is not installed.
    """
    with _lock:
        import_optional("torch", extra="encoders", purpose=purpose)
        if importlib.util.find_spec("torchvision") is not None:
            import_torchvision(purpose=purpose)
        return import_optional("transformers", extra="encoders", purpose=purpose)


def _declare_missing_operators() -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(name + schema)
    _declared.append(library)
