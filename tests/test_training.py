"""The pieces of training, each against an independent answer."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skxmodal._training import (
    Checkpoint,
    InterruptGuard,
    Training,
    WeightAverage,
    autocast,
    check_contrastive_batches,
    check_finite_loss,
    cosine_schedule,
    digest,
    epoch_batches,
    info_nce,
    n_batches,
    own_generator,
    resolve_device,
)
from skxmodal._training._losses import _one_direction


@pytest.fixture
def ctrl_c():
    """Presses Ctrl-C, which a shell makes its background jobs ignore."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, previous)


def brute_force_info_nce(queries, targets, groups, scale, weights):
    """Both directions, one pair at a time, in plain Python."""
    queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    targets = targets / np.linalg.norm(targets, axis=1, keepdims=True)
    total = 0.0
    for a, b in [(queries, targets), (targets, queries)]:
        direction = 0.0
        for i in range(len(a)):
            mates = [j for j in range(len(b)) if groups[j] == groups[i]]
            others = [j for j in range(len(b)) if groups[j] != groups[i]]
            pushed = sum(weights[k] * np.exp(scale * a[i] @ b[k]) for k in others)
            loss = 0.0
            for j in mates:
                positive = np.exp(scale * a[i] @ b[j])
                loss += weights[j] * -np.log(positive / (positive + pushed))
            direction += weights[i] * loss / sum(weights[j] for j in mates)
        total += 0.5 * direction / sum(weights)
    return total


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 12),
    n_groups=st.integers(2, 6),
    scale=st.floats(0.5, 100.0),
)
def test_info_nce_agrees_with_a_loop(seed, n, n_groups, scale):
    rng = np.random.default_rng(seed)
    queries, targets = rng.normal(size=(2, n, 5))
    groups = np.concatenate([[0, 1], rng.integers(0, n_groups, n - 2)])
    weights = rng.uniform(0.1, 3.0, n)
    loss = info_nce(
        torch.tensor(queries),
        torch.tensor(targets),
        torch.tensor(groups),
        scale,
        torch.tensor(weights),
    )
    expected = brute_force_info_nce(queries, targets, groups, scale, weights)
    assert float(loss) == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_info_nce_without_repeats_is_cross_entropy():
    torch.manual_seed(0)
    queries, targets = torch.randn(2, 20, 8, dtype=torch.float64)
    logits = 7.0 * (
        torch.nn.functional.normalize(queries)
        @ torch.nn.functional.normalize(targets).T
    )
    rows = torch.arange(20)
    expected = 0.5 * (
        torch.nn.functional.cross_entropy(logits, rows)
        + torch.nn.functional.cross_entropy(logits.T, rows)
    )
    assert torch.allclose(info_nce(queries, targets, rows, 7.0), expected, rtol=1e-12)


def test_info_nce_weight_of_two_is_the_row_twice():
    torch.manual_seed(1)
    queries, targets = torch.randn(2, 6, 4, dtype=torch.float64)
    groups = torch.tensor([0, 1, 2, 0, 3, 4])
    weights = torch.tensor([2.0, 1, 1, 3, 1, 2], dtype=torch.float64)
    twice = torch.repeat_interleave(torch.arange(6), weights.long())
    weighted = info_nce(queries, targets, groups, 5.0, weights)
    repeated = info_nce(queries[twice], targets[twice], groups[twice], 5.0)
    assert torch.allclose(weighted, repeated, rtol=1e-12)


def test_info_nce_gradient():
    torch.manual_seed(2)
    queries, targets = torch.randn(2, 5, 3, dtype=torch.float64)
    scale = torch.tensor(4.0, dtype=torch.float64, requires_grad=True)
    groups = torch.tensor([0, 1, 0, 2, 3])
    assert torch.autograd.gradcheck(
        lambda q, t, s: info_nce(q, t, groups, s),
        (queries.requires_grad_(), targets.requires_grad_(), scale),
    )


