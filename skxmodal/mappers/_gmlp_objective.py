"""What `GMLPMapper` trains for: losses of batches, hit rates of held-out pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from skxmodal._content import group_items
from skxmodal._training import autocast, info_nce
from skxmodal._validation import unit_rows
from skxmodal.mappers._gmlp_network import GatedHead, TwoHeads
from skxmodal.mappers._gmlp_setup import BLOCK, Pairs
from skxmodal.neighbors import count_ranks

Places: TypeAlias = tuple[NDArray[Any], NDArray[Any]]


@dataclass(frozen=True)
class Scales:
    """What brings one side's rows to the network's scale and back.

    Parameters
    ----------
    mean : array of shape (d,)
        Mean of the training rows.
    input : float
        Root mean square of the centred rows.
    output : float
        Root mean square of the closed-form places, or of the centred targets.
    """

    mean: NDArray[Any]
    input: float
    output: float


@dataclass
class Side:
    """The rows of one side, for the device they are trained on.

    Parameters
    ----------
    rows : array of shape (n, d)
        Embeddings.
    base : array of shape (n, k) or None
        Their places by the closed-form map, to which the head's output is added.
    scales : Scales
    dtype, device
        Of the training.
    """

    rows: NDArray[Any]
    base: NDArray[Any] | None
    scales: Scales
    dtype: torch.dtype
    device: torch.device

    def __post_init__(self) -> None:
        self._mean = self.to_device(self.scales.mean)
        # On the CPU a batch is copied out of the user's array, which is left in place.
        if self.device.type != "cpu":
            self._resident_rows = self.to_device(self.rows)
            if self.base is not None:
                self._resident_base = self.to_device(self.base)

    def to_device(self, array: NDArray[Any]) -> torch.Tensor:
        """The array as a tensor of the training's dtype, on its device."""
        return torch.tensor(array, dtype=self.dtype, device=self.device)

    def inputs(self, rows: torch.Tensor) -> torch.Tensor:
        """Standardised embeddings of a batch, (n, d)."""
        if self.device.type == "cpu":
            taken = self.to_device(self.rows[rows.numpy()])
        else:
            taken = self._resident_rows[rows.to(self.device)]
        return (taken - self._mean) / self.scales.input

    def places(self, rows: torch.Tensor) -> torch.Tensor | None:
        """Closed-form places of a batch, (n, k)."""
        if self.base is None:
            return None
        if self.device.type == "cpu":
            return self.to_device(self.base[rows.numpy()])
        return self._resident_base[rows.to(self.device)]


@dataclass
class Objective:
    """Loss of a batch, and the score of held-out rows.

    Parameters
    ----------
    network : TwoHeads
    queries, targets : Side
    groups : array of shape (n,)
        Rows of one number are positives of each other.
    weights : array of shape (n,) or None
    loss : {"contrastive", "mse"}
    noise : float
        Standard deviation of the noise on inputs and closed-form places, in units of
        their root mean squares.
    mixing : float
        Largest share of another query of the same group.
    precision : str
    """

    network: TwoHeads
    queries: Side
    targets: Side
    groups: NDArray[np.intp]
    weights: NDArray[Any] | None
    loss: str
    noise: float
    mixing: float
    precision: str

    def __post_init__(self) -> None:
        self._groups = torch.as_tensor(self.groups)
        self._order = torch.as_tensor(np.argsort(self.groups, kind="stable"))
        counts = np.bincount(self.groups)
        self._counts = torch.as_tensor(counts)
        self._starts = torch.as_tensor(np.cumsum(counts) - counts)
        if counts.max() == 1:
            self.mixing = 0.0

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Loss of a batch of training rows."""
        x, x_base = self.queries.inputs(rows), self.queries.places(rows)
        if self.mixing:
            x, x_base = self._mixed(rows, x, x_base)
        query = self._placed(self.network.query, self.queries, x, x_base)
        y_base = self.targets.places(rows)
        if self.network.target is None:
            assert y_base is not None
            target = y_base
        else:
            y = self.targets.inputs(rows)
            target = self._placed(self.network.target, self.targets, y, y_base)
        weights = None
        if self.weights is not None:
            weights = self.queries.to_device(self.weights[rows.numpy()])
        if self.loss == "mse":
            errors = ((query - target) / self.targets.scales.output).square().mean(1)
            if weights is None:
                return errors.mean()
            return (weights * errors).sum() / weights.sum()
        groups = self._groups[rows].to(query.device)
        return info_nce(query, target, groups, self.network.logit_scale(), weights)

    def inputs(self, rows: torch.Tensor) -> Sequence[torch.Tensor]:
        """What the heads are fed for a batch."""
        return [self.queries.inputs(rows), self.targets.inputs(rows)]

    def _mixed(
        self, rows: torch.Tensor, x: torch.Tensor, base: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Each query with a share of another one of its group."""
        groups = self._groups[rows]
        offsets = (torch.rand(len(rows)) * self._counts[groups]).long()
        mates = self._order[self._starts[groups] + offsets]
        share = (self.mixing * torch.rand(len(rows), 1)).to(x)
        x = torch.lerp(x, self.queries.inputs(mates), share)
        if base is not None:
            mate_base = self.queries.places(mates)
            assert mate_base is not None
            base = torch.lerp(base, mate_base, share)
        return x, base

    def _placed(
        self, head: GatedHead, side: Side, x: torch.Tensor, base: torch.Tensor | None
    ) -> torch.Tensor:
        x = self._noisy(x, 1.0)
        with autocast(x.device, self.precision):
            output = head(x)
        output = side.scales.output * output.to(x.dtype)
        if base is None:
            return output
        return self._noisy(base, side.scales.output) + output

    def _noisy(self, values: torch.Tensor, scale: float) -> torch.Tensor:
        if not self.noise:
            return values
        # Drawn on the CPU, so that a seed means the same on every device.
        noise = torch.randn(values.shape, dtype=values.dtype)
        return values + self.noise * scale * noise.to(values.device)


