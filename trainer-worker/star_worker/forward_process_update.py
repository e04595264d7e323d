"""Update by a forward-process objective: regression at fresh noise levels on the clean latents of the rollouts."""

from collections.abc import Sequence
from time import perf_counter

import torch
from torch import Tensor

from star_worker.errors import StarError
from star_worker.forward_process import (
    NoisedLatents,
    add_noise,
    forward_process_loss,
    matching_log_density,
    positive_share,
)
from star_worker.kl_penalty import velocity_kl
from star_worker.model_family import Conditioning
from star_worker.policy_gradient import clipped, form_ratio, ratio_statistics
from star_worker.schedule import shift_sigma
from star_worker.seeds import derive_seed, seeded_normal
from star_worker.trajectory_store import MicroBatchTrajectory
from star_worker.types import CheckCancelled, ForwardProcessConfig, ProgressCallback, UpdateMetrics
from star_worker.update import RowMasks, Totals, UpdateInput, backward, optimizer_step, row_masks, update_metrics


def update_forward_process(
    work: UpdateInput, config: ForwardProcessConfig, progress: ProgressCallback, check_cancelled: CheckCancelled
) -> UpdateMetrics:
    """Make `optimizer_step_count` steps, each over all rollouts at `noise_level_count` fresh noise levels."""
    started = perf_counter()
    totals = Totals()
    rows = [row_masks(work, batch) for batch in work.trajectories.micro_batches]
    for turn in range(config.optimizer_step_count):
        work.optimizer.zero_grad()
        loss = _accumulate(work, config, turn, rows, totals, check_cancelled)
        if loss is None:
            continue
        optimizer_step(work, totals, loss)
        progress("optimising", (turn + 1) / config.optimizer_step_count)
    return update_metrics(work, totals, perf_counter() - started)


def _accumulate(
    work: UpdateInput,
    config: ForwardProcessConfig,
    turn: int,
    rows: Sequence[RowMasks],
    totals: Totals,
    check_cancelled: CheckCancelled,
) -> Tensor | None:
    """Accumulate the gradient of one optimiser step; None when no rollout has a weight."""
    total = None
    denominator = work.trained_count() * config.noise_level_count
    for batch, masks in zip(work.trajectories.micro_batches, rows, strict=True):
        if not bool(masks.counted.any()):
            continue
        condition = work.policy.encode(batch.prompts)
        for level in range(config.noise_level_count):
            check_cancelled()
            latents = _noised(work, config, batch, turn, level)
            terms = _level_terms(work, config, latents, condition, masks, totals)
            loss = backward(terms, masks.counted, denominator)
            total = loss if total is None else total + loss
    return total


def _level_terms(
    work: UpdateInput,
    config: ForwardProcessConfig,
    latents: NoisedLatents,
    condition: Conditioning,
    masks: RowMasks,
    totals: Totals,
) -> Tensor:
    """Return the loss [B] of one noise level of one micro-batch."""
    policy = work.policy

    def velocity_of(values: Sequence[Tensor]) -> Tensor:
        with torch.no_grad(), policy.using(values):
            return policy.velocity(latents.noised, latents.sigma, condition, work.guidance)

    # Other policies run first: parameters must not be swapped between a forward and its backward pass.
    old_velocity = velocity_of(work.old_policy)
    reference = None if config.kl.kind == "none" else velocity_of(policy.initial)
    velocity = policy.velocity(latents.noised, latents.sigma, condition, work.guidance)
    totals.term_count += int(masks.counted.sum())
    distance = velocity_kl(velocity if config.form == "awm" else velocity.detach(), old_velocity)
    totals.add("old_policy_velocity_distance", distance[masks.counted].sum())
    loss = _objective(config, latents, velocity, old_velocity, masks, totals, policy.patch_size)
    if config.form == "awm":
        loss = loss + config.old_policy_beta * distance
    if reference is None:
        return loss
    kl = velocity_kl(velocity, reference)
    totals.add("kl", kl[masks.counted].sum())
    return loss + work.kl_weight * kl


def _objective(
    config: ForwardProcessConfig,
    latents: NoisedLatents,
    velocity: Tensor,
    old_velocity: Tensor,
    masks: RowMasks,
    totals: Totals,
    patch_size: int,
) -> Tensor:
    maps = masks.allocation(None)
    if config.form == "nft":
        positive = positive_share(masks.advantage, maps, config.advantage_scale, patch_size)
        return forward_process_loss(velocity, old_velocity, latents, positive, config.beta)
    log_ratio = matching_log_density(velocity, latents, patch_size) - matching_log_density(
        old_velocity, latents, patch_size
    )
    ratio = form_ratio(log_ratio, masks.advantage, None if maps is None else maps.flatten(1), config.ratio_level)
    surrogate = clipped(ratio, config.clip_range)
    totals.note_ratio(ratio_statistics(ratio, surrogate.stopped, masks.counted))
    return surrogate.loss


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
