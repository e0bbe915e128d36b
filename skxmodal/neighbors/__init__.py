"""Exact and approximate nearest neighbours, rank counts and hubness."""

from skxmodal.neighbors._ann import (
    HNSWIndex,
    IVFIndex,
    IVFPQIndex,
    ScalarQuantizedIndex,
)
from skxmodal.neighbors._csls import CSLS
from skxmodal.neighbors._exact import top_k
from skxmodal.neighbors._hubness import k_occurrence, make_hubness
from skxmodal.neighbors._hubness_base import HubnessCorrection
from skxmodal.neighbors._index import ExactIndex, make_index
from skxmodal.neighbors._inverted_softmax import DualSoftmax, InvertedSoftmax, QBNorm
from skxmodal.neighbors._local_scaling import LocalScaling
from skxmodal.neighbors._ranks import count_ranks
from skxmodal.neighbors._subspace import query_subspace

__all__ = [
    "CSLS",
    "DualSoftmax",
    "ExactIndex",
    "HNSWIndex",
    "HubnessCorrection",
    "IVFIndex",
    "IVFPQIndex",
    "InvertedSoftmax",
    "LocalScaling",
    "QBNorm",
    "ScalarQuantizedIndex",
    "count_ranks",
    "k_occurrence",
    "make_hubness",
    "make_index",
    "query_subspace",
    "top_k",
]
