"""What is taken of the collections of Dask, and how the rest is refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from distributed import Client
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import KFold

from skxmodal import CCAMapper, LeastSquaresMapper, TextEncoder

N = 240
SETTINGS: list[dict[str, Any]] = [
    {"alpha": 0.1},
    {"alpha": "auto", "alphas": [1e-3, 0.1, 10.0]},
    {"alpha": "auto", "alphas": [1e-3, 0.1, 10.0], "cv": 3},
]


@pytest.fixture(scope="module")
def pairs() -> tuple[np.ndarray, np.ndarray]:
    """Paired rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 4)) + 1
    return X, X @ rng.normal(size=(4, 3)) + rng.normal(size=(N, 3))


def lazy(rows: np.ndarray, chunk: Any = 40) -> Any:
    return da.from_array(rows, chunks=(chunk, *(-1,) * (rows.ndim - 1)))


@pytest.mark.parametrize("settings", SETTINGS, ids=repr)
@pytest.mark.parametrize("weighted", [False, True])
def test_blocks_of_unknown_lengths_that_do_not_pair(
    client: Client, pairs: Any, settings: Any, weighted: bool
) -> None:
    X, y = pairs
    kept = X[:, 0] > 1
    w = np.random.default_rng(1).uniform(0.5, 2, N)[kept] if weighted else None
    rows, targets = lazy(X), lazy(y, (20, 60, 40, 40, 40, 40))
    some = rows[rows[:, 0] > 1]
    others = targets[da.from_array(kept, chunks=targets.chunks[0])]
    with pytest.warns(UserWarning, match="chunked differently") as caught:
        found = LeastSquaresMapper(**settings).fit(some, others, sample_weight=w)
    assert {warning.filename for warning in caught} == {__file__}
    expected = LeastSquaresMapper(**settings).fit(X[kept], y[kept], sample_weight=w)
    assert found.alpha_ == expected.alpha_
    if "alphas" in settings:
        assert_allclose(found.cv_errors_, expected.cv_errors_, rtol=1e-9)
    assert_allclose(found.coef_, expected.coef_, rtol=1e-9)


def test_folds_that_are_no_complements_are_refused(client: Client, pairs: Any) -> None:
    X, y = pairs
    rng = np.random.default_rng(1)
    resampled = [
        (rng.choice(train, len(train)), test) for train, test in KFold(4).split(X)
    ]
    with pytest.raises(ValueError, match="cv must part the rows"):
        LeastSquaresMapper(alpha="auto", cv=resampled).fit(lazy(X), lazy(y))


def test_columns_of_frames(client: Client, pairs: Any) -> None:
    X, y = pairs
    w = np.random.default_rng(1).uniform(0.5, 2, N)
    frame = pd.DataFrame(X, columns=[*"abcd"])
    rows = dd.from_pandas(frame, npartitions=3)
    target = dd.from_pandas(pd.Series(y[:, 0]), npartitions=3)
    weights = dd.from_pandas(pd.Series(w), npartitions=3)
    found = LeastSquaresMapper().fit(rows, target)
    assert_allclose(found.coef_, LeastSquaresMapper().fit(X, y[:, 0]).coef_)
    assert found.predict(rows).compute().shape == (N,)
    expected = LeastSquaresMapper().fit(X, y, sample_weight=w)
    for given in (rows, lazy(X, 80)):
        for of_each in (weights, list(w)):
            found = LeastSquaresMapper().fit(given, lazy(y, 80), sample_weight=of_each)
            assert_allclose(found.coef_, expected.coef_)
    found = LeastSquaresMapper().fit(X, y, sample_weight=weights)
    assert_allclose(found.coef_, expected.coef_)
    found = LeastSquaresMapper().fit(lazy(X), lazy(y), sample_weight=2.0)
    assert found.moments_.weight == 2 * N
    # The names of a frame of this process are kept beside targets on the cluster.
    found = LeastSquaresMapper().fit(frame, lazy(y))
    assert_array_equal(found.feature_names_in_, [*"abcd"])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones((N, 1)), r"one number a row.*\(240, 1\)"),
        (np.array(["a"] * N), "one number a row"),
        (np.ones(N - 1), "sample_weight 239"),
        (np.r_[np.ones(N - 1), np.nan], "block 5 of 6 .*sample_weight must hold"),
    ],
)
def test_weights_that_do_not_fit(
    client: Client, pairs: Any, weights: np.ndarray, message: str
) -> None:
    X, y = pairs
    for given in (weights, lazy(weights)):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "X and sample_weight are chunked")
            with pytest.raises(ValueError, match=message):
                CCAMapper(n_components=2).fit(lazy(X), lazy(y), sample_weight=given)


def test_rows_that_are_no_embeddings_say_what_they_are(
    client: Client, pairs: Any
) -> None:
    X, y = pairs
    mapper = LeastSquaresMapper().fit(X, y)
    unknown = da.from_delayed(dask.delayed(X), (np.nan, np.nan), dtype=float)
    lists = dd.from_pandas(pd.DataFrame({"v": list(X)}), npartitions=3)
    cases: list[tuple[Any, type[Exception], str]] = [
        (lazy(X.astype(complex)), ValueError, "Complex data not supported: X"),
        (lazy(X.astype(object)), ValueError, r"X is of object.*X\.astype\(float\)"),
        (lists, ValueError, r"X is of .*numpy\.stack"),
        (unknown, ValueError, "X is a Dask array of an unknown number of columns"),
        (dask.delayed(X), TypeError, "X must be a Dask array or DataFrame.*Delayed"),
        (lazy(X).map_blocks(sp.csr_matrix), TypeError, "X holds sparse blocks"),
    ]
    for rows, kind, message in cases:
        with pytest.raises(kind, match=message):
            LeastSquaresMapper().fit(rows, lazy(y))
        with pytest.raises(kind, match=message):
            mapper.transform(rows)
    with pytest.raises(TypeError, match=r"X is sparse.*X\.toarray"):
        LeastSquaresMapper().fit(sp.csr_matrix(X), lazy(y))
    with pytest.raises(ValueError, match="requires y to be passed"):
        LeastSquaresMapper().fit(lazy(X), None)


@pytest.mark.parametrize("settings", SETTINGS, ids=repr)
def test_a_fit_that_fails_changes_nothing(
    client: Client, pairs: Any, settings: Any
) -> None:
    X, y = pairs
    spoilt = np.c_[X, X]
    spoilt[100, 1] = np.nan
    mapper = LeastSquaresMapper(**settings).fit(X, y)
    before = dict(vars(mapper))
    for rows, targets in ((lazy(spoilt), lazy(y)), (spoilt, y), (X, y[:-1])):
        with pytest.raises(ValueError):
            mapper.fit(rows, targets)
        with pytest.raises(ValueError):
            mapper.partial_fit(rows, targets)
        assert vars(mapper) == before
    fresh = LeastSquaresMapper(**settings)
    with pytest.raises(ValueError, match="NaN"):
        fresh.fit(lazy(spoilt), lazy(y))
    assert vars(fresh) == vars(LeastSquaresMapper(**settings))


def test_frames_of_vectors_are_not_made_of_partitions(
    client: Client, tiny_bert: Path
) -> None:
    bag = db.from_sequence(["a dog", "a cat"], npartitions=2)
    encoder = TextEncoder(tiny_bert, cache=False).set_output(transform="pandas")
    with pytest.raises(ValueError, match="gives a Dask array"):
        encoder.transform(bag)
