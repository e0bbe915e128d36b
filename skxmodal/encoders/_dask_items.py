"""Encoders over the partitions of Dask bags, arrays and columns."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._set_output import _get_output_config

from skxmodal._dask import (
    delayed,
    gather_blocks,
    import_dask,
    row_blocks,
    whole_rows,
)


def encode_partitions(encoder: Any, items: Any, out: Any) -> Any:
    """Vectors of a Dask collection of items, a lazy Dask array, or written to `out`.

    Each task carries the encoder's parameters alone: the network is loaded once in
    each worker process, and looked up there by those parameters.
    """
    da = import_dask("dask.array")
    _check_output(encoder)
    partitions, lengths = _partitions(items)
    # Asked of a worker: this process may have neither the model nor a GPU.
    (dimension,) = gather_blocks([delayed(_dimension)(encoder)], ["the model's width"])
    # Once in the graph, whatever weights of its own it has.
    shared = import_dask().delayed(encoder, pure=False)
    n = len(partitions)
    blocks = [
        da.from_delayed(
            delayed(_encode)(shared, partition, f"partition {number} of {n}"),
            (length, dimension),
            dtype=np.float32,
        )
        for number, (partition, length) in enumerate(
            zip(partitions, lengths, strict=True)
        )
    ]
    vectors = da.concatenate(blocks, axis=0)
    if out is None:
        return vectors
    from skxmodal.distributed import read_shards, write_shards

    if not isinstance(out, str | os.PathLike):
        raise TypeError(
            "With Dask items, out must be the path of a new folder, which "
            f"skxmodal.distributed.read_shards reads; got {type(out).__name__}."
        )
    return read_shards(write_shards(vectors, out))


def _partitions(items: Any) -> tuple[list[Any], list[float]]:
    """Delayed partitions of items, and how many each has, NaN where unknown."""
    # A Delayed value seems to have any attribute, its class has not.
    if not hasattr(type(items), "to_delayed") or getattr(items, "ndim", 1) == 0:
        raise TypeError(
            "Expected a Dask bag, array or DataFrame column of items, got "
            f"{type(items).__name__}."
        )
    if hasattr(items, "chunks"):
        items = whole_rows(items)
        return row_blocks(items), list(items.chunks[0])
    columns = getattr(items, "columns", None)
    if columns is not None and getattr(items, "ndim", 1) == 2:
        if len(columns) != 1:
            raise ValueError(
                f"Expected one column of items, got {len(columns)}: {list(columns)}. "
                "Select one, frame['caption']."
            )
        items = items[columns[0]]
    partitions = list(items.to_delayed())
    return partitions, [np.nan] * len(partitions)


def _check_output(encoder: Any) -> None:
    wanted = _get_output_config("transform", encoder)["dense"]
    if wanted != "default":
        raise ValueError(
            f"{type(encoder).__name__}.transform is set to give {wanted} frames, and "
            "for Dask items it gives a Dask array. Take set_output(transform="
            '"default").'
        )


def _dimension(encoder: Any) -> int:
    return int(encoder._n_features_out)


def _encode(encoder: Any, items: Any, name: str) -> NDArray[np.float32]:
    if not hasattr(items, "__len__"):
        items = list(items)
    if not len(items):
        return np.empty((0, _dimension(encoder)), dtype=np.float32)
    try:
        vectors: NDArray[np.float32] = encoder.transform(items)
    except (TypeError, ValueError) as error:
        error.add_note(f"Rows are counted from the first of {name} on.")
        raise
    return vectors
