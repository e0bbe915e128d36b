"""The loop over epochs and batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from skxmodal._progress import progress
from skxmodal._training._average import WeightAverage, set_weights
from skxmodal._training._checkpoint import Checkpoint
from skxmodal._training._finite import check_finite_loss, check_finite_weights
from skxmodal._training._interrupt import InterruptGuard
from skxmodal._training._schedule import cosine_schedule


@dataclass
class Training:
    """Epochs of steps, with evaluation, early stopping, checkpoints and Ctrl-C.

    Parameters
    ----------
    module : torch.nn.Module
        What is trained; ends with its best weights, in evaluation mode.
    optimizer : torch.optim.Optimizer
        Over the module's trained parameters. Each group's learning rate is its peak.
    batches : callable
        Gives an epoch's batches of rows, given the epoch's number (from 1).
    n_batches : int
        Batches an epoch.
    loss : callable
        Loss of a batch of rows.
    n_epochs : int
    warmup : float
        Fraction of all steps in which the learning rate rises.
    schedule : callable
        Factor on the learning rate, given the step, the steps of the whole training
        and those of its warm-up.
    average : WeightAverage
        What is evaluated and kept is the mean of the weights.
    evaluate : callable, optional
        Scores of the module by name, the higher the better, the first ahead of the
        second where they differ; None keeps the last epoch.
    generator : torch.Generator, optional
        Source of the order of rows, saved and restored with the rest.
    patience : int
        Epochs without a better score before the training ends.
    checkpoint : Checkpoint, optional
        Written after each epoch and read, where it exists, before the first.
    inputs : callable, optional
        What the network is fed for a batch of rows, for the message that explains a
        loss that is no number.
    precision : {"float32", "bf16"}
        What products are computed in, for that message.
    describe : callable, optional
        More columns of the history, by name.
    show_progress : bool

    Attributes
    ----------
    history : list of dict
        A row an epoch; epoch 0 is the state before any step.
    best_epoch : int
    interrupted : bool
        Whether Ctrl-C ended the training.
    """

    module: torch.nn.Module
    optimizer: torch.optim.Optimizer
    batches: Callable[[int], Iterable[torch.Tensor]]
    n_batches: int
    loss: Callable[[torch.Tensor], torch.Tensor]
    n_epochs: int
    warmup: float
    average: WeightAverage
    schedule: Callable[[int, int, int], float] = cosine_schedule
    evaluate: Callable[[], dict[str, float]] | None = None
    generator: torch.Generator | None = None
    patience: int = 10
    checkpoint: Checkpoint | None = None
    inputs: Callable[[torch.Tensor], Sequence[torch.Tensor]] | None = None
    precision: str = "float32"
    describe: Callable[[], dict[str, float]] | None = None
    show_progress: bool = False
    history: list[dict[str, float]] = field(init=False, default_factory=list)
    best_epoch: int = field(init=False, default=0)
    interrupted: bool = field(init=False, default=False)

    def run(self) -> None:
        """Train, from the checkpoint where there is one.

        Raises
        ------
        FloatingPointError
            If a loss or a weight is NaN or infinite.
        """
        self._peaks = [group["lr"] for group in self.optimizer.param_groups]
        self._best_weights: dict[str, torch.Tensor] = {}
        self._n_worse = 0
        saved = self.checkpoint.read() if self.checkpoint is not None else None
        if saved is not None:
            self._restore(saved)
        else:
            self._record(0, float("nan"), 0.0)
        done = int(self.history[-1]["epoch"])
        with InterruptGuard() as guard:
            for epoch in progress(
                range(done + 1, self.n_epochs + 1),
                self.n_epochs - done,
                "Training",
                self.show_progress,
            ):
                if self._n_worse >= self.patience:
                    break
                started = time.perf_counter()
                loss = self._epoch(epoch, guard)
                if guard.interrupted and loss is None:
                    break
                check_finite_weights(
                    self.module.parameters(),
                    epoch=epoch,
                    learning_rate=self.optimizer.param_groups[0]["lr"],
                )
                self._record(epoch, loss, time.perf_counter() - started)
                # A checkpoint holds whole epochs, so that a resumed training takes the
                # very steps that one without a break would have taken.
                if guard.interrupted:
                    break
                if self.checkpoint is not None:
                    self.checkpoint.write(self._state())
        self.interrupted = guard.interrupted
        best = self._best_weights if self.evaluate else self.average.weights
        set_weights(self.module, best)
        self.module.eval()

    def _epoch(self, epoch: int, guard: InterruptGuard) -> float | None:
        self.module.train()
        total, n_rows = 0.0, 0
        n_steps = self.n_epochs * self.n_batches
        n_warmup = int(self.warmup * n_steps)
        for batch, rows in enumerate(self.batches(epoch)):
            if guard.interrupted:
                break
            step = (epoch - 1) * self.n_batches + batch
            factor = self.schedule(step, n_steps, n_warmup)
            for group, peak in zip(
                self.optimizer.param_groups, self._peaks, strict=True
            ):
                group["lr"] = peak * factor
            loss = self.loss(rows)
            finite = bool(torch.isfinite(loss))
            value = check_finite_loss(
                loss,
                epoch=epoch,
                batch=batch + 1,
                rows=rows,
                inputs=() if finite or self.inputs is None else self.inputs(rows),
                parameters=self.module.parameters(),
                learning_rate=self._peaks[0] * factor,
                precision=self.precision,
            )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            self.average.update()
            total += value * len(rows)
            n_rows += len(rows)
        return total / n_rows if n_rows else None

    def _record(self, epoch: int, loss: float | None, seconds: float) -> None:
        row: dict[str, Any] = {
            "epoch": epoch,
            "train_loss": loss,
            "learning_rate": self.optimizer.param_groups[0]["lr"] if epoch else 0.0,
        }
        if self.describe is not None:
            row.update(self.describe())
        if self.evaluate is not None:
            self.module.eval()
            with self.average.applied(), torch.no_grad():
                scores = self.evaluate()
            row.update(scores)
            previous = [tuple(old[name] for name in scores) for old in self.history]
            # The first of equal scores: the fewest steps away from the start.
            if not previous or tuple(scores.values()) > max(previous):
                self.best_epoch = epoch
                self._n_worse = 0
                self._best_weights = {
                    name: weight.clone()
                    for name, weight in self.average.weights.items()
                }
            else:
                self._n_worse += 1
        else:
            self.best_epoch = epoch
        row["seconds"] = seconds
        self.history.append(row)

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = {
            "weights": {
                name: weight.detach()
                for name, weight in self.module.named_parameters()
                if weight.requires_grad
            },
            "average": self.average.weights,
            "n_updates": self.average.n_updates,
            "best_weights": self._best_weights,
            "best_epoch": self.best_epoch,
            "n_worse": self._n_worse,
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
            "random": torch.get_rng_state(),
        }
        if self.generator is not None:
            state["order"] = self.generator.get_state()
        if torch.cuda.is_available():
            state["random_cuda"] = torch.cuda.get_rng_state_all()
        return state

    def _restore(self, state: dict[str, Any]) -> None:
        set_weights(self.module, state["weights"])
        for name, weight in state["average"].items():
            self.average.weights[name].copy_(weight)
        self.average.n_updates = state["n_updates"]
        self._best_weights = state["best_weights"]
        self.best_epoch = state["best_epoch"]
        self._n_worse = state["n_worse"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.history = state["history"]
        torch.set_rng_state(state["random"])
        if self.generator is not None:
            self.generator.set_state(state["order"])
        if torch.cuda.is_available() and "random_cuda" in state:
            torch.cuda.set_rng_state_all(state["random_cuda"])
