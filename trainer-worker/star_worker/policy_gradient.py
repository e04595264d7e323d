"""Clipped policy-gradient objective with an allocation map (method.md 9.1 a and b), and the KL term (10). Pure."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class ClippedObjective:
    """loss: [B], mean over positions, to be minimised; ratio and log_ratio: [B, P], or [B, 1] per rollout."""

    loss: Tensor
    ratio: Tensor
    log_ratio: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class RatioStatistics:
    """Sums over the rows that count; divide by `count`. `max_error` is the largest |ratio - 1|."""

    count: int
    clipped: Tensor
    clipped_above: Tensor
    clipped_below: Tensor
    squared_log_ratio: Tensor
    max_error: Tensor


def clipped_objective(
    log_density: Tensor,
    old_log_density: Tensor,
    advantage: Tensor,
    allocation_map: Tensor | None,
    *,
    clip_range: float,
    ratio_level: Literal["position", "rollout"],
) -> ClippedObjective:
    """Return the clipped loss of a batch; log-densities [B, P], advantage [B], allocation map [B, P] of mean 1.

    "position": one ratio a position, advantage x map is the loss mask of that position (9.1 a).
    "rollout": one ratio a picture, the map weights the positions inside the ratio (9.1 b); without a map this is
    Flow-GRPO's loss. None as map stands for 1 everywhere.
    """
    log_ratio = log_density - old_log_density
    loss_mask = advantage[:, None]
    if ratio_level == "rollout":
        weighted = log_ratio if allocation_map is None else log_ratio * allocation_map
        log_ratio = weighted.mean(1, keepdim=True)
    elif allocation_map is not None:
        loss_mask = loss_mask * allocation_map
    ratio = log_ratio.exp()
    clipped_ratio = ratio.clamp(1 - clip_range, 1 + clip_range)
    loss = torch.maximum(-loss_mask * ratio, -loss_mask * clipped_ratio)
    return ClippedObjective(loss=loss.mean(1), ratio=ratio, log_ratio=log_ratio)


def ratio_statistics(objective: ClippedObjective, counted: Tensor, clip_range: float) -> RatioStatistics:
    """Return the statistics over the rows where bool [B] `counted` holds (at least one)."""
    ratio, log_ratio = objective.ratio.detach()[counted], objective.log_ratio.detach()[counted]
    error = ratio - 1
    above, below = (error > clip_range).sum(), (error < -clip_range).sum()
    return RatioStatistics(
        count=ratio.numel(),
        clipped=above + below,
        clipped_above=above,
        clipped_below=below,
        squared_log_ratio=(log_ratio**2).sum(),
        max_error=error.abs().max(),
    )


def kl_divergence(mean: Tensor, reference_mean: Tensor, diffusion: float | Tensor) -> Tensor:
    """Return [B]: mean(dmu^2) / (2 s^2), unweighted over positions, as Flow-GRPO has it (flow-grpo-reference 2.7).

    s is the diffusion coefficient without sqrt(-dt); the map never weights this term (method.md 10).
    """
    squared = ((mean - reference_mean) ** 2).mean(tuple(range(1, mean.ndim)))
    return squared / (2 * diffusion**2)
