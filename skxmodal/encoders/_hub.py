"""Models of the Hugging Face hub, as local folders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path, PurePosixPath

from skxmodal._optional import import_optional

# What changes a vector: weights, settings, vocabularies, code.
FILES = ("*.safetensors", "*.bin", "*.json", "*.txt", "*.model", "*.jinja")
_FORMATS_NOT_READ = (
    "onnx/*",
    "openvino/*",
    "*.onnx",
    "*.msgpack",
    "*.h5",
    "*.ot",
    "*.gguf",
    "*.fp16.*",
    "coreml/*",
)
_here_alone = ContextVar("_here_alone", default=False)


@contextmanager
def no_downloads() -> Iterator[None]:
    """Take models from the hub's cache on this machine, and ask nobody for them."""
    token = _here_alone.set(True)
    try:
        yield
    finally:
        _here_alone.reset(token)


@lru_cache(maxsize=128)
def download(name: str, revision: str | None, trust_remote_code: bool) -> Path:
    """Folder of a model of the hub, downloaded where it isn't in the hub's cache.

    Parameters
    ----------
    name : str
        The model's id.
    revision : str or None
        Branch, tag or commit; None takes the default branch.
    trust_remote_code : bool
        Whether the checkpoint's own Python code is fetched as well.

    Returns
    -------
    folder : pathlib.Path
        The snapshot in the hub's cache.

    Raises
    ------
    OSError
        If the hub has no such model, or it is in no cache and the hub isn't reached.
    """
    hub = import_optional(
        "huggingface_hub", extra="encoders", purpose="Loading a model from the hub"
    )
    wanted = name if revision is None else f"{name} at revision {revision!r}"
    if _here_alone.get():
        try:
            return Path(
                hub.snapshot_download(name, revision=revision, local_files_only=True)
            )
        except Exception as e:
            raise OSError(
                f"The model {wanted} is not in the local hub cache, and nothing is "
                f"downloaded here. If you trust it, get it first: `hf download {name}`."
            ) from e
    unread, unreachable = list(_FORMATS_NOT_READ), None
    try:
        facts = hub.HfApi().model_info(name, revision=revision, timeout=10)
        unread += _doubled([file.rfilename for file in facts.siblings or []])
    except (hub.errors.RepositoryNotFoundError, hub.errors.RevisionNotFoundError) as e:
        raise OSError(
            f"The Hugging Face hub has no model {wanted}, or it is private. Check "
            "the id, log in with `hf auth login`, or pass the path of a local folder. "
            f"({first_line(e)})"
        ) from e
    except Exception as e:
        # The hub's client raises errors of its own, of httpx and of the system.
        unreachable = e
    try:
        folder = hub.snapshot_download(
            name,
            revision=revision,
            allow_patterns=[*FILES, "*.py"] if trust_remote_code else list(FILES),
            ignore_patterns=unread,
            local_files_only=unreachable is not None,
        )
    except Exception as e:
        reason = first_line(unreachable or e)
        raise OSError(
            f"The model {wanted} is no local folder, is not in the local hub cache, "
            f"and the Hugging Face hub can't be reached ({reason}). Connect to "
            "the network, or download the model elsewhere (`hf download "
            f"{name} --local-dir FOLDER`), copy the folder here and pass its path: "
            "model='FOLDER'."
        ) from (unreachable or e)
    return Path(folder)


def _doubled(files: list[str]) -> list[str]:
    """Pickled weights that lie beside the same weights as safetensors."""
    paths = [PurePosixPath(name) for name in files]
    safe = {path.parent for path in paths if path.suffix == ".safetensors"}
    return [str(p) for p in paths if p.suffix == ".bin" and p.parent in safe]


def first_line(error: Exception) -> str:
    """What an error says, its type and first line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
