"""The classes that a saved model may consist of."""

from __future__ import annotations

import importlib
from typing import Any, TypeVar

from skxmodal.mappers import MAPPERS
from skxmodal.persistence._errors import PersistenceError

ClassT = TypeVar("ClassT", bound=type)

# Where each class lives: a manifest names the class, never the module.
_MODULES = {
    **{mapper.__name__: "skxmodal.mappers" for mapper in MAPPERS.values()},
    "CSLS": "skxmodal.neighbors",
    "ContrastiveTuner": "skxmodal.encoders",
    "CrossModalRetriever": "skxmodal.retriever",
    "DualSoftmax": "skxmodal.neighbors",
    "ExactIndex": "skxmodal.neighbors",
    "FrozenEstimator": "sklearn.frozen",
    "GMLPMapper": "skxmodal.mappers",
    "Gallery": "skxmodal.neighbors._gallery",
    "HNSWIndex": "skxmodal.neighbors",
    "IVFIndex": "skxmodal.neighbors",
    "IVFPQIndex": "skxmodal.neighbors",
    "ImageEncoder": "skxmodal.encoders",
    "InvertedSoftmax": "skxmodal.neighbors",
    "LocalScaling": "skxmodal.neighbors",
    "Moments": "skxmodal.mappers",
    "PassthroughMapper": "skxmodal.mappers._passthrough",
    "QBNorm": "skxmodal.neighbors",
    "ScalarQuantizedIndex": "skxmodal.neighbors",
    "TextEncoder": "skxmodal.encoders",
    "TorchvisionEncoder": "skxmodal.encoders",
    "TunedImageEncoder": "skxmodal.encoders._contrastive_tuned",
    "TunedTextEncoder": "skxmodal.encoders._contrastive_tuned",
    "TunedTorchvisionEncoder": "skxmodal.encoders._contrastive_tuned",
}
_registered: dict[str, type] = {}


def register(new_class: ClassT) -> ClassT:
    """Let a class of one's own be part of saved models.

    Its objects are stored as what ``__getstate__`` gives, which may hold numbers,
    text, paths, arrays, lists, tuples, dicts and objects of other registered
    classes. To load a model the class must be registered again.

    Parameters
    ----------
    new_class : type
        The class, with a name that no other registered class has.

    Returns
    -------
    new_class : type
        The same class: ``register`` can decorate it.

    Raises
    ------
    ValueError
        If another class is registered under that name.

    Examples
    --------
    >>> from sklearn.base import BaseEstimator
    >>> from skxmodal.persistence import register
    >>> @register
    ... class LengthEncoder(BaseEstimator):
    ...     def fit(self, items, y=None):
    ...         return self
    ...
    ...     def transform(self, items):
    ...         return [[len(item)] for item in items]
    """
    name = new_class.__name__
    known = _registered.get(name)
    same = known is not None and _place(known) == _place(new_class)
    if name in _MODULES or (known is not None and not same):
        raise ValueError(
            f"A class named {name!r} is registered already; rename this one."
        )
    _registered[name] = new_class
    return new_class


def _place(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def is_own(cls: type) -> bool:
    """Whether a class is in the registry from the start."""
    return _registered.get(cls.__name__) is not cls


def name_of(obj: Any) -> str | None:
    """Name an object's class is stored under; None where it may not be stored."""
    name = type(obj).__name__
    module = type(obj).__module__
    if name in _MODULES and f"{module}.".startswith(f"{_MODULES[name]}."):
        return name
    return name if _registered.get(name) is type(obj) else None


def class_named(name: Any) -> type:
    """Class stored under a name.

    Raises
    ------
    PersistenceError
        If no registered class has the name.
    """
    if isinstance(name, str) and name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    if isinstance(name, str) and name in _registered:
        return _registered[name]
    raise PersistenceError(
        f"The model names the class {str(name)[:100]!r}, which is none of skxmodal's. "
        "If it is your own, register it first with skxmodal.persistence.register."
    )
