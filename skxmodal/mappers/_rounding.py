"""What rounding may have left in sums of squares that should be zero."""

from __future__ import annotations

import numpy as np

# Relative to the squares that were summed. Sums in float32 are of one block each, and
# the errors of many blocks average out.
_ROUNDING = {"float64": 2e-15, "float32": 2e-7}
# A column that varies by fewer units in the last place of its mean is constant.
_LAST_PLACES = 4.0


def rounding_of(squares: np.ndarray) -> np.ndarray:
    """Bound of the rounding in sums of squares of this dtype."""
    return _ROUNDING[squares.dtype.name] * squares.astype(np.float64)


def of_constant(
    rounding: np.ndarray, mean: np.ndarray, weight: float, *, in_float32: bool
) -> np.ndarray:
    """Largest sum of squares that a constant column may show."""
    eps = np.finfo(np.float32 if in_float32 else np.float64).eps
    return rounding + weight * (_LAST_PLACES * eps * mean) ** 2


def of_matrix(rounding: np.ndarray) -> np.ndarray:
    """Bound of the rounding in quadratic forms of a scatter matrix, a column each."""
    return np.sqrt(len(rounding)) * rounding
