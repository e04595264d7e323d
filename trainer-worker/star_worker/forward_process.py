"""Position-weighted DiffusionNFT (method.md 9.5). Pure, float32."""

from dataclasses import dataclass

import torch
from torch import Tensor

# Keeps the self-normalisation finite when a prediction is exact.
_SMALLEST_SCALE = 1e-5


@dataclass(frozen=True, kw_only=True, slots=True)
class NoisedLatents:
    """x_s = (1 - s) x0 + s e. All [B, C, H, W]; sigma [B]."""

    noised: Tensor
    clean: Tensor
    sigma: Tensor


def add_noise(clean: Tensor, noise: Tensor, sigma: Tensor) -> NoisedLatents:
    """Return the latents at noise levels `sigma` [B]."""
    level = sigma[:, None, None, None]
    return NoisedLatents(noised=(1 - level) * clean + level * noise, clean=clean, sigma=sigma)


def positive_share(advantage: Tensor, allocation_map: Tensor | None, advantage_scale: float, patch_size: int) -> Tensor:
    """Return rho = 1/2 + 1/2 clip(A w / Z, -1, 1) at latent size.

    advantage [B]; allocation map [B, h, w] of mean 1 (None: 1 everywhere) -> [B, 1, h * patch, w * patch]
    (or [B, 1, 1, 1] without a map).
    """
    mask = advantage[:, None, None]
    if allocation_map is not None:
        mask = mask * allocation_map
        mask = mask.repeat_interleave(patch_size, 1).repeat_interleave(patch_size, 2)
    return 0.5 + 0.5 * (mask / advantage_scale).clamp(-1, 1)[:, None]


def forward_process_loss(
    velocity: Tensor, old_velocity: Tensor, latents: NoisedLatents, positive: Tensor, beta: float
) -> Tensor:
    """Return the loss [B]; gradients reach `velocity` only. `positive` is rho of `positive_share`."""
    difference = beta * (velocity - old_velocity.detach())
    toward = _prediction_error(old_velocity + difference, latents)
    away = _prediction_error(old_velocity - difference, latents)
    return (positive * toward + (1 - positive) * away).mean((1, 2, 3)) / beta


def _prediction_error(velocity: Tensor, latents: NoisedLatents) -> Tensor:
    """Return the squared error of the predicted clean latents over the mean absolute one of the picture (detached)."""
    predicted = latents.noised - latents.sigma[:, None, None, None] * velocity
    error = predicted - latents.clean
    scale = error.detach().abs().mean((1, 2, 3), keepdim=True).clamp(min=_SMALLEST_SCALE)
    return error**2 / scale


def mix_policies(old: list[Tensor], current: list[Tensor], decay: float) -> None:
    """Move the old policy in place: old = decay * old + (1 - decay) * current."""
    with torch.no_grad():
        for old_values, values in zip(old, current, strict=True):
            # decay 0 must give a bit-equal copy.
            old_values.mul_(decay).add_(values, alpha=1 - decay)


def old_policy_decay(iteration: int, decay_max: float, decay_slope: float) -> float:
    """Return eta = min(decay_max, decay_slope * iteration), applied after `iteration`."""
    return min(decay_max, decay_slope * iteration)
