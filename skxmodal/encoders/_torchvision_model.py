"""A network of torchvision, its weights and the node whose activations are wanted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skxmodal._torchvision import import_torchvision
from skxmodal.encoders._checkpoints import load_weights
from skxmodal.encoders._image_model import Finish, ImageModel, build_image_model

if TYPE_CHECKING:
    from PIL.Image import Image

# Random weights are asked for by name where the default is to warn of it.
_DRAWN = {"googlenet": {"init_weights": True}, "inception_v3": {"init_weights": True}}
# What the builders of these two add where they are given published weights.
_AS_PUBLISHED = {
    name: {"init_weights": False, "transform_input": True} for name in _DRAWN
}


def find_weights(model: str, weights: str | None) -> Any:
    """The published weights of a name, as torchvision lists them.

    Parameters
    ----------
    model : str
        Name of a network of torchvision that classifies pictures.
    weights : str or None
        "DEFAULT", or another of the network's names, such as "IMAGENET1K_V1". Anything
        else names none.

    Returns
    -------
    weights : torchvision.models.WeightsEnum or None
        The member, or None where there is none of that name.

    Raises
    ------
    ValueError
        If torchvision has no such network.
    """
    models = import_torchvision(purpose="TorchvisionEncoder").models
    known = models.list_models(module=models)
    if model not in known:
        raise ValueError(
            f"model={model!r} is no network of torchvision.models. Choose one of "
            f"{', '.join(known)}."
        )
    return getattr(models.get_model_weights(model), "__members__", {}).get(weights)


def load_torchvision_model(
    model: str,
    weights: Any,
    *,
    layer: str,
    seed: int | None,
    dtype: str,
    device: str,
    finish: Finish | None = None,
) -> ImageModel:
    """Load a network of torchvision up to one of its nodes.

    Parameters
    ----------
    model : str
        Name of the network.
    weights : torchvision.models.WeightsEnum, pathlib.Path or None
        Published weights, a file of a state dict, or random ones.
    layer : str
        "penultimate", or a node's name.
    seed : int or None
        Seeds random weights.
    dtype : str
        Name of torch's type to run in.
    device : str
        Where to run.
    finish : callable, default=None
        See :func:`build_image_model`.

    Returns
    -------
    model : ImageModel
        The network, ready to encode.
    """
    models = import_torchvision(purpose="TorchvisionEncoder").models
    from skxmodal.encoders._networks import NodeNetwork

    if weights is None:
        network = _build_random(models, model, int(seed or 0))
        published = models.get_model_weights(model).DEFAULT
    elif isinstance(weights, Path):
        state = load_weights(weights)
        network = _build_for(models, model, state)
        _load_state(network, state, weights)
        published = models.get_model_weights(model).DEFAULT
    else:
        _download(weights)
        network = _build(models, model, weights=weights)
        published = weights
    transforms = published.transforms()
    return build_image_model(
        NodeNetwork(_cut(network.eval(), layer)),
        lambda picture: _prepare(transforms, picture),
        dtype,
        device,
        model,
        finish,
    )


def _prepare(transforms: Any, picture: Image) -> NDArray[np.float32]:
    return np.asarray(transforms(picture), dtype=np.float32)


def _build(models: Any, model: str, **options: Any) -> Any:
    from skxmodal._training import own_generator

    # Building draws random weights; the caller's generator must not notice.
    with own_generator():
        return models.get_model_builder(model)(**options)


def _build_random(models: Any, model: str, seed: int) -> Any:
    from skxmodal._training import own_generator

    with own_generator(seed):
        return models.get_model_builder(model)(**_DRAWN.get(model, {}))


def _build_for(models: Any, model: str, state: dict[str, Any]) -> Any:
    """A network of as many classes as the weights have, whose training chose them."""
    options: dict[str, Any] = _AS_PUBLISHED.get(model, {})
    network = _build(models, model, **options)
    head = [name for name in network.state_dict() if name.endswith("weight")][-1]
    if head not in state or len(state[head]) == len(network.state_dict()[head]):
        return network
    return _build(models, model, num_classes=len(state[head]), **options)


def _load_state(network: Any, state: dict[str, Any], file: Path) -> None:
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise OSError(
            f"The weights in {str(file)!r} don't fit the network "
            f"{type(network).__name__}. Pass the state dict of the same network. "
            f"({str(error).splitlines()[-1].strip()})"
        ) from error


def _download(weights: Any) -> None:
    """Fetch published weights, and refuse a file that holds more than tensors.

    The network's own builder then reads the same file, without that check.
    """
    try:
        weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except OSError as error:
        raise OSError(
            f"The weights {weights} can't be downloaded from {weights.url} "
            f"({type(error).__name__}: {error}). Connect to the network, or download "
            "that file elsewhere and pass its path: weights='FILE.pth'."
        ) from error


def _cut(network: Any, layer: str) -> Any:
    """The network up to a node, traced."""
    from torchvision.models.feature_extraction import (
        create_feature_extractor,
        get_graph_node_names,
    )

    if layer == "penultimate":
        layer = find_penultimate(network)
    try:
        return create_feature_extractor(
            network, return_nodes=[layer], suppress_diff_warning=True
        )
    except ValueError as error:
        _, nodes = get_graph_node_names(network, suppress_diff_warning=True)
        raise ValueError(
            f"layer={layer!r} is no node of {type(network).__name__}. Choose "
            f"'penultimate' or one of {', '.join(nodes)}."
        ) from error


def find_penultimate(network: Any) -> str:
    """Name of the node that the classification layer reads.

    Parameters
    ----------
    network : torch.nn.Module
        A network in evaluation mode whose last linear or convolutional layer gives
        the classes.

    Returns
    -------
    node : str
        The node's name, for feature extraction.
    """
    from torch import nn
    from torchvision.models.feature_extraction import NodePathTracer

    tracer = NodePathTracer()
    layers = [
        node
        for node in tracer.trace(network).nodes
        if node.op == "call_module"
        and isinstance(network.get_submodule(node.target), nn.Linear | nn.Conv2d)
    ]
    return str(tracer.node_to_qualname[layers[-1].args[0]])
