"""From objects to JSON values and named arrays."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxmodal.persistence._errors import PersistenceError
from skxmodal.persistence._limits import check_padding
from skxmodal.persistence._registry import is_own, name_of

JSON = Any
_STORED_KINDS = "biuf"
_LONGEST_INLINE_LIST = 16


class ModelEncoder:
    """Turns objects into JSON values; arrays are set aside under names.

    Attributes
    ----------
    arrays : dict of str to ndarray
        What the JSON values refer to by name; equal objects are stored once.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}
        self._names: dict[int, str] = {}
        self._kept_alive: list[Any] = []
        self._open: set[int] = set()
        self._inside_params = 0

    def encode(self, value: Any, where: str) -> JSON:
        """JSON value of an object.

        Parameters
        ----------
        value : object
            Anything a model may consist of.
        where : str
            Attribute path, for messages and for the arrays' names.

        Returns
        -------
        node : object
            What ``json.dumps`` takes.

        Raises
        ------
        PersistenceError
            If the value, or something in it, can't be stored.
        """
        if value is None or isinstance(value, bool) or type(value) in (int, str):
            return value
        if isinstance(value, np.str_):
            return str(value)
        if type(value) is float:
            if math.isfinite(value):
                return value
            return {"type": "float", "value": repr(value)}
        if id(value) in self._open:
            raise PersistenceError(f"{where or 'The estimator'} contains itself.")
        self._open.add(id(value))
        try:
            return self._encode_compound(value, where)
        except RecursionError:
            raise PersistenceError(
                f"{where[:100] or 'The estimator'} is nested too deeply to be saved."
            ) from None
        finally:
            self._open.discard(id(value))

    def _encode_compound(self, value: Any, where: str) -> JSON:
        for kind, encode in _ENCODERS.items():
            if type(value) is kind:
                return encode(self, value, where)
        if isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray):
            return self._array(value, where)
        if isinstance(value, np.generic):
            return {"type": "scalar", "array": self._array(np.asarray(value), where)}
        if isinstance(value, Path):
            return {"type": "path", "value": os.fspath(value)}
        if isinstance(value, np.dtype) and value.names is None and not value.subdtype:
            return {"type": "dtype", "value": value.str}
        if isinstance(value, type) and issubclass(value, np.generic):
            return {"type": "scalar_type", "value": np.dtype(value).name}
        if isinstance(value, np.random.RandomState):
            state = value.get_state(legacy=False)
            if state["bit_generator"] != "MT19937":
                raise PersistenceError(
                    f"{where} draws from {state['bit_generator']}; a model on disk can "
                    "hold a RandomState of MT19937 alone, as RandomState(seed) makes."
                )
            return {"type": "random_state", "state": self.encode(state, where)}
        name = name_of(value)
        if name is not None:
            return self._object(value, name, where)
        kind = type(value)
        raise PersistenceError(
            f"{where or 'The estimator'} is {kind.__module__}.{kind.__qualname__}, "
            "which a model on disk can't hold: only numbers, text, paths, arrays and "
            "skxmodal's own classes. Register a class of your own with "
            "skxmodal.persistence.register, or use skops.io.dump."
        )

    def _object(self, value: Any, name: str, where: str) -> JSON:
        state = value.__getstate__()
        if not isinstance(state, dict):
            raise PersistenceError(
                f"{where or 'The estimator'}: {name}.__getstate__ gave "
                f"{type(state).__name__} where a model on disk needs a dict."
            )
        prefix = f"{where}." if where else ""
        known = value.get_params(deep=False) if hasattr(value, "get_params") else {}
        if is_own(type(value)) and not isinstance(state.get("cache"), bool):
            # A place on this machine, and no part of what the model computes.
            state = state | dict.fromkeys(state.keys() & known.keys() & {"cache"})
        node: dict[str, JSON] = {"type": "object", "class": name}
        parts = {"params": known.keys() & state.keys(), "fitted": state.keys() - known}
        for part, attributes in parts.items():
            self._inside_params += part == "params"
            # Sorted, so that one model gives the same files whatever the hash seed.
            node[part] = {
                attribute: self.encode(state[attribute], f"{prefix}{attribute}")
                for attribute in sorted(attributes)
                if attribute != "_sklearn_version"
            }
            self._inside_params -= part == "params"
        # An encoder that is a parameter has a fitted copy, which is enough to check.
        if hasattr(value, "fingerprint") and not self._inside_params:
            node["fingerprint"] = self.encode(
                value.fingerprint(), f"{prefix}fingerprint()"
            )
        return node

    def _array(self, value: NDArray[Any], where: str) -> JSON:
        if value.dtype.kind in "OU":
            items = value.ravel().tolist()
            if value.dtype.kind == "U":
                check_padding(items, where)
            return {
                "type": "object_array" if value.dtype.kind == "O" else "text_array",
                "shape": list(value.shape),
                "items": self._sequence(items, where),
            }
        if value.dtype.kind in "mM":
            whole = value.astype(np.int64)
            return {
                "type": "times",
                "dtype": value.dtype.str.replace(">", "<"),
                "array": self._array(whole, where),
            }
        if value.dtype.kind not in _STORED_KINDS or value.dtype.itemsize > 8:
            raise PersistenceError(
                f"{where} is an array of {value.dtype}, which a model on disk can't "
                "hold: only bool, integers and floats of up to 64 bits, text and times."
            )
        plain = np.asarray(value)
        turned = plain.flags.f_contiguous and not plain.flags.c_contiguous
        if id(value) not in self._names:
            self._names[id(value)] = self._set_aside(
                plain.T if turned else plain, where
            )
            self._kept_alive.append(value)
        node = {"type": "array", "name": self._names[id(value)]}
        return {**node, "order": "F"} if turned else node

    def _set_aside(self, value: NDArray[Any], where: str) -> str:
        name, n = where, 1
        while name in self.arrays:
            n += 1
            name = f"{where}:{n}"
        little = value.dtype.newbyteorder("<")
        self.arrays[name] = np.asarray(value, dtype=little, order="C")
        return name

    def _dict(self, value: dict[Any, Any], where: str) -> JSON:
        return {
            "type": "dict",
            "items": [
                [self.encode(key, where), self.encode(item, f"{where}[{key!r:.40}]")]
                for key, item in value.items()
            ],
        }

    def _list(self, value: Sequence[Any], where: str) -> JSON:
        return {"type": type(value).__name__, "items": self._sequence(value, where)}

    def _set(self, value: set[Any] | frozenset[Any], where: str) -> JSON:
        return {
            "type": type(value).__name__,
            "items": self._sequence(sorted(value, key=repr), where),
        }

    def _sequence(self, items: Sequence[Any], where: str) -> JSON:
        if len(items) > _LONGEST_INLINE_LIST:
            if all(isinstance(item, str) for item in items):
                return self._joined("text", items, where)
            if all(type(item) is bytes for item in items):
                return self._joined("bytes", items, where)
            if all(isinstance(item, Path) for item in items):
                return self._joined("paths", [os.fspath(item) for item in items], where)
        return [self.encode(item, f"{where}[{i}]") for i, item in enumerate(items)]

    def _joined(self, kind: str, items: Sequence[str | bytes], where: str) -> JSON:
        """Many strings as two arrays: their bytes, one after another, and lengths."""
        parts = [
            item if isinstance(item, bytes) else item.encode("utf-8", "surrogatepass")
            for item in items
        ]
        lengths = np.array([len(part) for part in parts], dtype=np.int64)
        content = np.frombuffer(b"".join(parts), dtype=np.uint8)
        return {
            "type": kind,
            "content": self._set_aside(content, f"{where}.{kind}"),
            "lengths": self._set_aside(lengths, f"{where}.lengths"),
        }

    def _bytes(self, value: bytes, where: str) -> JSON:
        return {"type": "bytes", "hex": value.hex()}


_ENCODERS: dict[type, Callable[[ModelEncoder, Any, str], JSON]] = {
    bytes: ModelEncoder._bytes,
    dict: ModelEncoder._dict,
    frozenset: ModelEncoder._set,
    list: ModelEncoder._list,
    set: ModelEncoder._set,
    tuple: ModelEncoder._list,
}
