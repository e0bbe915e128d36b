"""What a retriever's own `score` says of ranks."""

from __future__ import annotations

import warnings

from skxmodal.metrics._ranking import hit_rate_at_k
from skxmodal.metrics._ranks import RetrievalRanks

SCORE_K = 10


def default_score(found: RetrievalRanks, *, stacklevel: int = 3) -> float:
    """Hit rate at 10 of text-to-image search, 1 where the gallery is no larger.

    Warns
    -----
    UserWarning
        If every query hits, the gallery being so small.
    """
    ranks = found.query_to_target
    assert ranks is not None
    n_pictures = ranks.gallery_size or 0
    if n_pictures > SCORE_K:
        return float(hit_rate_at_k(ranks, SCORE_K))
    warnings.warn(
        f"The score is recall@{SCORE_K}, and the {n_pictures} pictures of y are no "
        "more than that: every query hits. Score on a larger gallery, or choose K "
        "with RecallScorer(k=...).",
        UserWarning,
        stacklevel=stacklevel,
    )
    return 1.0
