"""Running mean of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class WeightAverage:
    """Exponential moving average of a module's trained weights.

    The decay grows with the steps from 0.18 to `decay`, so that short trainings are
    averaged over their own length and the start is soon forgotten.

    Parameters
    ----------
    module : torch.nn.Module
    decay : float
        In [0, 1); 0 keeps the last weights alone.

    References
    ----------
    Polyak, Juditsky, *Acceleration of stochastic approximation by averaging*, 1992.
    """

    def __init__(self, module: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        self.n_updates = 0
        self._module = module
        self.weights = {
            name: weight.detach().clone()
            for name, weight in module.named_parameters()
            if weight.requires_grad
        }

    @torch.no_grad()
    def update(self) -> None:
        """Take the module's present weights into the mean."""
        self.n_updates += 1
        decay = min(self.decay, (1 + self.n_updates) / (10 + self.n_updates))
        for name, weight in self._module.named_parameters():
            if name in self.weights:
                self.weights[name].lerp_(weight, 1.0 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the module has the mean weights."""
        own = {
            name: weight.detach().clone()
            for name, weight in self._module.named_parameters()
            if name in self.weights
        }
        set_weights(self._module, self.weights)
        try:
            yield
        finally:
            set_weights(self._module, own)


@torch.no_grad()
def set_weights(module: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Copy named weights into the module."""
    parameters = dict(module.named_parameters())
    for name, weight in weights.items():
        parameters[name].copy_(weight)
