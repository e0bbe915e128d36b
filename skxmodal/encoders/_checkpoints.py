"""Folders of checkpoints: where they lie, what is in them, how they load."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from skxmodal._optional import import_optional
from skxmodal._torchvision import import_transformers
from skxmodal.encoders._hub import FILES, download, first_line
from skxmodal.encoders._packaged import Package, find_packaged

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_quiet = threading.Lock()


def find_model(
    model: str | os.PathLike[str],
    packages: dict[str, Package],
    revision: str | None,
    trust_remote_code: bool,
) -> Path:
    """Path of a packaged model, or folder of a checkpoint.

    Parameters
    ----------
    model : str or path
        A local folder, a packaged model's name, or an id on the Hugging Face hub.
    packages : dict of str to Package
        The packaged models of one kind.
    revision : str or None
        Branch, tag or commit on the hub; None takes the default branch.
    trust_remote_code : bool
        Whether the checkpoint's own Python code is fetched as well.

    Returns
    -------
    path : pathlib.Path
        A local folder, or a packaged model's file.

    Raises
    ------
    ValueError
        If there is a `revision` and the model isn't on the hub.
    OSError
        If there is no such model.
    """
    local = Path(model).expanduser().is_dir()
    if revision is not None and (local or model in packages):
        raise ValueError(
            f"revision={revision!r}, but {str(model)!r} is "
            f"{'a local folder' if local else 'a packaged model'}, which has one "
            "version. Leave revision out, or pass an id of the hub as model."
        )
    if not local and model in packages:
        return find_packaged(str(model), packages)
    try:
        return locate(model, revision, trust_remote_code)
    except OSError as error:
        if isinstance(model, str) and "/" not in model:
            error.add_note(f"The packaged models are {', '.join(sorted(packages))}.")
        raise


def locate(
    model: str | os.PathLike[str], revision: str | None, trust_remote_code: bool
) -> Path:
    """Folder of a checkpoint, downloaded where it is a hub id not yet in the cache.

    Parameters
    ----------
    model : str or path
        A local folder, or an id on the Hugging Face hub.
    revision : str or None
        Branch, tag or commit on the hub; None takes the default branch.
    trust_remote_code : bool
        Whether the checkpoint's own Python code is fetched as well.

    Returns
    -------
    folder : pathlib.Path
        A local folder.

    Raises
    ------
    OSError
        If there is no such folder, or the hub can't be reached or has no such model.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    name = os.fspath(model)
    if path.exists():
        raise OSError(
            f"model={name!r} is a file. Pass the folder of a checkpoint, which holds "
            "its config.json."
        )
    looks_local = not isinstance(model, str) or name.startswith((".", "/", "~", "\\"))
    if looks_local or not _HUB_ID.fullmatch(name):
        raise FileNotFoundError(
            f"model={name!r}: there is no such folder, and it is no id on the Hugging "
            "Face hub, such as 'organisation/name'. Pass an existing folder."
        )
    return download(name, revision, trust_remote_code)


def digest(path: Path) -> str:
    """Digest of a checkpoint: of every file that changes a vector.

    Parameters
    ----------
    path : pathlib.Path
        A folder, or one file of weights.

    Returns
    -------
    digest : str
        Hexadecimal BLAKE2b digest of 20 bytes.
    """
    if path.is_file():
        return _digest_of_file(path).hex()
    state = blake2b(digest_size=20)
    for file in _files_of(path):
        state.update(file.relative_to(path).as_posix().encode() + b"\0")
        state.update(_digest_of_file(file))
    return state.hexdigest()


def _files_of(folder: Path) -> list[Path]:
    files = {file for pattern in (*FILES, "*.py") for file in folder.rglob(pattern)}
    unread = {folder / "onnx", folder / "openvino"}
    return sorted(file for file in files if not unread.intersection(file.parents))


def _digest_of_file(file: Path) -> bytes:
    facts = file.stat()
    return _digest_of_contents(str(file), facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=4096)
def _digest_of_contents(path: str, size: int, modified: int) -> bytes:
    state = blake2b(digest_size=20)
    with Path(path).open("rb") as stream:
        while block := stream.read(1 << 20):
            state.update(block)
    return state.digest()


def read_json(file: Path, default: Any = None) -> Any:
    """Content of a JSON file, or a default where there is no file.

    Parameters
    ----------
    file : pathlib.Path
        The file.
    default : object, default=None
        Given back where the file doesn't exist.

    Returns
    -------
    content : object
        What the file holds.

    Raises
    ------
    OSError
        If the file is no JSON.
    """
    if not file.is_file():
        return default
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise OSError(
            f"{file} is damaged: it is no JSON ({error}). Get the checkpoint again."
        ) from error


