"""A saved model: a folder with a manifest and the arrays it refers to."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import secrets
import stat
import time
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxmodal._optional import import_optional
from skxmodal._paths import whole_file
from skxmodal.persistence._decode import ModelDecoder
from skxmodal.persistence._encode import ModelEncoder
from skxmodal.persistence._errors import PersistenceError

FORMAT = "skxmodal"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"

_PACKAGES = ("skxmodal", "numpy", "scipy", "scikit-learn", "torch", "transformers")
_ALIGNMENT = 64
_READ_BYTES = 1 << 22
_ABANDONED_AFTER_SECONDS = 3600
_READ_ATTEMPTS = 20
_ARRAYS = re.compile(r"arrays-[0-9a-f]{16}\.safetensors")
# The names that safetensors gives NumPy's types.
_DTYPES = {
    "bool": "BOOL",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
}


def save(
    estimator: Any,
    path: str | os.PathLike[str],
    *,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Save an estimator as a folder with a JSON manifest and safetensors.

    A model that is there already is replaced in one step: whatever happens
    meanwhile, the folder holds the old model or the new one, whole. Where an encoder
    keeps its cache of embeddings is not saved: the loaded one uses the default place,
    or none where `cache` was False.

    Parameters
    ----------
    estimator : estimator
        An estimator of skxmodal, fitted or not, or of a class registered with
        :func:`register`.
    path : path-like
        The folder: new, empty or with a saved model.
    metadata : mapping of str to object, default=None
        More to keep with the model, such as where the pictures are: numbers, text,
        paths, arrays, and lists, tuples and dicts of such.

    Returns
    -------
    path : pathlib.Path
        The folder.

    Raises
    ------
    PersistenceError
        If `estimator` is none, if something in it can't be stored, such as a function
        or a class that is not registered, or if `path` is something other than a
        saved model.

    See Also
    --------
    load : Load what was saved.

    Examples
    --------
    >>> import tempfile
    >>> from skxmodal import ProcrustesMapper
    >>> from skxmodal.datasets import make_paired_embeddings
    >>> from skxmodal.persistence import load, save
    >>> X, y = make_paired_embeddings(random_state=0)
    >>> mapper = ProcrustesMapper().fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     again = load(save(mapper, f"{folder}/model"))
    >>> bool((again.transform(X) == mapper.transform(X)).all())
    True
    """
    folder = Path(path).expanduser()
    replaced = check_destination(folder)
    encoder = ModelEncoder()
    model = encoder.encode(estimator, "")
    if not isinstance(model, dict) or model["type"] != "object":
        raise PersistenceError(
            f"{estimator!r:.60} is no estimator. Save one of skxmodal's, and what "
            "belongs to it as metadata."
        )
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "versions": _versions(),
        "model": model,
        "metadata": encoder.encode(dict(metadata or {}), "metadata"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    # A new name each time, so that a model being read stays whole until the end.
    arrays = folder / f"arrays-{secrets.token_hex(8)}.safetensors"
    try:
        manifest["arrays"] = _write_arrays(encoder.arrays, arrays)
        manifest["checksum"] = _checksum(manifest)
        with whole_file(folder / MANIFEST, durable=True) as stream:
            stream.write(json.dumps(manifest, indent=1).encode("ascii"))
    except BaseException:
        if not _is_named(arrays.name, folder):
            arrays.unlink(missing_ok=True)
        raise
    _remove_replaced(folder, replaced, arrays.name)
    return folder


def load(
    path: str | os.PathLike[str],
    *,
    check_encoders: bool = True,
    trust_remote_code: bool = False,
    return_metadata: bool = False,
) -> Any:
    """Load an estimator that was saved with :func:`save`.

    No code from the folder is run: the manifest names classes of skxmodal, and the
    arrays are numbers. Checksums tell damage.

    Parameters
    ----------
    path : path-like
        The folder.
    check_encoders : bool, default=True
        Whether to compare the fingerprint of each encoder (model, revision,
        weights, preprocessing) with what it was when the model was saved. That needs
        the encoders' files on this machine: nothing is downloaded, whatever the model
        names. Without the check a model can be loaded where its encoders are not
        installed, to work on embeddings.
    trust_remote_code : bool, default=False
        Whether an encoder may have ``trust_remote_code=True``.
    return_metadata : bool, default=False
        Whether to return the metadata too.

    Returns
    -------
    estimator : estimator
        The estimator as it was saved.
    metadata : dict
        What :func:`save` was given as `metadata`. Only returned if
        `return_metadata` is True.

    Raises
    ------
    FileNotFoundError
        If there is no folder at `path`.
    PersistenceError
        If the folder holds no saved model, a damaged one, one of a newer format or
        of a class that is not skxmodal's, or if an encoder has changed or is not on
        this machine.

    See Also
    --------
    save : Save an estimator.

    Examples
    --------
    >>> import tempfile
    >>> from skxmodal import LeastSquaresMapper
    >>> from skxmodal.persistence import load, save
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save(LeastSquaresMapper(alpha=0.1), f"{folder}/model")
    ...     mapper = load(path)
    >>> mapper
    LeastSquaresMapper(alpha=0.1)
    """
    folder = Path(path).expanduser()
    try:
        manifest, arrays = _read(folder)
        decoder = ModelDecoder(
            arrays,
            n_bytes=manifest["arrays"]["bytes"] + (folder / MANIFEST).stat().st_size,
            trust_remote_code=trust_remote_code,
        )
        if manifest["model"]["type"] != "object":
            raise PersistenceError("it holds no estimator.")
        estimator = decoder.decode(manifest["model"], "")
        metadata = decoder.decode(manifest["metadata"], "metadata")
    except PersistenceError as error:
        raise PersistenceError(f"{folder}: {error}") from error
    except FileNotFoundError:
        raise
    except Exception as error:
        raise PersistenceError(
            f"{folder}: {MANIFEST} has not the form of a model's: {error!r}."
        ) from error
    if check_encoders:
        for encoder, where, expected in decoder.fingerprinted:
            _check_fingerprint(encoder, where, expected, folder)
    return (estimator, metadata) if return_metadata else estimator


def check_destination(folder: Path) -> str | None:
    """Name of the arrays that a new model will replace, if there are any.

    Raises
    ------
    PersistenceError
        If no model can be saved there.
    """
    nearest = next(
        path for path in (folder, *folder.absolute().parents) if path.exists()
    )
    if nearest != folder and not nearest.is_dir():
        raise PersistenceError(
            f"{folder} can't be made: {nearest} is a file. Give another folder."
        )
    if nearest.is_dir() and not os.access(nearest, os.W_OK):
        raise PersistenceError(
            f"{folder} can't be written: {nearest} is read-only. Give another folder."
        )
    if not folder.exists():
        return None
    if not folder.is_dir():
        raise PersistenceError(f"{folder} is a file; a model is saved as a folder.")
    if (folder / MANIFEST).exists():
        try:
            arrays = _read_manifest(folder, check=False).get("arrays")
        except PersistenceError as error:
            raise PersistenceError(
                f"{folder}: {error} Nothing was saved. Give a new folder, or remove "
                "this one if it was a model."
            ) from error
        return str(arrays.get("file")) if isinstance(arrays, dict) else None
    if all(_is_ours(path) for path in folder.iterdir()):
        return None
    raise PersistenceError(
        f"{folder} holds other files and no saved model. Give a new folder."
    )


def _is_named(arrays: str, folder: Path) -> bool:
    """Whether the manifest is there that names the arrays, though a sync failed."""
    try:
        return arrays in (folder / MANIFEST).read_text()
    except FileNotFoundError:
        return False


def _is_ours(path: Path) -> bool:
    arrays = path.name.startswith("arrays-") and path.suffix == ".safetensors"
    return arrays or (path.name.startswith(".") and path.suffix == ".part")


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _write_arrays(arrays: dict[str, NDArray[Any]], path: Path) -> dict[str, Any]:
    """Write safetensors array by array, with no copy of them, and describe it."""
    header: dict[str, Any] = {"__metadata__": {"format": "np"}}
    end = 0
    # The format wants no gap between arrays: large items first keeps them aligned.
    order = sorted(arrays, key=lambda name: -arrays[name].dtype.itemsize)
    for name in order:
        start, end = end, end + arrays[name].nbytes
        header[name] = {
            "dtype": _DTYPES[arrays[name].dtype.name],
            "shape": list(arrays[name].shape),
            "data_offsets": [start, end],
        }
    # Escaped text keeps lone surrogates of odd file names out of the header.
    text = json.dumps(header).encode("ascii")
    text += b" " * (-(len(text) + 8) % _ALIGNMENT)
    code = hashlib.blake2b(digest_size=32)
    with whole_file(path, durable=True) as stream:
        start_of_file: list[Any] = [len(text).to_bytes(8, "little"), text]
        content = (arrays[name].reshape(-1).view(np.uint8) for name in order)
        for part in chain(start_of_file, content):
            code.update(part)
            stream.write(part)
        length = stream.tell()
    return {"file": path.name, "bytes": length, "blake2b": code.hexdigest()}


def _checksum(manifest: Mapping[str, Any]) -> str:
    content = {key: manifest[key] for key in manifest if key != "checksum"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode("ascii"), digest_size=32).hexdigest()


def _remove_replaced(folder: Path, replaced: str | None, current: str) -> None:
    """Remove the arrays just replaced, and what a killed save left long ago."""
    now = time.time()
    for path in folder.iterdir():
        if path.name == current or not _is_ours(path):
            continue
        # Younger files may be those of another process that is saving now.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            age = now - path.stat().st_mtime
            if path.name == replaced or age > _ABANDONED_AFTER_SECONDS:
                path.unlink()


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Manifest and arrays that belong together, though a save may be replacing them."""
    for attempt in range(_READ_ATTEMPTS):
        manifest = _read_manifest(folder)
        try:
            return manifest, _read_arrays(folder, manifest)
        except FileNotFoundError as error:
            if attempt + 1 == _READ_ATTEMPTS or manifest == _read_manifest(folder):
                raise PersistenceError(
                    f"the file of arrays {error.filename} is missing. Save the model "
                    "again or copy it whole."
                ) from None
    raise AssertionError("unreachable")


def _read_manifest(folder: Path, *, check: bool = True) -> dict[str, Any]:
    path = folder / MANIFEST
    if not folder.exists():
        raise FileNotFoundError(f"There is no model at {folder}.")
    if not path.is_file():
        raise PersistenceError(f"no saved model: {MANIFEST} is missing.")
    try:
        manifest = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise PersistenceError(
            f"{MANIFEST} is damaged: not valid JSON: {error}."
        ) from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise PersistenceError(f"{MANIFEST} is not that of a skxmodal model.")
    if not check:
        return manifest
    version = manifest.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        saved_by = manifest.get("versions", {}).get("skxmodal", "a newer skxmodal")
        raise PersistenceError(
            f"format {version}, saved by skxmodal {saved_by}; this skxmodal reads up "
            f"to format {FORMAT_VERSION}. Upgrade it: pip install -U skxmodal"
        )
    if version != FORMAT_VERSION or manifest.get("checksum") != _checksum(manifest):
        raise PersistenceError(
            f"{MANIFEST} is damaged: its checksum does not fit its content."
        )
    return manifest


def _read_arrays(folder: Path, manifest: dict[str, Any]) -> dict[str, NDArray[Any]]:
    safetensors = import_optional(
        "safetensors", extra="cli", purpose="Loading a saved model"
    )
    described = manifest["arrays"]
    if not _ARRAYS.fullmatch(described["file"]):
        raise PersistenceError("the arrays must be a file in the same folder.")
    path = folder / described["file"]
    # One look at the file: a save elsewhere may remove it at any moment.
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise PersistenceError("the arrays must be a file in the same folder.")
    length = status.st_size
    if length != described["bytes"]:
        raise PersistenceError(
            f"{path.name} is damaged: {length} bytes of {described['bytes']}. Save "
            "the model again or copy it whole."
        )
    code = hashlib.blake2b(digest_size=32)
    with path.open("rb") as stream:
        while block := stream.read(_READ_BYTES):
            code.update(block)
    if code.hexdigest() != described["blake2b"]:
        raise PersistenceError(
            f"{path.name} is damaged: its checksum does not fit its content. Save "
            "the model again or copy it whole."
        )
    try:
        with safetensors.safe_open(path, framework="numpy") as tensors:
            return {name: tensors.get_tensor(name) for name in list(tensors.keys())}
    except FileNotFoundError:
        raise
    except Exception as error:
        raise PersistenceError(f"{path.name} is no safetensors: {error}.") from error


def _check_fingerprint(encoder: Any, where: str, expected: Any, folder: Path) -> None:
    from skxmodal.encoders._hub import no_downloads

    try:
        with no_downloads():
            found = encoder.fingerprint()
    except Exception as error:
        raise PersistenceError(
            f"{folder}: {where} can't be compared with the encoder that the model was "
            f"fitted with: {error} To use the model on embeddings alone, load it with "
            "check_encoders=False."
        ) from error
    if found == expected:
        return
    if isinstance(found, dict) and isinstance(expected, dict):
        changed = [
            f"{key} was {expected.get(key)!r:.100}, is {found.get(key)!r:.100}"
            for key in sorted(expected.keys() | found.keys(), key=str)
            if expected.get(key) != found.get(key)
        ]
    else:
        changed = [f"was {expected!r:.100}, is {found!r:.100}"]
    raise PersistenceError(
        f"{folder}: {where} is not the encoder the model was fitted with: "
        f"{'; '.join(changed)}. Use the same model and revision, or fit again."
    )
