"""Splits that keep the captions of a picture together."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike
from sklearn.model_selection import GroupShuffleSplit
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils.validation import _num_samples

from skxmodal._rows import group_by_content
from skxmodal._validation import check_groups


def group_train_test_split(
    *arrays: Any,
    groups: ArrayLike | None = None,
    test_size: float | int | None = None,
    train_size: float | int | None = None,
    random_state: Any = None,
) -> list[Any]:
    """Split row-aligned lists into a training and a test side, by whole pictures.

    :func:`~sklearn.model_selection.train_test_split` would put captions of one picture
    on both sides.

    Parameters
    ----------
    *arrays : sequence of array-like of n rows
        Captions, pictures, anything row-aligned: lists, arrays, data frames.
    groups : array-like of shape (n,), default=None
        The picture of each row. By default rows whose items in the last array have
        the same content are one picture: paths of files, as strings too, are compared
        by what the files hold.
    test_size : float or int, default=None
        Fraction (between 0 and 1) or number of the pictures to test on; a quarter, or
        what ``train_size`` leaves, by default.
    train_size : float or int, default=None
        Fraction or number of the pictures to train on; what is left by default.
    random_state : int, RandomState instance or None, default=None
        Source of the shuffle.

    Returns
    -------
    splitting : list of array-like, of length 2 * len(arrays)
        The training and the test side of each array, rows in their order.

    Raises
    ------
    ValueError
        If no array is given, their lengths differ, or a side would be empty.

    Examples
    --------
    >>> from skxmodal.model_selection import group_train_test_split
    >>> captions = ["a dog", "a puppy", "a cat", "a kitten"]
    >>> pictures = ["dog.jpg", "dog.jpg", "cat.jpg", "cat.jpg"]
    >>> group_train_test_split(captions, pictures, test_size=0.5, random_state=0)
    [['a dog', 'a puppy'], ['a cat', 'a kitten'],
     ['dog.jpg', 'dog.jpg'], ['cat.jpg', 'cat.jpg']]
    """
    if not arrays:
        raise ValueError("Give at least one array to split.")
    aligned = indexable(*arrays)
    if groups is None:
        _, pictures = group_by_content(arrays[-1], kind="found")
    else:
        pictures = check_groups(groups, _num_samples(aligned[0]))
    if test_size is None and train_size is None:
        test_size = 0.25
    splitter = GroupShuffleSplit(
        1, test_size=test_size, train_size=train_size, random_state=random_state
    )
    train, test = next(splitter.split(pictures, groups=pictures))
    return [_safe_indexing(array, rows) for array in aligned for rows in (train, test)]
