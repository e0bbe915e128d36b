"""Splits of whole pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skxmodal.model_selection import group_train_test_split


@given(
    st.lists(st.integers(0, 9), min_size=2, max_size=40).filter(
        lambda groups: len(set(groups)) > 1
    ),
    st.integers(0, 1000),
)
@settings(max_examples=100, deadline=None)
def test_rows_are_kept_and_groups_are_whole(groups, seed):
    rows = list(range(len(groups)))
    train, test, train_groups, test_groups = group_train_test_split(
        rows, groups, groups=groups, test_size=0.3, random_state=seed
    )
    assert sorted(train + test) == rows
    assert train == sorted(train)
    assert test == sorted(test)
    assert not set(train_groups) & set(test_groups)
    assert [groups[row] for row in train] == train_groups
    assert train
    assert test


def test_sizes_count_pictures():
    groups = np.repeat(np.arange(40), 5)
    for test_size, expected in [(None, 10), (0.5, 20), (7, 7)]:
        _, test = group_train_test_split(groups, groups=groups, test_size=test_size)
        assert len(np.unique(test)) == expected
    train, test = group_train_test_split(
        groups, groups=groups, test_size=5, train_size=6, random_state=0
    )
    assert (len(np.unique(train)), len(np.unique(test))) == (6, 5)


def test_pictures_are_told_by_the_last_array():
    captions = [f"caption {row}" for row in range(30)]
    pictures = np.repeat(np.random.default_rng(0).normal(size=(10, 3)), 3, axis=0)
    _, _, train, test = group_train_test_split(captions, pictures, random_state=0)
    assert len(np.unique(test, axis=0)) == 3
    assert len(test) == 9
    assert not set(map(tuple, train)) & set(map(tuple, test))


def test_containers_are_kept():
    frame = pd.DataFrame({"caption": list("abcdef")})
    paths = [Path(f"{number}.jpg") for number in (0, 0, 1, 1, 2, 2)]
    vectors = np.arange(12.0).reshape(6, 2)
    found = group_train_test_split(
        frame, paths, vectors, groups=[0, 0, 1, 1, 2, 2], random_state=0
    )
    assert [type(side) for side in found[::2]] == [pd.DataFrame, list, np.ndarray]
    assert [type(side) for side in found[1::2]] == [pd.DataFrame, list, np.ndarray]


def test_a_seed_fixes_the_split():
    groups = np.arange(50)
    first = group_train_test_split(groups, groups=groups, random_state=3)
    again = group_train_test_split(groups, groups=groups, random_state=3)
    other = group_train_test_split(groups, groups=groups, random_state=4)
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="at least one array"):
        group_train_test_split()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        group_train_test_split([1, 2], [1])
    with pytest.raises(ValueError, match="groups has 1 labels for 2 rows"):
        group_train_test_split([1, 2], groups=[0])
    with pytest.raises(ValueError, match="resulting train set will be empty"):
        group_train_test_split([1, 2], groups=[0, 0])


def test_copies_of_a_file_stay_on_one_side(tmp_path):
    paths = []
    for number in range(20):
        paths.append(str(tmp_path / f"{number}.png"))
        Path(paths[-1]).write_bytes(b"picture %d" % (number // 2))
    for seed in range(5):
        train, test = group_train_test_split(paths, random_state=seed)
        assert not {Path(path).read_bytes() for path in train} & {
            Path(path).read_bytes() for path in test
        }
