"""The gMLP mapper: what it starts from, what it learns, and how it stops."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.utils.estimator_checks import parametrize_with_checks

from skxmodal.mappers import (
    CCAMapper,
    LeastSquaresMapper,
    ProcrustesMapper,
    RelativeMapper,
    _gmlp_objective,
)
from skxmodal.mappers._gmlp import GMLPMapper
from skxmodal.mappers._gmlp_setup import Pairs, resolve_settings

MAPS = {
    "cca": CCAMapper,
    "procrustes": ProcrustesMapper,
    "least_squares": LeastSquaresMapper,
}
QUICK = {"width": 8, "max_epochs": 3, "batch_size": 40, "random_state": 0}


def make_pairs(n_groups=80, n_captions=2, seed=0, dtype=np.float64):
    """Captions and pictures with a common latent vector, seen through bends."""
    rng = np.random.default_rng(seed)
    maps = np.random.default_rng(99)
    latent = rng.normal(size=(n_groups, 4))
    text_map, picture_map = maps.normal(size=(4, 10)), maps.normal(size=(4, 7))
    groups = np.repeat(np.arange(n_groups), n_captions)
    text = np.tanh(latent[groups] @ text_map)
    text += 0.3 * rng.normal(size=text.shape)
    pictures = np.tanh(latent @ picture_map)[groups]
    return text.astype(dtype), pictures.astype(dtype), groups


def hit_rate(mapper, X, y, groups, k):
    queries, targets = mapper.transform(X), mapper.transform_target(y)
    first = np.unique(groups, return_index=True)[1]
    targets = targets[first] / np.linalg.norm(targets[first], axis=1, keepdims=True)
    scores = queries @ targets.T
    own = scores[np.arange(len(X)), groups]
    return np.mean((scores >= own[:, None]).sum(axis=1) <= k)


@parametrize_with_checks([GMLPMapper()])
def test_sklearn_compatible(estimator, check):
    check(estimator)


@pytest.mark.parametrize("two_sided", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("init", list(MAPS))
def test_epoch_0_is_the_closed_form_map(init, dtype, two_sided):
    X, y, _ = make_pairs(dtype=dtype)
    closed = MAPS[init]().fit(X, y)
    settings = {**QUICK, "max_epochs": 0, "two_sided": two_sided}
    mapper = GMLPMapper(init, **settings).fit(X, y)
    for ours, theirs in [
        (mapper.transform(X), closed.transform(X)),
        (mapper.transform_target(y), closed.transform_target(y)),
        (mapper.predict(X), closed.predict(X)),
    ]:
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    assert mapper.history_["epoch"].tolist() == [0]


def test_init_takes_a_mapper_and_leaves_it_unfitted():
    X, y, _ = make_pairs()
    init = CCAMapper(n_components=2, alpha=0.5)
    mapper = GMLPMapper(init, **QUICK).fit(X, y)
    assert mapper.transform(X).shape == (len(X), 2)
    assert not hasattr(init, "x_projection_")
    assert mapper.init_mapper_.get_params() == init.get_params()
    assert mapper.set_params(init__alpha=1.0).init.alpha == 1.0


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"init": None}, (7, 7)),
        ({"init": None, "n_components": 3}, (3, 3)),
        ({"init": None, "two_sided": False}, (7, 7)),
        ({"init": None, "loss": "mse"}, (7, 7)),
        ({"loss": "mse"}, (7, 7)),
        ({"precision": "bf16"}, (7, 7)),
        ({"temperature": 0.01}, (7, 7)),
    ],
)
def test_training_lowers_the_loss(settings, expected):
    X, y, groups = make_pairs(n_groups=100)
    settings = {**QUICK, "max_epochs": 8, "early_stopping": False, **settings}
    mapper = GMLPMapper(learning_rate=3e-3, **settings).fit(X, y, groups=groups)
    assert (mapper.transform(X).shape[1], mapper.transform_target(y).shape[1]) == (
        expected
    )
    losses = mapper.history_["train_loss"]
    assert losses[-1] < losses[1]
    assert mapper.predict(X).shape == y.shape
    assert mapper.score(X, y) > 0.3


def test_training_beats_the_closed_form_map_on_bent_data():
    X, y, _ = make_pairs(n_groups=600)
    X_test, y_test, groups_test = make_pairs(n_groups=200, seed=1)
    closed = CCAMapper().fit(X, y)
    settings = {"width": 32, "max_epochs": 20, "batch_size": 128, "dropout": 0.1}
    mapper = GMLPMapper(**settings, noise=0.1, learning_rate=3e-3, random_state=0)
    mapper.fit(X, y)
    before = hit_rate(closed, X_test, y_test, groups_test, 1)
    assert hit_rate(mapper, X_test, y_test, groups_test, 1) > before + 0.05
    assert mapper.score(X_test, y_test) > closed.score(X_test, y_test)


def test_validation_scores_are_those_of_the_map_at_that_epoch():
    X, y, groups = make_pairs()
    settings = {**QUICK, "early_stopping": True, "validation_k": 3, "patience": 99}
    mapper = GMLPMapper(**settings).fit(X, y, groups=groups)
    scores = mapper.history_["validation_score"]
    tied = mapper.history_["validation_mrr"] * (scores == scores.max())
    assert mapper.best_epoch_ == np.argmax(tied)
    order = np.random.RandomState(np.random.RandomState(0).randint(2**31))
    held_out = np.isin(groups, order.permutation(80)[:8])
    closed = CCAMapper().fit(X[~held_out], y[~held_out])
    X, y = X[held_out], y[held_out]
    _, numbers = np.unique(groups[held_out], return_inverse=True)
    there = hit_rate(closed, X, y, numbers, 3)
    queries, targets = closed.transform(X), closed.transform_target(y)[::2]
    unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    back = [
        np.any(np.isin(np.argsort(-(unit @ target))[:3], np.flatnonzero(numbers == g)))
        for g, target in enumerate(targets)
    ]
    assert scores[0] == pytest.approx((there + np.mean(back)) / 2)


def test_early_stopping_holds_out_whole_groups(monkeypatch):
    from skxmodal.mappers import _gmlp_fit

    seen = []
    split = _gmlp_fit.hold_out
    monkeypatch.setattr(
        _gmlp_fit, "hold_out", lambda *given: seen.append(split(*given)) or seen[-1]
    )
    X, y, groups = make_pairs(n_captions=3)
    GMLPMapper(**QUICK, early_stopping=True).fit(X, y, groups=groups)
    kept, held_out = seen[0]
    assert len(held_out.X) == 3 * 11
    rows = {tuple(row) for row in held_out.y}
    assert not rows & {tuple(row) for row in kept.y}


@pytest.mark.parametrize(("n_groups", "expected"), [(1990, False), (2000, True)])
def test_targets_are_held_out_where_there_are_enough(n_groups, expected):
    groups = np.repeat(np.arange(n_groups), 2)
    rows = np.zeros((len(groups), 1))
    pairs = Pairs(rows, rows, groups, None)
    settings = resolve_settings(GMLPMapper(early_stopping="auto").get_params(), pairs)
    assert settings["early_stopping"] is expected


def test_equal_targets_are_one_group_unless_told():
    X, y, groups = make_pairs()
    told = GMLPMapper(**QUICK).fit(X, y, groups=groups)
    found = GMLPMapper(**QUICK).fit(X, y)
    np.testing.assert_array_equal(told.transform(X), found.transform(X))
    apart = GMLPMapper(**QUICK).fit(X, y, groups=np.arange(len(X)))
    assert not np.array_equal(told.transform(X), apart.transform(X))


def test_weights_are_repeats():
    X, y, groups = make_pairs(n_groups=30)
    weights = np.random.default_rng(0).integers(0, 3, len(X))
    twice = np.repeat(np.arange(len(X)), weights)
    settings = {"random_state": 1, "init": LeastSquaresMapper()}
    weighted = GMLPMapper(**settings).fit(X, y, sample_weight=weights, groups=groups)
    repeated = GMLPMapper(**settings).fit(X[twice], y[twice], groups=groups[twice])
    closed = weighted.init_mapper_.transform(X)
    assert np.abs(weighted.transform(X) - closed).max() > 1e-4
    np.testing.assert_allclose(weighted.transform(X), repeated.transform(X), atol=1e-9)
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), atol=1e-9)


def test_same_seed_same_bits():
    X, y, groups = make_pairs(n_groups=300, dtype=np.float32)
    settings = {**QUICK, "dropout": 0.3, "noise": 0.5}
    first, second = (GMLPMapper(**settings).fit(X, y, groups=groups) for _ in range(2))
    for name, weight in first.weights_.items():
        np.testing.assert_array_equal(weight, second.weights_[name])
    other = GMLPMapper(**{**settings, "random_state": 1}).fit(X, y, groups=groups)
    assert not np.array_equal(first.transform(X), other.transform(X))


def test_global_generator_is_left_alone():
    import torch

    X, y, _ = make_pairs()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    GMLPMapper(**QUICK).fit(X, y).transform(X)
    assert torch.equal(torch.rand(4), expected)


def test_pickle_and_clone():
    X, y, _ = make_pairs()
    mapper = GMLPMapper(**QUICK).fit(X, y)
    again = pickle.loads(pickle.dumps(mapper))
    np.testing.assert_array_equal(again.transform(X), mapper.transform(X))
    assert not hasattr(clone(mapper), "weights_")
    frame = mapper.set_output(transform="pandas").transform(X)
    assert list(frame.columns) == [f"gmlpmapper{i}" for i in range(7)]


def test_history_is_a_table():
    pandas = pytest.importorskip("pandas")
    X, y, _ = make_pairs()
    mapper = GMLPMapper(**QUICK, early_stopping=True).fit(X, y)
    table = pandas.DataFrame(mapper.history_)
    assert list(table.epoch) == [0, 1, 2, 3]
    assert table.notna().all(axis=None) or table.train_loss.isna().sum() == 1
    assert {"learning_rate", "temperature", "validation_score", "seconds"} <= {
        *table.columns
    }
    assert mapper.temperature_ == pytest.approx(table.temperature.iloc[-1], rel=0.1)


def test_warm_start_goes_on_from_the_last_weights():
    X, y, _ = make_pairs()
    mapper = GMLPMapper(**{**QUICK, "warm_start": True}).fit(X, y)
    first = mapper.transform(X)
    mapper.set_params(max_epochs=0).fit(X, y)
    np.testing.assert_allclose(mapper.transform(X), first, rtol=1e-12)
    mapper.set_params(max_epochs=2).fit(X, y)
    assert not np.allclose(mapper.transform(X), first)
    with pytest.raises(ValueError, match="X has 5 features"):
        mapper.fit(X[:, :5], y)
    mapper.set_params(warm_start=False, max_epochs=0).fit(X, y)
    np.testing.assert_allclose(
        mapper.transform(X), mapper.init_mapper_.transform(X), atol=1e-12
    )


def test_partial_fit_is_one_pass_a_call():
    X, y, groups = make_pairs(n_groups=200)
    mapper = GMLPMapper(width=8, batch_size=40, learning_rate=3e-3, random_state=0)
    mapper.partial_fit(X, y, groups=groups)
    closed = mapper.init_mapper_
    for _ in range(5):
        mapper = pickle.loads(pickle.dumps(mapper))
        mapper.partial_fit(X, y, groups=groups)
    np.testing.assert_array_equal(mapper.init_mapper_.transform(X), closed.transform(X))
    assert mapper.history_["epoch"].tolist() == list(range(7))
    losses = mapper.history_["train_loss"]
    assert losses[-1] < losses[1]
    assert mapper.best_epoch_ == 6


def test_partial_fit_keeps_automatic_settings_and_draws_another_order(monkeypatch):
    from skxmodal.mappers import _gmlp_training

    orders, settings = [], []
    train, batches = _gmlp_training.train, _gmlp_training.epoch_batches

    def noted(n_rows, batch_size, generator):
        rows = list(batches(n_rows, batch_size, generator))
        orders.append(np.concatenate(rows)[:50])
        return rows

    def trained(pairs, places, shape, scales, given, **named):
        settings.append({name: given[name] for name in ("noise", "dropout", "width")})
        return train(pairs, places, shape, scales, given, **named)

    monkeypatch.setattr(_gmlp_training, "epoch_batches", noted)
    monkeypatch.setattr(_gmlp_training, "train", trained)
    X, y, groups = make_pairs(n_groups=600, n_captions=1)
    mapper = GMLPMapper(random_state=0).partial_fit(X, y, groups=groups)
    for _ in range(2):
        mapper.partial_fit(X[:100], y[:100], groups=groups[:100])
    assert settings == [{"noise": 0.6, "dropout": 0.5, "width": 256}] * 3
    assert not np.array_equal(orders[1], orders[2])


@pytest.mark.parametrize(
    "changed",
    [
        {"loss": "mse"},
        {"init": "procrustes"},
        {"init": CCAMapper(alpha=0.5)},
        {"two_sided": False},
        {"depth": 3},
        {"width": 16},
        {"n_tokens": 2},
    ],
)
@pytest.mark.parametrize("again", ["fit", "partial_fit"])
def test_what_goes_on_keeps_its_loss_start_and_shape(again, changed):
    X, y, _ = make_pairs()
    mapper = GMLPMapper(CCAMapper(), **QUICK, warm_start=True).fit(X, y)
    before = mapper.transform(X)
    (name,) = changed
    with pytest.raises(ValueError, match=f"begun with another {name} than"):
        getattr(clone_with_state(mapper).set_params(**changed), again)(X, y)
    mapper.set_params(init=CCAMapper(), dropout=0.1)
    assert not np.allclose(getattr(mapper, again)(X, y).transform(X), before)


def clone_with_state(mapper):
    return pickle.loads(pickle.dumps(mapper))


def test_history_of_partial_fit_goes_on_that_of_fit():
    X, y, _ = make_pairs()
    mapper = GMLPMapper(**QUICK, early_stopping=True).fit(X, y)
    scores = mapper.history_["validation_score"]
    mapper.partial_fit(X, y)
    assert mapper.history_["epoch"].tolist() == list(range(5))
    np.testing.assert_array_equal(
        mapper.history_["validation_score"], [*scores, np.nan]
    )


@pytest.mark.parametrize("precision", ["bf16", "float32"])
def test_precision_asked_for_is_that_of_the_training(precision):
    X, y, _ = make_pairs()
    settings = {**QUICK, "learning_rate": 1e-2}
    auto, asked = (
        GMLPMapper(**settings, precision=each).fit(X, y) for each in ("auto", precision)
    )
    assert asked.weights_["query.output.weight"].dtype == np.float32
    assert not np.array_equal(auto.transform(X), asked.transform(X))
    X, y = X.astype(np.float32), y.astype(np.float32)
    single, again = (
        GMLPMapper(**settings, precision=each).fit(X, y)
        for each in ("float32", precision)
    )
    # Eight bits of mantissa are seen after a few steps.
    difference = np.abs(single.transform(X) - again.transform(X)).max()
    assert (difference > 1e-4) == (precision == "bf16")


@pytest.mark.parametrize(
    "init", ["cca", CCAMapper().set_output(transform="pandas")], ids=["global", "own"]
)
def test_init_gives_arrays_whatever_output_is_set(init):
    pandas = pytest.importorskip("pandas")
    X, y, _ = make_pairs()
    expected = GMLPMapper(**QUICK).fit(X, y).transform(X)
    output = "pandas" if init == "cca" else "default"
    with config_context(transform_output=output):
        found = GMLPMapper(init, **QUICK).fit(X, y).transform(X)
    assert isinstance(found, pandas.DataFrame) == (init == "cca")
    np.testing.assert_array_equal(found, expected)


def test_sparse_places_are_refused():
    X, y, _ = make_pairs()
    init = RelativeMapper(n_anchors=20, sparse_output=True)
    with pytest.raises(ValueError, match="set its sparse_output=False"):
        GMLPMapper(init, **QUICK).fit(X, y)


def test_checkpoints_change_nothing(tmp_path):
    X, y, groups = make_pairs()
    settings = {**QUICK, "dropout": 0.2, "early_stopping": True}
    plain = GMLPMapper(**settings).fit(X, y, groups=groups)
    kept = GMLPMapper(**settings, checkpoint_dir=tmp_path).fit(X, y, groups=groups)
    np.testing.assert_array_equal(plain.transform(X), kept.transform(X))


def test_threads_train_as_one_alone_would():
    X, y, groups = make_pairs(n_groups=30)
    settings = {**QUICK, "max_epochs": 20, "dropout": 0.3, "noise": 0.3}
    expected = GMLPMapper(**settings).fit(X, y, groups=groups).transform(X)
    with ThreadPoolExecutor(3) as pool:
        found = list(
            pool.map(
                lambda _: GMLPMapper(**settings).fit(X, y, groups=groups).transform(X),
                range(3),
            )
        )
    for each in found:
        np.testing.assert_array_equal(each, expected)


def test_temperature_at_its_bound_goes_on_being_learned():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 8))
    y = X @ rng.normal(size=(8, 8))
    settings = {"width": 8, "max_epochs": 40, "batch_size": 20, "random_state": 0}
    settings |= {"temperature": 0.0101, "learning_rate": 1e-2, "weight_average": 0.0}
    mapper = GMLPMapper(**settings).fit(X, y)
    assert mapper.history_["temperature"].min() == pytest.approx(0.01)
    assert mapper.weights_["log_scale"] <= np.log(100)


def test_network_is_built_once(monkeypatch):
    from skxmodal.mappers import _gmlp_training

    X, y, _ = make_pairs()
    mapper = GMLPMapper(**QUICK).fit(X, y)
    expected = mapper.transform(X)
    build, built = _gmlp_training.build, []
    monkeypatch.setattr(
        _gmlp_training, "build", lambda *given: built.append(given) or build(*given)
    )
    mapper.transform(X), mapper.transform_target(y), mapper.predict(X)
    assert not built
    again = pickle.loads(pickle.dumps(mapper))
    np.testing.assert_array_equal(again.transform(X), expected)
    np.testing.assert_array_equal(again.transform(X), expected)
    assert len(built) == 1
    mapper.set_params(random_state=1).fit(X, y)
    assert not np.array_equal(mapper.transform(X), expected)


@pytest.mark.parametrize(
    ("settings", "groups", "message"),
    [
        ({"temperature": 0.001}, None, r"'temperature' .* in the range \[0.01"),
        ({"batch_size": 1}, None, "batch_size must be at least 2, got 1"),
        ({}, np.zeros(160), "all 160 rows are of one group"),
        ({"batch_size": 8}, np.arange(160) // 16, "the largest group has 16 rows"),
        (
            {"early_stopping": True},
            np.arange(160) // 16,
            "would hold out 11 of 10 groups",
        ),
        ({"device": "abacus"}, None, "device='abacus' cannot be used here"),
    ],
)
def test_hopeless_settings_are_refused_before_any_work(settings, groups, message):
    X, y, _ = make_pairs()
    mapper = GMLPMapper(init=None, **{**QUICK, **settings})
    with pytest.raises(ValueError, match=message):
        mapper.fit(X, y, groups=groups)
    assert not hasattr(mapper, "weights_")


def test_divergence_names_the_batch():
    X, y, _ = make_pairs()
    settings = {**QUICK, "learning_rate": 1e200, "loss": "mse", "warmup": 0.0}
    with pytest.raises(FloatingPointError, match=r"batch \d+ of epoch 1 .*learning"):
        GMLPMapper(**settings).fit(X, y)


@pytest.mark.parametrize("loss", ["contrastive", "mse"])
def test_divergence_in_the_last_step_is_told_and_leaves_the_mapper_as_it_was(loss):
    X, y, _ = make_pairs(dtype=np.float32)
    mapper = GMLPMapper(**QUICK, loss=loss).fit(X, y)
    before, names = mapper.transform(X), set(vars(mapper))
    mapper.set_params(learning_rate=1e30, max_epochs=1, batch_size=len(X), warmup=0.0)
    with pytest.raises(FloatingPointError, match=r"diverged\. Lower the learning"):
        mapper.fit(X[:, :6] + 3, y)
    assert set(vars(mapper)) == names
    np.testing.assert_array_equal(mapper.transform(X), before)


@pytest.fixture
def ctrl_c():
    """Presses Ctrl-C, which a shell makes its background jobs ignore."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, previous)


