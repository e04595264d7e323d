"""The update: trajectories + loss masks -> optimiser steps and metrics.

Both objectives go over the micro-batches of the rollout unchanged (shape, membership, padding). Rollouts without an
advantage and padding have weight 0 and are not in the denominators; an advantage of 0 has weight 0 but counts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from star_worker.errors import StarError
from star_worker.flow_sde import StepRule, score_step, step_gradient_scale, step_mean
from star_worker.forward_process import NoisedLatents, add_noise, forward_process_loss, positive_share
from star_worker.optimizer import PolicyOptimizer
from star_worker.policy_gradient import ClippedObjective, clipped_objective, kl_divergence, ratio_statistics
from star_worker.schedule import shift_sigma
from star_worker.sd3_policy import Sd3Policy
from star_worker.seeds import derive_seed, seeded_normal
from star_worker.trajectory_store import MicroBatchTrajectory, TrainedStep, Trajectories
from star_worker.types import (
    CheckCancelled,
    ForwardProcessConfig,
    LossMask,
    PolicyGradientConfig,
    ProgressCallback,
    UpdateMetrics,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateInput:
    """What both objectives work on. `old_policy`: values of the trainable parameters (forward process only)."""

    policy: Sd3Policy
    optimizer: PolicyOptimizer
    guidance_scale: float
    trajectories: Trajectories
    loss_masks: dict[str, LossMask]
    seed: int
    old_policy: Sequence[Tensor]


@dataclass(kw_only=True, slots=True)
class _Totals:
    """Sums of an update; `ratio_error` is the on-policy gauge."""

    loss: list[float] = field(default_factory=list)
    gradient_norm: list[float] = field(default_factory=list)
    sums: dict[str, Tensor] = field(default_factory=dict)
    ratio_count: int = 0
    term_count: int = 0
    ratio_error: float | None = None
    ratio_max_deviation: float = 0.0

    def add(self, name: str, value: Tensor) -> None:
        value = value.detach()
        self.sums[name] = self.sums[name] + value if name in self.sums else value


@dataclass(frozen=True, kw_only=True, slots=True)
class _RowMasks:
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


def update_policy_gradient(
    work: UpdateInput, config: PolicyGradientConfig, progress: ProgressCallback, check_cancelled: CheckCancelled
) -> UpdateMetrics:
    """Make `optimizer_step_count` steps; step k of n uses the trained steps k, k + n, k + 2n, ... of all rollouts.

    The gauge max|ratio - 1| covers everything that the first optimiser step uses and raises NOT_ON_POLICY before it.
    """
    started = perf_counter()
    step_indexes = sorted(work.trajectories.rules)
    count = config.optimizer_step_count
    if len(step_indexes) < count:
        message = f"objective.optimizerSteps: expected at most the {len(step_indexes)} trained steps, received {count}"
        raise StarError("RECIPE_INVALID", message)
    totals = _Totals()
    rows = [_row_masks(work, batch) for batch in work.trajectories.micro_batches]
    trained = sum(mask.advantage is not None for mask in work.loss_masks.values())
    for turn in range(count):
        chosen = step_indexes[turn::count]
        work.optimizer.zero_grad()
        turn_loss = _policy_gradient_turn(work, config, chosen, rows, trained, totals, check_cancelled)
        if turn_loss is None:
            continue
        if turn == 0:
            _check_on_policy(totals, config.on_policy_tolerance)
        _step(work, totals, turn_loss)
        progress("optimising", (turn + 1) / count)
    return _metrics(work, totals, trained, perf_counter() - started)


def _policy_gradient_turn(
    work: UpdateInput,
    config: PolicyGradientConfig,
    chosen: Sequence[int],
    rows: Sequence[_RowMasks],
    trained: int,
    totals: _Totals,
    check_cancelled: CheckCancelled,
) -> Tensor | None:
    """Accumulate the gradient of one optimiser step; None when no rollout has a weight."""
    total = None
    for batch, masks in zip(work.trajectories.micro_batches, rows, strict=True):
        if not bool(masks.counted.any()):
            continue
        condition = work.policy.encode(batch.prompts)
        for step in batch.steps:
            if step.step_index not in chosen:
                continue
            check_cancelled()
            rule, sigma = work.trajectories.rules[step.step_index], work.trajectories.sigmas[step.step_index]
            # The reference runs first: parameters must not be swapped between a forward and its backward pass.
            reference = None
            if config.kl_beta > 0:
                with torch.no_grad(), work.policy.using(work.policy.initial):
                    reference = work.policy.velocity(step.latent, sigma, condition, work.guidance_scale)
            velocity = work.policy.velocity(step.latent, sigma, condition, work.guidance_scale)
            terms = _policy_gradient_terms(work, config, rule, step, velocity, reference, masks, totals)
            loss = torch.where(masks.counted, terms, 0.0).sum() / (trained * len(chosen))
            loss.backward()  # type: ignore[no-untyped-call]
            total = loss.detach() if total is None else total + loss.detach()
    return total


def _policy_gradient_terms(
    work: UpdateInput,
    config: PolicyGradientConfig,
    rule: StepRule,
    step: TrainedStep,
    velocity: Tensor,
    reference: Tensor | None,
    masks: _RowMasks,
    totals: _Totals,
) -> Tensor:
    """Return the loss [B] of one step of one micro-batch."""
    scored = score_step(rule, step.latent, velocity, step.next_latent, work.policy.patch_size)
    allocation = masks.allocation(step.step_index)
    objective = clipped_objective(
        scored.log_density,
        step.old_log_density,
        masks.advantage,
        None if allocation is None else allocation.flatten(1),
        clip_range=config.clip_range,
        ratio_level=config.ratio_level,
    )
    _note_ratio(totals, objective, masks.counted, config.clip_range)
    loss = objective.loss
    totals.add("policy_loss", loss[masks.counted].sum())
    totals.term_count += int(masks.counted.sum())
    if config.equalize_steps:
        loss = loss * step_gradient_scale(rule)
    if reference is None:
        return loss
    kl = kl_divergence(scored.mean, step_mean(rule, step.latent, reference), rule.diffusion)
    totals.add("kl", kl[masks.counted].sum())
    return loss + config.kl_beta * kl


def _note_ratio(totals: _Totals, objective: ClippedObjective, counted: Tensor, clip_range: float) -> None:
    statistics = ratio_statistics(objective, counted, clip_range)
    totals.ratio_count += statistics.count
    totals.add("clip_fraction", statistics.clipped)
    totals.add("clip_fraction_above", statistics.clipped_above)
    totals.add("clip_fraction_below", statistics.clipped_below)
    totals.add("approx_kl", 0.5 * statistics.squared_log_ratio)
    # A NaN must not hide in max().
    error = float(statistics.max_error)
    totals.ratio_max_deviation = error if error != error else max(totals.ratio_max_deviation, error)


def _check_on_policy(totals: _Totals, tolerance: float) -> None:
    error = totals.ratio_max_deviation
    totals.ratio_error = error
    if not error <= tolerance:
        raise StarError(
            "NOT_ON_POLICY",
            f"max |ratio - 1| before the first optimiser step: expected at most {tolerance}, received {error}; sample "
            "and train with equal precision, threads and micro-batch size, or raise objective.onPolicyTolerance",
        )


def update_forward_process(
    work: UpdateInput, config: ForwardProcessConfig, progress: ProgressCallback, check_cancelled: CheckCancelled
) -> UpdateMetrics:
    """Make `optimizer_step_count` steps, each over all rollouts at `noise_level_count` fresh noise levels."""
    started = perf_counter()
    totals = _Totals()
    rows = [_row_masks(work, batch) for batch in work.trajectories.micro_batches]
    trained = sum(mask.advantage is not None for mask in work.loss_masks.values())
    for turn in range(config.optimizer_step_count):
        work.optimizer.zero_grad()
        turn_loss = _forward_process_turn(work, config, turn, rows, trained, totals, check_cancelled)
        if turn_loss is None:
            continue
        _step(work, totals, turn_loss)
        progress("optimising", (turn + 1) / config.optimizer_step_count)
    return _metrics(work, totals, trained, perf_counter() - started)


def _forward_process_turn(
    work: UpdateInput,
    config: ForwardProcessConfig,
    turn: int,
    rows: Sequence[_RowMasks],
    trained: int,
    totals: _Totals,
    check_cancelled: CheckCancelled,
) -> Tensor | None:
    policy, total = work.policy, None
    for batch, masks in zip(work.trajectories.micro_batches, rows, strict=True):
        if not bool(masks.counted.any()):
            continue
        condition = policy.encode(batch.prompts)
        positive = positive_share(masks.advantage, masks.allocation(None), config.advantage_scale, policy.patch_size)
        for level in range(config.noise_level_count):
            check_cancelled()
            latents = _noised(work, config, batch, turn, level)
            with torch.no_grad(), policy.using(work.old_policy):
                old_velocity = policy.velocity(latents.noised, latents.sigma, condition, work.guidance_scale)
            velocity = policy.velocity(latents.noised, latents.sigma, condition, work.guidance_scale)
            terms = forward_process_loss(velocity, old_velocity, latents, positive, config.beta)
            loss = torch.where(masks.counted, terms, 0.0).sum() / (trained * config.noise_level_count)
            loss.backward()  # type: ignore[no-untyped-call]
            distance = (velocity.detach() - old_velocity).square().mean((1, 2, 3))
            totals.add("old_policy_velocity_distance", distance[masks.counted].sum())
            totals.term_count += int(masks.counted.sum())
            total = loss.detach() if total is None else total + loss.detach()
    return total


def _noised(
    work: UpdateInput, config: ForwardProcessConfig, batch: MicroBatchTrajectory, turn: int, level: int
) -> NoisedLatents:
    """Return x_s of a micro-batch; noise and noise level of a rollout depend on nothing but its id, turn and level.

    The noise level is uniform on [sigma_min, 1] and then shifted, as in the small-world runs (cpu-findings 8).
    """
    clean = batch.final_latent
    if clean is None:
        raise StarError("INTERNAL", "the forward process needs the clean latents of the rollout, received none")
    ids = [*batch.rollout_ids, *(f"padding-{row}" for row in range(len(batch.rollout_ids), len(clean)))]
    noise = seeded_normal(
        [derive_seed(work.seed, "noise", name, turn, level) for name in ids], work.policy.latent_shape
    )
    # 53 bits of the seed make a uniform number in [0, 1).
    uniform = [(derive_seed(work.seed, "sigma", name, turn, level) >> 10) / 2**53 for name in ids]
    low = config.sigma_min
    sigmas = [shift_sigma(low + (1 - low) * value, config.sigma_shift) for value in uniform]
    return add_noise(clean, noise.to(clean.device), torch.tensor(sigmas, dtype=torch.float32, device=clean.device))


def _row_masks(work: UpdateInput, batch: MicroBatchTrajectory) -> _RowMasks:
    masks = tuple(work.loss_masks[rollout_id] for rollout_id in batch.rollout_ids)
    width = len(batch.prompts)
    advantages = [mask.advantage or 0.0 for mask in masks] + [0.0] * (width - len(masks))
    advantage = torch.tensor(advantages, dtype=torch.float32, device=work.policy.device)
    return _RowMasks(
        advantage=advantage, counted=advantage != 0, masks=masks, width=width, token_grid=work.policy.token_grid
    )


def _step(work: UpdateInput, totals: _Totals, loss: Tensor) -> None:
    totals.gradient_norm.append(work.optimizer.step(loss))
    totals.loss.append(float(loss))


def _metrics(work: UpdateInput, totals: _Totals, trained: int, seconds: float) -> UpdateMetrics:
    """Return the metrics; what was not measured is absent."""
    values = {
        "trained_rollout_count": float(trained),
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
    if totals.ratio_error is not None:
        values["ratio_max_error"] = totals.ratio_error
        values["ratio_max_deviation"] = totals.ratio_max_deviation
    return UpdateMetrics(values=values, seconds={"optimising": seconds})


@torch.no_grad()
def _distance_from_base(policy: Sd3Policy) -> float:
    """Return the Euclidean distance of the trainable parameters from their untrained values."""
    pairs = zip(policy.parameters, policy.initial, strict=True)
    return float(torch.stack([torch.dist(value, initial) for value, initial in pairs]).norm())
