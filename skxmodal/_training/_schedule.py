"""Learning rates over a training."""

from __future__ import annotations

import math


def cosine_schedule(step: int, n_steps: int, n_warmup: int) -> float:
    """Factor on the learning rate: a linear warm-up, then half a cosine.

    Parameters
    ----------
    step : int
        Number of the step, from 0.
    n_steps, n_warmup : int
        Steps of the whole training and of its warm-up.

    Returns
    -------
    factor : float
        In (0, 1]; 1 where the warm-up ends.

    Examples
    --------
    >>> [round(cosine_schedule(step, 6, 2), 2) for step in range(6)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    if step < n_warmup:
        return (step + 1) / n_warmup
    done = (step - n_warmup) / max(1, n_steps - n_warmup)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
