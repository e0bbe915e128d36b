"""Captioned pictures and paired embeddings to try things on."""

from skxmodal.datasets._captioned import load_captioned_images
from skxmodal.datasets._openmoji import load_openmoji
from skxmodal.datasets._paired import make_paired_embeddings

__all__ = ["load_captioned_images", "load_openmoji", "make_paired_embeddings"]
