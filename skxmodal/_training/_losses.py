"""Contrastive losses."""

from __future__ import annotations

import torch
from torch.nn import functional


def info_nce(
    queries: torch.Tensor,
    targets: torch.Tensor,
    groups: torch.Tensor,
    logit_scale: torch.Tensor | float,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Symmetric InfoNCE in which every row of one group is a positive.

    With :math:`s_{ij}` the scaled cosine of query i and target j, :math:`P_i` the
    rows of i's group and :math:`N_i` all others, a query's loss is the mean over
    :math:`j \\in P_i` of
    :math:`-\\log(e^{s_{ij}} / (e^{s_{ij}} + \\sum_{k \\in N_i} e^{s_{ik}}))`:
    rows of one group never push each other away. Targets are treated likewise and
    the two means averaged.

    Parameters
    ----------
    queries, targets : tensor of shape (n, d)
        Row i of one belongs to row i of the other. Any length: rows are scaled to
        unit norm here.
    groups : integer tensor of shape (n,)
        Rows with the same number are positives of each other.
    logit_scale : tensor or float
        Inverse of the temperature.
    weights : tensor of shape (n,), default=None
        A row of weight 2 counts as that row given twice.

    Returns
    -------
    loss : scalar tensor

    Raises
    ------
    ValueError
        If all rows are of one group, so that there is no negative.

    References
    ----------
    van den Oord, Li, Vinyals, *Representation learning with contrastive predictive
    coding*, arXiv:1807.03748, eq. 4; several positives as in Khosla et al.,
    *Supervised contrastive learning*, arXiv:2004.11362, eq. 2.
    """
    same = groups[:, None] == groups[None, :]
    if bool(same.all()):
        raise ValueError(
            f"all {len(groups)} rows of the batch are of one group, so there is no "
            "negative to tell them from: use larger batches"
        )
    logits = logit_scale * (
        functional.normalize(queries, dim=1) @ functional.normalize(targets, dim=1).T
    )
    if weights is None:
        weights = torch.ones_like(logits[:, 0])
    return 0.5 * (
        _one_direction(logits, same, weights) + _one_direction(logits.T, same, weights)
    )


def _one_direction(
    logits: torch.Tensor, same: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    negatives = torch.logsumexp(
        (logits + weights.log()).masked_fill(same, -torch.inf), dim=1
    )
    rows, columns = same.nonzero(as_tuple=True)
    pair_losses = functional.softplus(negatives[rows] - logits[rows, columns])
    totals = same.to(weights.dtype) @ weights
    pair_weights = weights[rows] * weights[columns] / totals[rows]
    return (pair_weights * pair_losses).sum() / weights.sum()
