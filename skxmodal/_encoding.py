"""How a retriever encodes its two sides, and what it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from skxmodal._content import content_keys
from skxmodal._validation import is_raw
from skxmodal._warnings import warn_user


def fit_encoder(encoder: Any, items: Any, y: Any, groups: Any) -> Any:
    """A fitted copy of an encoder, with what its fit takes."""
    if encoder is None:
        return None
    params = {}
    if groups is not None and has_fit_parameter(encoder, "groups"):
        params["groups"] = groups
    return clone(encoder).fit(items, y, **params)


def item_keys(encoder: Any, items: Any, vectors: NDArray[Any] | None) -> list[bytes]:
    """Content of raw items where there is an encoder, else of the embeddings."""
    if encoder is None:
        return content_keys(vectors)
    if hasattr(encoder, "content_keys"):
        return encoder.content_keys(items)
    return content_keys(items)


def check_encoded(vectors: Any, name: str) -> NDArray[Any]:
    """Embeddings as an array, with the rows that have none named."""
    if issparse(vectors):
        raise TypeError(
            f"The encoder of {name} gives a sparse array, which a map can't take. Make "
            "it dense and short, as make_pipeline(TfidfVectorizer(), "
            "TruncatedSVD(300)) does."
        )
    vectors = np.asarray(vectors)
    if vectors.ndim != 2:
        raise ValueError(
            f"The encoder of {name} must give an array of shape (n_items, "
            f"n_features), got shape {vectors.shape}."
        )
    missing = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(missing):
        raise ValueError(
            f"{len(missing)} of the {len(vectors)} items of {name} have no finite "
            f"embedding (rows {', '.join(map(str, missing[:5]))}"
            f"{', ...' if len(missing) > 5 else ''}). Leave those pairs out."
        )
    return vectors


def reject_raw_items(items: Any, name: str, encoder: str) -> None:
    """Raise where items are raw and nothing encodes them."""
    if is_raw(items):
        raise ValueError(
            f"{name} holds raw items, and {encoder} is None. Give an encoder, as "
            f"CrossModalRetriever({encoder}=...), or embeddings of shape (n_items, "
            "n_features)."
        )


def warn_of_mixed_groups(
    keys: Sequence[Any], first_rows: NDArray[np.intp], item_of_row: NDArray[np.intp]
) -> None:
    """Warn where one group shows different pictures, or one picture is in several."""
    mixed = {
        int(item)
        for row, item in enumerate(item_of_row)
        if keys[row] != keys[first_rows[item]]
    }
    if mixed:
        warn_user(
            f"{len(mixed)} of the {len(first_rows)} groups hold targets of different "
            "content. Each group is one item of the gallery, shown by its first row. "
            "Where groups only keep rows together in cross-validation, give them to "
            "the splitter alone.",
            UserWarning,
        )
    n_contents = len({keys[row] for row in first_rows})
    if n_contents < len(first_rows):
        warn_user(
            f"{len(first_rows)} groups are shown by {n_contents} different targets. "
            "Items of equal content tie with each other, which counts against them. "
            "Give rows of the same picture the same group.",
            UserWarning,
        )
