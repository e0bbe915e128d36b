"""Pieces of training shared by the mappers and the encoders. Imports torch."""

from skxmodal._training._average import WeightAverage
from skxmodal._training._batches import (
    check_contrastive_batches,
    epoch_batches,
    n_batches,
)
from skxmodal._training._checkpoint import Checkpoint, digest
from skxmodal._training._device import autocast, resolve_device
from skxmodal._training._finite import check_finite_loss
from skxmodal._training._interrupt import InterruptGuard
from skxmodal._training._loop import Training
from skxmodal._training._losses import info_nce
from skxmodal._training._schedule import cosine_schedule

__all__ = [
    "Checkpoint",
    "InterruptGuard",
    "Training",
    "WeightAverage",
    "autocast",
    "check_contrastive_batches",
    "check_finite_loss",
    "cosine_schedule",
    "digest",
    "epoch_batches",
    "info_nce",
    "n_batches",
    "resolve_device",
]
