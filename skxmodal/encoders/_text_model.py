"""A text network with its tokeniser, loaded from a checkpoint's folder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxmodal._torchvision import import_transformers
from skxmodal.encoders._checkpoints import (
    is_projected,
    load_tower,
    quiet,
    read_json,
)
from skxmodal.encoders._sentence_transformers import read_folder

# Trained on texts padded to the full length.
PADDED_IN_FULL = {"siglip", "siglip_text_model", "siglip2", "siglip2_text_model"}
# Position embeddings of these begin after the padding token's.
POSITIONS_AFTER_PADDING = {
    "camembert",
    "longformer",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}
_NO_LIMIT = 10**9
TEXTS_A_THREAD = 16


@dataclass(eq=False)
class TextModel:
    """A text network in memory.

    Attributes
    ----------
    network : TextNetwork
        From token ids and a mask to vectors.
    tokenizer : transformers.PreTrainedTokenizerBase
        From texts to token ids.
    max_length : int
        Tokens of a text that are read, special ones included.
    dimension : int
        Length of a vector.
    device : str
        Where the network is.
    prompt : str
        Put before each text.
    lower_case : bool
        Whether texts are lowered first.
    pad_in_full : bool
        Whether every text is padded to `max_length`.
    run : callable or None
        Another engine's, from a batch to its vectors, used in place of the network.
    """

    network: Any
    tokenizer: Any
    max_length: int
    dimension: int
    device: str
    prompt: str = ""
    lower_case: bool = False
    pad_in_full: bool = False
    run: Callable[[Mapping[str, NDArray[Any]]], NDArray[np.float32]] | None = None
    lock: Any = field(default_factory=threading.Lock)

    def tokenise(self, texts: list[str]) -> tuple[list[list[int]], list[int]]:
        """Token ids of each text, and which texts were cut."""
        texts = [self.prompt + _encodable(text) for text in texts]
        if self.lower_case:
            texts = [text.lower() for text in texts]
        # A fast tokeniser holds its truncation as state, and isn't made for threads.
        with self.lock:
            ids = self._ids(texts, {"truncation": False})
            cut = [row for row, each in enumerate(ids) if len(each) > self.max_length]
            if cut:
                limit = {"truncation": True, "max_length": self.max_length}
                shorter = self._ids([texts[row] for row in cut], limit)
                for row, each in zip(cut, shorter, strict=True):
                    ids[row] = each
        return ids, cut

    def collate(self, ids: list[list[int]]) -> dict[str, NDArray[np.int64]]:
        """Padded token ids and their mask."""
        longest = self.max_length if self.pad_in_full else max(map(len, ids), default=1)
        padding = self.tokenizer.pad_token_id
        shape = (len(ids), max(longest, 1))
        tokens = np.full(shape, padding or 0, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        for row, each in enumerate(ids):
            tokens[row, : len(each)] = each
            mask[row, : len(each)] = 1
        return {"input_ids": tokens, "attention_mask": mask}

    def embed(self, tensors: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Vectors of a batch from `collate`."""
        import torch

        if self.run is not None:
            return self.run(tensors)
        with torch.inference_mode():
            moved = {
                name: torch.from_numpy(values).to(self.device)
                for name, values in tensors.items()
            }
            return self.network(**moved).float().cpu().numpy()

    def at_once(self, batch_size: int) -> int:
        """Number of texts to embed together: fewer where threads take batches each."""
        return batch_size if self.run is None else min(batch_size, TEXTS_A_THREAD)

    def examples(self) -> list[dict[str, NDArray[np.int64]]]:
        """Batches of different sizes, to export the network with and compare on."""
        longest = " ".join(["longest"] * self.max_length)
        batches = (["one", "a text of some more words"], ["alone"], [longest, "", "x"])
        return [self.collate(self.tokenise(list(texts))[0]) for texts in batches]

    @property
    def free_axes(self) -> dict[str, tuple[int, ...]]:
        """Axes of the inputs that are of any length."""
        return {"input_ids": (0, 1), "attention_mask": (0, 1)}

    def _ids(self, texts: list[str], options: dict[str, Any]) -> list[list[int]]:
        encoded = self.tokenizer(
            texts,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
            **options,
        )
        return list(encoded["input_ids"])


