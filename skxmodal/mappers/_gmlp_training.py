"""The training of `GMLPMapper`, between arrays and arrays. Imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skxmodal._training import (
    Checkpoint,
    Training,
    WeightAverage,
    cosine_schedule,
    epoch_batches,
    n_batches,
    own_generator,
    resolve_device,
    resolve_precision,
)
from skxmodal.mappers._gmlp_network import GatedHead, TwoHeads
from skxmodal.mappers._gmlp_objective import (
    Evaluation,
    Objective,
    Places,
    Scales,
    Side,
    outputs_in_blocks,
)
from skxmodal.mappers._gmlp_setup import Pairs


@dataclass(frozen=True)
class Outcome:
    """What a training leaves behind, in NumPy's arrays.

    Parameters
    ----------
    weights : dict of str to array
    temperature : float
    history : list of dict
    best_epoch : int
    interrupted : bool
    optimizer_state : dict of str to array
    """

    weights: dict[str, NDArray[Any]]
    temperature: float
    history: list[dict[str, Any]]
    best_epoch: int
    interrupted: bool
    optimizer_state: dict[str, NDArray[Any]]


def train(
    pairs: Pairs,
    places: Places | None,
    shape: dict[str, Any],
    scales: dict[str, dict[str, Any]],
    settings: dict[str, Any],
    *,
    seed: int,
    held_out: Pairs | None,
    held_out_places: Places | None,
    weights: dict[str, NDArray[Any]] | None,
    optimizer_state: dict[str, NDArray[Any]] | None,
    checkpoint: Checkpoint | None,
    whole: bool,
) -> Outcome:
    """Train the heads.

    Parameters
    ----------
    pairs, held_out : Pairs
    places, held_out_places : pair of arrays of shape (n, k), or None
        Closed-form places of queries and targets.
    shape : dict
        Sizes of the network.
    scales : dict
        By side; see `Scales`.
    settings : dict
        Parameters of the mapper, "auto" resolved.
    seed : int
    weights, optimizer_state : dict or None
        To go on from.
    checkpoint : Checkpoint or None
    whole : bool
        Whether this is a training of its own, or one more pass at a constant learning
        rate.

    Returns
    -------
    outcome : Outcome
    """
    device = resolve_device(settings["device"])
    doubled = device.type == "cpu" and settings["precision"] == "auto"
    dtype = torch.float32
    if doubled and pairs.X.dtype == np.float64:
        dtype = torch.float64
    with own_generator(seed, device):
        network = build(shape, settings).to(dtype)
        if weights is not None:
            network.load_state_dict({k: torch.tensor(v) for k, v in weights.items()})
        network.to(device)
        optimizer = _optimizer(network, settings)
        optimizer.register_step_post_hook(lambda *given: network.bound_scale())
        if optimizer_state is not None and not whole:
            _load_optimizer(optimizer, optimizer_state)
        query_places, target_places = places or (None, None)
        if places is None and not shape["two_sided"]:
            mean = scales["target"]["mean"]
            target_places = (pairs.y - mean).astype(pairs.y.dtype, copy=False)
        objective = Objective(
            network,
            Side(pairs.X, query_places, Scales(**scales["query"]), dtype, device),
            Side(pairs.y, target_places, Scales(**scales["target"]), dtype, device),
            pairs.groups,
            pairs.weights,
            settings["loss"],
            settings["noise"],
            settings["group_mixing"],
            settings["precision"],
        )
        generator = torch.Generator().manual_seed(seed)
        n_rows, batch_size = len(pairs.X), settings["batch_size"]
        evaluate = None
        if held_out is not None:
            evaluate = Evaluation(
                network,
                held_out,
                held_out_places,
                scales,
                settings["validation_k"],
            )
        training = Training(
            module=network,
            optimizer=optimizer,
            batches=lambda epoch: epoch_batches(n_rows, batch_size, generator),
            n_batches=n_batches(n_rows, batch_size),
            loss=objective,
            n_epochs=settings["max_epochs"] if whole else 1,
            warmup=settings["warmup"],
            schedule=cosine_schedule if whole else _constant,
            average=WeightAverage(network, settings["weight_average"] if whole else 0),
            evaluate=evaluate,
            generator=generator,
            patience=settings["patience"],
            checkpoint=checkpoint,
            inputs=objective.inputs,
            precision=resolve_precision(device, settings["precision"]),
            describe=lambda: {"temperature": network.temperature()},
            show_progress=bool(settings["verbose"]),
        )
        training.run()
    return Outcome(
        weights={k: v.cpu().numpy().copy() for k, v in network.state_dict().items()},
        temperature=network.temperature(),
        history=training.history,
        best_epoch=training.best_epoch,
        interrupted=training.interrupted,
        optimizer_state=_dump_optimizer(optimizer),
    )


def build(shape: dict[str, Any], settings: dict[str, Any] | None = None) -> TwoHeads:
    """Network of the given sizes; without settings for its outputs alone."""
    settings = settings or {"dropout": 0.0, "temperature": 1.0}
    sizes = {
        "n_tokens": shape["n_tokens"],
        "width": shape["width"],
        "depth": shape["depth"],
        "zero_output": shape["zero_output"],
        "dropout": settings["dropout"],
        "input_dropout": settings["dropout"],
    }
    k = shape["n_components"]
    query = GatedHead(shape["n_features"], k, **sizes)
    target = None
    if shape["two_sided"]:
        target = GatedHead(shape["n_targets"], k, **sizes)
    return TwoHeads(query, target, settings["temperature"])


def load_heads(
    weights: dict[str, NDArray[Any]], shape: dict[str, Any], device: str | None
) -> TwoHeads:
    """The fitted heads, ready to give their outputs."""
    with torch.device("meta"):
        network = build(shape)
    network.load_state_dict(
        {name: torch.tensor(weight) for name, weight in weights.items()}, assign=True
    )
    return network.eval().to(resolve_device(device))


def head_outputs(
    heads: TwoHeads, side: str, rows: NDArray[Any], scales: dict[str, Any]
) -> NDArray[Any]:
    """What one side's fitted head gives for rows, in their dtype."""
    return outputs_in_blocks(heads.get_submodule(side), rows, Scales(**scales))


def _constant(step: int, n_steps: int, n_warmup: int) -> float:
    return 1.0


def _optimizer(network: TwoHeads, settings: dict[str, Any]) -> torch.optim.AdamW:
    # Norms, biases and the temperature are not pulled towards 0.
    matrices = [weight for weight in network.parameters() if weight.ndim > 1]
    others = [weight for weight in network.parameters() if weight.ndim <= 1]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": settings["weight_decay"]},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=settings["learning_rate"],
        betas=(0.9, 0.98),
    )


def _dump_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, NDArray[Any]]:
    return {
        f"{number}.{name}": value.cpu().numpy()
        for number, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def _load_optimizer(
    optimizer: torch.optim.Optimizer, arrays: dict[str, NDArray[Any]]
) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, array in arrays.items():
        number, name = key.split(".")
        state.setdefault(int(number), {})[name] = torch.tensor(array)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
