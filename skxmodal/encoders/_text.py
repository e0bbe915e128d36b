"""Texts to vectors by a transformer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions

from skxmodal._content import content_keys
from skxmodal._progress import Progress
from skxmodal._warnings import warn_user
from skxmodal.encoders._backends import BACKENDS
from skxmodal.encoders._base import BaseEncoder
from skxmodal.encoders._checkpoints import digest, find_model
from skxmodal.encoders._devices import DTYPES, resolve_device
from skxmodal.encoders._items import as_texts
from skxmodal.encoders._packaged import TEXT_MODELS
from skxmodal.encoders._text_model import TextModel, load_text_model, load_tokenizer
from skxmodal.encoders._threads import in_threads


class TextEncoder(BaseEncoder):
    """Encode texts with a frozen transformer.

    A folder of sentence-transformers is read as that package reads it: its pooling,
    its layers after pooling, its maximum length and its default prompt. A plain
    checkpoint such as BERT is pooled by the mean of its tokens, as in [1]_; the text
    tower of CLIP gives its projected text embedding.

    Parameters
    ----------
    model : str or path, default="all-MiniLM-L6-v2"
        The packaged model of that name, a local folder, or an id on the Hugging Face
        hub.
    pooling : {"auto", "mean", "cls", "max"}, default="auto"
        How the vectors of a text's tokens become one: their mean, the first token's,
        or the maximum of each feature. "auto" follows the checkpoint, and takes the
        mean where it says nothing.
    revision : str, default=None
        Branch, tag or commit of a model on the hub, and of none else. By default its
        main branch.
    max_length : int, default=None
        Number of tokens of a text that are read, special ones included. By default
        what the checkpoint says. Texts that are cut are counted in a warning,
        by each call that gives their vectors.
    prompt : str, default=None
        Put before each text, such as ``"query: "``. By default the checkpoint's
        default prompt, of which most have none.
    normalize : bool, default=True
        Whether to scale rows to unit length. Where False, rows are what the model
        gives, which may be unit rows too.
    batch_size : int, default=32
        Number of texts encoded together.
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
    dtype : {"float32", "bfloat16", "float16", "int8"}, default="float32"
        Precision of weights and activations. The vectors are float32 always. "onnx"
        has float32 and int8, weights of 8 bits, which is faster and changes vectors:
        MiniLM's on 5,000 captions have a mean cosine of 0.993 with float32's, at the
        lowest 0.984, at an R@10 of 0.188 for 0.187 over 1,000 pictures of Flickr8k.
        "openvino" has float32 and bfloat16; "torch" has all but int8.
    cache : bool, path or EmbeddingCache, default=None
        Where vectors are kept between calls, by content and by everything that changes
        them. None and True take the default folder, False none.
    show_progress : bool, default=False
        Whether to show a progress bar.
    trust_remote_code : bool, default=False
        Whether Python code that comes with the checkpoint may run.

    See Also
    --------
    ImageEncoder : Encode pictures with a frozen network.
    skxmodal.CrossModalRetriever : Find pictures by text with two encoders.

    Notes
    -----
    Nothing is loaded before the first text is encoded. Encoders with equal settings
    share one network in memory, and a pickle holds only the parameters.

    References
    ----------
    .. [1] Choi, Lee, Joe, Gwon, "Is Cross-modal Information Retrieval Possible without
       Training?", ECIR 2023, arXiv:2304.11095.

    Examples
    --------
    >>> from skxmodal.encoders import TextEncoder
    >>> encoder = TextEncoder("all-MiniLM-L6-v2", cache=False)
    >>> dog, puppy, car = encoder.transform(["a dog", "a puppy", "a fast car"])
    >>> bool(dog @ puppy > dog @ car)
    True
    """

    _parameter_constraints: dict[str, Any] = {
        "model": [str, os.PathLike],
        "pooling": [StrOptions({"auto", "mean", "cls", "max"})],
        "revision": [str, None],
        "max_length": [Interval(Integral, 1, None, closed="left"), None],
        "prompt": [str, None],
        "normalize": ["boolean"],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": "no_validation",
        "devices": [list, tuple, None],
        "backend": [StrOptions(set(BACKENDS))],
        "dtype": [StrOptions({*DTYPES, "int8"})],
        "cache": "no_validation",
        "show_progress": ["boolean"],
        "trust_remote_code": ["boolean"],
    }

    def __init__(
        self,
        model: str | os.PathLike[str] = "all-MiniLM-L6-v2",
        *,
        pooling: str = "auto",
        revision: str | None = None,
        max_length: int | None = None,
        prompt: str | None = None,
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
        self.max_length = max_length
        self.prompt = prompt
        self.normalize = normalize
        self.batch_size = batch_size
        self.device = device
        self.devices = devices
        self.backend = backend
        self.dtype = dtype
        self.cache = cache
        self.show_progress = show_progress
        self.trust_remote_code = trust_remote_code

    def _items(self, X: Any, start: int = 0) -> list[str]:
        return as_texts(X, start)

    def _keys(self, items: list[str], start: int = 0) -> list[bytes]:
        return content_keys(items, kind="text")

    def _folder(self) -> Path:
        return find_model(
            self.model, TEXT_MODELS, self.revision, self.trust_remote_code
        )

    def _settings(self) -> dict[str, Any]:
        return {
            "weights": digest(self._folder()),
            "pooling": self.pooling,
            "max_length": self.max_length,
            "prompt": self.prompt,
            "dtype": self.dtype,
        }

    def _load(self) -> TextModel:
        return load_text_model(
            self._folder(),
            pooling=self.pooling,
            max_length=self.max_length,
            prompt=self.prompt,
            dtype=self.dtype,
            device=resolve_device(self.device),
            trust_remote_code=self.trust_remote_code,
        )

    def _encode(
        self, model: TextModel, items: list[str], rows: list[int], bar: Progress
    ) -> tuple[NDArray[np.float32], list[int]]:
        ids, cut = model.tokenise(items)
        vectors = np.empty((len(items), model.dimension), dtype=np.float32)
        # Long texts beside long ones; the longest first, to run out of memory at once.
        by_length = np.argsort([-len(each) for each in ids], kind="stable")
        size = model.at_once(self.batch_size)
        batches = [by_length[i : i + size] for i in range(0, len(items), size)]

        def embed(batch: NDArray[np.intp]) -> NDArray[np.float32]:
            return model.embed(model.collate([ids[place] for place in batch]))

        # Torch has threads of its own, the other engines are called by several.
        results = (
            (embed(batch) for batch in batches)
            if model.run is None
            else in_threads(embed, batches)
        )
        with closing(results):
            for batch, embedded in zip(batches, results, strict=True):
                vectors[batch] = embedded
                bar.update(len(batch))
        return vectors, cut

    def _warn_of(self, rows: list[int], items: list[Any], start: int) -> None:
        # Vectors from the cache need no network, and so no weights are loaded here.
        _, n_tokens = load_tokenizer(
            self._folder(), self.max_length, self.prompt, self.trust_remote_code
        )
        warn_user(
            f"{len(rows)} of {len(items)} texts, row {start + rows[0]} the first, are "
            f"longer than the {n_tokens} tokens that the model reads and were cut. "
            "Shorten or split them, or raise max_length where the model can read more.",
            UserWarning,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        return tags
