from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from skxmodal._content import content_keys, group_items
from skxmodal._rows import group_by_content


def assert_as_by_digests(items):
    for ours, expected in zip(
        group_by_content(items), group_items(content_keys(items)), strict=True
    ):
        assert_array_equal(ours, expected)
        assert ours.dtype == np.intp


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int8, np.complex128]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements=st.sampled_from([0, 1, 2]),
    )
)
def test_equals_grouping_by_digests(rows):
    assert_as_by_digests(rows)


def test_nan_equals_itself_and_zero_has_a_sign():
    rows = np.array([[np.nan, 0.0], [np.nan, 0.0], [np.nan, -0.0]])
    assert_as_by_digests(rows)
    assert_array_equal(group_by_content(rows)[1], [0, 0, 1])


@pytest.mark.parametrize("copies", [1, 5])
def test_wide_rows(copies):
    rows = np.random.default_rng(0).normal(size=(400, 300)).astype(np.float32)
    rows = rows.repeat(copies, axis=0)[np.random.default_rng(1).permutation(400)]
    assert_as_by_digests(rows)
    assert_as_by_digests(np.asfortranarray(rows))


def test_rows_that_differ_where_no_column_is_sampled():
    rows = np.zeros((4, 100))
    rows[2, 37] = 1.0
    assert_as_by_digests(rows)
    assert_array_equal(group_by_content(rows)[1], [0, 0, 1, 0])


@pytest.mark.parametrize(
    "items",
    [["a", "b", "a"], np.array([3, 1, 3]), np.zeros((0, 4)), [[1, 2], [1, 2]]],
    ids=["text", "numbers", "empty", "lists"],
)
def test_other_items_go_by_digests(items):
    assert_as_by_digests(items)
