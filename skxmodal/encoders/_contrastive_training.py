"""The training of `ContrastiveTuner`. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from skxmodal._training import (
    Checkpoint,
    Training,
    WeightAverage,
    autocast,
    epoch_batches,
    info_nce,
    n_batches,
    own_generator,
    resolve_precision,
)
from skxmodal.encoders._contrastive_layers import (
    choose,
    find_layers,
    trained_weights,
    training_mode,
)
from skxmodal.encoders._contrastive_tuned import (
    ADDED_LAYER,
    add_layer,
    added_name,
    with_weights,
)
from skxmodal.encoders._contrastive_views import Encoding, PictureItems, TextItems
from skxmodal.encoders._devices import resolve_device
from skxmodal.encoders._text import TextEncoder

# Peak learning rates by what is trained; new layers learn faster than trained ones.
LEARNING_RATES = {"all": 2e-5, "last": 5e-5, "head": 1e-3, "adapters": 5e-4}
PROJECTION_RATE = 1e-3
LARGEST_LOGIT_SCALE = 100.0
# Ridge of the projection that training starts from, in mean variances of the vectors.
PROJECTION_RIDGE = 100.0
VIEW_DIMENSION = 128
# Weights of networks in use are smaller.
SUSPICIOUS_WEIGHT = 1e3


@dataclass(frozen=True)
class Outcome:
    """What a training leaves behind.

    Parameters
    ----------
    weights : dict of str to array
        By their names in the network.
    temperature : float
    history : list of dict
    interrupted : bool
    n_reused : int
        Number of frozen blocks that were run once for each item.
    cut : list of int
        Rows of the texts that are longer than the network reads.
    """

    weights: dict[str, NDArray[Any]]
    temperature: float
    history: list[dict[str, Any]]
    interrupted: bool
    n_reused: int
    cut: list[int]


class Tuning(nn.Module):
    """What is trained: the network, a projection after it, and the temperature.

    Parameters
    ----------
    network : torch.nn.Module
    projection : torch.nn.Module
        Thrown away after the training.
    temperature : float
        To start from.
    """

    def __init__(
        self, network: nn.Module, projection: nn.Module, temperature: float
    ) -> None:
        super().__init__()
        self.network = network
        self.projection = projection
        self.log_scale = nn.Parameter(torch.tensor(-np.log(temperature)).float())

    def logit_scale(self) -> Tensor:
        """Inverse of the temperature, at most 100."""
        return self.log_scale.clamp(max=np.log(LARGEST_LOGIT_SCALE)).exp()

    def temperature(self) -> float:
        """The temperature; infinite where the scale has vanished."""
        return float(1 / self.logit_scale().detach().double())

    @torch.no_grad()
    def bound_scale(self) -> None:
        """Bring a scale above 100 back to it, where it goes on being learned."""
        self.log_scale.clamp_(max=np.log(LARGEST_LOGIT_SCALE))

    def train(self, mode: bool = True) -> Tuning:
        """Switch on what is random, in the trained modules alone."""
        super().train(mode)
        if mode:
            training_mode(self.network)
        return self


@dataclass
class Objective:
    """Loss of a batch of items.

    Parameters
    ----------
    tuning : Tuning
    encoding : Encoding
    objective : {"unsupervised", "captions", "paired"}
    groups : array of shape (n,)
        Items of one number are positives of each other.
    targets : tensor of shape (n, d_y) or None
        For "paired".
    precision : str
    """

    tuning: Tuning
    encoding: Encoding
    objective: str
    groups: NDArray[np.intp]
    targets: Tensor | None
    precision: str

    def __post_init__(self) -> None:
        self._groups = torch.as_tensor(self.groups)
        self._order = np.argsort(self.groups, kind="stable")
        self._counts = np.bincount(self.groups)
        self._starts = np.cumsum(self._counts) - self._counts
        self._place = np.empty(len(self.groups), dtype=np.int64)
        self._place[self._order] = np.arange(len(self.groups))

    def __call__(self, rows: Tensor) -> Tensor:
        """Loss of a batch of items."""
        chosen = rows.tolist()
        if self.targets is not None:
            queries = self._project(self._encode(chosen))
            targets = self.targets[rows.to(self.targets.device)]
        else:
            others = self._mates(rows) if self.objective == "captions" else chosen
            both = self._project(self._encode([*chosen, *others]))
            queries, targets = both.tensor_split(2)
        groups = self._groups[rows].to(queries.device)
        return info_nce(queries, targets, groups, self.tuning.logit_scale())

    def _encode(self, rows: Sequence[int]) -> Tensor:
        log_scale = self.tuning.log_scale
        with autocast(log_scale.device, self.precision):
            return self.encoding(rows)

    def _project(self, vectors: Tensor) -> Tensor:
        return self.tuning.projection(vectors.float())

    def _mates(self, rows: Tensor) -> list[int]:
        """Another item of each item's group, or itself where it is alone."""
        groups = self.groups[rows.numpy()]
        others = np.maximum(self._counts[groups] - 1, 1)
        steps = 1 + (torch.rand(len(rows)).numpy() * others).astype(np.int64)
        places = self._place[rows.numpy()] - self._starts[groups]
        mates = self._starts[groups] + (places + steps) % self._counts[groups]
        return [int(row) for row in self._order[mates]]