def test_rows_of_one_group_are_never_negatives():
    torch.manual_seed(3)
    logits = (10 * torch.randn(6, 6, dtype=torch.float64)).requires_grad_()
    groups = torch.tensor([0, 0, 1, 2, 0, 2])
    same = groups[:, None] == groups
    weights = torch.ones(6, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(_one_direction(logits, same, weights), logits)
    assert bool((gradient[same] <= 0).all())
    assert bool((gradient[~same] >= 0).all())


def test_info_nce_without_negatives_is_refused():
    rows = torch.eye(4)
    with pytest.raises(ValueError, match="all 4 rows of the batch are of one group"):
        info_nce(rows, rows, torch.zeros(4, dtype=torch.long), 10.0)


@pytest.mark.parametrize(("n_steps", "n_warmup"), [(100, 10), (7, 0), (1, 0), (5, 5)])
def test_cosine_schedule(n_steps, n_warmup):
    factors = np.array([cosine_schedule(s, n_steps, n_warmup) for s in range(n_steps)])
    steps = np.arange(n_warmup, n_steps)
    expected = np.cos(np.pi / 2 * (steps - n_warmup) / max(1, n_steps - n_warmup)) ** 2
    np.testing.assert_allclose(factors[n_warmup:], expected, atol=1e-12)
    np.testing.assert_allclose(
        factors[:n_warmup], np.arange(1, n_warmup + 1) / max(1, n_warmup)
    )
    assert np.all(factors > 0)
    assert np.all(factors <= 1)


@given(n_rows=st.integers(1, 500), batch_size=st.integers(1, 100))
def test_batches_hold_every_row_once(n_rows, batch_size):
    batches = list(epoch_batches(n_rows, batch_size, torch.Generator().manual_seed(0)))
    assert len(batches) == n_batches(n_rows, batch_size)
    assert sorted(torch.cat(batches).tolist()) == list(range(n_rows))
    sizes = [len(batch) for batch in batches]
    assert max(sizes) - min(sizes) <= 1


@given(
    groups=st.lists(st.integers(0, 5), min_size=2, max_size=40),
    batch_size=st.integers(2, 20),
    seed=st.integers(0, 100),
)
def test_batches_that_pass_the_check_have_negatives(groups, batch_size, seed):
    groups = np.array(groups)
    try:
        check_contrastive_batches(groups, batch_size)
    except ValueError:
        return
    generator = torch.Generator().manual_seed(seed)
    for rows in epoch_batches(len(groups), batch_size, generator):
        assert len(set(groups[rows.numpy()])) >= 2


@pytest.mark.parametrize(
    ("groups", "batch_size", "message"),
    [
        ([0, 1, 2], 1, "batch_size must be at least 2, got 1"),
        ([3, 3, 3], 2, "all 3 rows are of one group"),
        ([0], 1, "all 1 rows are of one group"),
        ([0] * 8 + [1, 2], 4, "the largest group has 8 rows and the batches have 5"),
    ],
)
def test_batches_without_negatives_are_refused(groups, batch_size, message):
    with pytest.raises(ValueError, match=message):
        check_contrastive_batches(np.array(groups), batch_size)


def test_first_interrupt_is_noted_and_second_acts(ctrl_c):
    with InterruptGuard() as guard:
        ctrl_c()
        assert guard.interrupted
        with pytest.raises(KeyboardInterrupt):
            ctrl_c()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_guard_leaves_other_threads_and_ignored_signals_alone():
    outcome = []

    def work():
        with InterruptGuard() as guard:
            outcome.append(guard.interrupted)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert outcome == [False]
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with InterruptGuard() as guard:
            os.kill(os.getpid(), signal.SIGINT)
        assert not guard.interrupted
    finally:
        signal.signal(signal.SIGINT, previous)


def test_non_finite_loss_names_batch_and_cause():
    rows = torch.tensor([4, 9, 2])
    good = torch.ones(3, 2)
    bad = good.clone()
    bad[1, 0] = torch.inf
    where = {"epoch": 3, "batch": 7, "rows": rows, "learning_rate": 0.5}
    assert check_finite_loss(torch.tensor(1.5), **where) == 1.5
    nan = torch.tensor(torch.nan)
    with pytest.raises(FloatingPointError, match=r"nan in batch 7 of epoch 3 \(3 rows"):
        check_finite_loss(nan, **where, inputs=[good])
    with pytest.raises(FloatingPointError, match=r"NaN or infinite values.* rows 9"):
        check_finite_loss(nan, **where, inputs=[good, bad])
    with pytest.raises(FloatingPointError, match=r"weights diverged.*now 0\.5"):
        check_finite_loss(nan, **where, inputs=[good], parameters=[bad])
    with pytest.raises(FloatingPointError, match=r"overflow.*largest input is 1\)"):
        check_finite_loss(-nan, **where, inputs=[good], parameters=[good])
    with pytest.raises(
        FloatingPointError, match=r"weights are finite.*weight is 1\)\."
    ) as told:
        check_finite_loss(nan, **where, parameters=[good])
    assert "input" not in str(told.value)
    assert "float32" not in str(told.value)
    with pytest.raises(FloatingPointError, match="Use precision='float32'"):
        check_finite_loss(nan, **where, inputs=[good], precision="bf16")


def test_weights_spoilt_by_the_last_step_are_told(tmp_path):
    checkpoint = Checkpoint(tmp_path, "a")
    training = linear_training(n_epochs=3, evaluate=None, checkpoint=checkpoint)
    step, steps = training.optimizer.step, []

    def spoil_the_last():
        step()
        steps.append(1)
        if len(steps) == 12:
            with torch.no_grad():
                training.module.weight.fill_(torch.inf)

    training.optimizer.step = spoil_the_last
    with pytest.raises(FloatingPointError, match="infinite after epoch 3"):
        training.run()
    assert checkpoint.read()["history"][-1]["epoch"] == 2


def test_inputs_are_looked_at_for_the_message_alone():
    seen = []
    training = linear_training(n_epochs=1, inputs=lambda rows: seen.append(rows) or [])
    training.run()
    assert not seen


def test_weight_average_is_the_recursion_and_gives_weights_back():
    layer = torch.nn.Linear(2, 1)
    layer.bias.requires_grad_(False)
    average = WeightAverage(layer, 0.9)
    expected = layer.weight.detach().clone()
    for update in range(1, 30):
        with torch.no_grad():
            layer.weight.add_(float(update))
        average.update()
        decay = min(0.9, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * layer.weight.detach()
    assert torch.allclose(average.weights["weight"], expected)
    assert "bias" not in average.weights
    own = layer.weight.detach().clone()
    with average.applied():
        assert torch.allclose(layer.weight, expected)
    assert torch.equal(layer.weight, own)


def test_checkpoint_is_whole_or_absent(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path, "name")
    assert checkpoint.read() is None
    checkpoint.write({"weights": {"a": torch.arange(3)}, "epoch": 1})

    def fail(state, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.write({"epoch": 2})
    state = checkpoint.read()
    assert state["epoch"] == 1
    assert torch.equal(state["weights"]["a"], torch.arange(3))
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["training.pt"]
    checkpoint.path.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="cannot be read"):
        checkpoint.read()


def test_what_a_kill_left_is_removed_when_it_is_old(tmp_path):
    checkpoint = Checkpoint(tmp_path, "name")
    checkpoint.write({"epoch": 1})
    old, new = (checkpoint.path.with_name(f".{name}.part") for name in ("old", "new"))
    for part in (old, new):
        part.touch()
    os.utime(old, (0, 0))
    checkpoint.write({"epoch": 2})
    assert (old.exists(), new.exists()) == (False, True)


def test_generator_is_lent_to_one_thread_at_a_time():
    expected = {}
    for seed in (0, 1):
        with own_generator(seed):
            expected[seed] = torch.rand(6).tolist()
    found = {0: [], 1: []}
    turn = threading.Barrier(2, timeout=5)

    def draw(seed):
        turn.wait()
        with own_generator(seed):
            for _ in range(6):
                found[seed].append(float(torch.rand(1)))
                time.sleep(0.005)

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


def test_digest_tells_data_and_settings_apart():
    X = np.arange(6.0)
    names = {
        digest([X]),
        digest([X.reshape(2, 3)]),
        digest([X.astype(np.float32)]),
        digest([X, 1]),
        digest([1, X]),
        digest([b"1"]),
    }
    assert len(names) == 6
    assert digest([X[::2]]) == digest([X[::2].copy()])


def test_device_and_precision():
    assert resolve_device("cpu") == torch.device("cpu")
    best = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device(None).type == best
    with pytest.raises(ValueError, match="device='gpu' cannot be used here"):
        resolve_device("gpu")
    product = torch.ones(2, 2)
    with autocast(torch.device("cpu"), "auto"):
        assert (product @ product).dtype == torch.float32
    with autocast(torch.device("cpu"), "bf16"):
        assert (product @ product).dtype == torch.bfloat16


def linear_training(**settings):
    """A regression by gradient steps: y = 2 x."""
    torch.manual_seed(0)
    module = torch.nn.Linear(1, 1)
    x = torch.linspace(-1, 1, 32)[:, None]
    generator = torch.Generator().manual_seed(0)

    def loss(rows):
        # Dropout draws from the global generator, which a resumed run must restore.
        kept = torch.nn.functional.dropout(x[rows], 0.2)
        return ((module(kept) - 2 * x[rows]) ** 2).mean()

    defaults = {
        "module": module,
        "optimizer": torch.optim.AdamW(module.parameters(), lr=0.1),
        "batches": lambda epoch: epoch_batches(32, 8, generator),
        "n_batches": 4,
        "loss": loss,
        "n_epochs": 6,
        "warmup": 0.1,
        "average": WeightAverage(module, 0.5),
        "generator": generator,
        "evaluate": lambda: {"score": -float(((module(x) - 2 * x) ** 2).mean())},
    }
    return Training(**{**defaults, **settings})


def weights_of(training):
    return {name: w.detach().clone() for name, w in training.module.named_parameters()}


@pytest.mark.parametrize("evaluated", [True, False])
def test_resumed_training_ends_as_an_unbroken_one(tmp_path, evaluated):
    settings = {} if evaluated else {"evaluate": None}
    whole = linear_training(**settings)
    whole.run()
    broken = linear_training(checkpoint=Checkpoint(tmp_path, "a"), **settings)
    loss, calls = broken.loss, []

    def stop_in_epoch_four(rows):
        calls.append(rows)
        if len(calls) == 14:
            raise RuntimeError("killed")
        return loss(rows)

    broken.loss = stop_in_epoch_four
    with pytest.raises(RuntimeError, match="killed"):
        broken.run()
    resumed = linear_training(checkpoint=Checkpoint(tmp_path, "a"), **settings)
    resumed.run()
    for name, weight in weights_of(whole).items():
        assert torch.equal(weight, weights_of(resumed)[name])
    assert [row["epoch"] for row in resumed.history] == list(range(7))
    assert resumed.best_epoch == whole.best_epoch
    again = linear_training(checkpoint=Checkpoint(tmp_path, "a"), **settings)
    again.run()
    for name, weight in weights_of(whole).items():
        assert torch.equal(weight, weights_of(again)[name])


def test_best_epoch_is_kept_and_patience_ends_the_training():
    scores = iter([(0.1, 0.9), (0.5, 0.2), (0.5, 0.2), (0.5, 0.1), (0.3, 0.9)])
    seen = []

    def evaluate():
        seen.append(training.module.weight.item())
        return dict(zip(("first", "second"), next(scores), strict=True))

    training = linear_training(patience=3)
    training.evaluate = evaluate
    training.run()
    assert training.best_epoch == 1
    assert [row["epoch"] for row in training.history] == [0, 1, 2, 3, 4]
    assert training.module.weight.item() == seen[1]
    assert not training.module.training


def test_second_score_decides_between_equal_first_ones():
    scores = iter([(0.5, 0.1), (0.5, 0.3), (0.5, 0.2)])
    training = linear_training(n_epochs=2)
    training.evaluate = lambda: dict(zip("ab", next(scores), strict=True))
    training.run()
    assert training.best_epoch == 1


def test_interrupt_keeps_the_best_state(tmp_path, ctrl_c):
    training = linear_training(checkpoint=Checkpoint(tmp_path, "a"), n_epochs=50)
    loss, calls = training.loss, []

    def interrupt_in_epoch_three(rows):
        calls.append(rows)
        if len(calls) == 10:
            ctrl_c()
        return loss(rows)

    training.loss = interrupt_in_epoch_three
    training.run()
    assert training.interrupted
    assert len(calls) == 10
    assert [row["epoch"] for row in training.history] == [0, 1, 2, 3]
    best = max(row["score"] for row in training.history)
    assert training.history[training.best_epoch]["score"] == best
    saved = Checkpoint(tmp_path, "a").read()
    assert saved["history"][-1]["epoch"] == 2
