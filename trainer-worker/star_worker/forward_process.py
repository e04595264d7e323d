"""Position-weighted forward-process objectives: DiffusionNFT (method.md 9.5) and AWM. Pure, float32."""

from dataclasses import dataclass

from torch import Tensor

from star_worker.flow_sde import position_mean

# Keeps the self-normalisation finite when a prediction is exact.
_SMALLEST_SCALE = 1e-5


@dataclass(frozen=True, kw_only=True, slots=True)
class NoisedLatents:
    """noised = (1 - sigma) clean + sigma noise. All [B, C, H, W]; sigma [B]."""

    noised: Tensor
    clean: Tensor
    noise: Tensor
    sigma: Tensor


def add_noise(clean: Tensor, noise: Tensor, sigma: Tensor) -> NoisedLatents:
    """Return the latents at noise levels `sigma` [B]."""
    level = sigma[:, None, None, None]
    return NoisedLatents(noised=(1 - level) * clean + level * noise, clean=clean, noise=noise, sigma=sigma)


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


def matching_log_density(velocity: Tensor, latents: NoisedLatents, patch_size: int) -> Tensor:
    """Return AWM's stand-in for a log-density per position, [B, P]: minus the flow-matching error (2509.25050)."""
    return -position_mean((velocity - (latents.noise - latents.clean)) ** 2, patch_size)
