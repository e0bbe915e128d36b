"""Checks of input shared by the whole package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any

import numpy as np
from sklearn.utils.validation import _num_samples, column_or_1d

__all__ = [
    "check_groups",
    "check_paired_items",
    "is_dask",
    "is_raw",
    "unchanged_on_error",
    "unit_rows",
]


@contextmanager
def unchanged_on_error(estimator: Any) -> Iterator[None]:
    """Put an estimator's attributes back where the block raises.

    Parameters
    ----------
    estimator : object
        What the block sets attributes of; what they hold must not be changed in place.
    """
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def check_groups(groups: Any, n_samples: int) -> np.ndarray:
    """Number the groups 0, 1, ... in order of first appearance.

    Parameters
    ----------
    groups : array-like of shape (n_samples,)
        Any hashable label a row: the picture a caption belongs to, say.

    n_samples : int
        The number of rows that the labels must cover.

    Returns
    -------
    numbers : ndarray of shape (n_samples,) of int64
        The number of each row's group.

    Raises
    ------
    ValueError
        If `groups` is not one label a row, if a label is missing (NaN, None), or if
        some are strings and others are not.
    """
    if _num_samples(groups) != n_samples:
        raise ValueError(
            f"groups has {_num_samples(groups)} labels for {n_samples} rows: "
            "give one label a row."
        )
    labels = column_or_1d(as_labels(groups, "groups"), dtype=None)
    missing = np.array([label is None or label != label for label in labels.tolist()])
    if missing.any():
        raise ValueError(
            f"groups has no label (None or NaN) for row {int(missing.argmax())}: "
            "give one label a row."
        )
    numbers: dict[Any, int] = {}
    return np.array(
        [numbers.setdefault(label, len(numbers)) for label in labels.tolist()],
        dtype=np.int64,
    )


def as_labels(labels: Any, name: str) -> np.ndarray:
    """Labels as an array, which must not turn numbers into strings."""
    array = np.asarray(labels)
    if array.dtype.kind in "US" and isinstance(labels, list | tuple):
        others = [label for label in labels if not isinstance(label, str | bytes)]
        if others:
            raise ValueError(
                f"Some {name} are strings and others like {others[0]!r}. Give {name} "
                "of one type."
            )
    return array


def unit_rows(X: Any) -> np.ndarray:
    """Scale the rows to unit Euclidean norm; a row of zeros stays zero.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The rows. float32 stays float32, anything else becomes float64.

    Returns
    -------
    unit : ndarray of shape (n_samples, n_features)
        A new array; `X` is left as it is.
    """
    X = np.asarray(X)
    if X.dtype != np.float32:
        X = X.astype(np.float64)
    # The largest entry is taken out first, so that no square over- or underflows.
    largest = np.abs(X).max(axis=1, keepdims=True, initial=0.0)
    largest[largest == 0.0] = 1.0
    unit = X / largest
    norms = np.sqrt(np.einsum("ij,ij->i", unit, unit))[:, np.newaxis]
    norms[norms == 0.0] = 1.0
    unit /= norms
    return unit


def is_dask(items: Any) -> bool:
    """Tell a Dask collection (array, bag, frame, column) without importing Dask."""
    return type(items).__module__.partition(".")[0] == "dask" and callable(
        getattr(items, "__dask_graph__", None)
    )


def as_column(items: Any) -> Any:
    """One column of strings or objects as an array (n,), anything else as it is."""
    shape: Any = getattr(items, "shape", ())
    if is_dask(items) or len(shape) != 2 or shape[1] != 1:
        return items
    values = items.to_numpy() if hasattr(items, "to_numpy") else items
    if isinstance(values, np.ndarray) and values.dtype.kind in "OUST":
        return values[:, 0]
    return items


def is_raw(items: Any) -> bool:
    """Tell raw items (texts, paths, pictures) from rows of numbers."""
    items = as_column(items)
    if hasattr(items, "columns"):
        return False
    ndim = getattr(items, "ndim", None)
    if ndim is not None and ndim > 2:
        return True
    dtype = getattr(items, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind not in "OUS":
        return False
    if isinstance(items, str | bytes | PurePath):
        return True
    try:
        first = next(iter(items))
    except (TypeError, StopIteration):
        return False
    if isinstance(first, str | bytes | PurePath) or hasattr(first, "convert"):
        return True
    return getattr(first, "ndim", 0) > 1


def check_paired_items(X: Any, y: Any, *, mapper: str) -> None:
    """Refuse raw items where a mapper needs rows of numbers.

    Parameters
    ----------
    X, y : array-like or None
        What the caller gave as queries and as targets.

    mapper : str
        The name of the mapper's class, for the message.

    Raises
    ------
    ValueError
        If `X` or `y` holds texts, paths or pictures.
    """
    if y is not None and is_raw(y):
        raise ValueError(
            f"{mapper} got {_described(y)} as y, but maps between embeddings: it "
            "needs y as an array of shape (n_samples, n_targets). A Pipeline hands y "
            "to every step as it is, so raw items are encoded inside the retriever: "
            f"CrossModalRetriever({mapper}(), target_encoder=ImageEncoder()). Or "
            "encode y beforehand: ImageEncoder().transform(y)."
        )
    if X is not None and is_raw(X):
        raise ValueError(
            f"{mapper} got {_described(X)} as X, but maps between embeddings: it "
            "needs X as an array of shape (n_samples, n_features). Put an encoder "
            f"before it, make_pipeline(TextEncoder(), {mapper}()), or encode X "
            "beforehand: TextEncoder().transform(X)."
        )


def _described(items: Any) -> str:
    items = as_column(items)
    if getattr(items, "ndim", 0) > 2:
        return f"an array of shape {tuple(items.shape)}"
    if isinstance(items, str | bytes | PurePath):
        return f"a single {type(items).__name__}"
    return f"raw items ({type(next(iter(items))).__name__})"
