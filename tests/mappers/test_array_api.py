"""Tensors and arrays of other namespaces, as scikit-learn dispatches on them.

scipy reads SCIPY_ARRAY_API when it is imported: without it, one test runs the others
in a process of their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn import config_context
from sklearn.base import clone

from skxmodal import (
    CCAMapper,
    LeastSquaresMapper,
    ProcrustesMapper,
    RelativeMapper,
)
from skxmodal.inspection import alignment_report, hubness_skewness

MAPPERS = [
    LeastSquaresMapper(),
    LeastSquaresMapper(alpha=0.1, x_whiten=0.5, y_whiten=0.5),
    LeastSquaresMapper(alpha="auto"),
    ProcrustesMapper(),
    ProcrustesMapper(scaling=True, n_components=3, x_whiten=0.5),
    CCAMapper(alpha=0.1, n_components=3),
    CCAMapper(),
]


def named(mapper):
    return repr(mapper).replace("\n", "")


def pairs(n=200, dtype="float64"):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 5)) @ rng.normal(size=(5, 5)) + 3.0
    y = X @ rng.normal(size=(5, 7)) + rng.normal(size=(n, 7)) - 2.0
    return X.astype(dtype), y.astype(dtype), rng.uniform(0.1, 2, n).astype(dtype)


def spaces():
    import array_api_strict
    import torch

    return {"torch": torch, "strict": array_api_strict}


if os.environ.get("SCIPY_ARRAY_API") != "1":

    def test_in_a_process_where_scipy_dispatches():
        common = str(Path(__file__).with_name("test_common.py"))
        # scikit-learn's own checks of it as well, which it passes over elsewhere.
        chosen = ["-k", "test_array_api or check_array_api", __file__, common]
        command = [sys.executable, "-m", "pytest", "-q", *chosen]
        environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
        assert " passed" in done.stdout

else:

    @pytest.fixture(autouse=True)
    def dispatch():
        with config_context(array_api_dispatch=True):
            yield

    @pytest.mark.parametrize("space", ["torch", "strict"])
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("mapper", MAPPERS, ids=named)
    def test_results_are_those_of_numpy(mapper, space, dtype, weighted):
        xp = spaces()[space]
        X, y, w = pairs(dtype=dtype)
        expected = clone(mapper).fit(X, y, sample_weight=w if weighted else None)
        X_xp, y_xp, w_xp = (xp.asarray(array) for array in (X, y, w))
        found = clone(mapper).fit(X_xp, y_xp, sample_weight=w_xp if weighted else None)
        tol = {"float32": 2e-5, "float64": 1e-9}[dtype]
        for method, rows in (("transform", X), ("transform_target", y), ("predict", X)):
            result = getattr(found, method)(xp.asarray(rows))
            assert type(result) is type(X_xp)
            assert result.dtype == X_xp.dtype
            assert result.device == X_xp.device
            reference = getattr(expected, method)(rows)
            assert_allclose(
                np.asarray(result), reference, rtol=tol, atol=tol * np.abs(y).max()
            )
        for name in ("coef_", "intercept_", "x_mean_", "y_mean_", "x_projection_"):
            assert type(getattr(found, name)) is type(X_xp), name

    @pytest.mark.parametrize("space", ["torch", "strict"])
    @pytest.mark.parametrize("mapper", MAPPERS, ids=named)
    def test_partial_fit_and_forget(mapper, space):
        xp = spaces()[space]
        X, y, _ = pairs()
        if getattr(mapper, "alpha", None) == "auto":
            mapper = LeastSquaresMapper(alpha="auto", alphas=[0.1])
        expected = clone(mapper).fit(X[:150], y[:150])
        found = clone(mapper)
        for rows in (slice(100), slice(100, 200)):
            found.partial_fit(xp.asarray(X[rows]), xp.asarray(y[rows]))
        found.forget(xp.asarray(X[150:]), xp.asarray(y[150:]))
        assert_allclose(
            np.asarray(found.predict(xp.asarray(X))), expected.predict(X), rtol=1e-8
        )

    @pytest.mark.parametrize("space", ["torch", "strict"])
    def test_folds_of_whole_groups(space):
        xp = spaces()[space]
        X, y, w = pairs()
        groups = np.random.default_rng(1).integers(0, 40, len(X))
        mapper = LeastSquaresMapper(alpha="auto")
        expected = clone(mapper).fit(X, y, sample_weight=w, groups=groups)
        arrays = (xp.asarray(array) for array in (X, y, w))
        found = clone(mapper).fit(*arrays, groups=groups)
        assert_allclose(np.asarray(found.cv_errors_), expected.cv_errors_)
        assert found.alpha_ == expected.alpha_

    def test_many_float32_rows_are_multiplied_in_float32_on_their_device():
        xp = spaces()["torch"]
        rng = np.random.default_rng(0)
        X = rng.normal(size=(9000, 70)).astype(np.float32) + 1
        y = X[:, :9] - X[:, -9:] + rng.normal(size=(9000, 9)).astype(np.float32)
        found = LeastSquaresMapper().fit(xp.asarray(X), xp.asarray(y))
        expected = LeastSquaresMapper().fit(X.astype(float), y.astype(float))
        assert found.moments_.in_float32
        assert_allclose(np.asarray(found.coef_), expected.coef_, rtol=1e-4, atol=1e-6)

    def test_targets_and_weights_follow_the_queries():
        xp = spaces()["torch"]
        X, y, w = pairs()
        expected = ProcrustesMapper().fit(X, y, sample_weight=w)
        found = ProcrustesMapper().fit(xp.asarray(X), y, sample_weight=w)
        assert isinstance(found.coef_, xp.Tensor)
        assert_allclose(np.asarray(found.coef_), expected.coef_, atol=1e-12)

    def test_inverse_transform():
        xp = spaces()["torch"]
        X, y, _ = pairs()
        mapper = ProcrustesMapper(scaling=True).fit(xp.asarray(X), xp.asarray(y))
        again = mapper.inverse_transform(mapper.transform(xp.asarray(X)))
        assert isinstance(again, xp.Tensor)
        assert_allclose(np.asarray(again), X, rtol=1e-9)

    def test_one_column_of_one_dimension():
        xp = spaces()["torch"]
        X, y, _ = pairs()
        mapper = LeastSquaresMapper().fit(xp.asarray(X), xp.asarray(y[:, 0]))
        assert mapper.predict(xp.asarray(X)).shape == (200,)
        assert mapper.transform_target(xp.asarray(y[:, 0])).shape == (200, 1)

    def test_a_number_that_is_not_finite():
        xp = spaces()["torch"]
        X, y, _ = pairs()
        y[3, 2] = np.nan
        with pytest.raises(ValueError, match="Input y contains NaN"):
            LeastSquaresMapper().fit(xp.asarray(X), xp.asarray(y))

    def test_without_dispatch_tensors_become_numpy():
        xp = spaces()["torch"]
        X, y, _ = pairs()
        with config_context(array_api_dispatch=False):
            mapper = LeastSquaresMapper().fit(xp.asarray(X), xp.asarray(y))
            assert isinstance(mapper.coef_, np.ndarray)
            assert isinstance(mapper.transform(xp.asarray(X)), np.ndarray)

    def test_a_mapper_fitted_on_tensors_serves_numpy_without_dispatch():
        xp = spaces()["torch"]
        X, y, _ = pairs()
        mapper = ProcrustesMapper().fit(xp.asarray(X), xp.asarray(y))
        with config_context(array_api_dispatch=False):
            found = mapper.transform(X)
        assert isinstance(found, np.ndarray)
        assert_allclose(found, ProcrustesMapper().fit(X, y).transform(X), atol=1e-10)

    @pytest.mark.parametrize("space", ["torch", "strict"])
    def test_relative_representations(space):
        xp = spaces()[space]
        X, y, w = pairs()
        expected = RelativeMapper(n_anchors=50, k=9, random_state=0).fit(X, y, w)
        found = RelativeMapper(n_anchors=50, k=9, random_state=0)
        for rows in (slice(90), slice(90, 200)):
            found.partial_fit(*(xp.asarray(array[rows]) for array in (X, y, w)))
        for method, rows in (("transform", X), ("transform_target", y), ("predict", X)):
            result = getattr(found, method)(xp.asarray(rows))
            assert type(result) is type(xp.asarray(rows))
            reference = getattr(expected, method)(rows)
            assert_allclose(np.asarray(result), reference, rtol=1e-9, atol=1e-12)
        found.forget(*(xp.asarray(array[:9]) for array in (X, y, w)))
        assert found.n_samples_seen_ == 191

    def test_parameters_stay_as_they_were_given():
        xp = spaces()["torch"]
        X, y, _ = pairs()
        alphas = np.array([0.1, 1.0])
        mapper = LeastSquaresMapper(alpha="auto", alphas=alphas)
        mapper.fit(xp.asarray(X), xp.asarray(y))
        assert mapper.alphas is alphas
        assert isinstance(mapper.alphas_, xp.Tensor)

    def test_pairs_of_weight_zero_are_as_good_as_absent():
        xp = spaces()["torch"]
        X, y, w = pairs()
        w[::4] = 0.0
        expected = LeastSquaresMapper(alpha="auto").fit(X[w > 0], y[w > 0], w[w > 0])
        X[::4] = 1e8
        sides = (xp.asarray(array) for array in (X, y, w))
        found = LeastSquaresMapper(alpha="auto").fit(*sides)
        assert_allclose(np.asarray(found.coef_), expected.coef_, rtol=1e-9)
        assert_allclose(np.asarray(found.cv_errors_), expected.cv_errors_, rtol=1e-9)

    def test_sides_of_two_dtypes():
        xp = spaces()["torch"]
        X, y, _ = pairs()
        X = X.astype(np.float32)
        for mapper in (LeastSquaresMapper(), RelativeMapper()):
            found = clone(mapper).fit(xp.asarray(X), xp.asarray(y + 1e9))
            expected = clone(mapper).fit(X.astype(float), y + 1e9)
            assert found.y_mean_.dtype == xp.float64
            assert_allclose(np.asarray(found.y_mean_), expected.y_mean_, rtol=1e-15)

    @pytest.mark.parametrize("space", ["torch", "strict"])
    def test_alignment_is_measured_of_arrays_of_any_kind(space):
        xp = spaces()[space]
        X, y, _ = pairs()
        found = alignment_report(xp.asarray(X), xp.asarray(y), random_state=0)
        assert found == alignment_report(X, y, random_state=0)
        assert hubness_skewness(xp.asarray(X)) == hubness_skewness(X)