def load_text_model(
    folder: Path,
    *,
    pooling: str,
    max_length: int | None,
    prompt: str | None,
    dtype: str,
    device: str,
    trust_remote_code: bool,
) -> TextModel:
    """Load a text network from a checkpoint's folder.

    Parameters
    ----------
    folder : pathlib.Path
        A folder of transformers or of sentence-transformers.
    pooling : {"auto", "mean", "cls", "max"}
        How tokens become one vector; "auto" follows the folder.
    max_length : int or None
        Tokens of a text that are read; None follows the folder.
    prompt : str or None
        Put before each text; None follows the folder.
    dtype : str
        Name of torch's type to run in.
    device : str
        Where to run.
    trust_remote_code : bool
        Whether the checkpoint's own Python code may run.

    Returns
    -------
    model : TextModel
        The network, ready to encode.
    """
    import torch

    from skxmodal.encoders._networks import TextNetwork

    parts = read_folder(folder)
    config = read_json(parts.transformer / "config.json", {})
    kind = config.get("model_type", "")
    tokenizer, n_tokens = load_tokenizer(folder, max_length, prompt, trust_remote_code)
    poolings = parts.poolings if pooling == "auto" else (pooling,)
    transformer = load_tower(
        parts.transformer,
        config,
        "text",
        projected=not poolings,
        trust_remote_code=trust_remote_code,
        # BERT's pooler is trained on another task and isn't used.
        may_lack=("pooler.",),
    )
    # Of an encoder and a decoder (T5), texts need the first.
    if transformer.config.is_encoder_decoder:
        transformer = transformer.get_encoder()
    if not poolings:
        poolings = ("projected",) if is_projected(transformer, "text") else ("mean",)
    used_prompt = parts.prompt if prompt is None else prompt
    network = TextNetwork(
        transformer,
        poolings,
        parts.build_layers(),
        masked="attention_mask" in tokenizer.model_input_names,
        skipped=0
        if parts.pools_prompt or not used_prompt
        else _count_prompt_tokens(tokenizer, used_prompt),
    )
    network.eval().requires_grad_(False).to(device, getattr(torch, dtype))
    model = TextModel(
        network,
        tokenizer,
        max_length=n_tokens,
        dimension=0,
        device=device,
        prompt=used_prompt,
        lower_case=parts.lower_case,
        pad_in_full=kind in PADDED_IN_FULL,
    )
    model.dimension = model.embed(model.collate(model.tokenise(["a"])[0])).shape[1]
    return model


def load_tokenizer(
    folder: Path, max_length: int | None, prompt: str | None, trust_remote_code: bool
) -> tuple[Any, int]:
    """Load a checkpoint's tokeniser, and say how many tokens of a text are read.

    Parameters
    ----------
    folder : pathlib.Path
        A folder of transformers or of sentence-transformers.
    max_length : int or None
        Tokens of a text that are read; None follows the folder.
    prompt : str or None
        Put before each text; None follows the folder.
    trust_remote_code : bool
        Whether the checkpoint's own Python code may run.

    Returns
    -------
    tokenizer : transformers.PreTrainedTokenizerBase
        From texts to token ids.
    n_tokens : int
        Tokens of a text that are read, special ones and the prompt's included.

    Raises
    ------
    ValueError
        If `max_length` is more than the model reads, or leaves no room for a text.
    """
    transformers = import_transformers(purpose="TextEncoder")
    parts = read_folder(folder)
    options: dict[str, Any] = {
        "trust_remote_code": trust_remote_code,
        "local_files_only": True,
    }
    with quiet():
        path = str(parts.transformer)
        config = transformers.AutoConfig.from_pretrained(path, **options)
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(path, **options)
        except (ImportError, OSError, ValueError) as error:
            if any(hasattr(each, "vocab_size") for each in _parts_of(config)):
                raise
            raise OSError(
                f"{path!r} holds a {config.model_type!r} network and no tokeniser, so "
                "it reads no texts. Pass a model of texts, or encode pictures with "
                "ImageEncoder."
            ) from error
    limit = _limit(tokenizer, config)
    if max_length is None:
        return tokenizer, min(parts.max_length or limit, limit)
    if max_length > limit:
        raise ValueError(
            f"max_length={max_length}, but the model in {str(folder)!r} reads at most "
            f"{limit} tokens. Pass at most that."
        )
    n_taken = len(
        tokenizer([parts.prompt if prompt is None else prompt])["input_ids"][0]
    )
    if max_length <= n_taken:
        raise ValueError(
            f"max_length={max_length} leaves no room for a text: the model in "
            f"{str(folder)!r} adds {n_taken} tokens to each, those of the prompt "
            f"included. Pass at least {n_taken + 1}."
        )
    return tokenizer, max_length


def _parts_of(config: Any) -> list[Any]:
    """A configuration, and that of the part of it that reads texts."""
    inner = [getattr(config, name, None) for name in ("text_config", "encoder")]
    return [config, *(part for part in inner if part is not None)]


def _limit(tokenizer: Any, config: Any) -> int:
    """Most tokens that the network has positions for."""
    config = _parts_of(config)[-1]
    positions = getattr(config, "max_position_embeddings", None) or _NO_LIMIT
    if config.model_type in POSITIONS_AFTER_PADDING:
        positions -= (config.pad_token_id or 0) + 1
    if getattr(config, "relative_attention_num_buckets", None):
        positions = _NO_LIMIT
    return int(min(tokenizer.model_max_length, positions, _NO_LIMIT))


def _count_prompt_tokens(tokenizer: Any, prompt: str) -> int:
    ids = tokenizer([prompt])["input_ids"][0]
    ends = {tokenizer.sep_token_id, tokenizer.eos_token_id} - {None}
    return len(ids) - (bool(ids) and ids[-1] in ends)


def _encodable(text: str) -> str:
    """The text, lone surrogates replaced by the sign for what can't be read."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
