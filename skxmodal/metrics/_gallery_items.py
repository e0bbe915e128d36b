"""Which rows are the same picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import _num_samples

from skxmodal._content import group_items
from skxmodal._encoding import warn_of_mixed_groups
from skxmodal._rows import group_by_content
from skxmodal._validation import check_groups


def target_items(
    final: Any, y: Any, groups: ArrayLike | None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First row of each distinct target, and the number of each row's target."""
    if groups is None:
        return _by_content(final, y)
    items = group_items(check_groups(groups, _num_samples(y)))
    try:
        content = _by_content(final, y)[1].tolist()
    except TypeError:
        # Items without a content of their own are told by their groups alone.
        return items
    warn_of_mixed_groups(content, *items)
    return items


def _by_content(final: Any, y: Any) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    if hasattr(final, "gallery_items"):
        return final.gallery_items(y)
    return group_by_content(y)
