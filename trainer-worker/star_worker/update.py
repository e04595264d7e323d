"""The update: trajectories + loss masks -> optimiser steps and metrics. What all objectives share.

An objective goes over the micro-batches of the rollout unchanged (shape, membership, padding). Rollouts without an
advantage and padding have weight 0 and are not in the denominators; an advantage of 0 has weight 0 but counts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from star_worker.errors import StarError
from star_worker.optimizer import PolicyOptimizer
from star_worker.policy import Policy
from star_worker.policy_gradient import RatioStatistics
from star_worker.trajectory_store import MicroBatchTrajectory, Trajectories
from star_worker.types import Guidance, LossMask, UpdateMetrics


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateInput:
    """What objectives work on.

    old_policy: values of the trainable parameters (forward process only); kl_weight: weight of the KL term, which may
    move between iterations.
    """

    policy: Policy
    optimizer: PolicyOptimizer
    guidance: Guidance
    trajectories: Trajectories
    loss_masks: dict[str, LossMask]
    seed: int
    old_policy: Sequence[Tensor]
    kl_weight: float

    def trained_count(self) -> int:
        """Return the number of rollouts with an advantage: the denominator of the loss."""
        return sum(mask.advantage is not None for mask in self.loss_masks.values())


@dataclass(kw_only=True, slots=True)
class Totals:
    """Sums of an update; `ratio_error` is the on-policy gauge."""

    loss: list[float] = field(default_factory=list)
    gradient_norm: list[float] = field(default_factory=list)
    sums: dict[str, Tensor] = field(default_factory=dict)
    ratio_count: int = 0
    term_count: int = 0
    ratio_error: float | None = None
    ratio_max_deviation: float = 0.0

    def add(self, name: str, value: Tensor) -> None:
        """Add to the sum of a metric."""
        value = value.detach()
        self.sums[name] = self.sums[name] + value if name in self.sums else value

    def note_ratio(self, statistics: RatioStatistics) -> None:
        """Add the statistics of one batch of ratios."""
        self.ratio_count += statistics.count
        self.add("clip_fraction", statistics.clipped)
        self.add("clip_fraction_above", statistics.clipped_above)
        self.add("clip_fraction_below", statistics.clipped_below)
        self.add("approx_kl", 0.5 * statistics.squared_log_ratio)
        # A NaN must not hide in max().
        error = float(statistics.max_error)
        self.ratio_max_deviation = error if error != error else max(self.ratio_max_deviation, error)


@dataclass(frozen=True, kw_only=True, slots=True)
class RowMasks:
    """Masks of one micro-batch: advantage [B] (0 where left out), bool counted [B] (non-zero advantage)."""

    advantage: Tensor
    counted: Tensor
    masks: tuple[LossMask, ...]
    width: int
    token_grid: tuple[int, int]

    def allocation(self, step_index: int | None) -> Tensor | None:
        """Return the maps [B, h, w] of a step (None: mean over all given steps), or None where all are 1."""
        if all(mask.allocation_maps is None for mask in self.masks):
            return None
        maps = np.ones((self.width, *self.token_grid), np.float32)
        for row, mask in enumerate(self.masks):
            if mask.allocation_maps is None or not mask.step_indexes:
                continue
            if step_index is None:
                maps[row] = mask.allocation_maps.mean(0)
            elif step_index in mask.step_indexes:
                maps[row] = mask.allocation_maps[mask.step_indexes.index(step_index)]
        return torch.from_numpy(maps).to(self.advantage.device)


def collect_loss_masks(
    loss_masks: Iterator[LossMask], trajectories: Trajectories, token_grid: tuple[int, int]
) -> dict[str, LossMask]:
    """Return the masks by rollout id, one for each kept rollout.

    Raises TASK_ECHO_MISMATCH for missing, repeated or foreign rollouts, TENSOR_INVALID for maps of another shape.
    """
    expected = set(trajectories.rollout_ids())
    masks: dict[str, LossMask] = {}
    for mask in loss_masks:
        if mask.rollout_id not in expected or mask.rollout_id in masks:
            message = f"loss mask of rollout {mask.rollout_id}: expected one for each of {len(expected)} kept rollouts"
            raise StarError("TASK_ECHO_MISMATCH", f"{message}, received a foreign or repeated one")
        maps = mask.allocation_maps
        wanted = (len(mask.step_indexes), *token_grid)
        if maps is not None and maps.shape != wanted:
            message = f"allocation maps of rollout {mask.rollout_id}: expected shape {wanted}, received {maps.shape}"
            raise StarError("TENSOR_INVALID", message)
        masks[mask.rollout_id] = mask
    if missing := sorted(expected - masks.keys()):
        message = f"expected {len(expected)} loss masks, received {len(masks)}; missing for example {missing[:3]}"
        raise StarError("TASK_ECHO_MISMATCH", message)
    return masks


def row_masks(work: UpdateInput, batch: MicroBatchTrajectory) -> RowMasks:
    """Return the masks of a micro-batch, padding included."""
    masks = tuple(work.loss_masks[rollout_id] for rollout_id in batch.rollout_ids)
    width = len(batch.prompts)
    advantages = [mask.advantage or 0.0 for mask in masks] + [0.0] * (width - len(masks))
    advantage = torch.tensor(advantages, dtype=torch.float32, device=work.policy.device)
    return RowMasks(
        advantage=advantage, counted=advantage != 0, masks=masks, width=width, token_grid=work.policy.token_grid
    )


def backward(terms: Tensor, counted: Tensor, denominator: float) -> Tensor:
    """Add the gradient of the loss terms [B] of the rows that count, over the denominator; return that loss."""
    loss = torch.where(counted, terms, 0.0).sum() / denominator
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def optimizer_step(work: UpdateInput, totals: Totals, loss: Tensor) -> None:
    """Make one step with the accumulated gradient of `loss`. Raises NOT_FINITE."""
    totals.gradient_norm.append(work.optimizer.step(loss))
    totals.loss.append(float(loss))


def update_metrics(work: UpdateInput, totals: Totals, seconds: float) -> UpdateMetrics:
    """Return the metrics; what was not measured is absent."""
    values = {
        "trained_rollout_count": float(work.trained_count()),
        "optimizer_step_count": float(len(totals.loss)),
        "learning_rate": work.optimizer.learning_rate(),
        "parameter_distance_from_base": _distance_from_base(work.policy),
    }
    if totals.loss:
        values["loss"] = sum(totals.loss) / len(totals.loss)
        values["gradient_norm"] = sum(totals.gradient_norm) / len(totals.gradient_norm)
    for name, total in totals.sums.items():
        per_ratio = name.startswith(("clip_fraction", "approx_kl"))
        values[name] = float(total) / (totals.ratio_count if per_ratio else totals.term_count)
    if "kl" in values:
        values["kl_weight"] = work.kl_weight
    if totals.ratio_error is not None:
        values["ratio_max_error"] = totals.ratio_error
    if totals.ratio_count:
        values["ratio_max_deviation"] = totals.ratio_max_deviation
    return UpdateMetrics(values=values, seconds={"optimising": seconds})


@torch.no_grad()
def _distance_from_base(policy: Policy) -> float:
    """Return the Euclidean distance of the trainable parameters from their untrained values."""
    pairs = zip(policy.parameters, policy.initial, strict=True)
    return float(torch.stack([torch.dist(value, initial) for value, initial in pairs]).norm())
