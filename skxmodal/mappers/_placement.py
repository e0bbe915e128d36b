"""Arrays of any namespace: where they are, and projected there."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import _array_api
from sklearn.utils._array_api import _convert_to_numpy, device, get_namespace


class Placer:
    """Puts arrays into the namespace and dtype and onto the device of another."""

    def __init__(self, reference: Any) -> None:
        self.xp, self.is_array_api = get_namespace(reference)
        self.dtype = reference.dtype
        self.where = {"device": device(reference)} if self.is_array_api else {}

    def wide(self) -> Placer:
        """Put arrays as float64 from now on, where the device has it."""
        self.dtype = widest_float(self.xp, **self.where)
        return self

    def __call__(self, array: Any) -> Any:
        if array is None or self.holds(array):
            return array
        return self.xp.asarray(plain(array), dtype=self.dtype, **self.where)

    def as_it_is(self, array: np.ndarray) -> Any:
        """Put a NumPy array without a change of dtype, where the device has it."""
        if not self.is_array_api:
            return array
        if widest_float(self.xp, **self.where) == self.xp.float32:
            array = array.astype(np.float32)
        return self.xp.asarray(array, **self.where)

    def moved(self, array: Any) -> Any:
        """The array in the same namespace and place, of its own dtype."""
        xp, is_array_api = get_namespace(array)
        if (xp, is_array_api) == (self.xp, self.is_array_api) and (
            not is_array_api or device(array) == self.where["device"]
        ):
            return array
        return self.as_it_is(plain(array))

    def holds(self, array: Any) -> bool:
        """Tell whether the array is where, and what, this would make it."""
        xp, is_array_api = get_namespace(array)
        return (
            (xp, is_array_api) == (self.xp, self.is_array_api)
            and array.dtype == self.dtype
            and (not is_array_api or device(array) == self.where["device"])
        )


def project(rows: Any, mean: Any, projection: Any = None, offset: Any = None) -> Any:
    """Centre and project rows, in the wider dtype of theirs and the projection's."""
    put = Placer(rows)
    dtype = put.dtype
    wide = "float64" in str(mean.dtype) and "float64" not in str(dtype)
    if wide:
        put = put.wide()
        rows = put.xp.astype(rows, put.dtype)
    rows = rows - put(mean)
    if projection is not None:
        rows = rows @ put(projection)
    if offset is not None:
        rows -= put(offset)
    return put.xp.astype(rows, dtype) if wide else rows


def widest_float(xp: Any, device: Any = None) -> Any:
    """float64, but for a device that has none."""
    return xp.float32 if str(device).startswith("mps") else xp.float64


def plain(array: Any) -> np.ndarray:
    """The array as NumPy."""
    return _convert_to_numpy(array, get_namespace(array)[0])


def check_namespace(rows: Any, estimator: Any, attribute: str, method: str) -> None:
    """Refuse rows of another namespace or device than those of `fit`."""
    # Newer releases of scikit-learn ask this of estimators; older ones have no such
    # check, and `Placer` moves the solution to the rows.
    check = getattr(_array_api, "check_same_namespace", None)
    if check is not None:
        check(rows, estimator, attribute=attribute, method=method)