def test_interrupt_keeps_the_best_state_with_a_warning(monkeypatch, ctrl_c):
    X, y, groups = make_pairs()
    scored = []
    score = _gmlp_objective.held_out_scores

    def press_at_the_fourth(*given):
        scored.append(score(*given))
        if len(scored) == 4:
            ctrl_c()
        return scored[-1]

    monkeypatch.setattr(_gmlp_objective, "held_out_scores", press_at_the_fourth)
    settings = {**QUICK, "max_epochs": 50, "early_stopping": True, "patience": 50}
    with pytest.warns(
        ConvergenceWarning, match=r"interrupted in epoch 3 of 50"
    ) as told:
        mapper = GMLPMapper(**settings).fit(X, y, groups=groups)
    assert told[0].filename == __file__
    scores = mapper.history_["validation_score"]
    assert len(scores) == 4
    assert scores[mapper.best_epoch_] == scores.max()
    assert mapper.transform(X).shape == (len(X), 7)
    assert np.all(np.isfinite(mapper.predict(X)))


TRAIN = """
import sys
import numpy as np
sys.path.insert(0, {tests!r})
from test_gmlp import make_pairs
from skxmodal.mappers._gmlp import GMLPMapper
X, y, groups = make_pairs(n_groups=300, dtype=np.float32)
mapper = GMLPMapper(
    width=8, batch_size=64, max_epochs=12, patience=99, early_stopping=True,
    dropout=0.2, noise=0.3,
    checkpoint_dir={folder!r}, random_state={seed!r},
)
mapper.fit(X, y, groups=groups)
np.savez({result!r}, **mapper.weights_)
"""


