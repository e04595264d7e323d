"""KL terms against the untrained policy and the weight of the term (method.md 10, flow-grpo-reference 2.7). Pure."""

from torch import Tensor

# Schulman et al. 2017 (PPO), section 4: the weight moves when the KL is this factor off its target, by this factor.
_TOLERANCE = 1.5
_FACTOR = 2.0
_ANCHOR_RANGE = (0.5, 1.5)


def mean_kl(mean: Tensor, reference_mean: Tensor, diffusion: float | Tensor) -> Tensor:
    """Return [B]: mean(dmu^2) / (2 s^2) of means [B, C, H, W], unweighted over positions, as Flow-GRPO has it.

    s is the diffusion coefficient without sqrt(-dt).
    """
    squared = ((mean - reference_mean) ** 2).mean(tuple(range(1, mean.ndim)))
    return squared / (2 * diffusion**2)


def velocity_kl(velocity: Tensor, reference_velocity: Tensor) -> Tensor:
    """Return [B]: mean squared difference of the velocities [B, C, H, W]; the same strength at every step."""
    return ((velocity - reference_velocity) ** 2).mean((1, 2, 3))


def anchor_weights(allocation_map: Tensor) -> Tensor:
    """Return [B, P], mean 1: a stronger anchor where the allocation map [B, P] puts little reward.

    2 - w within [0.5, 1.5], divided by its mean. The KL is never multiplied by w itself: that would hold exactly the
    positions that are to move.
    """
    weights = (2 - allocation_map).clamp(*_ANCHOR_RANGE)
    return weights / weights.mean(1, keepdim=True)


def anchored_kl(squared_shift: Tensor, allocation_map: Tensor, diffusion: float) -> Tensor:
    """Return [B]: `mean_kl` with `anchor_weights`; squared_shift [B, P], mean over n of (mu - mu_reference)^2."""
    weighted: Tensor = (anchor_weights(allocation_map) * squared_shift).mean(1)
    return weighted / (2 * diffusion**2)


def adapted_weight(weight: float, measured: float, target: float) -> float:
    """Return the weight of the KL term from now on: doubled above 1.5 x target, halved below target / 1.5."""
    if measured > _TOLERANCE * target:
        return weight * _FACTOR
    return weight / _FACTOR if measured < target / _TOLERANCE else weight
