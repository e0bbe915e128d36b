"""How a gated MLP is fitted: its closed-form map, its training and its readout."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    _check_sample_weight,
    has_fit_parameter,
)

from skxmodal._optional import import_optional
from skxmodal._rows import group_by_content
from skxmodal._validation import check_groups
from skxmodal.mappers._base import BaseMapper
from skxmodal.mappers._cca import CCAMapper
from skxmodal.mappers._gmlp_setup import (
    BLOCK,
    Pairs,
    automatic_settings,
    check_fixed,
    describe,
    fixed_settings,
    hold_out,
    resolve_settings,
    table_rows,
)
from skxmodal.mappers._least_squares import LeastSquaresMapper
from skxmodal.mappers._procrustes import ProcrustesMapper

if TYPE_CHECKING:
    from skxmodal.mappers._gmlp_network import TwoHeads
    from skxmodal.mappers._gmlp_training import Outcome

INITS = {
    "cca": CCAMapper,
    "procrustes": ProcrustesMapper,
    "least_squares": LeastSquaresMapper,
}
# Networks of fitted mappers beside the weights they have: not on the mappers, whose
# pickles hold arrays only.
_heads: WeakKeyDictionary[Any, tuple[Any, str | None, TwoHeads]] = WeakKeyDictionary()
# Added to the mean squares of the network's output, whose unit is the spread of the
# closed-form places.
READOUT_PENALTY = 1e-3


class GMLPFit(BaseMapper):
    """What :class:`GMLPMapper` does between its checks and its answers."""

    init: Any
    loss: str
    device: str | None
    learning_rate: float
    checkpoint_dir: Any
    random_state: Any
    init_mapper_: Any
    weights_: dict[str, NDArray[Any]]
    temperature_: float
    best_epoch_: int

    @contextmanager
    def _unchanged_by_failure(self) -> Iterator[None]:
        """A block that raises leaves the mapper as it was."""
        before = vars(self).copy()
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _pairs(
        self, X: Any, y: Any, sample_weight: Any, groups: Any, *, reset: bool
    ) -> Pairs:
        X, y = self._check_pairs(X, y, reset=reset)
        X, y = np.asarray(X), np.asarray(y)
        if groups is None:
            _, numbers = group_by_content(y)
        else:
            numbers = check_groups(groups, len(X))
        if sample_weight is None:
            return Pairs(X, y, numbers, None)
        weights = _check_sample_weight(
            sample_weight, X, dtype=X.dtype, ensure_non_negative=True
        )
        kept = weights > 0
        if kept.sum() < 2:
            raise ValueError(
                f"GMLPMapper needs at least 2 pairs of positive weight, got "
                f"{kept.sum()}."
            )
        return Pairs(X, y, numbers, weights).where(kept)

    def _train(self, pairs: Pairs, *, going_on: bool, whole: bool) -> Self:
        import_optional("torch", extra="encoders", purpose="GMLPMapper")
        from skxmodal._training import Checkpoint, check_contrastive_batches
        from skxmodal.mappers._gmlp_training import train

        if not going_on:
            self._automatic: dict[str, Any] = automatic_settings(pairs)
        params = self.get_params(deep=False)
        settings = resolve_settings(params, pairs, self._automatic)
        if going_on:
            check_fixed(settings, self._fixed)
        else:
            self._fixed: dict[str, Any] = fixed_settings(settings)
        contrastive = self.loss == "contrastive"
        if contrastive:
            check_contrastive_batches(pairs.groups, settings["batch_size"])
        name, seed = self._name_and_seed(pairs, going_on=going_on)
        if going_on and not whole:
            # Another order, dropout and noise in each call.
            passes = [seed, len(self.history_["epoch"])]
            seed = int(np.random.SeedSequence(passes).generate_state(1)[0])
        held_out = None
        if whole and settings["early_stopping"]:
            pairs, held_out = hold_out(pairs, settings, seed)
            if contrastive:
                check_contrastive_batches(pairs.groups, settings["batch_size"])
        if not going_on:
            self._fit_init(pairs)
        places = self._closed_form(pairs.X, pairs.y)
        if not going_on:
            self._shape, self._scales = describe(pairs, places, settings)
            self._n_features_out = self._shape["n_components"]
        checkpoint = None
        if self.checkpoint_dir is not None and whole:
            checkpoint = Checkpoint(self.checkpoint_dir, name)
        outcome = train(
            pairs,
            places,
            self._shape,
            self._scales,
            settings,
            seed=seed,
            held_out=held_out,
            held_out_places=held_out and self._closed_form(held_out.X, held_out.y),
            weights=self.weights_ if going_on else None,
            optimizer_state=getattr(self, "_optimizer_state", None),
            checkpoint=checkpoint,
            whole=whole,
        )
        self._keep(outcome, whole=whole)
        self._fit_readout(pairs)
        if outcome.interrupted:
            warnings.warn(
                f"The training was interrupted in epoch {outcome.history[-1]['epoch']} "
                f"of {settings['max_epochs']}. The best weights so far, of epoch "
                f"{self.best_epoch_}, are kept.",
                ConvergenceWarning,
                # Above fit or partial_fit and its decorator.
                stacklevel=4,
            )
        return self

    def _name_and_seed(self, pairs: Pairs, *, going_on: bool) -> tuple[str, int]:
        """Name of the checkpoint and seed of the training."""
        if self.checkpoint_dir is None:
            return "", check_random_state(self.random_state).randint(2**31)
        from skxmodal._training import digest

        ignored = {"checkpoint_dir", "device", "random_state", "verbose"}
        parts: list[Any] = [
            (name, value)
            for name, value in sorted(self.get_params().items())
            if name not in ignored
        ]
        parts += [array for array in pairs if array is not None]
        if going_on:
            parts += list(self.weights_.values())
        if self.random_state is not None:
            seed = check_random_state(self.random_state).randint(2**31)
            return digest([*parts, seed]), seed
        name = digest(parts)
        return name, int(name[:7], 16)

    def _fit_init(self, pairs: Pairs) -> None:
        if self.init is None:
            self.init_mapper_ = None
            return
        named = isinstance(self.init, str)
        mapper = INITS[self.init]() if named else clone(self.init)
        if getattr(mapper, "sparse_output", False):
            raise ValueError(
                f"GMLPMapper adds to the places of init={self.init!r}, which must be "
                "dense: set its sparse_output=False."
            )
        # Whatever the output of this mapper is to be, its own places are arrays.
        mapper.set_output(transform="default")
        params: dict[str, Any] = {}
        if pairs.weights is not None:
            params["sample_weight"] = pairs.weights
        if has_fit_parameter(mapper, "groups"):
            params["groups"] = pairs.groups
        y = pairs.y[:, 0] if self._y_is_1d else pairs.y
        self.init_mapper_ = mapper.fit(pairs.X, y, **params)

    def _closed_form(
        self, X: NDArray[Any], y: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any]] | None:
        if self.init_mapper_ is None:
            return None
        return self.init_mapper_.transform(X), self.init_mapper_.transform_target(y)

    def _keep(self, outcome: Outcome, *, whole: bool) -> None:
        rows = outcome.history
        if not whole and hasattr(self, "history_"):
            last = len(self.history_["epoch"])
            rows = [
                *table_rows(self.history_),
                *({**row, "epoch": last + i} for i, row in enumerate(rows[1:])),
            ]
        self.history_: dict[str, NDArray[Any]] = {
            column: np.array([row.get(column, np.nan) for row in rows])
            for column in dict.fromkeys(column for row in rows for column in row)
        }
        self.best_epoch_ = outcome.best_epoch if whole else int(rows[-1]["epoch"])
        self.weights_ = outcome.weights
        self.temperature_ = outcome.temperature
        self._optimizer_state = None if whole else outcome.optimizer_state

    def _fit_readout(self, pairs: Pairs) -> None:
        """Regress what the closed-form prediction misses on the network's output."""
        scale = self._scales["query"]["output"]
        k, n_targets = self._shape["n_components"], self._shape["n_targets"]
        weights = np.ones(len(pairs.X)) if pairs.weights is None else pairs.weights
        weights = weights / weights.sum(dtype=np.float64)
        design = np.zeros((k + 1, k + 1))
        response = np.zeros((k + 1, n_targets))
        for start in range(0, len(pairs.X), BLOCK):
            rows = slice(start, start + BLOCK)
            X, weight = pairs.X[rows], weights[rows, None]
            outputs = self._head_outputs("query", X).astype(np.float64) / scale
            if not np.isfinite(outputs).all():
                raise FloatingPointError(
                    "the network's output is NaN or infinite after the training: its "
                    "weights diverged. Lower the learning rate (now "
                    f"{self.learning_rate:.3g}) or warm up for longer."
                )
            outputs = np.column_stack([outputs, np.ones(len(X))])
            missed = pairs.y[rows] - self._base_prediction(X)
            design += outputs.T @ (weight * outputs)
            response += outputs.T @ (weight * missed)
        penalty = np.full(k + 1, READOUT_PENALTY)
        penalty[-1] = 0.0
        solution = scipy.linalg.solve(
            design + np.diag(penalty), response, assume_a="pos"
        )
        self._readout = {"coef": solution[:-1], "intercept": solution[-1]}

    def _base_prediction(self, X: NDArray[Any]) -> NDArray[Any]:
        if self.init_mapper_ is None:
            mean = self._scales["target"]["mean"]
            return np.broadcast_to(mean.astype(X.dtype), (len(X), len(mean)))
        return self.init_mapper_.predict(X).reshape(len(X), -1)

    def _head_outputs(self, side: str, rows: NDArray[Any]) -> NDArray[Any]:
        from skxmodal.mappers._gmlp_training import head_outputs, load_heads

        known = _heads.get(self)
        if known is None or known[0] is not self.weights_ or known[1] != self.device:
            heads = load_heads(self.weights_, self._shape, self.device)
            known = _heads[self] = (self.weights_, self.device, heads)
        return head_outputs(known[2], side, rows, self._scales[side])
