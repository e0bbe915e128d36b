"""Random sequences of everything that changes a retriever, against brute force."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from skxmodal import CrossModalRetriever, LeastSquaresMapper
from skxmodal.persistence import load, save

ALPHA, K_CSLS = 0.1, 4
D_X, D_Y, N_POOL = 6, 8, 60
_RNG = np.random.default_rng(0)
QUERIES = _RNG.normal(size=(N_POOL, D_X)) + 2.0
TARGETS = QUERIES @ _RNG.normal(size=(D_X, D_Y)) + _RNG.normal(size=(N_POOL, D_Y))

rows_of_pool = st.lists(st.integers(0, N_POOL - 1), min_size=1, max_size=8, unique=True)


class RidgeByNumpy:
    """The same map, from the rows themselves and the normal equations."""

    def __init__(self, rows: list[int]) -> None:
        X, y = QUERIES[rows], TARGETS[rows]
        self.x_mean, self.y_mean = X.mean(axis=0), y.mean(axis=0)
        X, y = X - self.x_mean, y - self.y_mean
        scatter = X.T @ X
        ridge = ALPHA * np.trace(scatter) / D_X * np.eye(D_X)
        self.coef = np.linalg.solve(scatter + ridge, X.T @ y)

    def queries(self, rows: list[int]) -> np.ndarray:
        return _unit((QUERIES[rows] - self.x_mean) @ self.coef)

    def targets(self, rows: list[int]) -> np.ndarray:
        return _unit(TARGETS[rows] - self.y_mean)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Endurance(RuleBasedStateMachine):
    """A retriever and a map that learns and forgets, beside plain lists."""

    n_operations = 0

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="skxmodal-endurance-"))

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @initialize(
        rows=st.lists(
            st.integers(0, N_POOL - 1), min_size=12, max_size=30, unique=True
        ),
        hubness=st.sampled_from([None, "csls"]),
    )
    def fit(self, rows, hubness):
        correction = None
        if hubness is not None:
            from skxmodal.neighbors import CSLS

            correction = CSLS(k=K_CSLS)
        self.corrected = hubness is not None
        self.search = CrossModalRetriever(
            LeastSquaresMapper(alpha=ALPHA), hubness=correction
        ).fit(QUERIES[rows], TARGETS[rows])
        self.expected_map = RidgeByNumpy(rows)
        self.training = list(rows)
        self.gallery = list(range(len(rows)))
        self.row_of_id = dict(enumerate(rows))
        self.mapper = LeastSquaresMapper(alpha=ALPHA).fit(QUERIES[rows], TARGETS[rows])
        self.learnt = list(rows)
        self.n_seen = len(rows)

    @rule(rows=rows_of_pool)
    def add(self, rows):
        self._count()
        present = {self.row_of_id[name] for name in self.gallery}
        self.search.add(TARGETS[rows])
        for place, row in enumerate(rows):
            if row not in present:
                name = self.n_seen + place
                self.row_of_id[name] = row
                self.gallery.append(name)
        self.n_seen += len(rows)

    @precondition(lambda self: len(self.gallery) > 2)
    @rule(data=st.data())
    def remove(self, data):
        self._count()
        names = data.draw(
            st.lists(
                st.sampled_from(self.gallery),
                min_size=1,
                max_size=min(6, len(self.gallery) - 1),
                unique=True,
            )
        )
        self.search.remove(names)
        self.gallery = [name for name in self.gallery if name not in names]

    @rule(rows=rows_of_pool, k=st.integers(1, 10))
    def kneighbors(self, rows, k):
        self._count()
        k = min(k, len(self.gallery))
        distances, found = self.search.kneighbors(QUERIES[rows], n_neighbors=k)
        scores = self._scores(rows)
        places = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(scores, places, axis=1)
        reached = np.take_along_axis(scores, found, axis=1)
        np.testing.assert_allclose(reached, best, rtol=0, atol=1e-9)
        assert all(len(set(row)) == k for row in found.tolist())
        if not self.corrected:
            np.testing.assert_allclose(distances, 1 - best, rtol=0, atol=1e-9)

    @rule()
    def save_and_load(self):
        self._count()
        self.search.save(self.folder / "search")
        self.search = CrossModalRetriever.load(self.folder / "search")
        save(self.mapper, self.folder / "mapper")
        self.mapper = load(self.folder / "mapper")

    @rule(rows=rows_of_pool)
    def partial_fit(self, rows):
        self._count()
        self.mapper.partial_fit(QUERIES[rows], TARGETS[rows])
        self.learnt += rows

    @precondition(lambda self: len(self.learnt) > 12)
    @rule(data=st.data())
    def forget(self, data):
        self._count()
        places = data.draw(
            st.lists(
                st.integers(0, len(self.learnt) - 1),
                min_size=1,
                max_size=min(8, len(self.learnt) - 10),
                unique=True,
            )
        )
        rows = [self.learnt[place] for place in places]
        self.mapper.forget(QUERIES[rows], TARGETS[rows])
        self.learnt = [
            row for place, row in enumerate(self.learnt) if place not in places
        ]

    @invariant()
    def nothing_is_lost(self):
        if not hasattr(self, "search"):
            return
        assert self.search.gallery_ids_.tolist() == self.gallery
        assert self.mapper.n_samples_seen_ == len(self.learnt)
        expected = RidgeByNumpy(self.learnt)
        np.testing.assert_allclose(
            self.mapper.x_projection_, expected.coef, rtol=1e-6, atol=1e-8
        )

    def _scores(self, rows):
        targets = self.expected_map.targets(
            [self.row_of_id[name] for name in self.gallery]
        )
        cosines = self.expected_map.queries(rows) @ targets.T
        if not self.corrected:
            return cosines
        bank = self.expected_map.queries(self.training)
        near = np.sort(targets @ bank.T, axis=1)[:, -K_CSLS:]
        return 2 * cosines - near.mean(axis=1)

    def _count(self):
        type(self).n_operations += 1


TestEndurance = Endurance.TestCase
TestEndurance.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None
)
