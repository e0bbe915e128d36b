"""scikit-learn's own checks, on the encoders and on rows of numbers made items."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import SkipTestWarning
from sklearn.utils import check_array
from sklearn.utils.estimator_checks import check_estimator

from skxmodal.encoders import ImageEncoder, TextEncoder, TorchvisionEncoder

WORDS = [
    "dog",
    "cat",
    "car",
    "bird",
    "man",
    "woman",
    "red",
    "blue",
    "green",
    "runs",
    "sits",
    "sleeps",
    "grass",
    "water",
]

# What does not apply to transformers of raw items, and why.
DOES_NOT_APPLY = {
    "check_n_features_in": "an item is one thing and has no features to count",
    "check_n_features_in_after_fitting": "nor could their number differ later",
}


class _RowsAsItems:
    """Takes the checks' arrays, and makes an item of each row."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.one_d_array = False
        return tags

    def _items(self, X: Any, start: int = 0) -> list[Any]:
        rows = check_array(X)
        return super()._items([self._item(row) for row in rows], start)


class TextsOfRows(_RowsAsItems, TextEncoder):
    @staticmethod
    def _item(row: np.ndarray) -> str:
        return " ".join(WORDS[int(abs(value) * 997) % len(WORDS)] for value in row)


class PicturesOfRows(_RowsAsItems, ImageEncoder):
    @staticmethod
    def _item(row: np.ndarray) -> np.ndarray:
        levels = (np.abs(row) * 997).astype(np.int64).astype(np.uint8)
        return np.resize(levels, (8, 8, 3))


@pytest.mark.parametrize("encoder", [TextEncoder, ImageEncoder, TorchvisionEncoder])
def test_checks_that_need_no_items(encoder):
    with warnings.catch_warnings():
        # The encoders take no numbers, so that the checks on data aren't run here.
        warnings.simplefilter("ignore", SkipTestWarning)
        results = check_estimator(encoder(), on_fail=None)
    assert {result["status"] for result in results} == {"passed"}


@pytest.mark.parametrize("kind", ["text", "picture"])
def test_checks_on_items(kind, tiny_bert, tiny_resnet):
    encoder = (
        TextsOfRows(tiny_bert, cache=False)
        if kind == "text"
        else PicturesOfRows(tiny_resnet, cache=False)
    )
    results = check_estimator(encoder, on_fail=None, on_skip=None)
    failed = {
        result["check_name"]: result["exception"]
        for result in results
        if result["status"] == "failed"
    }
    assert set(failed) == set(DOES_NOT_APPLY), failed
    assert len(results) > 40
