"""Tuned networks as checkpoints on disk."""

from __future__ import annotations

import json
import secrets
import shutil
from copy import copy
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from skxmodal._torchvision import import_torchvision
from skxmodal.encoders._checkpoints import (
    load_pretrained,
    load_weights,
    quiet,
    read_json,
)
from skxmodal.encoders._contrastive_tuned import (
    ADDED_LAYER,
    TunedImageEncoder,
    TunedTextEncoder,
    TunedTorchvisionEncoder,
    end_of,
)
from skxmodal.encoders._packaged import LITE_SIZES
from skxmodal.encoders._sentence_transformers import read_folder

# Where a tower's weights stand in the whole network of its checkpoint.
_TOWERS = ("", "text_model.", "vision_model.", "encoder.")
_WEIGHTS = (
    "*.safetensors*",
    "*.bin*",
    "*.onnx",
    "*.h5",
    "*.msgpack",
    "onnx",
    "openvino",
)
_MODULES = "sentence_transformers.models."


def save_tuned(encoder: Any, folder: Path) -> Path:
    """Write a tuned encoder's network as a checkpoint.

    Parameters
    ----------
    encoder : TunedTextEncoder, TunedImageEncoder or TunedTorchvisionEncoder
    folder : pathlib.Path
        A new or empty folder.

    Returns
    -------
    folder : pathlib.Path
        The same folder.

    Raises
    ------
    FileExistsError
        If the folder holds files already.
    """
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{str(folder)!r} is a file: give a new folder.")
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(
            f"{str(folder)!r} holds files already: give a new or empty folder."
        )
    kinds = {TunedTextEncoder: _save_text, TunedImageEncoder: _save_pictures}
    save: Any = kinds.get(type(encoder), _save_torchvision)
    # Weights keep the precision that they were tuned in, whatever the encoder runs in.
    plain = copy(encoder).set_params(backend="torch", dtype="float32")
    is_new = not folder.exists()
    part = folder / f".{secrets.token_hex(8)}.part"
    part.mkdir(parents=True)
    try:
        save(plain, part)
        for path in part.iterdir():
            path.rename(folder / path.name)
        part.rmdir()
    except BaseException:
        shutil.rmtree(folder if is_new else part, ignore_errors=True)
        raise
    return folder


def _save_text(encoder: TunedTextEncoder, folder: Path) -> None:
    source = encoder._folder()
    parts = read_folder(source)
    model = encoder._load()
    network = model.network
    of_transformer = _under("transformer.", encoder.tuned_weights_)
    inner = folder / parts.transformer.relative_to(source)
    _copy_without_weights(source, folder)
    _save_pretrained(parts.transformer, of_transformer, inner, encoder)
    model.tokenizer.save_pretrained(inner)
    settings = {"max_seq_length": model.max_length, "do_lower_case": model.lower_case}
    for file in inner.glob("sentence_*_config.json"):
        file.unlink()
    _write_json(inner / "sentence_bert_config.json", settings)
    if network.poolings == ("projected",) and not len(network.layers):
        # A tower with a projection of its own is a plain folder of transformers.
        return
    modules = [("Transformer", inner.relative_to(folder))]
    if network.poolings != ("projected",):
        width = _width(network, model)
        modules.append(("Pooling", Path("1_Pooling")))
        pooling = {
            "word_embedding_dimension": width,
            "pooling_mode": list(network.poolings)
            if len(network.poolings) > 1
            else network.poolings[0],
            "include_prompt": not network.skipped,
        }
        _write_json(folder / "1_Pooling" / "config.json", pooling)
    known: list[tuple[str, Path | None]] = [*parts.layers]
    if ADDED_LAYER in encoder.tuned_weights_:
        known.insert(end_of(network) - 1, ("Dense", None))
    for number, layer in enumerate(network.layers):
        kind, origin = known[number]
        path = Path(f"{number + 2}_{kind}")
        modules.append((kind, path))
        (folder / path).mkdir(exist_ok=True)
        if origin is not None and origin.is_dir():
            _copy_without_weights(origin, folder / path)
        if kind == "Dense" and origin is None:
            _write_json(folder / path / "config.json", _describe_dense(layer))
        if any(True for _ in layer.parameters()):
            _save_state(layer.state_dict(), folder / path / "model.safetensors")
    _write_json(
        folder / "modules.json",
        [
            {
                "idx": number,
                "name": str(number),
                "path": "" if path == Path() else path.as_posix(),
                "type": _MODULES + kind,
            }
            for number, (kind, path) in enumerate(modules)
        ],
    )
    prompts = read_json(folder / "config_sentence_transformers.json", {})
    if model.prompt:
        prompts |= {
            "prompts": {"default": model.prompt},
            "default_prompt_name": "default",
        }
    else:
        prompts["default_prompt_name"] = None
    _write_json(folder / "config_sentence_transformers.json", prompts)


