"""Retrieval metrics, scorers, intervals and reports."""

from skxmodal.metrics._comparison import Comparison, compare_retrievers
from skxmodal.metrics._leakage import LeakageWarning, check_leakage
from skxmodal.metrics._protocol import retrieval_ranks
from skxmodal.metrics._ranking import (
    hit_rate_at_k,
    mean_average_precision,
    mean_reciprocal_rank,
    median_rank,
    ndcg_at_k,
    precision_at_k,
    r_sum,
    recall_at_k,
)
from skxmodal.metrics._ranks import Ranks, RetrievalRanks
from skxmodal.metrics._report import retrieval_report
from skxmodal.metrics._scorers import RecallScorer, RetrievalScorer

__all__ = [
    "Comparison",
    "LeakageWarning",
    "Ranks",
    "RecallScorer",
    "RetrievalRanks",
    "RetrievalScorer",
    "check_leakage",
    "compare_retrievers",
    "hit_rate_at_k",
    "mean_average_precision",
    "mean_reciprocal_rank",
    "median_rank",
    "ndcg_at_k",
    "precision_at_k",
    "r_sum",
    "recall_at_k",
    "retrieval_ranks",
    "retrieval_report",
]
