"""From JSON values and named arrays to objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from skxmodal.persistence._errors import PersistenceError
from skxmodal.persistence._limits import check_padding, most_decoded
from skxmodal.persistence._registry import class_named, is_own

JSON = Any
# What dtype.str gives. Others, such as "(2,3)f8", are parsed in many ways.
_DTYPE = re.compile(r"[<>|=][?biufcmMOSUV]\d{0,9}(\[\d{0,9}[a-z]{1,2}\])?")
_SCALAR_TYPE = re.compile(r"[a-z]{1,12}\d{0,3}")
_TIMES = re.compile(r"[<>|=][mM]8(\[\d{0,9}[a-z]{1,2}\])?")
_STRING_BYTES = 64
_N_WORDS_OF_STATE = 624


class ModelDecoder:
    """Turns JSON values and arrays back into objects.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        What the JSON values refer to by name.
    n_bytes : int, default=0
        Size of the files, which bounds what is made of them: a small file may say
        many times that a list is to be decoded.
    trust_remote_code : bool, default=False
        Whether an encoder may say that it runs code from its model's repository.

    Attributes
    ----------
    fingerprinted : list of (object, str, fingerprint)
        The objects that were saved with a fingerprint, and where they are.
    """

    def __init__(
        self,
        arrays: Mapping[str, NDArray[Any]],
        *,
        n_bytes: int = 0,
        trust_remote_code: bool = False,
    ) -> None:
        self.fingerprinted: list[tuple[Any, str, Any]] = []
        self._arrays = arrays
        self._n_bytes_left = most_decoded(n_bytes)
        self._joined: dict[tuple[str, str, str], list[Any]] = {}
        self._trust_remote_code = trust_remote_code

    def decode(self, node: JSON, where: str) -> Any:
        """Object of a JSON value.

        Parameters
        ----------
        node : object
            What :meth:`ModelEncoder.encode` gave.
        where : str
            Attribute path, for messages.

        Returns
        -------
        value : object
            The object, or one equal to it.

        Raises
        ------
        PersistenceError
            If the value is in no form that a model has.
        """
        if node is None or isinstance(node, bool | int | float | str):
            return node
        kind = node.get("type") if isinstance(node, dict) else None
        decode = _DECODERS.get(kind) if isinstance(kind, str) else None
        if decode is None:
            raise PersistenceError(f"{where} has the unknown form {str(node)[:80]!r}.")
        try:
            return decode(self, node, where)
        except PersistenceError:
            raise
        except Exception as error:
            # NumPy and the classes meet odd values with errors of any kind.
            raise PersistenceError(
                f"{where} can't be read as {kind!r}: {error}."
            ) from error

    def _object(self, node: dict[str, JSON], where: str) -> Any:
        cls = class_named(node["class"])
        prefix = f"{where}." if where else ""
        state: dict[str, Any] = {}
        for part in ("params", "fitted"):
            for name, item in node[part].items():
                if not name.isidentifier() or name.startswith("__") or name in state:
                    raise PersistenceError(f"{prefix}{name} is no attribute's name.")
                if callable(getattr(cls, name, None)):
                    raise PersistenceError(
                        f"{prefix}{name} would replace a method of {cls.__name__}."
                    )
                state[name] = self.decode(item, f"{prefix}{name}")
        _check_params(cls, node["params"].keys(), where or cls.__name__)
        if state.get("trust_remote_code") and not self._trust_remote_code:
            raise PersistenceError(
                f"{where or cls.__name__} was saved with trust_remote_code=True: it "
                "runs code from its model's repository. If you trust that code, load "
                "with trust_remote_code=True."
            )
        if is_own(cls) and not isinstance(state.get("cache"), bool):
            # Whoever made the model does not say where files are written here.
            state.update(dict.fromkeys(state.keys() & {"cache"}))
        obj: Any = object.__new__(cls)
        restore = getattr(cls, "__setstate__", None)
        # scikit-learn's own looks for the version that it puts into its pickles.
        if restore is None or restore is BaseEstimator.__setstate__:
            obj.__dict__.update(state)
        else:
            restore(obj, state)
        if "fingerprint" in node:
            if not callable(getattr(obj, "fingerprint", None)):
                raise PersistenceError(f"{where or cls.__name__} has no fingerprint.")
            expected = self.decode(node["fingerprint"], f"{prefix}fingerprint()")
            self.fingerprinted.append((obj, where or cls.__name__, expected))
        return obj

    def _named(self, name: JSON) -> NDArray[Any]:
        if not isinstance(name, str) or name not in self._arrays:
            raise PersistenceError(f"The array {str(name)[:100]!r} is missing.")
        return self._arrays[name]

    def _array(self, node: dict[str, JSON], where: str) -> NDArray[Any]:
        array = self._named(node["name"])
        return array.T if node.get("order") == "F" else array

    def _times(self, node: dict[str, JSON], where: str) -> NDArray[Any]:
        array = self.decode(node["array"], where)
        return array.view(np.dtype(_matched(_TIMES, node["dtype"])))

    def _mixed_array(self, node: dict[str, JSON], where: str) -> NDArray[Any]:
        items = self._sequence(node["items"], where)
        if node["type"] == "text_array":
            self._take(check_padding(items, where))
            return np.array(items, dtype=np.str_).reshape(node["shape"])
        array = np.empty(len(items), dtype=object)
        for i, item in enumerate(items):
            array[i] = item
        return array.reshape(node["shape"])

    def _sequence(self, items: JSON, where: str) -> list[Any]:
        if isinstance(items, dict):
            return self._split(items["type"], items["content"], items["lengths"])
        return [self.decode(item, f"{where}[{i}]") for i, item in enumerate(items)]

    def _split(self, kind: str, content: str, lengths: str) -> list[Any]:
        whole, of_each = self._named(content), self._named(lengths)
        self._take(of_each.size * np.dtype(np.intp).itemsize)
        key = (kind, content, lengths)
        if key not in self._joined:
            self._take(of_each.size * _STRING_BYTES + whole.size)
            self._joined[key] = _JOINED[kind](whole, of_each)
        return list(self._joined[key])

    def _take(self, n_bytes: int) -> None:
        self._n_bytes_left -= n_bytes
        if self._n_bytes_left < 0:
            raise PersistenceError(
                "what it describes is many times as large as its files."
            )

    def _collection(self, node: dict[str, JSON], where: str) -> Any:
        kinds = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
        return kinds[node["type"]](self._sequence(node["items"], where))

    def _dict(self, node: dict[str, JSON], where: str) -> dict[Any, Any]:
        return {
            self.decode(key, where): self.decode(item, f"{where}[{str(key)[:40]}]")
            for key, item in node["items"]
        }

    def _random_state(self, node: dict[str, JSON], where: str) -> Any:
        state = self.decode(node["state"], where)
        # set_state looks neither at the key's length nor at the position in it.
        key, pos = state["state"]["key"], state["state"]["pos"]
        if (
            state["bit_generator"] != "MT19937"
            or key.dtype != np.uint32
            or key.shape != (_N_WORDS_OF_STATE,)
            or type(pos) is not int
            or not 0 <= pos <= _N_WORDS_OF_STATE
        ):
            raise PersistenceError(f"{where} is no state of a RandomState.")
        random_state = np.random.RandomState()
        random_state.set_state(state)
        return random_state

    def _scalar(self, node: dict[str, JSON], where: str) -> Any:
        return self.decode(node["array"], where)[()]

    def _scalar_type(self, node: dict[str, JSON], where: str) -> Any:
        return np.dtype(_matched(_SCALAR_TYPE, node["value"])).type

    def _float(self, node: dict[str, JSON], where: str) -> float:
        return {"nan": np.nan, "inf": np.inf, "-inf": -np.inf}[node["value"]]

    def _path(self, node: dict[str, JSON], where: str) -> Path:
        return Path(node["value"])

    def _dtype(self, node: dict[str, JSON], where: str) -> np.dtype[Any]:
        return np.dtype(_matched(_DTYPE, node["value"]))

    def _bytes(self, node: dict[str, JSON], where: str) -> bytes:
        return bytes.fromhex(node["hex"])


def _check_params(cls: type, given: Any, where: str) -> None:
    names = getattr(cls, "_get_param_names", lambda: given)()
    for problem, wrong in (
        ("lacks the parameter", set(names) - given),
        ("has no parameter", given - set(names)),
    ):
        for name in sorted(wrong):
            raise PersistenceError(
                f"{where} {problem} {name!r}. Was it saved by another version? Its "
                "manifest says by which."
            )


def _matched(form: re.Pattern[str], value: JSON) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ValueError(f"{str(value)[:40]!r} is no type of NumPy's")
    return value


def _split_bytes(content: NDArray[Any], lengths: NDArray[Any]) -> list[bytes]:
    if (
        content.dtype != np.uint8
        or lengths.dtype != np.int64
        or (lengths < 0).any()
        or lengths.sum() != content.size
    ):
        raise PersistenceError("The lengths of a list do not fit its content.")
    whole = content.tobytes()
    ends = np.cumsum(lengths).tolist()
    return [whole[i:j] for i, j in zip([0, *ends[:-1]], ends, strict=True)]


def _split_text(content: NDArray[Any], lengths: NDArray[Any]) -> list[str]:
    return [
        part.decode("utf-8", "surrogatepass") for part in _split_bytes(content, lengths)
    ]


_JOINED: dict[str, Callable[[NDArray[Any], NDArray[Any]], list[Any]]] = {
    "bytes": _split_bytes,
    "paths": lambda content, lengths: [Path(p) for p in _split_text(content, lengths)],
    "text": _split_text,
}
_DECODERS: dict[str, Callable[[ModelDecoder, dict[str, JSON], str], Any]] = {
    "array": ModelDecoder._array,
    "bytes": ModelDecoder._bytes,
    "dict": ModelDecoder._dict,
    "dtype": ModelDecoder._dtype,
    "float": ModelDecoder._float,
    "frozenset": ModelDecoder._collection,
    "list": ModelDecoder._collection,
    "object": ModelDecoder._object,
    "object_array": ModelDecoder._mixed_array,
    "path": ModelDecoder._path,
    "random_state": ModelDecoder._random_state,
    "scalar": ModelDecoder._scalar,
    "scalar_type": ModelDecoder._scalar_type,
    "set": ModelDecoder._collection,
    "text_array": ModelDecoder._mixed_array,
    "times": ModelDecoder._times,
    "tuple": ModelDecoder._collection,
}