def load_weights(file: Path) -> dict[str, Any]:
    """State dict of a file, without running anything that is in it.

    Parameters
    ----------
    file : pathlib.Path
        A ``.safetensors`` file, or one written by ``torch.save``.

    Returns
    -------
    state : dict of str to torch.Tensor
        The weights, on the CPU.

    Raises
    ------
    OSError
        If the file is missing, damaged, or holds anything but tensors.
    """
    torch = import_optional("torch", extra="encoders", purpose="Loading weights")
    if not file.is_file():
        raise FileNotFoundError(
            f"There is no file of weights {str(file)!r}. Pass the path of one."
        )
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise OSError(
            f"{str(file)!r} can't be read as weights ({first_line(error)}). It must "
            "be a safetensors file, or hold nothing but tensors saved by torch.save: "
            "a whole pickled module is never loaded."
        ) from error
    if not isinstance(state, dict) or not all(map(torch.is_tensor, state.values())):
        raise OSError(
            f"{str(file)!r} holds no state dict of tensors. Save the network's with "
            "torch.save(network.state_dict(), file)."
        )
    return state


def load_pretrained(
    class_name: str,
    folder: Path,
    *,
    trust_remote_code: bool,
    may_lack: tuple[str, ...] = (),
    **options: Any,
) -> Any:
    """Network of a folder, all of whose weights are in the checkpoint.

    Parameters
    ----------
    class_name : str
        Name of the class in transformers.
    folder : pathlib.Path
        The checkpoint's folder.
    trust_remote_code : bool
        Whether the checkpoint's own Python code may run.
    may_lack : tuple of str, default=()
        Beginnings of the names of weights that aren't used, so may be missing.
    **options : dict
        Passed on to ``from_pretrained``.

    Returns
    -------
    network : transformers.PreTrainedModel
        The network, in evaluation mode.

    Raises
    ------
    OSError
        If the checkpoint lacks weights, so that random ones would stand in.
    """
    transformers = import_transformers(purpose=f"Loading {folder}")
    with quiet():
        network, facts = getattr(transformers, class_name).from_pretrained(
            str(folder),
            trust_remote_code=trust_remote_code,
            weights_only=True,
            output_loading_info=True,
            local_files_only=True,
            **options,
        )
    lacking = sorted(
        name for name in facts["missing_keys"] if not name.startswith(may_lack)
    )
    if lacking:
        raise OSError(
            f"The checkpoint in {str(folder)!r} lacks {len(lacking)} of the weights of "
            f"{type(network).__name__} ({', '.join(lacking[:3])}, ...): random ones "
            "would stand in for them. Pass a whole checkpoint."
        )
    return network.eval()


def load_tower(
    folder: Path, config: dict[str, Any], kind: str, *, projected: bool, **options: Any
) -> Any:
    """Network of a folder; of a two-tower model such as CLIP, one tower.

    Parameters
    ----------
    folder : pathlib.Path
        The checkpoint's folder.
    config : dict
        What its ``config.json`` holds.
    kind : {"image", "text"}
        Which tower.
    projected : bool
        Whether the tower's projection into the shared space is kept.
    **options : dict
        Passed on to :func:`load_pretrained`.

    Returns
    -------
    network : transformers.PreTrainedModel
        The network. A projected tower has ``get_image_features`` or
        ``get_text_features``, or ends in its projection.
    """
    architecture = (config.get("architectures") or [""])[0]
    alone = projected and architecture.endswith("ModelWithProjection")
    network = load_pretrained(architecture if alone else "AutoModel", folder, **options)
    if not hasattr(network, f"get_{kind}_features"):
        return network
    towers = {"image": "vision_model", "text": "text_model"}
    own = getattr(network, towers.pop(kind), None)
    if own is not None and not projected:
        return own
    for other in towers.values():
        if hasattr(network, other):
            # Memory for a tower that is never asked.
            setattr(network, other, None)
    return network


def is_projected(network: Any, kind: str) -> bool:
    """Whether a network gives an embedding in a space shared by two towers.

    Parameters
    ----------
    network : transformers.PreTrainedModel
        The network.
    kind : {"image", "text"}
        Which tower.

    Returns
    -------
    projected : bool
        True for a two-tower model, and for one tower saved with its projection.
    """
    return hasattr(network, f"get_{kind}_features") or type(network).__name__.endswith(
        "ModelWithProjection"
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence of transformers' progress bars and reports while loading."""
    transformers = import_transformers()
    settings = transformers.utils.logging
    with _quiet:
        verbosity, bars = settings.get_verbosity(), settings.is_progress_bar_enabled()
        settings.set_verbosity_error()
        settings.disable_progress_bar()
        try:
            yield
        finally:
            settings.set_verbosity(verbosity)
            if bars:
                settings.enable_progress_bar()
