"""The policy-gradient surrogate with an allocation map (method.md 9.1 to 9.2). Pure, float32.

Read in order: log-ratio per position -> ratio at the chosen level -> trust region (clip or KL mask) -> loss.
Shape letters: B rollouts, P latent positions, n values per position.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from star_worker.types import RatioLevel


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """ratio, log_ratio and loss_mask broadcast to one shape: [B, P], or [B, 1] for level "rollout"."""

    ratio: Tensor
    log_ratio: Tensor
    loss_mask: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Surrogate:
    """loss: [B], mean over positions, to be minimised; stopped: bool, where the trust region stops the gradient."""

    loss: Tensor
    stopped: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class RatioStatistics:
    """Sums over the rows that count; divide by `count`. `max_error` is the largest |ratio - 1|."""

    count: int
    clipped: Tensor
    clipped_above: Tensor
    clipped_below: Tensor
    squared_log_ratio: Tensor
    max_error: Tensor


def normalised_log_ratio(log_ratio: Tensor, squared_shift: Tensor, std: float) -> Tensor:
    """Return GRPO-Guard's RatioNorm of log-ratios [B, P] (arXiv 2510.22319; method.md 9.2).

    std (log_ratio + squared_shift / (2 std^2)) = mean_n(noise (mu - mu_old)): zero mean and a scale without std.
    squared_shift: [B, P], mean over n of (mu - mu_old)^2.
    """
    return std * (log_ratio + squared_shift / (2 * std**2))


def form_ratio(log_ratio: Tensor, advantage: Tensor, allocation_map: Tensor | None, level: RatioLevel) -> Ratio:
    """Return the ratio of log-ratios [B, P] with its loss mask; advantage [B], allocation map [B, P] of mean 1.

    "position": one ratio a position; advantage x map is its loss mask (9.1 a).
    "rollout": one ratio a picture, the map weights the positions inside it (9.1 b); without a map it is Flow-GRPO's.
    "gspo_token": the picture's ratio as value, the position's density as gradient (9.1 c).
    At ratio 1 all three have the gradient of advantage x map. None as map stands for 1 everywhere.
    """
    mask = advantage[:, None]
    if level == "rollout":
        weighted = log_ratio if allocation_map is None else log_ratio * allocation_map
        log_ratio = weighted.mean(1, keepdim=True)
        return Ratio(ratio=log_ratio.exp(), log_ratio=log_ratio, loss_mask=mask)
    loss_mask = (mask if allocation_map is None else mask * allocation_map).expand_as(log_ratio)
    if level == "gspo_token":
        picture = log_ratio.detach().mean(1, keepdim=True)
        log_ratio = picture + (log_ratio - log_ratio.detach())
    return Ratio(ratio=log_ratio.exp(), log_ratio=log_ratio, loss_mask=loss_mask)


def clipped(ratio: Ratio, clip_range: float) -> Surrogate:
    """Return PPO's clipped loss."""
    value, mask = ratio.ratio, ratio.loss_mask
    loss = torch.maximum(-mask * value, -mask * value.clamp(1 - clip_range, 1 + clip_range))
    return Surrogate(loss=loss.mean(1), stopped=(value.detach() - 1).abs() > clip_range)


def kl_masked(ratio: Ratio, squared_shift: Tensor, std: float, threshold: float) -> Surrogate:
    """Return Flow-DPPO's loss: no clip, but no gradient where the policy has moved too far and would move further.

    The divergence is the exact KL of the two Gaussians, averaged over values: squared_shift / (2 std^2), at the level
    of the ratio. Masked are divergences >= `threshold` whose ratio is on the side that the advantage pushes to.
    """
    value, mask = ratio.ratio, ratio.loss_mask
    divergence = squared_shift.detach() / (2 * std**2)
    if value.shape[1] == 1:
        divergence = divergence.mean(1, keepdim=True)
    further = (value.detach() - 1) * mask > 0
    stopped = (divergence >= threshold) & further
    return Surrogate(loss=torch.where(stopped, 0.0, -mask * value).mean(1), stopped=stopped)


def ratio_statistics(ratio: Ratio, stopped: Tensor, counted: Tensor) -> RatioStatistics:
    """Return the statistics over the rows where bool [B] `counted` holds (at least one)."""
    error, log_ratio = ratio.ratio.detach()[counted] - 1, ratio.log_ratio.detach()[counted]
    above, below = (stopped[counted] & (error > 0)).sum(), (stopped[counted] & (error < 0)).sum()
    return RatioStatistics(
        count=error.numel(),
        clipped=above + below,
        clipped_above=above,
        clipped_below=below,
        squared_log_ratio=(log_ratio**2).sum(),
        max_error=error.abs().max(),
    )
