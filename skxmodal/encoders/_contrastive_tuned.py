"""Encoders with weights of their own in place of their checkpoint's."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Self
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from skxmodal.encoders._image import ImageEncoder
from skxmodal.encoders._text import TextEncoder
from skxmodal.encoders._torchvision import TorchvisionEncoder

# Name of the weights of a linear layer that tuning puts after a network's last.
ADDED_LAYER = "added.weight"


# Digests beside the weights they are of: not on the encoders, which may be saved.
_digests: WeakKeyDictionary[Any, tuple[dict[str, NDArray[Any]], str]] = (
    WeakKeyDictionary()
)


class _Tuned:
    """An encoder that has weights of its own, and keeps them when it is cloned."""

    tuned_weights_: dict[str, NDArray[Any]]

    # Mixed into an encoder, which has the methods that are extended.
    def __sklearn_clone__(self) -> Self:
        copy: Self = super().__sklearn_clone__()  # type: ignore[misc]
        copy.tuned_weights_ = self.tuned_weights_
        return copy

    def _settings(self) -> dict[str, Any]:
        weights, digest = _digests.get(self, (None, ""))
        if weights is not self.tuned_weights_:
            digest = digest_of(self.tuned_weights_)
            _digests[self] = (self.tuned_weights_, digest)
        settings = super()._settings()  # type: ignore[misc]
        return {**settings, "tuned": digest}


class _TunedPictures(_Tuned):
    """Batch norms are folded, except to tune further."""

    folds_ = True

    def _finish(self, network: Any) -> bool:
        put_weights(network, self.tuned_weights_)
        return self.folds_


class TunedTextEncoder(_Tuned, TextEncoder):
    """`TextEncoder` with tuned weights.

    Attributes
    ----------
    tuned_weights_ : dict of str to ndarray
        By their names in the network.
    """

    def _load(self) -> Any:
        model = super()._load()
        put_weights(model.network, self.tuned_weights_)
        return model


class TunedImageEncoder(_TunedPictures, ImageEncoder):
    """`ImageEncoder` with tuned weights.

    Attributes
    ----------
    tuned_weights_ : dict of str to ndarray
        By their names in the network.
    folds_ : bool
        Whether batch norms are folded, as they are except to tune further.
    """


class TunedTorchvisionEncoder(_TunedPictures, TorchvisionEncoder):
    """`TorchvisionEncoder` with tuned weights.

    Attributes
    ----------
    tuned_weights_ : dict of str to ndarray
        By their names in the network.
    folds_ : bool
        Whether batch norms are folded, as they are except to tune further.
    """


TUNED = {
    TextEncoder: TunedTextEncoder,
    ImageEncoder: TunedImageEncoder,
    TorchvisionEncoder: TunedTorchvisionEncoder,
}


def with_weights(
    encoder: Any, weights: dict[str, NDArray[Any]], *, folds: bool = True
) -> Any:
    """A copy of an encoder whose network has these weights."""
    kind: Any = TUNED.get(type(encoder), type(encoder))
    copy = kind(**encoder.get_params(deep=False))
    # One tuned before goes on from there.
    copy.tuned_weights_ = {**getattr(encoder, "tuned_weights_", {}), **weights}
    if not folds:
        copy.folds_ = False
    return copy


def put_weights(network: Any, weights: dict[str, NDArray[Any]]) -> None:
    """Put weights into a network, in its own precision.

    Parameters
    ----------
    network : torch.nn.Module
    weights : dict of str to ndarray
        By their names in the network; that of an added layer puts one in.
    """
    import torch

    if ADDED_LAYER in weights:
        add_layer(network, len(weights[ADDED_LAYER]))
    named = dict(network.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            own = added_name(network) if name == ADDED_LAYER else name
            named[own].copy_(torch.as_tensor(weight))


def add_layer(network: Any, dimension: int) -> None:
    """Put a linear layer, at first the identity, at the end of a text network.

    It goes before a last normalisation, so that vectors stay of unit length.
    """
    import torch

    from skxmodal.encoders._networks import Dense

    layer = Dense(dimension, dimension, False, torch.nn.Identity(), residual=False)
    like = next(network.parameters())
    with torch.no_grad():
        layer.linear.weight.copy_(torch.eye(dimension))
    layer.to(like.device, like.dtype).requires_grad_(False).eval()
    network.layers.insert(end_of(network), layer)


def end_of(network: Any) -> int:
    """Number of layers after pooling, without a last normalisation."""
    from skxmodal.encoders._networks import Normalize

    n_layers = len(network.layers)
    return n_layers - bool(n_layers and isinstance(network.layers[-1], Normalize))


def added_name(network: Any) -> str:
    """Name in a network of the weights of the layer that was added."""
    return f"layers.{end_of(network) - 1}.linear.weight"


def digest_of(weights: dict[str, NDArray[Any]]) -> str:
    """Digest of named weights."""
    code = blake2b(digest_size=20)
    for name in sorted(weights):
        weight = np.ascontiguousarray(weights[name])
        code.update(f"{name} {weight.dtype.str} {weight.shape} ".encode())
        code.update(weight.data.cast("B"))
    return code.hexdigest()
