"""Measures of two embedding spaces, before any map is fitted, and displays."""

from skxmodal.inspection._alignment import (
    NeighborOverlap,
    effective_rank,
    hubness_skewness,
    linear_cka,
    mutual_knn_overlap,
)
from skxmodal.inspection._alignment_report import AlignmentReport, alignment_report
from skxmodal.inspection._hub_histogram import HubHistogramDisplay
from skxmodal.inspection._pairs_curve import PairsCurveDisplay
from skxmodal.inspection._picture_hits import PictureHitsDisplay
from skxmodal.inspection._recall_curve import RecallCurve, RecallCurveDisplay
from skxmodal.inspection._spectrum import AlignmentSpectrumDisplay

__all__ = [
    "AlignmentReport",
    "AlignmentSpectrumDisplay",
    "HubHistogramDisplay",
    "NeighborOverlap",
    "PairsCurveDisplay",
    "PictureHitsDisplay",
    "RecallCurve",
    "RecallCurveDisplay",
    "alignment_report",
    "effective_rank",
    "hubness_skewness",
    "linear_cka",
    "mutual_knn_overlap",
]
