"""One vector from the many that a network gives for its tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def first_token(states: Tensor, mask: Tensor) -> Tensor:
    """State of the first token that is no padding."""
    first = mask.argmax(dim=1)
    return _at(states, first)


def last_token(states: Tensor, mask: Tensor) -> Tensor:
    """State of the last token that is no padding."""
    last = mask.shape[1] - 1 - mask.flip(1).argmax(dim=1)
    return _at(states, last)


def mean_of_tokens(states: Tensor, mask: Tensor) -> Tensor:
    """Mean of the states of the tokens, padding left out."""
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


def mean_by_root_length(states: Tensor, mask: Tensor) -> Tensor:
    """Sum of the states over the square root of the number of tokens."""
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9).sqrt()


def mean_by_position(states: Tensor, mask: Tensor) -> Tensor:
    """Mean of the states, each weighted by its place, 1 for the first token."""
    places = mask.cumsum(dim=1) * mask
    weights = places.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


def maximum_of_tokens(states: Tensor, mask: Tensor) -> Tensor:
    """Largest value of each feature over the tokens, padding left out.

    Zeros where there is no token, as the means give.
    """
    lowest = states.masked_fill(mask.unsqueeze(-1) == 0, float("-inf"))
    return lowest.amax(dim=1).masked_fill(mask.sum(dim=1, keepdim=True) == 0, 0)


def _at(states: Tensor, places: Tensor) -> Tensor:
    index = places.view(-1, 1, 1).expand(-1, 1, states.shape[2])
    return states.gather(1, index).squeeze(1)


# The names of sentence-transformers' configuration files.
POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": first_token,
    "lasttoken": last_token,
    "max": maximum_of_tokens,
    "mean": mean_of_tokens,
    "mean_sqrt_len_tokens": mean_by_root_length,
    "weightedmean": mean_by_position,
}
