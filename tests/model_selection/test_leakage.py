"""Warnings of pictures on both sides of a split."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skxmodal import CrossModalRetriever, RecallScorer, RetrievalScorer
from skxmodal.metrics import compare_retrievers, retrieval_report
from skxmodal.model_selection import LeakageWarning, check_leakage


@pytest.fixture(scope="module")
def pairs():
    """30 pictures with 4 captions each."""
    rng = np.random.default_rng(0)
    pictures = rng.normal(size=(30, 6))
    y = np.repeat(pictures, 4, axis=0)
    X = y + 0.5 * rng.normal(size=y.shape)
    return X, y, np.repeat(np.arange(30), 4)


def leaks_of(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(each.message) for each in caught if each.category is LeakageWarning]


def test_a_shared_picture_is_counted(pairs):
    X, y, _ = pairs
    search = CrossModalRetriever().fit(X[:62], y[:62])
    with pytest.warns(
        LeakageWarning, match=r"1 of 15 test pictures are training .*GroupKFold"
    ):
        RecallScorer(5)(search, X[62:], y[62:])
    with pytest.warns(LeakageWarning, match=r"1 of 15 test pictures"):
        search.score(X[62:], y[62:])
    with pytest.warns(LeakageWarning, match=r"1 of 15 test pictures"):
        retrieval_report(search, X[62:], y[62:])


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_folds_of_captions_leak_and_folds_of_pictures_do_not(pairs, folds):
    X, y, groups = pairs
    settings = {"scoring": RetrievalScorer([1, 3]), "return_train_score": True}
    shuffled = KFold(folds, shuffle=True, random_state=0)
    found = leaks_of(
        lambda: cross_validate(CrossModalRetriever(), X, y, cv=shuffled, **settings)
    )
    assert len(found) == folds
    whole = GroupKFold(folds)
    found = leaks_of(
        lambda: cross_validate(
            CrossModalRetriever(), X, y, groups=groups, cv=whole, **settings
        )
    )
    assert found == []


def test_every_other_caption_leaks_in_full(pairs):
    # Both sides hold the same pictures in the same number of rows.
    X, y, _ = pairs
    search = CrossModalRetriever().fit(X[::2], y[::2])
    with pytest.warns(LeakageWarning, match=r"30 of 30 test pictures"):
        RecallScorer(5)(search, X[1::2], y[1::2])


def test_the_training_data_themselves_are_no_leak(pairs):
    X, y, _ = pairs
    search = CrossModalRetriever().fit(X, y)
    assert leaks_of(lambda: RecallScorer(5)(search, X, y)) == []
    assert leaks_of(lambda: RecallScorer(5)(search, X[:40], y[:40])) == []


def test_another_gallery_does_not_hide_a_leak(pairs):
    X, y, _ = pairs
    search = CrossModalRetriever().fit(X[:62], y[:62]).index(y[64:])
    with pytest.warns(LeakageWarning, match=r"1 of 15 test pictures"):
        RecallScorer(5)(search, X[62:], y[62:])


@pytest.mark.filterwarnings("ignore:.*groups hold targets of different content")
def test_groups_name_pictures_that_differ_in_content(pairs):
    X, y, groups = pairs
    # Two crops of a picture: other content, same group.
    y = y + np.tile([0.0, 1e-3], len(y) // 2)[:, np.newaxis]
    names = np.array([f"picture {group}" for group in groups])
    search = CrossModalRetriever().fit(X[::2], y[::2], groups=names[::2])
    assert leaks_of(lambda: RecallScorer(5)(search, X[1::2], y[1::2])) == []
    with pytest.warns(LeakageWarning, match=r"30 of 30 test pictures"):
        RecallScorer(5)(search, X[1::2], y[1::2], groups=names[1::2])


def test_pipelines_are_opened(pairs):
    X, y, _ = pairs
    search = make_pipeline(StandardScaler(), CrossModalRetriever()).fit(X[:62], y[:62])
    with pytest.warns(LeakageWarning, match=r"1 of 15 test pictures"):
        RecallScorer(5)(search, X[62:], y[62:])


class MeanColour(TransformerMixin, BaseEstimator):
    """Encode picture files by the mean of each channel."""

    def fit(self, items, y=None):
        return self

    def transform(self, items):
        return np.array(
            [np.asarray(Image.open(item)).mean(axis=(0, 1)) for item in items]
        )


def test_copied_picture_files_are_one_picture(tmp_path):
    rng = np.random.default_rng(0)
    paths = []
    for number in range(12):
        pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    copy = tmp_path / "copy of 3.png"
    copy.write_bytes(paths[3].read_bytes())
    X = rng.normal(size=(12, 3))
    search = CrossModalRetriever(target_encoder=MeanColour()).fit(X[:8], paths[:8])
    assert leaks_of(lambda: RecallScorer(2)(search, X[8:], paths[8:])) == []
    with pytest.warns(LeakageWarning, match=r"1 of 4 test pictures"):
        RecallScorer(2)(search, X[8:], [*paths[8:11], copy])


def test_two_sides_are_checked_by_content_or_groups():
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    assert check_leakage(train, test) == 0
    with pytest.warns(LeakageWarning, match=r"1 of 5 test pictures"):
        assert check_leakage(train, np.vstack([test, train[:1], train[:1]])) == 1
    assert check_leakage([1, 1, 2], [3, 4]) == 0
    with pytest.warns(LeakageWarning, match=r"2 of 3 test pictures"):
        assert check_leakage(["a", "b", "c"], ["c", "a", "a", "d"]) == 2


def test_the_warning_points_at_the_code_that_asked(pairs):
    X, y, _ = pairs
    search = CrossModalRetriever().fit(X[:62], y[:62])
    X, y = X[62:], y[62:]
    for ask in (
        lambda: RecallScorer(5)(search, X, y),
        lambda: search.score(X, y),
        lambda: retrieval_report(search, X, y),
        lambda: compare_retrievers(search, search, X, y, k=5),
        lambda: check_leakage(y, y),
        lambda: cross_val_score(
            FrozenEstimator(search), X, y, cv=2, scoring=RecallScorer(2)
        ),
    ):
        with pytest.warns(LeakageWarning) as caught:
            ask()
        assert {each.filename for each in caught} == {__file__}


@pytest.mark.parametrize("given", [str, Path])
def test_two_sides_of_files_are_checked_by_what_they_hold(tmp_path, given):
    first, copy, other = (tmp_path / f"{name}.png" for name in "abc")
    first.write_bytes(b"one picture")
    copy.write_bytes(b"one picture")
    other.write_bytes(b"another")
    assert check_leakage([str(first)], [given(other)]) == 0
    for same in (first, copy):
        with pytest.warns(LeakageWarning, match=r"1 of 2 test pictures"):
            assert check_leakage([str(first)], [given(same), given(other)]) == 1


def test_a_change_of_dtype_hides_no_leak(pairs):
    X, y, _ = pairs
    single, half = y.astype(np.float32), y.astype(np.float16)
    for train, test in [
        (single, single.astype(np.float64)),
        (half, half.astype(np.float32)),
        (half.astype(np.float64), half),
    ]:
        with pytest.warns(LeakageWarning, match=r"30 of 30 test pictures"):
            assert check_leakage(train, test) == 30
    assert check_leakage(y, single) == 0
    search = CrossModalRetriever().fit(X[:62].astype(np.float32), single[:62])
    with pytest.warns(LeakageWarning, match=r"1 of 15 test pictures"):
        RecallScorer(5)(search, X[62:], single[62:].astype(np.float64))
