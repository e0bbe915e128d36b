"""Encoders of texts and pictures, as scikit-learn transformers."""

from skxmodal._pictures import PictureError
from skxmodal.encoders._cache import EmbeddingCache
from skxmodal.encoders._cache_store import CacheWarning
from skxmodal.encoders._contrastive import ContrastiveTuner
from skxmodal.encoders._image import ImageEncoder
from skxmodal.encoders._text import TextEncoder
from skxmodal.encoders._torchvision import TorchvisionEncoder

__all__ = [
    "CacheWarning",
    "ContrastiveTuner",
    "EmbeddingCache",
    "ImageEncoder",
    "PictureError",
    "TextEncoder",
    "TorchvisionEncoder",
]
