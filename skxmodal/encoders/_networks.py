"""Networks from one batch's tensors to its vectors.

Imported only where a network is loaded, since it imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from skxmodal.encoders._pooling import POOLINGS


class TextNetwork(nn.Module):
    """A transformer, a pooling of its tokens and layers after it.

    Parameters
    ----------
    transformer : torch.nn.Module
        Takes token ids and a mask, gives an output of transformers.
    poolings : sequence of str
        Poolings set side by side; "projected" takes a tower's own text embedding.
    layers : sequence of torch.nn.Module
        Applied to the pooled vectors in turn.
    masked : bool, default=True
        Whether the transformer is told which tokens are padding. Those trained
        without a mask (SigLIP) aren't.
    skipped : int, default=0
        Number of tokens at the beginning, a prompt's, that pooling leaves out.
    """

    def __init__(
        self,
        transformer: Any,
        poolings: Sequence[str],
        layers: Sequence[nn.Module],
        masked: bool = True,
        skipped: int = 0,
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.poolings = tuple(poolings)
        self.layers = nn.Sequential(*layers)
        self.masked = masked
        self.skipped = skipped

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Vectors of a batch of token ids."""
        tensors = {"input_ids": input_ids}
        if self.masked:
            tensors["attention_mask"] = attention_mask
        if self.poolings == ("projected",):
            return self.layers(_projected(self.transformer, "text", **tensors))
        states = self.transformer(**tensors).last_hidden_state
        if self.skipped:
            kept = attention_mask.cumsum(dim=1) > self.skipped
            attention_mask = attention_mask * kept
        pooled = [POOLINGS[name](states, attention_mask) for name in self.poolings]
        return self.layers(torch.cat(pooled, dim=-1))


class PictureNetwork(nn.Module):
    """A backbone of transformers and the choice of its output.

    Parameters
    ----------
    backbone : torch.nn.Module
        Takes pixel values, gives an output of transformers.
    pooling : {"projected", "pooler", "cls", "mean"}
        What is taken of that output.
    """

    def __init__(self, backbone: Any, pooling: str) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Vectors of a batch of pictures."""
        if self.pooling == "projected":
            return _projected(self.backbone, "image", pixel_values=pixel_values)
        output = self.backbone(pixel_values=pixel_values)
        if self.pooling == "pooler":
            return output.pooler_output.flatten(1)
        states = output.last_hidden_state
        if states.ndim == 4:
            return states.mean(dim=(2, 3))
        if self.pooling == "cls":
            return states[:, 0]
        extra = count_extra_tokens(self.backbone, states, pixel_values)
        return states[:, extra:].mean(dim=1)


class FeatureMapNetwork(nn.Module):
    """The last feature map of a convolutional network, averaged over positions.

    Parameters
    ----------
    backbone : torch.nn.Module
        Has `extract_features`, from pixel values to a map of shape (n, d, h, w).
    """

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Vectors of a batch of pictures."""
        return self.backbone.extract_features(pixel_values).mean(dim=(2, 3))


class NodeNetwork(nn.Module):
    """The activations of one node of a traced network.

    Parameters
    ----------
    extractor : torch.nn.Module
        Gives a dict of one tensor.
    """

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        self.extractor = extractor

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Vectors of a batch of pictures, maps and tokens averaged."""
        (activations,) = self.extractor(pixel_values).values()
        if activations.ndim == 4:
            return activations.mean(dim=(2, 3))
        return activations.mean(dim=1) if activations.ndim == 3 else activations


class Normalize(nn.Module):
    """Unit rows, as the last module of a sentence-transformers folder."""

    def forward(self, vectors: Tensor) -> Tensor:
        """The same directions, of length 1."""
        return nn.functional.normalize(vectors, p=2, dim=-1)


def count_extra_tokens(backbone: Any, states: Tensor, pixel_values: Tensor) -> int:
    """Number of tokens before the patches: a class token, registers, or none."""
    config = backbone.config
    config = getattr(config, "vision_config", config)
    patch = getattr(config, "patch_size", None)
    if patch is None:
        return 0
    height, width = (patch, patch) if isinstance(patch, int) else tuple(patch)
    patches = (pixel_values.shape[-2] // height) * (pixel_values.shape[-1] // width)
    # Networks that merge patches as they go (Swin) have fewer tokens than patches.
    return max(int(states.shape[1]) - patches, 0)


def _projected(tower: Any, kind: str, **tensors: Tensor) -> Tensor:
    """A tower's embedding in the space it shares with the other tower."""
    method = getattr(tower, f"get_{kind}_features", None)
    output = tower(**tensors) if method is None else method(**tensors)
    if torch.is_tensor(output):
        return output
    embeddings = getattr(output, f"{kind}_embeds", None)
    return output.pooler_output if embeddings is None else embeddings


class Dense(nn.Module):
    """A linear layer and an activation, as sentence-transformers has after pooling.

    Parameters
    ----------
    in_features, out_features : int
        Dimensions before and after.
    bias : bool
        Whether the linear layer has one.
    activation : torch.nn.Module
        Applied to the linear layer's output.
    residual : bool
        Whether the input, projected where dimensions differ, is added.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool,
        activation: nn.Module,
        residual: bool,
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features, bias=bias)
        self.activation = activation
        self.adds_input = residual
        if residual and in_features != out_features:
            self.residual: nn.Module = nn.Linear(in_features, out_features, bias=False)
        else:
            self.residual = nn.Identity()

    def forward(self, vectors: Tensor) -> Tensor:
        """The transformed vectors."""
        output = self.activation(self.linear(vectors))
        return output + self.residual(vectors) if self.adds_input else output
