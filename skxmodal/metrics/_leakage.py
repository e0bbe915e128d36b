"""Pictures that stand on both sides of a split."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skxmodal._content import content_keys
from skxmodal._warnings import warn_user
from skxmodal.metrics._gallery_items import target_items


class LeakageWarning(UserWarning):
    """The same picture is in the training and in the test data."""


def check_leakage(train: Any, test: Any) -> int:
    """Count the pictures that stand on both sides of a split, and warn of them.

    Parameters
    ----------
    train, test : array-like of items
        The pictures, their embeddings, or the groups (one label for each row) of the
        two sides. Items are compared by content: paths of files, as strings too, by
        what the files hold, rows of floats by their values whatever the dtype, and
        other strings as they are.

    Returns
    -------
    n_shared : int
        Number of distinct pictures of the test side that the training side has too.

    Warns
    -----
    LeakageWarning
        If there is any.

    Examples
    --------
    >>> from skxmodal.model_selection import check_leakage
    >>> check_leakage(["a.jpg", "a.jpg", "b.jpg"], ["c.jpg", "d.jpg"])
    0
    """
    if _are_numbers(train) and _are_numbers(test):
        tested = np.unique(test)
        n_tested, n_shared = len(tested), int(np.isin(tested, train).sum())
    else:
        known, found = (set(content_keys(side, kind="found")) for side in (train, test))
        n_tested, n_shared = len(found), len(known & found)
    if n_shared:
        _warn(n_shared, n_tested)
    return n_shared


def _are_numbers(items: Any) -> bool:
    return isinstance(items, np.ndarray) and items.ndim == 1 and items.dtype.kind == "i"


def warn_of_leak(final: Any, X: Any, y: Any, groups: ArrayLike | None) -> None:
    """Warn where test pictures were fitted under other captions.

    Only estimators that remember their training data, with ``seen_in_training``, can
    tell; scoring the training data itself is no leak.
    """
    if not hasattr(final, "seen_in_training"):
        return
    queries_seen, targets_seen = final.seen_in_training(X, y, groups)
    if not targets_seen.any() or np.all(queries_seen & targets_seen):
        return
    first_rows, item_of_row = target_items(final, y, groups)
    shared = np.unique(item_of_row[targets_seen])
    _warn(len(shared), len(first_rows))


def _warn(n_shared: int, n_test: int) -> None:
    warn_user(
        f"{n_shared} of {n_test} test pictures are training pictures too, under other "
        "captions, so the score is too good. Keep the captions of a picture on one "
        "side: cv=GroupKFold() with groups=..., or group_train_test_split.",
        LeakageWarning,
    )
