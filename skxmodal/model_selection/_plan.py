"""Which candidates can be scored from moments."""

from __future__ import annotations

from inspect import getattr_static, isfunction
from typing import Any

from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from skxmodal.mappers._moment_mapper import MomentMapper
from skxmodal.model_selection._one_pass import Candidate
from skxmodal.neighbors import make_hubness

# What a mapper of one's own says about its solution, and may say otherwise.
_HOOKS = {"_solve", "_target_products", "_reads_rows"}


def plan(estimator: Any, params: dict[str, Any]) -> Candidate | None:
    """A candidate to score from moments, or None where it needs ordinary fits.

    Parameters
    ----------
    estimator : mapper, Pipeline of a mapper alone, or CrossModalRetriever
        The estimator whose parameters are chosen.
    params : dict
        The candidate's parameters.

    Returns
    -------
    candidate : Candidate or None
        None also where a parameter is invalid: fits then say so.
    """
    candidate = clone(estimator).set_params(**clone(params, safe=False))
    try:
        return _plan(candidate, params)
    except (TypeError, ValueError):
        return None


def mapper_of(estimator: Any) -> MomentMapper | None:
    """The mapper that an estimator is, or that a pipeline consists of, if any."""
    if type(estimator) is Pipeline:
        *before, (_, estimator) = estimator.steps
        if any(step not in (None, "passthrough") for _, step in before):
            return None
    return estimator if isinstance(estimator, MomentMapper) else None


def _plan(estimator: Any, params: dict[str, Any]) -> Candidate | None:
    own = mapper_of(estimator)
    if own is not None:
        return _from_moments(own) if _keeps_methods(own) else None
    if not _keeps_methods(estimator):
        return None
    if not hasattr(estimator, "gallery_items") or any(
        name.startswith(("query_encoder", "target_encoder")) for name in params
    ):
        return None
    for encoder in (estimator.query_encoder, estimator.target_encoder):
        if encoder is not None and get_tags(encoder).requires_fit:
            return None
    mapper = estimator._make_mapper()
    if not isinstance(mapper, MomentMapper) or not _keeps_methods(mapper):
        return None
    return _from_moments(mapper, make_hubness(estimator.hubness))


def _from_moments(mapper: MomentMapper, hubness: Any = None) -> Candidate | None:
    mapper._validate_params()
    return None if mapper._reads_rows() else Candidate(mapper, hubness)


def _keeps_methods(estimator: Any) -> bool:
    """Whether a subclass of ours does what the one pass does in its stead."""
    own = type(estimator)
    ours = (base for base in own.__mro__ if base.__module__.startswith("skxmodal."))
    base = next(ours, None)
    if base is None or base is own:
        return base is own
    return all(
        getattr_static(own, name) is method
        for name in dir(base)
        if not name.startswith("__") and name not in _HOOKS
        for method in [getattr_static(base, name)]
        if isfunction(method) or isinstance(method, property)
    )