@pytest.mark.parametrize("seed", [None, 0])
def test_killed_and_resumed_ends_with_the_same_weights(tmp_path, seed):
    def start(folder, result):
        script = TRAIN.format(
            tests=str(Path(__file__).parent),
            folder=str(tmp_path / folder),
            result=str(tmp_path / result),
            seed=seed,
        )
        return subprocess.Popen([sys.executable, "-c", script])

    assert start("whole", "whole.npz").wait() == 0
    broken = start("broken", "broken.npz")
    while not list(tmp_path.glob("broken/*/training.pt")):
        assert broken.poll() is None
        time.sleep(0.001)
    broken.kill()
    broken.wait()
    assert not (tmp_path / "broken.npz").exists()
    assert start("broken", "broken.npz").wait() == 0
    whole, resumed = np.load(tmp_path / "whole.npz"), np.load(tmp_path / "broken.npz")
    for name in whole.files:
        np.testing.assert_array_equal(whole[name], resumed[name])


def test_checkpoints_of_different_trainings_do_not_meet(tmp_path):
    X, y, groups = make_pairs()
    settings = {**QUICK, "checkpoint_dir": tmp_path}
    first = GMLPMapper(**settings).fit(X, y, groups=groups)
    GMLPMapper(**settings, dropout=0.1).fit(X, y, groups=groups)
    GMLPMapper(**settings).fit(X[::2], y[::2], groups=groups[::2])
    GMLPMapper(**{**settings, "random_state": None}).fit(X, y, groups=groups)
    assert len(list(tmp_path.iterdir())) == 4
    again = GMLPMapper(**settings, verbose=True).fit(X, y, groups=groups)
    assert len(list(tmp_path.iterdir())) == 4
    np.testing.assert_array_equal(first.transform(X), again.transform(X))


