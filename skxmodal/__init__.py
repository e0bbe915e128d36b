"""Cross-modal retrieval in scikit-learn."""

from __future__ import annotations

from skxmodal.encoders import (
    ContrastiveTuner,
    ImageEncoder,
    TextEncoder,
    TorchvisionEncoder,
)
from skxmodal.mappers import (
    CCAMapper,
    GMLPMapper,
    LeastSquaresMapper,
    ProcrustesMapper,
    RelativeMapper,
)
from skxmodal.metrics import RecallScorer, RetrievalScorer
from skxmodal.retriever import CrossModalRetriever

__version__ = "0.1.0.dev0"

__all__ = [
    "CCAMapper",
    "ContrastiveTuner",
    "CrossModalRetriever",
    "GMLPMapper",
    "ImageEncoder",
    "LeastSquaresMapper",
    "ProcrustesMapper",
    "RecallScorer",
    "RelativeMapper",
    "RetrievalScorer",
    "TextEncoder",
    "TorchvisionEncoder",
    "__version__",
]