def tune(
    encoder: Any,
    items: list[Any],
    targets: NDArray[Any] | None,
    groups: NDArray[np.intp],
    settings: dict[str, Any],
    *,
    seed: int,
    checkpoint: Checkpoint | None,
) -> Outcome:
    """Tune a copy of an encoder's network.

    Parameters
    ----------
    encoder : TextEncoder, ImageEncoder or TorchvisionEncoder
        Set to run in float32 by torch.
    items : list
        Checked items.
    targets : array of shape (n, d_y) or None
        The other side's vectors.
    groups : array of shape (n,)
    settings : dict
        The tuner's parameters.
    seed : int
    checkpoint : Checkpoint or None

    Returns
    -------
    outcome : Outcome
    """
    device = torch.device(resolve_device(encoder.device))
    with own_generator(seed, device), ExitStack() as stack:
        # Batch norms stay apart, so that weights keep their names and places.
        model = with_weights(encoder, {}, folds=False)._load()
        of_texts = isinstance(encoder, TextEncoder)
        views = TextItems(model, items) if of_texts else PictureItems(model, items)
        first = next(iter(views.batches([0], False)))[1]
        trainable = settings["trainable"]
        added = ADDED_LAYER in getattr(encoder, "tuned_weights_", {})
        layers = find_layers(model.network, lambda: model.network(**first), trainable)
        if trainable == "head" and of_texts and not layers.head:
            add_layer(model.network, model.dimension)
            layers.head.append(added_name(model.network).removesuffix(".weight"))
            added = True
        n_frozen = choose(model.network, layers, trainable)
        encoding = Encoding(
            model,
            views,
            layers,
            n_frozen,
            augmented=settings["objective"] == "unsupervised" and not of_texts,
            normalize=encoder.normalize,
        )
        stack.callback(encoding.close)
        projection = _projection(encoding, targets, settings["objective"], of_texts)
        tuning = Tuning(model.network, projection, settings["temperature"]).to(device)
        training_mode(tuning.network)
        if settings["objective"] == "unsupervised":
            _check_views_differ(encoding)
        objective = Objective(
            tuning,
            encoding,
            settings["objective"],
            groups,
            None if targets is None else _unit_targets(targets).to(device),
            settings["precision"],
        )
        generator = torch.Generator().manual_seed(seed)
        size = min(settings["batch_size"], len(items))
        optimizer = _optimizer(tuning, settings)
        optimizer.register_step_post_hook(lambda *given: tuning.bound_scale())
        training = Training(
            module=tuning,
            optimizer=optimizer,
            batches=lambda epoch: epoch_batches(len(items), size, generator),
            n_batches=n_batches(len(items), size),
            loss=objective,
            n_epochs=settings["max_epochs"],
            warmup=settings["warmup"],
            average=WeightAverage(tuning, settings["weight_average"]),
            generator=generator,
            checkpoint=checkpoint,
            precision=resolve_precision(device, settings["precision"]),
            describe=lambda: {"temperature": tuning.temperature()},
            show_progress=bool(settings["show_progress"]),
        )
        training.run()
        _check_output(encoding, model.network, optimizer.param_groups[0]["lr"])
    weights = {
        name: weight.detach().cpu().numpy().copy()
        for name, weight in trained_weights(tuning.network).items()
    }
    if added:
        weights = {
            ADDED_LAYER if name == added_name(model.network) else name: weight
            for name, weight in weights.items()
        }
    return Outcome(
        weights,
        temperature=tuning.temperature(),
        history=training.history,
        interrupted=training.interrupted,
        n_reused=encoding.n_reused,
        cut=views.cut,
    )


