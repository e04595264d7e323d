"""Moving averages of the trainable parameters. Pure; one call per update: nothing depends on ranks or micro-batches."""

from collections.abc import Sequence

import torch
from torch import Tensor


def mix_policies(slow: Sequence[Tensor], current: Sequence[Tensor], decay: float) -> None:
    """Move the slow values in place: slow = decay * slow + (1 - decay) * current."""
    with torch.no_grad():
        for slow_values, values in zip(slow, current, strict=True):
            # decay 0 must give a bit-equal copy.
            slow_values.mul_(decay).add_(values, alpha=1 - decay)


def ema_decay(update_count: int, largest: float) -> float:
    """Return min((1 + k) / (10 + k), largest) after update k: a short memory while there is little to remember."""
    return min((1 + update_count) / (10 + update_count), largest)


def old_policy_decay(iteration: int, decay_max: float, decay_slope: float) -> float:
    """Return eta = min(decay_max, decay_slope * iteration), applied after `iteration` (method.md 9.5)."""
    return min(decay_max, decay_slope * iteration)