def test_inside_a_search():
    X, y, groups = make_pairs(n_groups=60)
    search = GridSearchCV(
        GMLPMapper(**QUICK),
        {"init": ["cca", None], "loss": ["contrastive", "mse"]},
        cv=GroupKFold(2),
        error_score="raise",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search.fit(X, y, groups=groups)
    assert np.all(np.isfinite(search.cv_results_["mean_test_score"]))


def test_degenerate_data():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2, 5)), rng.normal(size=(2, 3))
    assert np.all(np.isfinite(GMLPMapper().fit(X, y).transform(X)))
    X, y = np.ones((20, 5)), rng.normal(size=(20, 3))
    assert np.all(np.isfinite(GMLPMapper(init=None).fit(X, y).predict(X)))
    X, y = 1e6 + rng.normal(size=(50, 5)), 1e-6 * rng.normal(size=(50, 3))
    mapper = GMLPMapper().fit(X, y)
    assert np.all(np.isfinite(mapper.transform(X)))
    with pytest.raises(ValueError, match="at least 2 pairs of positive weight"):
        GMLPMapper().fit(X, y, sample_weight=np.eye(50)[0])
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        GMLPMapper(init=None).fit(X, y)


@pytest.mark.parametrize("loss", ["mse", "contrastive"])
def test_pairs_without_weight_teach_nothing(loss):
    X, y, groups = make_pairs()
    weights = np.ones(len(X))
    weights[:20] = 0.0
    # Of the start alone, which is fitted to the same rows both times.
    settings = {**QUICK, "init": None, "loss": loss, "early_stopping": False}
    first = GMLPMapper(**settings).fit(X, y, weights, groups=groups)
    spoilt = y.copy()
    spoilt[:20] = spoilt[19::-1]
    second = GMLPMapper(**settings).fit(X, spoilt, weights, groups=groups)
    plain = GMLPMapper(**settings).fit(X, spoilt, groups=groups)
    difference = np.abs(second.transform(X) - first.transform(X)).max()
    assert np.abs(plain.transform(X) - first.transform(X)).max() > 10 * difference


@pytest.mark.parametrize("two_sided", [True, False])
def test_without_a_closed_form_map_the_best_epoch_is_kept_too(two_sided):
    X, y, groups = make_pairs(n_groups=100)
    settings = {**QUICK, "max_epochs": 6, "init": None, "two_sided": two_sided}
    settings |= {"early_stopping": True, "learning_rate": 3e-3}
    mapper = GMLPMapper(**settings).fit(X, y, groups=groups)
    scores = mapper.history_["validation_score"]
    assert np.isfinite(scores).all()
    assert scores.max() > scores[0]
