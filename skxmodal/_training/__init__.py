"""Pieces of training shared by the mappers and the encoders. Imports torch."""

from skxmodal._training._average import WeightAverage
from skxmodal._training._batches import (
    check_contrastive_batches,
    epoch_batches,
    n_batches,
)
from skxmodal._training._checkpoint import Checkpoint, digest
from skxmodal._training._device import autocast, resolve_device, resolve_precision
from skxmodal._training._finite import check_finite_loss, check_finite_weights
from skxmodal._training._interrupt import InterruptGuard
from skxmodal._training._loop import Training
from skxmodal._training._losses import info_nce
from skxmodal._training._schedule import cosine_schedule
from skxmodal._training._seed import own_generator

__all__ = [
    "Checkpoint",
    "InterruptGuard",
    "Training",
    "WeightAverage",
    "autocast",
    "check_contrastive_batches",
    "check_finite_loss",
    "check_finite_weights",
    "cosine_schedule",
    "digest",
    "epoch_batches",
    "info_nce",
    "n_batches",
    "own_generator",
    "resolve_device",
    "resolve_precision",
]
