"""Batch norms folded into the convolutions before them.

Imported only where a network is loaded, since it imports torch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

LOWEST_COSINE = 0.9999


def fold_batch_norms(network: nn.Module, pixel_values: Tensor) -> int:
    """Fold each batch norm that follows a convolution into its weights, in place.

    Which follows which is seen in one run, so networks written in any way will do. If
    the vectors were to differ after it, a convolution's output being used elsewhere
    too, nothing is folded.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode, takes ``pixel_values``.
    pixel_values : Tensor of shape (n, 3, H, W)
        What to run it on.

    Returns
    -------
    n_folded : int
        Number of batch norms folded.
    """
    with torch.inference_mode():
        pairs, before = _find_pairs(network, pixel_values)
    modules = dict(network.named_modules())
    for convolution, norm in pairs.items():
        fused = fuse_conv_bn_eval(modules[convolution], modules[norm])
        _replace(modules, convolution, fused)
        _replace(modules, norm, nn.Identity())
    if not pairs:
        return 0
    with torch.inference_mode():
        after = network(pixel_values=pixel_values)
    cosine = nn.functional.cosine_similarity(after.flatten(1), before.flatten(1))
    if bool((cosine >= LOWEST_COSINE).all()):
        return len(pairs)
    for names in pairs.items():
        for name in names:
            _replace(modules, name, modules[name])
    return 0


def _find_pairs(
    network: nn.Module, pixel_values: Tensor
) -> tuple[dict[str, str], Tensor]:
    """Names of convolutions with those of the batch norms that read their output."""
    writers: dict[int, str] = {}
    outputs: list[Any] = []
    pairs: dict[str, str] = {}
    calls: dict[str, int] = {}
    handles = []

    def watch(name: str, module: nn.Module) -> None:
        def after(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            calls[name] = calls.get(name, 0) + 1
            if isinstance(module, nn.Conv2d):
                writers[id(output)] = name
                # Kept, so that no later tensor can have the same identity.
                outputs.append(output)
            elif id(inputs[0]) in writers:
                pairs[writers[id(inputs[0])]] = name

        handles.append(module.register_forward_hook(after))

    for name, module in network.named_modules():
        # Only the plain class: those derived from it add activations.
        if isinstance(module, nn.Conv2d) or type(module) is nn.BatchNorm2d:
            watch(name, module)
    try:
        vectors = network(pixel_values=pixel_values)
    finally:
        for handle in handles:
            handle.remove()
    once = {
        convolution: norm
        for convolution, norm in pairs.items()
        if calls[convolution] == calls[norm] == 1
    }
    return once, vectors


def _replace(modules: dict[str, nn.Module], name: str, module: nn.Module) -> None:
    parent, _, attribute = name.rpartition(".")
    setattr(modules[parent], attribute, module)