def _save_pictures(encoder: TunedImageEncoder, folder: Path) -> None:
    weights = encoder.tuned_weights_
    path = encoder._path()
    packaged = encoder._is_packaged()
    lite = str(encoder.model)
    if not packaged:
        lite = read_json(path / "config.json", {}).get("model_type", "")
    if lite in LITE_SIZES:
        state = load_weights(path if packaged else path / "model.safetensors")
        _save_state(
            _replaced(state, _under("backbone.", weights)), folder / "model.safetensors"
        )
        _write_json(folder / "config.json", {"model_type": lite})
        return
    _copy_without_weights(path, folder)
    _save_pretrained(path, _under("backbone.", weights), folder, encoder)


def _save_torchvision(encoder: TunedTorchvisionEncoder, folder: Path) -> None:
    from skxmodal.encoders._torchvision_model import _build_random

    models = import_torchvision(purpose="TorchvisionEncoder").models
    source = encoder._source()
    if source is None:
        network = _build_random(models, encoder.model, int(encoder.random_state or 0))
        state = network.state_dict()
    elif isinstance(source, Path):
        state = load_weights(source)
    else:
        state = source.get_state_dict(progress=False, weights_only=True)
    weights = _under("extractor.", encoder.tuned_weights_)
    _save_state(_replaced(state, weights), folder / "model.safetensors")


def _save_pretrained(
    source: Path, weights: dict[str, NDArray[Any]], folder: Path, encoder: Any
) -> None:
    """The whole network of a checkpoint, both towers of two, with tuned weights."""
    import torch

    from skxmodal._training import own_generator

    config = read_json(source / "config.json", {})
    (architecture,) = config.get("architectures") or [""]
    names = [architecture] if architecture.endswith("ModelWithProjection") else []
    for name in [*names, "AutoModel"]:
        # Poolers that a checkpoint lacks aren't used, and are drawn.
        with own_generator(seed=0):
            network = load_pretrained(
                name,
                source,
                trust_remote_code=encoder.trust_remote_code,
                may_lack=("pooler.",),
            )
        # The tuned weights are float32; half precision would round them.
        network.float()
        # Tied weights have two names, and the tuned tower may know the second.
        parameters = dict(network.named_parameters(remove_duplicate=False))
        for tower in _TOWERS:
            if all(tower + key in parameters for key in weights):
                with torch.no_grad():
                    for key, weight in weights.items():
                        parameters[tower + key].copy_(torch.as_tensor(weight))
                with quiet():
                    network.save_pretrained(folder, safe_serialization=True)
                return
    raise ValueError(
        f"The tuned weights of {source} have no place in its checkpoint: "
        f"{sorted(weights)[:3]}."
    )


def _copy_without_weights(source: Path, folder: Path) -> None:
    shutil.copytree(
        source,
        folder,
        ignore=shutil.ignore_patterns(*_WEIGHTS),
        dirs_exist_ok=True,
        copy_function=shutil.copyfile,
    )


def _under(prefix: str, weights: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {
        name.removeprefix(prefix): weight
        for name, weight in weights.items()
        if name.startswith(prefix)
    }


def _replaced(
    state: dict[str, Any], weights: dict[str, NDArray[Any]]
) -> dict[str, Any]:
    import torch

    missing = sorted(set(weights) - set(state))
    if missing:
        raise ValueError(f"The checkpoint has no weights {missing[:3]}.")
    return state | {name: torch.tensor(weight) for name, weight in weights.items()}


def _save_state(state: dict[str, Any], file: Path) -> None:
    from safetensors.torch import save_file

    save_file({name: value.contiguous().clone() for name, value in state.items()}, file)


def _write_json(file: Path, content: Any) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _describe_dense(layer: Any) -> dict[str, Any]:
    return {
        "in_features": layer.linear.in_features,
        "out_features": layer.linear.out_features,
        "bias": layer.linear.bias is not None,
        "activation_function": "torch.nn.modules.linear.Identity",
    }


def _width(network: Any, model: Any) -> int:
    """Length of the pooled vectors of one pooling."""
    for layer in network.layers:
        if hasattr(layer, "linear"):
            return int(layer.linear.in_features) // len(network.poolings)
    return int(model.dimension) // len(network.poolings)
