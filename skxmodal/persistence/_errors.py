"""What goes wrong with a model on disk."""

from __future__ import annotations


class PersistenceError(ValueError):
    """A model cannot be saved, or what is on disk is not a whole, known model."""
