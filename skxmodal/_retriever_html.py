"""What a notebook shows of a fitted retriever besides its parameters."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
from sklearn.utils import estimator_html_repr

from skxmodal.neighbors import count_ranks

_K = 10
# A representation must not take long: so many queries, and so many scores.
_MOST_QUERIES = 1000
_MOST_SCORES = 2 * 10**7
_STYLE = "margin:0 0 .5em;font-family:sans-serif;font-size:.9em;line-height:1.4"


class RetrieverHTML:
    """Put a summary of the fit above scikit-learn's diagram of a retriever."""

    def _repr_html_inner(self) -> str:
        return self._html_summary() + estimator_html_repr(self)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        # Mixed into an estimator, which has the method.
        bundle = super()._repr_mimebundle_(**kwargs)  # type: ignore[misc]
        if "text/html" in bundle:
            bundle["text/html"] = self._html_summary() + bundle["text/html"]
        return bundle

    def _html_summary(self) -> str:
        if not hasattr(self, "gallery_ids_"):
            return ""
        rows = "".join(
            f"<tr><th scope='row' style='text-align:left'>{escape(name)}</th>"
            f"<td style='text-align:left'>{escape(value)}</td></tr>"
            for name, value in summary(self).items()
        )
        return f"<table style='{_STYLE}'><tbody>{rows}</tbody></table>"


def summary(retriever: Any) -> dict[str, str]:
    """Name what a fitted retriever searches, by what, and how well.

    Parameters
    ----------
    retriever : CrossModalRetriever
        Fitted.

    Returns
    -------
    summary : dict of str to str
        By heading.
    """
    queries = retriever._query_gallery.vectors
    n_items = len(retriever.gallery_ids_)
    hubness, subspace = retriever.hubness_, retriever.subspace_
    n_components = queries.shape[1] if subspace is None else len(subspace)
    found = {
        "Gallery": f"{n_items:,} items",
        "Fitted on": f"{len(queries):,} pairs of {len(retriever._target_bank):,} items",
        "Encoders": " and ".join(
            _name(encoder)
            for encoder in (retriever.query_encoder_, retriever.target_encoder_)
        ),
        "Mapper": f"{type(retriever.mapper_).__name__}, {n_components} dimensions",
    }
    if hubness is not None:
        found["Hubness"] = type(hubness).__name__
    score = training_score(retriever)
    if score is not None:
        found[f"Recall@{_K} on its own pairs"] = (
            f"{score:.0%}, which flatters: score pairs that it was not fitted to"
        )
    return found


def training_score(retriever: Any) -> float | None:
    """Hit rate at 10 of the pairs of the fit, in its gallery, without correction.

    Parameters
    ----------
    retriever : CrossModalRetriever
        Fitted.

    Returns
    -------
    score : float or None
        Of a sample of the queries where there are many. None where there are no more
        items than ten, or more than can be ranked at once.
    """
    queries, items = retriever._query_gallery.vectors, retriever._target_bank
    item_of_query = retriever._item_of_query
    n_ranked = min(_MOST_QUERIES, len(queries), _MOST_SCORES // len(items))
    if len(items) <= _K or n_ranked < 1:
        return None
    rows = np.sort(np.random.default_rng(0).permutation(len(queries))[:n_ranked])
    ranks = count_ranks(
        queries[rows], items, np.arange(n_ranked + 1), item_of_query[rows]
    )
    return float((ranks <= _K).mean())


def _name(encoder: Any) -> str:
    if encoder is None:
        return "embeddings"
    if isinstance(encoder, str):
        return encoder
    name = type(encoder).__name__
    # Of a union, of a pipeline: all that make the vectors.
    steps = getattr(encoder, "transformer_list", getattr(encoder, "steps", None))
    if steps is not None:
        return f"{name}({', '.join(_name(step) for _, step in steps)})"
    part = getattr(encoder, "model", getattr(encoder, "func", None))
    part = getattr(part, "__name__", part)
    return f"{name}({part})" if isinstance(part, str) else name