@torch.no_grad()
def outputs_in_blocks(
    head: torch.nn.Module, rows: NDArray[Any], scales: Scales
) -> NDArray[Any]:
    weight = head.get_parameter("output.weight")
    like: dict[str, Any] = {"dtype": weight.dtype, "device": weight.device}
    outputs = np.empty((len(rows), weight.shape[0]), dtype=rows.dtype)
    mean = torch.tensor(scales.mean, **like)
    for start in range(0, len(rows), BLOCK):
        block = torch.tensor(rows[start : start + BLOCK], **like)
        output = head((block - mean) / scales.input) * scales.output
        outputs[start : start + BLOCK] = output.cpu().numpy()
    return outputs


@dataclass
class Evaluation:
    """Scores of held-out pairs."""

    network: TwoHeads
    pairs: Pairs
    places: Places | None
    scales: dict[str, dict[str, Any]]
    k: int

    def __call__(self) -> dict[str, float]:
        first_rows, _ = group_items(self.pairs.groups)
        queries = self._place("query", self.pairs.X, slice(None))
        targets = self._place("target", self.pairs.y[first_rows], first_rows)
        return held_out_scores(queries, targets, self.pairs.groups, self.k)

    def _place(self, side: str, rows: NDArray[Any], taken: Any) -> NDArray[Any]:
        scales = Scales(**self.scales[side])
        base = None
        if self.places is not None:
            base = self.places[side == "target"][taken]
        head = getattr(self.network, side)
        if head is None:
            return (rows - scales.mean).astype(rows.dtype) if base is None else base
        outputs = outputs_in_blocks(head, rows, scales)
        return outputs if base is None else base + outputs


def held_out_scores(
    queries: NDArray[Any], targets: NDArray[Any], groups: NDArray[np.intp], k: int
) -> dict[str, float]:
    """Hit rate at k and mean reciprocal rank inside a set of paired rows.

    Both are means over the two directions. The second, which sees every rank, tells
    apart epochs whose hit rates are equal, as in small sets they often are.

    Parameters
    ----------
    queries : array of shape (n, d)
        In the shared space.
    targets : array of shape (n_groups, d)
        One a group, in the order of the groups' numbers.
    groups : array of shape (n,)
    k : int

    Returns
    -------
    scores : dict
    """
    indptr = np.arange(len(queries) + 1)
    ranks, reverse_ranks = count_ranks(
        unit_rows(queries), unit_rows(targets), indptr, groups, both=True
    )
    best = np.full(len(targets), len(queries) + 1)
    np.minimum.at(best, groups, reverse_ranks)
    return {
        "validation_score": float(0.5 * (np.mean(ranks <= k) + np.mean(best <= k))),
        "validation_mrr": float(0.5 * (np.mean(1 / ranks) + np.mean(1 / best))),
    }
