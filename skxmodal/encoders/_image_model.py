"""A picture network with its preprocessing, loaded from a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from skxmodal._torchvision import import_transformers
from skxmodal.encoders._checkpoints import (
    is_projected,
    load_tower,
    load_weights,
    quiet,
    read_json,
)
from skxmodal.encoders._examples import free_axes_of, noise, picture_batches
from skxmodal.encoders._packaged import LITE_SIZES, build_efficientnet_lite
from skxmodal.encoders._sentence_transformers import find_tower

if TYPE_CHECKING:
    from PIL.Image import Image

Finish: TypeAlias = Callable[[Any], bool]

# Larger batches are slower there, the feature maps being in memory.
PICTURES_ON_CPU = 2
# Trained with their pooler, so that it is the embedding.
POOLED_BY_THEMSELVES = {
    "clip_vision_model",
    "siglip_vision_model",
    "siglip2_vision_model",
    "timm_wrapper",
}
# EfficientNet-Lite sees the middle of a picture, this much smaller than its side.
LITE_MARGIN = 32


@dataclass(eq=False)
class ImageModel:
    """A picture network in memory.

    Attributes
    ----------
    network : torch.nn.Module
        From pixel values to vectors.
    prepare : callable
        From an RGB image to an array (3, H, W) of float32.
    dimension : int
        Length of a vector.
    device : str
        Where the network is.
    dtype : str
        Name of the type that it runs in.
    run : callable or None
        Another engine's, from a batch to its vectors, used in place of the network.
    """

    network: Any
    prepare: Callable[[Image], NDArray[np.float32]]
    dimension: int
    device: str
    dtype: str
    run: Callable[[Mapping[str, NDArray[Any]]], NDArray[np.float32]] | None = None

    def embed(self, pixel_values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors of a batch of prepared pictures, (n, 3, H, W)."""
        import torch

        if self.run is not None:
            return self.run({"pixel_values": pixel_values})
        with torch.inference_mode():
            moved = torch.from_numpy(pixel_values).to(
                self.device,
                getattr(torch, self.dtype),
                memory_format=torch.channels_last,
            )
            return self.network(pixel_values=moved).float().cpu().numpy()

    def at_once(self, batch_size: int) -> int:
        """Number of pictures to embed together: on the CPU, what its caches hold."""
        return batch_size if self.device != "cpu" else min(batch_size, PICTURES_ON_CPU)

    def examples(self) -> list[dict[str, NDArray[Any]]]:
        """Batches of different sizes, to export the network with and compare on."""
        return picture_batches(self.prepare)

    @property
    def free_axes(self) -> dict[str, tuple[int, ...]]:
        """Axes of the input that are of any length."""
        return free_axes_of(self.examples())


def load_image_model(
    path: Path,
    *,
    pooling: str,
    dtype: str,
    device: str,
    trust_remote_code: bool,
    finish: Finish | None = None,
) -> ImageModel:
    """Load a picture network of transformers from a checkpoint's folder.

    Parameters
    ----------
    path : pathlib.Path
        The folder.
    pooling : {"auto", "cls", "mean", "pooler"}
        What is taken of the network's output.
    dtype : str
        Name of torch's type to run in.
    device : str
        Where to run.
    trust_remote_code : bool
        Whether the checkpoint's own Python code may run.
    finish : callable, default=None
        See :func:`build_image_model`.

    Returns
    -------
    model : ImageModel
        The network, ready to encode.
    """
    transformers = import_transformers(purpose="ImageEncoder")
    from skxmodal.encoders._networks import PictureNetwork

    path = find_tower(path)
    config = read_json(path / "config.json")
    if config is None:
        raise OSError(
            f"{str(path)!r} is no checkpoint: it holds no config.json. Pass a folder "
            "saved by transformers."
        )
    try:
        with quiet():
            processor = transformers.AutoImageProcessor.from_pretrained(
                str(path), trust_remote_code=trust_remote_code, local_files_only=True
            )
    except (OSError, ValueError) as error:
        raise OSError(
            f"The checkpoint in {str(path)!r} has no image processor "
            "(preprocessor_config.json), so how its pictures are prepared isn't known. "
            "Save the model's own into the folder: processor.save_pretrained(folder)."
        ) from error
    kind = config.get("model_type", "")
    backbone = load_tower(
        path,
        config,
        "image",
        projected=pooling == "auto",
        trust_remote_code=trust_remote_code,
        # A pooler the checkpoint lacks would be random: it is only used when whole.
        may_lack=() if pooling == "pooler" else ("pooler.",),
    )
    pooling = _choose_pooling(backbone, kind, pooling, _example(processor))
    network = PictureNetwork(backbone, pooling)
    return build_image_model(
        network,
        lambda picture: _process(processor, picture),
        dtype,
        device,
        path,
        finish,
    )


