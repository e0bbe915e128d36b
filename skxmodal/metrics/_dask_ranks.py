"""Ranks of paired Dask collections: keys travel, vectors stay in their shards."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skxmodal._content import content_keys, group_items
from skxmodal._dask import (
    as_array,
    block_names,
    delayed,
    gather_blocks,
    import_dask,
    row_blocks,
    with_chunks,
)
from skxmodal._encoding import warn_of_mixed_groups
from skxmodal._validation import check_groups, is_dask, unit_rows
from skxmodal.distributed._parts import Parts, require_client
from skxmodal.distributed._rank_counts import count_over_parts, vector_part
from skxmodal.neighbors._subspace import in_subspace


def rank_shards(
    final: Any, X: Any, y: Any, groups: ArrayLike | None, *, both: bool
) -> tuple[Any, NDArray[np.intp], int]:
    """Ranks of row-aligned Dask collections of queries and targets.

    Returns
    -------
    ranks : ndarray, or tuple of two
        What `count_ranks` gives.
    item_of_row : ndarray of shape (n,)
        The target of each row.
    n_items : int
        The number of distinct targets.
    """
    client = require_client("Ranking Dask collections")
    if getattr(final, "hubness_", None) is not None:
        raise ValueError(
            "Corrections for hubs look at a gallery as a whole, and Dask collections "
            "are ranked by shards: score with hubness=None, or a sample that fits into "
            "memory, X[rows].compute()."
        )
    y_encoder = getattr(final, "target_encoder_", None)
    X, y = _as_dask(X, getattr(final, "query_encoder_", None)), _as_dask(y, y_encoder)
    queries = as_array(mapped_lazily(final, "transform", X), "X")
    targets = as_array(mapped_lazily(final, "transform_target", y), "y")
    names = block_names(targets, "shard")
    keys = [delayed(_keys_of)(block, y_encoder) for block in _blocks_of(y)]
    found = gather_blocks(keys, names)
    lengths = tuple(len(some) for some in found)
    content = [key for some in found for key in some]
    if groups is None:
        first_rows, item_of_row = group_items(content)
    else:
        labels: Any = groups
        labels = labels.compute() if is_dask(labels) else labels
        first_rows, item_of_row = group_items(check_groups(labels, sum(lengths)))
        warn_of_mixed_groups(content, first_rows, item_of_row)
    subspace = getattr(final, "subspace_", None)
    starts = np.cumsum([0, *lengths])
    gallery = [
        delayed(_vectors)(block, name, subspace, first - start)
        for block, name, first, start in zip(
            row_blocks(with_chunks(targets, lengths)),
            names,
            np.split(first_rows, np.searchsorted(first_rows, starts[1:-1])),
            starts[:-1],
            strict=True,
        )
    ]
    asking = [
        delayed(_vectors)(block, name, subspace)
        for block, name in zip(
            row_blocks(queries), block_names(queries, "block of queries"), strict=True
        )
    ]
    query_parts = Parts(client, asking, block_names(queries, "block of queries"))
    if query_parts.n_rows != sum(lengths):
        raise ValueError(
            f"X has {query_parts.n_rows} rows and y {sum(lengths)}: row i of both must "
            "be one pair."
        )
    ranks = count_over_parts(
        query_parts,
        Parts(client, gallery, names),
        np.arange(sum(lengths) + 1),
        item_of_row,
        both=both,
    )
    return ranks, item_of_row, len(first_rows)


def mapped_lazily(final: Any, method: str, rows: Any) -> Any:
    """What a mapper gives, or a retriever's encoder and mapper, block by block."""
    if not hasattr(final, "mapper_"):
        return getattr(final, method)(rows)
    side = "query" if method == "transform" else "target"
    encoder = getattr(final, f"{side}_encoder_")
    if encoder is not None:
        rows = encoder.transform(rows)
    return getattr(final.mapper_, method)(rows)


def _as_dask(rows: Any, encoder: Any) -> Any:
    if is_dask(rows):
        return rows
    if encoder is not None and not hasattr(rows, "dtype"):
        return import_dask("dask.bag").from_sequence(rows)
    return import_dask("dask.array").from_array(np.asarray(rows))


def _blocks_of(y: Any) -> list[Any]:
    """The items of each block, raw where there is an encoder."""
    if hasattr(y, "chunks"):
        return row_blocks(as_array(y, "y"))
    if getattr(y, "ndim", 1) == 2 and len(y.columns) == 1:
        y = y[y.columns[0]]
    return list(y.to_delayed())


def _keys_of(block: Any, encoder: Any) -> list[bytes]:
    # A bag's partition may be a generator.
    block = block if hasattr(block, "__len__") else list(block)
    if encoder is not None and hasattr(encoder, "content_keys"):
        return encoder.content_keys(block) if len(block) else []
    return content_keys(np.asarray(block))


def _vectors(
    block: Any, name: str, subspace: Any, rows: NDArray[np.intp] | None = None
) -> Any:
    vectors = np.asarray(block)
    vectors = unit_rows(vectors if rows is None else vectors[rows])
    return vector_part(in_subspace(vectors, subspace), name)
