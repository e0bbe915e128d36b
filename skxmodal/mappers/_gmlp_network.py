"""Gated MLP over embeddings (Liu et al. 2021). Imports torch."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

# As CLIP: a temperature under 0.01 lets single pairs rule the loss.
LARGEST_LOGIT_SCALE = 100.0


class SpatialGatingUnit(nn.Module):
    """Multiply half of the channels by a learned mix over tokens of the other half.

    With the channels cut in two, :math:`s(Z) = Z_1 \\odot (W \\, LN(Z_2) + b)`, where
    :math:`W` (tokens, tokens) acts across tokens and :math:`b` has one entry a token.
    :math:`W` starts near 0 and :math:`b` at 1, so that the unit starts as
    :math:`Z_1`.

    Parameters
    ----------
    width : int
        Channels of the output, half of those of the input.
    n_tokens : int

    References
    ----------
    Liu, Dai, So, Le, *Pay attention to MLPs*, arXiv:2105.08050, eqs. 2 and 4.
    """

    def __init__(self, width: int, n_tokens: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Parameter(torch.empty(n_tokens, n_tokens).uniform_(-1e-3, 1e-3))
        self.bias = nn.Parameter(torch.ones(n_tokens))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, tokens, 2 width) to (n, tokens, width)."""
        passed, gate = x.chunk(2, dim=-1)
        gate = torch.einsum("st,ntc->nsc", self.mix, self.norm(gate))
        return passed * (gate + self.bias[:, None])


class GatedBlock(nn.Module):
    """A gMLP block: norm, widen, GELU, gate across tokens, narrow, add to the input.

    Parameters
    ----------
    width : int
        Channels of a token.
    n_tokens : int
    dropout : float
        On what the block adds.
    """

    def __init__(self, width: int, n_tokens: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.gate = SpatialGatingUnit(2 * width, n_tokens)
        self.narrow = nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, tokens, width) to the same."""
        inner = functional.gelu(self.widen(self.norm(x)))
        return x + self.dropout(self.narrow(self.gate(inner)))


class GatedHead(nn.Module):
    """From one side's embeddings to a point, or a correction, in the shared space.

    An embedding's coordinates have no order or neighbourhood, so it is not cut into
    pieces: each token is a learned projection of the whole embedding, and the gate
    then lets these views multiply each other.

    Parameters
    ----------
    n_features, n_outputs : int
    n_tokens, width, depth : int
    dropout : float
        Inside the blocks and before the last layer.
    input_dropout : float
        Fraction of the coordinates put to 0 on the way in.
    zero_output : bool
        Whether the last layer starts at 0, so that the head starts as no correction.
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        *,
        n_tokens: int,
        width: int,
        depth: int,
        dropout: float,
        input_dropout: float,
        zero_output: bool,
    ) -> None:
        super().__init__()
        self.n_tokens = n_tokens
        self.input_dropout = nn.Dropout(input_dropout)
        self.embed = nn.Linear(n_features, n_tokens * width)
        self.blocks = nn.Sequential(
            *(GatedBlock(width, n_tokens, dropout) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(n_tokens * width, n_outputs)
        if zero_output:
            nn.init.zeros_(self.output.weight)
            nn.init.zeros_(self.output.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, n_features) to (n, n_outputs)."""
        tokens = self.embed(self.input_dropout(x)).unflatten(1, (self.n_tokens, -1))
        tokens = self.norm(self.blocks(tokens))
        return self.output(self.dropout(tokens.flatten(1)))


class TwoHeads(nn.Module):
    """A head for each side that learns, and the temperature between the sides.

    Parameters
    ----------
    query : GatedHead
    target : GatedHead or None
        None where the target side is fixed.
    temperature : float
        To start from.
    """

    def __init__(
        self, query: GatedHead, target: GatedHead | None, temperature: float
    ) -> None:
        super().__init__()
        self.query = query
        self.target = target
        self.log_scale = nn.Parameter(
            torch.tensor(-math.log(temperature), dtype=torch.float64)
        )

    def logit_scale(self) -> torch.Tensor:
        """Inverse of the temperature, at most 100."""
        return self.log_scale.clamp(max=math.log(LARGEST_LOGIT_SCALE)).exp()

    def temperature(self) -> float:
        """The temperature; infinite where the scale has vanished."""
        return float(1 / self.logit_scale().detach().double())

    @torch.no_grad()
    def bound_scale(self) -> None:
        """Bring a scale above 100 back to it, where it goes on being learned."""
        self.log_scale.clamp_(max=math.log(LARGEST_LOGIT_SCALE))
