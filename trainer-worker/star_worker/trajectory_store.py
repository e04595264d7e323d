"""What a rollout leaves behind for the update: latents and old log-densities, by micro-batch.

Micro-batches keep the shape and the membership of the rollout, padding included: only then is the ratio before the
first optimiser step exactly 1.
"""

from dataclasses import dataclass

from torch import Tensor

from star_worker.flow_sde import StepRule


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedStep:
    """A stochastic step of one micro-batch: latents before and after [B, C, H, W], old log-density [B, P].

    old_mean: mean of the next latent [B, C, H, W]; None where the objective does not ask for it.
    """

    step_index: int
    latent: Tensor
    next_latent: Tensor
    old_log_density: Tensor
    old_mean: Tensor | None


@dataclass(frozen=True, kw_only=True, slots=True)
class MicroBatchTrajectory:
    """B rows, of which the first `len(rollout_ids)` are rollouts and the rest is padding.

    steps: empty for the forward process; final_latent: clean latents [B, C, H, W], None for the policy gradient.
    """

    rollout_ids: tuple[str, ...]
    prompts: tuple[str, ...]
    steps: tuple[TrainedStep, ...]
    final_latent: Tensor | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Trajectories:
    """All kept trajectories of an iteration; `rules` holds the numbers of every trained step by step index."""

    iteration: int
    sigmas: tuple[float, ...]
    rules: dict[int, StepRule]
    micro_batches: tuple[MicroBatchTrajectory, ...]

    def rollout_ids(self) -> tuple[str, ...]:
        """Return the ids in plan order."""
        return tuple(rollout_id for batch in self.micro_batches for rollout_id in batch.rollout_ids)
