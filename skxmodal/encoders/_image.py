"""Pictures to vectors by a network of transformers, or a packaged one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

from sklearn.utils._param_validation import Interval, StrOptions

from skxmodal.encoders._backends import BACKENDS
from skxmodal.encoders._checkpoints import digest, find_model, read_json
from skxmodal.encoders._devices import DTYPES, resolve_device
from skxmodal.encoders._image_model import (
    ImageModel,
    load_efficientnet_lite,
    load_image_model,
)
from skxmodal.encoders._packaged import LITE_SIZES, PICTURE_MODELS
from skxmodal.encoders._pictures import PictureEncoder


class ImageEncoder(PictureEncoder):
    """Encode pictures with a frozen network.

    Networks of transformers (ViT, DINOv2, CLIP's vision tower, ResNet, timm's through
    its wrapper) see pictures prepared by the checkpoint's own image processor. The
    packaged EfficientNet-Lite networks give the average of their last feature map.

    Parameters
    ----------
    model : str or path, default="efficientnet-lite0"
        A packaged model, "efficientnet-lite0" or "efficientnet-lite2", a local folder,
        or an id on the Hugging Face hub.
    pooling : {"auto", "cls", "mean", "pooler"}, default="auto"
        What is taken of the network's output: the class token, the mean over patches
        or positions, or the network's own pooled output. "auto" takes the image
        embedding that a two-tower model such as CLIP projects into its shared space,
        the class token where there is one, and the mean elsewhere. The packaged
        networks have the mean only.
    revision : str, default=None
        Branch, tag or commit of a model on the hub, and of none else. By default its
        main branch.
    on_error : {"raise", "nan"}, default="raise"
        What to do with a picture that can't be read: raise an error that names its row
        and path, or keep its row as NaN and warn with their count and paths.
    normalize : bool, default=True
        Whether to scale rows to unit length.
    batch_size : int, default=32
        Number of pictures encoded together.
    device : str, default=None
        Where to run: "cpu", "cuda", "cuda:1", "mps". By default the first GPU where
        there is one.
    devices : list of str, default=None
        Encode in one process for each of these devices, ``["cuda:0", "cuda:1"]`` or
        ``["cpu", "cpu"]``, instead of on ``device``. Scripts then need the guard
        ``if __name__ == "__main__":``.
    backend : {"torch", "onnx", "openvino"}, default="torch"
        What runs the network. "onnx" and "openvino" run on the CPU, faster than torch
        for most networks. The network is exported once, and its vectors are compared
        with torch's: in float32 a cosine below 0.9999 is an error.
    dtype : {"float32", "bfloat16", "float16"}, default="float32"
        Precision of weights and activations. The vectors are float32 always. "onnx"
        has float32 only, "openvino" float32 and bfloat16.
    cache : bool, path or EmbeddingCache, default=None
        Where vectors are kept between calls, by content and by everything that changes
        them. None and True take the default folder, False none.
    show_progress : bool, default=False
        Whether to show a progress bar.
    trust_remote_code : bool, default=False
        Whether Python code that comes with the checkpoint may run.

    See Also
    --------
    TorchvisionEncoder : Encode pictures with a layer of a network of torchvision.
    TextEncoder : Encode texts with a frozen transformer.

    Notes
    -----
    Pictures are paths, the bytes of a file, PIL images, uint8 arrays of shape (H, W),
    (H, W, 3) or (H, W, 4), or one array of shape (n, H, W, 3). Exif orientation is
    applied, transparency is laid over white, 16-bit grey is scaled to 8, and of an
    animation the first frame is taken.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.encoders import ImageEncoder
    >>> pictures = np.zeros((2, 64, 64, 3), dtype=np.uint8)
    >>> pictures[1, :, :32] = 255
    >>> ImageEncoder("efficientnet-lite0", cache=False).transform(pictures).shape
    (2, 1280)
    """

    _parameter_constraints: dict[str, Any] = {
        "model": [str, os.PathLike],
        "pooling": [StrOptions({"auto", "cls", "mean", "pooler"})],
        "revision": [str, None],
        "on_error": [StrOptions({"raise", "nan"})],
        "normalize": ["boolean"],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": "no_validation",
        "devices": [list, tuple, None],
        "backend": [StrOptions(set(BACKENDS))],
        "dtype": [StrOptions(set(DTYPES))],
        "cache": "no_validation",
        "show_progress": ["boolean"],
        "trust_remote_code": ["boolean"],
    }

    def __init__(
        self,
        model: str | os.PathLike[str] = "efficientnet-lite0",
        *,
        pooling: str = "auto",
        revision: str | None = None,
        on_error: str = "raise",
        normalize: bool = True,
        batch_size: int = 32,
        device: str | None = None,
        devices: Sequence[str] | None = None,
        backend: str = "torch",
        dtype: str = "float32",
        cache: Any = None,
        show_progress: bool = False,
        trust_remote_code: bool = False,
    ) -> None:
        self.model = model
        self.pooling = pooling
        self.revision = revision
        self.on_error = on_error
        self.normalize = normalize
        self.batch_size = batch_size
        self.device = device
        self.devices = devices
        self.backend = backend
        self.dtype = dtype
        self.cache = cache
        self.show_progress = show_progress
        self.trust_remote_code = trust_remote_code

    def _is_packaged(self) -> bool:
        return (
            self.model in PICTURE_MODELS and not Path(self.model).expanduser().is_dir()
        )

    def _path(self) -> Path:
        return find_model(
            self.model, PICTURE_MODELS, self.revision, self.trust_remote_code
        )

    def _settings(self) -> dict[str, Any]:
        return {
            "weights": digest(self._path()),
            "pooling": self.pooling,
            "dtype": self.dtype,
        }

    def _load(self) -> ImageModel:
        path, lite = self._path(), str(self.model)
        if not self._is_packaged():
            # A packaged network that was tuned and saved says so in its folder.
            lite = read_json(path / "config.json", {}).get("model_type", "")
            path = path / "model.safetensors" if lite in LITE_SIZES else path
        if lite not in LITE_SIZES:
            return load_image_model(
                path,
                pooling=self.pooling,
                dtype=self.dtype,
                device=resolve_device(self.device),
                trust_remote_code=self.trust_remote_code,
                finish=self._finish,
            )
        if self.pooling not in ("auto", "mean"):
            raise ValueError(
                f"pooling={self.pooling!r}, but {lite!r} is a convolutional "
                "network whose feature map is averaged. Pass 'auto' or 'mean'."
            )
        return load_efficientnet_lite(
            lite,
            path,
            dtype=self.dtype,
            device=resolve_device(self.device),
            finish=self._finish,
        )
