"""Pictures to vectors by a layer of a network of torchvision."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

from sklearn.utils._param_validation import Interval, StrOptions

from skxmodal.encoders._backends import BACKENDS
from skxmodal.encoders._checkpoints import digest
from skxmodal.encoders._devices import DTYPES, resolve_device
from skxmodal.encoders._image_model import ImageModel
from skxmodal.encoders._pictures import PictureEncoder
from skxmodal.encoders._torchvision_model import find_weights, load_torchvision_model


class TorchvisionEncoder(PictureEncoder):
    """Encode pictures with the activations of a layer of a frozen network.

    By default the penultimate layer's, the input of the classification layer: the
    paper's own choice [1]_. Pictures are prepared by the weights' own transforms.

    Parameters
    ----------
    model : str, default="resnet50"
        Name of a network of torchvision that classifies pictures.
    weights : str, path or None, default="DEFAULT"
        "DEFAULT" takes torchvision's best published weights, another of their names,
        such as "IMAGENET1K_V1", those. A path takes a file of a state dict, saved by
        ``torch.save`` or as safetensors, of any number of classes. None takes random
        weights. Published weights are downloaded once.
    layer : str, default="penultimate"
        "penultimate", or the name of a node as
        ``torchvision.models.feature_extraction.get_graph_node_names`` lists them. Maps
        and tokens are averaged over positions.
    random_state : int, default=None
        Seeds random weights, and must be given with ``weights=None``.
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

    See Also
    --------
    ImageEncoder : Encode pictures with a network of transformers or a packaged one.

    References
    ----------
    .. [1] Choi, Lee, Joe, Gwon, "Is Cross-modal Information Retrieval Possible without
       Training?", ECIR 2023, arXiv:2304.11095.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.encoders import TorchvisionEncoder
    >>> encoder = TorchvisionEncoder(
    ...     "resnet18", weights=None, random_state=0, cache=False
    ... )
    >>> encoder.transform(np.zeros((2, 64, 64, 3), dtype=np.uint8)).shape
    (2, 512)
    """

    _parameter_constraints: dict[str, Any] = {
        "model": [str],
        "weights": [str, os.PathLike, None],
        "layer": [str],
        "random_state": [Interval(Integral, 0, 2**32 - 1, closed="both"), None],
        "on_error": [StrOptions({"raise", "nan"})],
        "normalize": ["boolean"],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": "no_validation",
        "devices": [list, tuple, None],
        "backend": [StrOptions(set(BACKENDS))],
        "dtype": [StrOptions(set(DTYPES))],
        "cache": "no_validation",
        "show_progress": ["boolean"],
    }

    def __init__(
        self,
        model: str = "resnet50",
        *,
        weights: str | os.PathLike[str] | None = "DEFAULT",
        layer: str = "penultimate",
        random_state: int | None = None,
        on_error: str = "raise",
        normalize: bool = True,
        batch_size: int = 32,
        device: str | None = None,
        devices: Sequence[str] | None = None,
        backend: str = "torch",
        dtype: str = "float32",
        cache: Any = None,
        show_progress: bool = False,
    ) -> None:
        self.model = model
        self.weights = weights
        self.layer = layer
        self.random_state = random_state
        self.on_error = on_error
        self.normalize = normalize
        self.batch_size = batch_size
        self.device = device
        self.devices = devices
        self.backend = backend
        self.dtype = dtype
        self.cache = cache
        self.show_progress = show_progress

    def _source(self) -> Any:
        """Published weights, the path of a file, or None for random ones."""
        name = self.weights if isinstance(self.weights, str) else None
        published = find_weights(self.model, name)
        if self.weights is None:
            if self.random_state is None:
                raise ValueError(
                    "weights=None takes random weights, which need a seed to be the "
                    "same again: pass random_state=0, or weights='DEFAULT'."
                )
            return None
        if published is not None:
            return published
        path = Path(self.weights).expanduser()
        if not path.is_file():
            raise FileNotFoundError(
                f"weights={os.fspath(self.weights)!r} is neither a file nor a name of "
                f"published weights of {self.model!r}. Pass 'DEFAULT', None or the "
                "path of a state dict."
            )
        return path

    def _settings(self) -> dict[str, Any]:
        source = self._source()
        return {
            "model": self.model,
            "weights": digest(source) if isinstance(source, Path) else str(source),
            "seed": self.random_state if self.weights is None else None,
            "layer": self.layer,
            "dtype": self.dtype,
        }

    def _load(self) -> ImageModel:
        return load_torchvision_model(
            self.model,
            self._source(),
            layer=self.layer,
            seed=self.random_state if self.weights is None else None,
            dtype=self.dtype,
            device=resolve_device(self.device),
            finish=self._finish,
        )