def load_efficientnet_lite(
    name: str,
    weights: Path,
    *,
    dtype: str,
    device: str,
    finish: Finish | None = None,
) -> ImageModel:
    """Load an EfficientNet-Lite from a file of its weights.

    Parameters
    ----------
    name : {"efficientnet-lite0", "efficientnet-lite2"}
        Which of them.
    weights : pathlib.Path
        The file.
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
    from skxmodal.encoders._networks import FeatureMapNetwork

    backbone = build_efficientnet_lite(name)
    backbone.load_state_dict(load_weights(weights), strict=True)
    size = LITE_SIZES[name]
    return build_image_model(
        FeatureMapNetwork(backbone),
        lambda picture: prepare_for_lite(picture, size),
        dtype,
        device,
        weights,
        finish,
    )


def build_image_model(
    network: Any,
    prepare: Callable[[Image], NDArray[np.float32]],
    dtype: str,
    device: str,
    source: Path | str,
    finish: Finish | None = None,
) -> ImageModel:
    """Put a network where it runs and find out the length of its vectors.

    Parameters
    ----------
    network : torch.nn.Module
        From pixel values to vectors.
    prepare : callable
        From an RGB image to an array (3, H, W) of float32.
    dtype : str
        Name of torch's type to run in.
    device : str
        Where to run.
    source : path or str
        Where the network comes from, named in errors.
    finish : callable, default=None
        Given the network as its checkpoint has it, may change its weights, and says
        whether to fold its batch norms.

    Returns
    -------
    model : ImageModel
        The network, ready to encode.
    """
    import torch

    from skxmodal.encoders._fold import fold_batch_norms

    network.eval().requires_grad_(False)
    example = prepare(noise())[None]
    if finish is None or finish(network):
        fold_batch_norms(network, torch.from_numpy(example))
    network.to(device, getattr(torch, dtype), memory_format=torch.channels_last)
    model = ImageModel(network, prepare, dimension=0, device=device, dtype=dtype)
    vectors = model.embed(example)
    if vectors.ndim != 2:
        raise ValueError(
            f"The network of {str(source)!r} gives an output of shape "
            f"{vectors.shape} for one picture, not one vector. Choose another pooling "
            "or layer."
        )
    tolerance = 0.1 * np.abs(vectors).max(initial=0)
    again = model.embed(example)
    if not np.allclose(vectors, again, rtol=0, atol=tolerance, equal_nan=True):
        raise ValueError(
            f"The network of {str(source)!r} gives another vector each time for one "
            "picture, as a masked autoencoder does, which hides parts of it at random. "
            'Set what is random to nothing in its config.json ("mask_ratio": 0.0), or '
            "choose another model."
        )
    model.dimension = vectors.shape[1]
    return model


def prepare_for_lite(picture: Image, size: int) -> NDArray[np.float32]:
    """Prepare a picture as EfficientNet-Lite was trained and evaluated on.

    Parameters
    ----------
    picture : PIL.Image.Image
        An RGB image.
    size : int
        Side of the square that the network reads, in pixels.

    Returns
    -------
    pixel_values : ndarray of shape (3, size, size) of float32
        The middle of the picture, values (x - 127) / 128.
    """
    from PIL import Image

    width, height = picture.size
    side = max(int(size / (size + LITE_MARGIN) * min(width, height)), 1)
    left, top = (width - side + 1) // 2, (height - side + 1) // 2
    middle = picture.resize(
        (size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side)
    )
    # Planes are made while values are bytes, a quarter of the memory to move.
    planes = np.ascontiguousarray(np.asarray(middle).transpose(2, 0, 1))
    values = planes.astype(np.float32)
    values -= 127
    values /= 128
    return values


def _process(processor: Any, picture: Image) -> NDArray[np.float32]:
    processed = processor(images=picture, return_tensors="pt")
    return np.asarray(processed["pixel_values"][0], dtype=np.float32)


def _example(processor: Any) -> Any:
    import torch
    from PIL import Image

    return torch.from_numpy(_process(processor, Image.new("RGB", (64, 48)))[None])


def _choose_pooling(backbone: Any, kind: str, pooling: str, pixel_values: Any) -> str:
    """The pooling asked for, or the one that the network was trained to be known by."""
    import torch

    from skxmodal.encoders._networks import count_extra_tokens

    if pooling == "auto" and is_projected(backbone, "image"):
        return "projected"
    if pooling == "auto" and kind in POOLED_BY_THEMSELVES:
        return "pooler"
    with torch.inference_mode():
        output = backbone(pixel_values=pixel_values)
    states = output.last_hidden_state
    has_class = states.ndim == 3 and bool(
        count_extra_tokens(backbone, states, pixel_values)
    )
    if pooling == "auto":
        return "cls" if has_class else "mean"
    lacking = {
        "cls": "no class token" if not has_class else "",
        "pooler": "no pooled output" if output.get("pooler_output") is None else "",
    }
    if lacking.get(pooling):
        raise ValueError(
            f"pooling={pooling!r}, but {type(backbone).__name__} has "
            f"{lacking[pooling]}. Pass 'auto' or 'mean'."
        )
    return pooling
