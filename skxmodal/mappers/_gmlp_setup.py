"""What `GMLPMapper` settles before it trains: pairs, settings, split and scales."""

from __future__ import annotations

from typing import Any, NamedTuple

import joblib
import numpy as np
from numpy.typing import NDArray

from skxmodal._content import group_items

# With fewer distinct targets than this a network is given little room and time.
SMALL = 500
# With fewer held-out targets their recall tells epochs apart by less than holding them
# out costs: docs/decisions/0023-settings-of-the-gmlp.md.
FEWEST_HELD_OUT = 200
AUTO = {
    "small": {
        "width": 16,
        "dropout": 0.0,
        "noise": 0.0,
        "group_mixing": 0.0,
        "batch_size": 1024,
        "max_epochs": 10,
    },
    "large": {
        "width": 256,
        "dropout": 0.5,
        "noise": 0.6,
        "group_mixing": 0.5,
        "batch_size": 1024,
        "max_epochs": 8,
    },
}
BLOCK = 8192
# What `fit` with `warm_start` and `partial_fit` can't change.
FIXED = ("loss", "init", "two_sided", "n_components", "depth", "width", "n_tokens")
# Most dimensions of a shared space that is learned from scratch.
MOST_COMPONENTS = 256


class Pairs(NamedTuple):
    """Checked training pairs; groups are numbered from 0 without gaps."""

    X: NDArray[Any]
    y: NDArray[Any]
    groups: NDArray[np.intp]
    weights: NDArray[Any] | None

    def where(self, kept: NDArray[np.bool_]) -> Pairs:
        """The pairs kept, groups numbered anew."""
        _, groups = group_items(self.groups[kept])
        weights = None if self.weights is None else self.weights[kept]
        return Pairs(self.X[kept], self.y[kept], groups, weights)


def automatic_settings(pairs: Pairs) -> dict[str, Any]:
    """What "auto" stands for with these pairs."""
    n_groups = int(pairs.groups.max()) + 1
    return AUTO["small" if n_groups < SMALL else "large"]


def resolve_settings(
    params: dict[str, Any], pairs: Pairs, automatic: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The mapper's parameters, "auto" resolved as given, or for these pairs."""
    n_groups = int(pairs.groups.max()) + 1
    settings = dict(params)
    for parameter, value in (automatic or automatic_settings(pairs)).items():
        if settings[parameter] == "auto":
            settings[parameter] = value
    settings["batch_size"] = min(settings["batch_size"], len(pairs.X))
    if settings["early_stopping"] == "auto":
        n_held_out = n_groups * settings["validation_fraction"]
        settings["early_stopping"] = n_held_out >= FEWEST_HELD_OUT
    settings["two_sided"] = settings["two_sided"] and settings["loss"] != "mse"
    return settings


def fixed_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Those of the settings that a training that goes on can't change."""
    fixed = {name: settings[name] for name in FIXED}
    init = settings["init"]
    if not isinstance(init, str | None):
        fixed["init"] = f"{type(init).__name__} {joblib.hash(init.get_params())}"
    return fixed


def check_fixed(settings: dict[str, Any], fixed: dict[str, Any]) -> None:
    """Refuse to go on with another loss, start or shape.

    Raises
    ------
    ValueError
        If one of the settings is not as it was in the first training.
    """
    for name, value in fixed_settings(settings).items():
        if value != fixed[name]:
            raise ValueError(
                f"GMLPMapper goes on from a network that was begun with another "
                f"{name} than {name}={settings[name]!r}: its loss, start and shape "
                "stay as they were. Set it back, or begin anew: fit with "
                "warm_start=False."
            )


def hold_out(pairs: Pairs, settings: dict[str, Any], seed: int) -> tuple[Pairs, Pairs]:
    """Training and held-out pairs, each group on one side.

    Raises
    ------
    ValueError
        If too few groups would be left to train on.
    """
    n_groups = int(pairs.groups.max()) + 1
    fraction, k = settings["validation_fraction"], settings["validation_k"]
    n_held_out = max(round(fraction * n_groups), k + 1)
    if n_groups - n_held_out < 2:
        raise ValueError(
            f"early_stopping=True would hold out {n_held_out} of {n_groups} groups "
            f"(validation_fraction={fraction}, more than validation_k={k}), which "
            "leaves too few to train on: give more pairs, a smaller validation_k, or "
            "early_stopping=False"
        )
    order = np.random.RandomState(seed).permutation(n_groups)
    held_out = np.isin(pairs.groups, order[:n_held_out])
    return pairs.where(~held_out), pairs.where(held_out)


def describe(
    pairs: Pairs,
    places: tuple[NDArray[Any], NDArray[Any]] | None,
    settings: dict[str, Any],
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Sizes of the network, and the scales it works in by side.

    `places` are the closed-form places of both sides, where there is such a map.
    """
    x_mean, x_scale = centred_scale(pairs.X, pairs.weights)
    y_mean, y_scale = centred_scale(pairs.y, pairs.weights)
    d_x, d_y = pairs.X.shape[1], pairs.y.shape[1]
    if places is not None:
        n_components = places[0].shape[1]
        outputs = [rms(place, pairs.weights) for place in places]
    elif settings["two_sided"]:
        n_components = settings["n_components"] or min(d_x, d_y, MOST_COMPONENTS)
        outputs = [1.0, 1.0]
    else:
        n_components, outputs = d_y, [y_scale, y_scale]
    shape = {
        "n_features": d_x,
        "n_targets": d_y,
        "n_components": n_components,
        "n_tokens": settings["n_tokens"],
        "width": settings["width"],
        "depth": settings["depth"],
        "two_sided": settings["two_sided"],
        "zero_output": places is not None,
    }
    scales = {
        "query": {"mean": x_mean, "input": x_scale, "output": outputs[0]},
        "target": {"mean": y_mean, "input": y_scale, "output": outputs[1]},
    }
    return shape, scales


def centred_scale(
    rows: NDArray[Any], weights: NDArray[Any] | None
) -> tuple[NDArray[Any], float]:
    """Weighted mean of the rows, and root mean square about it."""
    mean = np.average(rows.astype(np.float64), axis=0, weights=weights)
    squares = [
        np.mean(np.square(rows[start : start + BLOCK] - mean), axis=1)
        for start in range(0, len(rows), BLOCK)
    ]
    square = float(np.average(np.concatenate(squares), weights=weights))
    return mean, square**0.5 or 1.0


def rms(rows: NDArray[Any], weights: NDArray[Any] | None) -> float:
    """Weighted root mean square of all entries; 1 where all are 0."""
    squares = np.einsum("ij,ij->i", rows, rows) / rows.shape[1]
    return float(np.average(squares, weights=weights)) ** 0.5 or 1.0


def table_rows(table: dict[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """Rows of a table given by columns."""
    return [
        dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)
    ]
