"""What to say when a loss is no number."""

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
    cause = _likely_cause(rows, inputs, parameters, learning_rate)
    first = ", ".join(str(row) for row in rows[:5].tolist())
    raise FloatingPointError(
        f"the loss is {value} in batch {batch} of epoch {epoch} ({len(rows)} rows, "
        f"the first: {first}). {cause}"
    )


def _likely_cause(
    rows: torch.Tensor,
    inputs: Sequence[torch.Tensor],
    parameters: Iterable[torch.Tensor],
    learning_rate: float,
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
    largest = max((float(values.abs().max()) for values in inputs), default=0.0)
    return (
        "The data and the weights are finite, so the likely cause is an overflow "
        f"inside the network (the largest input is {largest:.3g}). Rescale the data, "
        "use precision='float32', or lower the learning rate "
        f"(now {learning_rate:.3g})."
    )
