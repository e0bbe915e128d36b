"""The folder layout of sentence-transformers: which modules follow which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skxmodal.encoders._checkpoints import load_weights, read_json

_LEGACY_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_TRANSFORMERS = ("Transformer", "CLIPModel")


@dataclass(frozen=True)
class SentenceFolder:
    """What a folder says of how texts become vectors.

    Attributes
    ----------
    transformer : pathlib.Path
        The folder of the transformer itself.
    poolings : tuple of str
        Poolings set side by side; empty where the folder says nothing.
    layers : tuple of (str, pathlib.Path)
        Types and folders of the modules after pooling.
    max_length : int or None
        Tokens of a text that are read.
    lower_case : bool
        Whether texts are lowered first.
    prompt : str
        Put before each text.
    pools_prompt : bool
        Whether the prompt's tokens are pooled too.
    """

    transformer: Path
    poolings: tuple[str, ...] = ()
    layers: tuple[tuple[str, Path], ...] = ()
    max_length: int | None = None
    lower_case: bool = False
    prompt: str = ""
    pools_prompt: bool = True

    def build_layers(self) -> list[Any]:
        """The modules after pooling, with their weights."""
        return [_BUILDERS[kind](folder) for kind, folder in self.layers]


def read_folder(folder: Path) -> SentenceFolder:
    """Read a folder of sentence-transformers, or a plain one of transformers.

    Parameters
    ----------
    folder : pathlib.Path
        The folder.

    Returns
    -------
    parts : SentenceFolder
        What it says.

    Raises
    ------
    OSError
        If it is no checkpoint, or is made of modules that aren't known here.
    """
    modules = read_json(folder / "modules.json")
    if modules is None:
        if not (folder / "config.json").is_file():
            raise OSError(
                f"{str(folder)!r} is no checkpoint: it holds neither config.json nor "
                "modules.json. Pass a folder saved by transformers or "
                "sentence-transformers."
            )
        return SentenceFolder(folder)
    named = [
        (module["type"].rpartition(".")[2], folder / module["path"])
        for module in modules
    ]
    unknown = [
        kind for kind, _ in named if kind not in (*_TRANSFORMERS, "Pooling", *_BUILDERS)
    ]
    if unknown or named[0][0] not in _TRANSFORMERS:
        raise OSError(
            f"{str(folder)!r} is made of the modules {[kind for kind, _ in named]}; "
            "known here are a Transformer, then Pooling, Dense, LayerNorm, Dropout "
            "and Normalize. Encode with sentence-transformers and pass the vectors."
        )
    transformer = named[0][1]
    settings = _settings(transformer)
    pooling = next((path for kind, path in named if kind == "Pooling"), None)
    pooled = read_json(pooling / "config.json", {}) if pooling else {}
    prompts = read_json(folder / "config_sentence_transformers.json", {})
    return SentenceFolder(
        transformer=transformer,
        poolings=_poolings(pooled) if pooling else (),
        layers=tuple(part for part in named[1:] if part[0] != "Pooling"),
        max_length=settings.get("max_seq_length"),
        lower_case=bool(settings.get("do_lower_case")),
        prompt=_default_prompt(prompts),
        pools_prompt=pooled.get("include_prompt", True),
    )


def find_tower(folder: Path) -> Path:
    """Folder of the CLIP within a folder of sentence-transformers.

    Parameters
    ----------
    folder : pathlib.Path
        Any checkpoint's folder.

    Returns
    -------
    folder : pathlib.Path
        The folder of its CLIPModel, or the folder itself where it has none.
    """
    for module in read_json(folder / "modules.json", []):
        if module["type"].endswith(".CLIPModel"):
            return folder / module["path"]
    return folder


def _settings(transformer: Path) -> dict[str, Any]:
    # The name depends on the network in folders of old versions.
    for file in sorted(transformer.glob("sentence_*_config.json")):
        return dict(read_json(file, {}))
    return {}


def _poolings(config: dict[str, Any]) -> tuple[str, ...]:
    named = config.get("pooling_mode")
    if named is not None:
        return (named,) if isinstance(named, str) else tuple(named)
    chosen = tuple(name for key, name in _LEGACY_POOLINGS.items() if config.get(key))
    return chosen or ("mean",)


def _default_prompt(config: dict[str, Any]) -> str:
    name = config.get("default_prompt_name")
    return "" if name is None else str(config.get("prompts", {}).get(name) or "")


def _weights(folder: Path) -> dict[str, Any]:
    safe = folder / "model.safetensors"
    return load_weights(safe if safe.is_file() else folder / "pytorch_model.bin")


def _build_dense(folder: Path) -> Any:
    from torch import nn

    from skxmodal.encoders._networks import Dense

    config = read_json(folder / "config.json", {})
    name = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    activation: Any = getattr(nn, name.rpartition(".")[2], None)
    known = isinstance(activation, type) and issubclass(activation, nn.Module)
    if not name.startswith("torch.nn.") or not known:
        raise OSError(
            f"The activation {name!r} of {str(folder)!r} is none of torch.nn, and "
            "other code is not run."
        )
    layer = Dense(
        config["in_features"],
        config["out_features"],
        bias=config.get("bias", True),
        activation=activation(),
        residual=config.get("use_residual", False),
    )
    layer.load_state_dict(_weights(folder), strict=True)
    return layer


def _build_layer_norm(folder: Path) -> Any:
    from torch import nn

    state = {
        name.removeprefix("norm."): value for name, value in _weights(folder).items()
    }
    layer = nn.LayerNorm(read_json(folder / "config.json", {})["dimension"])
    layer.load_state_dict(state, strict=True)
    return layer


def _build_dropout(folder: Path) -> Any:
    from torch import nn

    return nn.Dropout(read_json(folder / "config.json", {}).get("dropout", 0.2))


def _build_normalize(folder: Path) -> Any:
    from skxmodal.encoders._networks import Normalize

    return Normalize()


_BUILDERS = {
    "Dense": _build_dense,
    "Dropout": _build_dropout,
    "LayerNorm": _build_layer_norm,
    "Normalize": _build_normalize,
}