def _projection(
    encoding: Encoding, targets: NDArray[Any] | None, objective: str, of_texts: bool
) -> nn.Module:
    """The layer between the vectors and the loss."""
    if targets is not None:
        return _ridge_projection(encoding.all(), _unit_targets(targets))
    if objective == "unsupervised" and not of_texts:
        dimension = encoding.model.dimension
        return nn.Sequential(
            nn.Linear(dimension, dimension),
            nn.ReLU(),
            nn.Linear(dimension, VIEW_DIMENSION),
        )
    return nn.Identity()


def _ridge_projection(vectors: Tensor, targets: Tensor) -> nn.Linear:
    """Linear layer from vectors to targets, at first their ridge regression."""
    x = vectors.double().cpu()
    mean = x.mean(dim=0)
    x = x - mean
    y = targets.double()
    covariance = x.T @ x / len(x)
    ridge = PROJECTION_RIDGE * covariance.diagonal().mean()
    covariance.diagonal().add_(ridge if ridge > 0 else 1.0)
    coefficients = torch.linalg.solve(covariance, x.T @ y / len(x))
    layer = nn.Linear(*coefficients.shape)
    with torch.no_grad():
        layer.weight.copy_(coefficients.T)
        layer.bias.copy_(-mean @ coefficients)
    return layer


def _unit_targets(targets: NDArray[Any]) -> Tensor:
    centred = targets - targets.mean(axis=0, dtype=np.float64)
    return functional.normalize(torch.as_tensor(centred).float(), dim=1)


def _optimizer(tuning: Tuning, settings: dict[str, Any]) -> torch.optim.AdamW:
    rate = settings["learning_rate"]
    if rate == "auto":
        trainable = settings["trainable"]
        kind = trainable if isinstance(trainable, str) else "adapters"
        rate = LEARNING_RATES[kind.partition(":")[0]]
    network = [weight for weight in tuning.network.parameters() if weight.requires_grad]
    others = [*tuning.projection.parameters(), tuning.log_scale]
    return torch.optim.AdamW(
        [
            {"params": network, "lr": rate, "weight_decay": settings["weight_decay"]},
            {"params": others, "lr": PROJECTION_RATE, "weight_decay": 0.0},
        ]
    )


def _check_output(encoding: Encoding, network: nn.Module, rate: float) -> None:
    """Refuse weights so large, after the last step, that the network overflows."""
    with torch.no_grad():
        trained = [weight for weight in network.parameters() if weight.requires_grad]
        if all(float(weight.abs().max()) < SUSPICIOUS_WEIGHT for weight in trained):
            return
        if bool(torch.isfinite(encoding(range(min(2, len(encoding.items))))).all()):
            return
    raise FloatingPointError(
        "the tuned network gives NaN or infinity: its weights diverged in the last "
        f"steps. Lower the learning rate (now {rate:.3g}) or warm up for longer."
    )


def _check_views_differ(encoding: Encoding) -> None:
    if encoding.augmented:
        return
    with torch.no_grad():
        one, two = encoding([0, 0])
    if torch.equal(one, two):
        raise ValueError(
            "objective='unsupervised' tells views of a text apart by dropout, and the "
            "trained layers of this network have none. Train more layers "
            "(trainable='all'), or choose objective='captions' or 'paired'."
        )
