"""Update by policy gradient: every trained step of every rollout is scored again and compared with its old density."""

from collections.abc import Sequence
from time import perf_counter

import torch
from torch import Tensor

from star_worker.errors import StarError
from star_worker.flow_sde import Step, StepRule, position_mean, score_step, step_gradient_scale, step_mean
from star_worker.kl_penalty import anchored_kl, mean_kl, velocity_kl
from star_worker.model_family import Conditioning
from star_worker.policy_gradient import (
    Ratio,
    Surrogate,
    clipped,
    form_ratio,
    kl_masked,
    normalised_log_ratio,
    ratio_statistics,
)
from star_worker.trajectory_store import TrainedStep
from star_worker.types import CheckCancelled, PolicyGradientConfig, ProgressCallback, StepWeight, UpdateMetrics
from star_worker.update import RowMasks, Totals, UpdateInput, backward, optimizer_step, row_masks, update_metrics


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
    totals = Totals()
    rows = [row_masks(work, batch) for batch in work.trajectories.micro_batches]
    for turn in range(count):
        work.optimizer.zero_grad()
        loss = _accumulate(work, config, step_indexes[turn::count], rows, totals, check_cancelled)
        if loss is None:
            continue
        if turn == 0:
            _check_on_policy(totals, config.on_policy_tolerance)
        optimizer_step(work, totals, loss)
        progress("optimising", (turn + 1) / count)
    return update_metrics(work, totals, perf_counter() - started)


def _accumulate(
    work: UpdateInput,
    config: PolicyGradientConfig,
    chosen: Sequence[int],
    rows: Sequence[RowMasks],
    totals: Totals,
    check_cancelled: CheckCancelled,
) -> Tensor | None:
    """Accumulate the gradient of one optimiser step; None when no rollout has a weight."""
    total = None
    denominator = work.trained_count() * len(chosen)
    for batch, masks in zip(work.trajectories.micro_batches, rows, strict=True):
        if not bool(masks.counted.any()):
            continue
        condition = work.policy.encode(batch.prompts)
        for step in batch.steps:
            if step.step_index not in chosen:
                continue
            check_cancelled()
            terms = _step_terms(work, config, step, condition, masks, totals)
            loss = backward(terms, masks.counted, denominator)
            total = loss if total is None else total + loss
    return total


def _step_terms(
    work: UpdateInput,
    config: PolicyGradientConfig,
    step: TrainedStep,
    condition: Conditioning,
    masks: RowMasks,
    totals: Totals,
) -> Tensor:
    """Return the loss [B] of one step of one micro-batch."""
    policy, rule = work.policy, work.trajectories.rules[step.step_index]
    sigma = work.trajectories.sigmas[step.step_index]
    # The reference runs first: parameters must not be swapped between a forward and its backward pass.
    reference = None
    if config.kl.kind != "none":
        with torch.no_grad(), policy.using(policy.initial):
            reference = policy.velocity(step.latent, sigma, condition, work.guidance)
    velocity = policy.velocity(step.latent, sigma, condition, work.guidance)
    scored = score_step(rule, step.latent, velocity, step.next_latent, policy.patch_size)
    maps = masks.allocation(step.step_index)
    allocation = None if maps is None else maps.flatten(1)
    ratio, surrogate = _surrogate(config, rule, step, scored, masks.advantage, allocation, policy.patch_size)
    totals.note_ratio(ratio_statistics(ratio, surrogate.stopped, masks.counted))
    totals.add("policy_loss", surrogate.loss[masks.counted].sum())
    totals.term_count += int(masks.counted.sum())
    loss = surrogate.loss * _step_factor(rule, config.step_weight)
    if reference is None:
        return loss
    kl = _kl(config, rule, step.latent, scored.mean, velocity, reference, allocation, policy.patch_size)
    totals.add("kl", kl[masks.counted].sum())
    return loss + work.kl_weight * kl


def _surrogate(
    config: PolicyGradientConfig,
    rule: StepRule,
    step: TrainedStep,
    scored: Step,
    advantage: Tensor,
    allocation: Tensor | None,
    patch_size: int,
) -> tuple[Ratio, Surrogate]:
    log_ratio = scored.log_density - step.old_log_density
    squared_shift = None
    if step.old_mean is not None:
        squared_shift = position_mean((scored.mean - step.old_mean) ** 2, patch_size)
    if config.ratio_norm and squared_shift is not None:
        log_ratio = normalised_log_ratio(log_ratio, squared_shift, rule.std)
    ratio = form_ratio(log_ratio, advantage, allocation, config.ratio_level)
    if config.trust_region == "kl_mask" and squared_shift is not None:
        return ratio, kl_masked(ratio, squared_shift, rule.std, config.kl_threshold)
    return ratio, clipped(ratio, config.clip_range)


def _step_factor(rule: StepRule, weight: StepWeight) -> float:
    if weight == "std_over_dt":
        return step_gradient_scale(rule)
    return 1 / abs(rule.dt) if weight == "inverse_dt" else 1.0


def _kl(
    config: PolicyGradientConfig,
    rule: StepRule,
    latent: Tensor,
    mean: Tensor,
    velocity: Tensor,
    reference: Tensor,
    allocation: Tensor | None,
    patch_size: int,
) -> Tensor:
    """Return the KL [B] of the chosen kind."""
    if config.kl.kind == "velocity":
        return velocity_kl(velocity, reference)
    reference_mean = step_mean(rule, latent, reference)
    if config.kl.kind == "anchored" and allocation is not None:
        return anchored_kl(position_mean((mean - reference_mean) ** 2, patch_size), allocation, rule.diffusion)
    return mean_kl(mean, reference_mean, rule.diffusion)


def _check_on_policy(totals: Totals, tolerance: float) -> None:
    error = totals.ratio_max_deviation
    totals.ratio_error = error
    if not error <= tolerance:
        raise StarError(
            "NOT_ON_POLICY",
            f"max |ratio - 1| before the first optimiser step: expected at most {tolerance}, received {error}; sample "
            "and train with equal precision, threads and micro-batch size, or raise objective.onPolicyTolerance",
        )
