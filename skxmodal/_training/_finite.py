"""What to say when a loss or a weight is no number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch


def check_finite_loss(
    loss: torch.Tensor,
    *,
    epoch: int,
    batch: int,
    rows: torch.Tensor,
    inputs: Sequence[torch.Tensor] = (),
    parameters: Iterable[torch.Tensor] = (),
    learning_rate: float,
    precision: str = "float32",
) -> float:
    """Value of the loss, or an error that names the batch and the likely cause.

    Parameters
    ----------
    loss : scalar tensor
    epoch, batch : int
        Both from 1, as a person counts.
    rows : integer tensor
        Rows of the training data in the batch.
    inputs : sequence of tensors
        What the batch fed to the network, its first axis running over `rows`.
    parameters : iterable of tensors
        Weights before the step.
    learning_rate : float
        Of this step.
    precision : {"float32", "bf16"}
        What products are computed in.

    Returns
    -------
    value : float

    Raises
    ------
    FloatingPointError
        If the loss is NaN or infinite.
    """
    value = float(loss.detach())
    if abs(value) < float("inf"):
        return value
    cause = _likely_cause(rows, inputs, list(parameters), learning_rate, precision)
    first = ", ".join(str(row) for row in rows[:5].tolist())
    raise FloatingPointError(
        f"the loss is {value} in batch {batch} of epoch {epoch} ({len(rows)} rows, "
        f"the first: {first}). {cause}"
    )


def check_finite_weights(
    weights: Iterable[torch.Tensor], *, epoch: int, learning_rate: float
) -> None:
    """Refuse weights that the last step of an epoch spoilt, which no loss has seen.

    Parameters
    ----------
    weights : iterable of tensors
    epoch : int
        From 1.
    learning_rate : float
        Of the last step.

    Raises
    ------
    FloatingPointError
        If a weight is NaN or infinite.
    """
    if all(bool(torch.isfinite(weight).all()) for weight in weights):
        return
    raise FloatingPointError(
        f"the weights are NaN or infinite after epoch {epoch}: they diverged. Lower "
        f"the learning rate (now {learning_rate:.3g}) or warm up for longer."
    )


def _likely_cause(
    rows: torch.Tensor,
    inputs: Sequence[torch.Tensor],
    parameters: Sequence[torch.Tensor],
    learning_rate: float,
    precision: str,
) -> str:
    for values in inputs:
        finite = torch.isfinite(values).flatten(1).all(dim=1)
        if not bool(finite.all()):
            bad = rows[(~finite).to(rows.device)][:5].tolist()
            return (
                "Likely cause: NaN or infinite values in the data of rows "
                f"{', '.join(map(str, bad))}. Remove or repair them."
            )
    if not all(bool(torch.isfinite(weight).all()) for weight in parameters):
        return (
            "Likely cause: the weights diverged in an earlier step. Lower the "
            f"learning rate (now {learning_rate:.3g}) or warm up for longer."
        )
    known = {"weight": parameters, "input": inputs}
    largest = ", ".join(
        f"the largest {name} is {max(map(_largest, values)):.3g}"
        for name, values in known.items()
        if values
    )
    finite = "data and the weights are" if inputs else "weights are"
    return (
        f"The {finite} finite, so the likely cause is an overflow inside the network"
        + (f" ({largest}). " if largest else ". ")
        + ("Use precision='float32', or lower" if precision == "bf16" else "Lower")
        + f" the learning rate (now {learning_rate:.3g})"
        + (", or rescale the data." if inputs else ".")
    )


def _largest(values: torch.Tensor) -> float:
    return float(values.detach().abs().max())
