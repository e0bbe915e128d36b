"""Moments of folds against moments of their rows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit, TimeSeriesSplit

from skxmodal.mappers import Moments
from skxmodal.mappers._folds import fold_moments


@pytest.mark.parametrize(
    "cv",
    [
        KFold(4),
        KFold(4, shuffle=True, random_state=0),
        GroupKFold(3),
        ShuffleSplit(3, test_size=0.3, random_state=0),
        ShuffleSplit(3, test_size=0.3, train_size=0.3, random_state=0),
        TimeSeriesSplit(3),
    ],
    ids=str,
)
@pytest.mark.parametrize("weighted", [False, True])
def test_each_fold_holds_its_rows(cv, weighted):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)) + 10, rng.normal(size=(60, 3))
    w = rng.uniform(size=60) if weighted else None
    groups = np.arange(60) // 5 if isinstance(cv, GroupKFold) else None
    splits = list(cv.split(X, groups=groups))
    total, folds = fold_moments(X, y, w, splits, target_products="full")

    def assert_holds(moments, rows):
        part = None if w is None else w[rows]
        expected = Moments.from_arrays(X[rows], y[rows], part, target_products="full")
        assert moments.n_samples == len(rows)
        for name in ("weight", "x_mean", "y_mean", "xx", "xy", "yy"):
            assert_allclose(getattr(moments, name), getattr(expected, name), atol=1e-10)

    assert_holds(total, np.arange(60))
    for (train, test), (train_moments, test_moments) in zip(splits, folds, strict=True):
        assert_holds(train_moments, train)
        assert_holds(test_moments, test)
