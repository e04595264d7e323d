"""One denoising step and its log-density per latent position. Pure, float32.

Drawing and scoring are one function: give the noise to draw, or the next latent to score. Both form the log-density
from the finished next latent, so that the score of an unchanged policy equals the drawn one bit for bit.
Source: flow-grpo-reference 1.2 (Flow-SDE), 1.7 (CPS), 1.3 (log-density).
"""

import math
from dataclasses import dataclass

from torch import Tensor

from star_worker.types import Sampler


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRule:
    """The numbers of one stochastic step: mean = latent_factor * x + velocity_factor * v.

    std: standard deviation of the noise that is added.
    diffusion: Flow-SDE's coefficient s (std without sqrt(-dt)); CPS: std. The KL term divides by it.
    normalised: the log-density is the Gaussian's. CPS drops its constants and 1 / (2 std^2), as its reference does.
    """

    latent_factor: float
    velocity_factor: float
    std: float
    diffusion: float
    normalised: bool
    dt: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A made or scored step: next latent and mean [B, C, H, W], log-density per position [B, P]."""

    next_latent: Tensor
    mean: Tensor
    log_density: Tensor


def step_rule(sampler: Sampler, sigmas: tuple[float, ...], step_index: int, noise_level: float) -> StepRule:
    """Return the numbers of step `step_index` of the table."""
    build = _flow_sde_rule if sampler == "flow_sde" else _cps_rule
    return build(sigmas, step_index, noise_level)


def _flow_sde_rule(sigmas: tuple[float, ...], step_index: int, noise_level: float) -> StepRule:
    sigma, sigma_next = sigmas[step_index], sigmas[step_index + 1]
    dt = sigma_next - sigma
    # At sigma 1 the coefficient would be infinite: only there the second entry of the table stands in.
    bounded = sigmas[1] if sigma == 1 else sigma
    diffusion = noise_level * math.sqrt(sigma / (1 - bounded))
    half = diffusion**2 / (2 * sigma)
    return StepRule(
        latent_factor=1 + half * dt,
        velocity_factor=(1 + half * (1 - sigma)) * dt,
        std=diffusion * math.sqrt(-dt),
        diffusion=diffusion,
        normalised=True,
        dt=dt,
    )


def _cps_rule(sigmas: tuple[float, ...], step_index: int, noise_level: float) -> StepRule:
    sigma, sigma_next = sigmas[step_index], sigmas[step_index + 1]
    std = sigma_next * math.sin(noise_level * math.pi / 2)
    kept = math.sqrt(max(sigma_next**2 - std**2, 0.0))
    return StepRule(
        latent_factor=(1 - sigma_next) + kept,
        velocity_factor=kept * (1 - sigma) - (1 - sigma_next) * sigma,
        std=std,
        diffusion=std,
        normalised=False,
        dt=sigma_next - sigma,
    )


def draw_step(rule: StepRule, latent: Tensor, velocity: Tensor, noise: Tensor, patch_size: int) -> Step:
    """Return the step made with the standard normal `noise`; all tensors float32 [B, C, H, W]."""
    mean = step_mean(rule, latent, velocity)
    return _finish(rule, mean, mean + rule.std * noise, patch_size)


def score_step(rule: StepRule, latent: Tensor, velocity: Tensor, next_latent: Tensor, patch_size: int) -> Step:
    """Return the step from `latent` to the given `next_latent`; gradients reach `velocity` only."""
    return _finish(rule, step_mean(rule, latent, velocity), next_latent.detach(), patch_size)


def step_mean(rule: StepRule, latent: Tensor, velocity: Tensor) -> Tensor:
    """Return the mean of the next latent, float32 [B, C, H, W]."""
    return rule.latent_factor * latent.float() + rule.velocity_factor * velocity.float()


def ode_step(latent: Tensor, velocity: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """Return the Euler step of the flow, float32 [B, C, H, W]."""
    return latent.float() + (sigma_next - sigma) * velocity.float()


def position_mean(values: Tensor, patch_size: int) -> Tensor:
    """Return [B, P], the mean of [B, C, H, W] over the n values of every image token, rows first."""
    batch, channels, height, width = values.shape
    rows, columns = height // patch_size, width // patch_size
    tiles = values.reshape(batch, channels, rows, patch_size, columns, patch_size)
    return tiles.mean((1, 3, 5)).reshape(batch, rows * columns)


def step_gradient_scale(rule: StepRule) -> float:
    """Return the factor that evens out a step's gradient with respect to the velocity.

    std / |dt| for Flow-SDE. CPS's log-density is 2 std^2 times the Gaussian's, so its factor is divided by that.
    """
    scale = rule.std / abs(rule.dt)
    return scale if rule.normalised else scale / (2 * rule.std**2)


def _finish(rule: StepRule, mean: Tensor, next_latent: Tensor, patch_size: int) -> Step:
    squared = position_mean((next_latent - mean) ** 2, patch_size)
    if not rule.normalised:
        log_density = -squared
    elif rule.std > 0:
        log_density = squared * (-1 / (2 * rule.std**2)) - (math.log(rule.std) + 0.5 * math.log(2 * math.pi))
    else:
        # Without noise there is no density; a noise level of 0 is sampled for comparison but never trained.
        log_density = squared * math.nan
    return Step(next_latent=next_latent, mean=mean, log_density=log_density)
