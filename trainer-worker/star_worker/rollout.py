"""Sampling: plan -> pictures, attention maps and trajectories, in micro-batches of one fixed shape."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from star_worker.attention_capture import concept_maps
from star_worker.errors import StarError
from star_worker.flow_sde import StepRule, draw_step, ode_step, step_rule
from star_worker.model_family import Conditioning
from star_worker.picture import encode_png
from star_worker.policy import Policy
from star_worker.prompt_tokens import column_weights
from star_worker.schedule import check_sigmas, trained_steps
from star_worker.seeds import derive_seed, seeded_normal
from star_worker.trajectory_store import MicroBatchTrajectory, TrainedStep, Trajectories
from star_worker.types import (
    AttentionMaps,
    CheckCancelled,
    FinishedRollout,
    ForwardProcessConfig,
    PolicyGradientConfig,
    ProgressCallback,
    RolloutGroup,
    RolloutPlan,
    RolloutSpec,
    TrainingConfig,
)

Row = tuple[RolloutGroup, RolloutSpec]


@dataclass(kw_only=True, slots=True)
class _Columns:
    """Text columns of a micro-batch: indexes [B, K], weights [B, J, K], unmapped concepts by row."""

    indexes: Tensor
    weights: Tensor
    unmapped: list[tuple[int, ...]]


@dataclass(kw_only=True, slots=True)
class _Sampled:
    """Result of one micro-batch: clean latents, trained steps, and by captured step its maps [B, J, P]."""

    latent: Tensor
    steps: list[TrainedStep] = field(default_factory=list)
    maps: dict[int, Tensor] = field(default_factory=dict)


def sample(
    policy: Policy,
    config: TrainingConfig,
    plan: RolloutPlan,
    on_rollout: Callable[[FinishedRollout], None],
    progress: ProgressCallback,
    check_cancelled: CheckCancelled,
) -> Trajectories:
    """Make all rollouts of `plan` in its order and return what the update needs.

    `on_rollout` is called once per rollout, in plan order, from one other thread while sampling goes on; its exception
    ends the sampling. Without `plan.keep_trajectory` the result has no micro-batches.
    Raises NOT_FINITE, TASK_ECHO_MISMATCH (prompt hash), ARGUMENT_INVALID (sigmas), CANCELLED.
    """
    check_sigmas(plan.sigmas)
    rows = _rows(plan)
    rules = _rules(config, plan)
    kept = []
    done = 0
    with ThreadPoolExecutor(1, "finish-rollouts") as pool:
        pending: Future[None] | None = None
        for batch in _padded_batches(rows, config.micro_batch_size):
            real = min(len(batch), len(rows) - done)
            sampler = _MicroBatch(policy, config, plan, rules, batch)
            sampled = sampler.run(check_cancelled)
            if plan.keep_trajectory:
                kept.append(_trajectory(config, batch, real, sampled))
            pixels = policy.decode(sampled.latent)
            # One micro-batch may wait: memory stays bounded and sampling overlaps with PNG encoding.
            if pending is not None:
                pending.result()
            pending = pool.submit(
                _finish, batch[:real], pixels, sampled, sampler.columns, policy.token_grid, on_rollout
            )
            done += real
            progress("sampling", done / len(rows))
        if pending is not None:
            pending.result()
    return Trajectories(iteration=plan.iteration, sigmas=plan.sigmas, rules=rules, micro_batches=tuple(kept))


class _MicroBatch:
    """One micro-batch on its way from noise to clean latents."""

    def __init__(
        self,
        policy: Policy,
        config: TrainingConfig,
        plan: RolloutPlan,
        rules: dict[int, StepRule],
        rows: Sequence[Row],
    ) -> None:
        self._policy = policy
        self._guidance = config.sampling.guidance
        objective = config.objective
        self._keep_steps = plan.keep_trajectory and isinstance(objective, PolicyGradientConfig)
        self._keep_means = isinstance(objective, PolicyGradientConfig) and objective.needs_old_mean
        self._sigmas = plan.sigmas
        self._rules = rules
        self._rows = rows
        self._captured = {step for group, _ in rows for step in group.attention_masks}
        self.columns = _text_columns(policy, config, rows) if self._captured else None

    @torch.no_grad()
    def run(self, check_cancelled: CheckCancelled) -> _Sampled:
        condition = self._policy.encode([group.prompt for group, _ in self._rows])
        sampled = _Sampled(latent=self._noise("initial"))
        for index in range(len(self._sigmas) - 1):
            check_cancelled()
            velocity = self._velocity(sampled, index, condition)
            self._advance(sampled, index, velocity)
        if not bool(torch.isfinite(sampled.latent).all()):
            ids = [spec.rollout_id for _, spec in self._rows]
            message = f"expected finite latents, received NaN or infinity in rollouts {ids}; lower the learning rate"
            raise StarError("NOT_FINITE", message)
        return sampled

    def _velocity(self, sampled: _Sampled, index: int, condition: Conditioning) -> Tensor:
        policy, sigma = self._policy, self._sigmas[index]
        capture = policy.capture
        if index not in self._captured or self.columns is None or capture is None:
            return policy.velocity(sampled.latent, sigma, condition, self._guidance)
        with capture.reading(self.columns.indexes):
            velocity = policy.velocity(sampled.latent, sigma, condition, self._guidance)
        sampled.maps[index] = concept_maps(capture.probabilities(), self.columns.weights).cpu()
        return velocity

    def _advance(self, sampled: _Sampled, index: int, velocity: Tensor) -> None:
        latent, rule = sampled.latent, self._rules.get(index)
        if rule is None:
            sampled.latent = ode_step(latent, velocity, self._sigmas[index], self._sigmas[index + 1])
            return
        step = draw_step(rule, latent, velocity, self._noise("step", index), self._policy.patch_size)
        sampled.latent = step.next_latent
        if self._keep_steps:
            sampled.steps.append(
                TrainedStep(
                    step_index=index,
                    latent=latent,
                    next_latent=step.next_latent,
                    old_log_density=step.log_density,
                    old_mean=step.mean if self._keep_means else None,
                )
            )

    def _noise(self, *path: int | str) -> Tensor:
        seeds = [derive_seed(spec.seed, *path) for _, spec in self._rows]
        return seeded_normal(seeds, self._policy.latent_shape).to(self._policy.device)


def _rows(plan: RolloutPlan) -> list[Row]:
    for group in plan.groups:
        own = sha256(group.prompt.encode("utf-8")).hexdigest()
        if own != group.prompt_hash:
            message = f"prompt {group.prompt_index}: expected the hash {group.prompt_hash}, received a prompt of {own}"
            raise StarError("TASK_ECHO_MISMATCH", message)
    rows = [(group, spec) for group in plan.groups for spec in group.rollouts]
    if not rows:
        raise StarError("ARGUMENT_INVALID", "a rollout plan needs at least one rollout, received none")
    return rows


def _rules(config: TrainingConfig, plan: RolloutPlan) -> dict[int, StepRule]:
    """Return the stochastic steps; with noise level 0 there are none."""
    sampling = config.sampling
    if sampling.noise_level == 0:
        return {}
    steps = trained_steps(len(plan.sigmas), plan.window_start, plan.window_size)
    return {step: step_rule(sampling.sampler, plan.sigmas, step, sampling.noise_level) for step in steps}


def _padded_batches(rows: list[Row], size: int) -> Iterator[list[Row]]:
    """Yield batches of exactly `size` rows; the last one repeats its last row."""
    for start in range(0, len(rows), size):
        batch = rows[start : start + size]
        yield batch + [batch[-1]] * (size - len(batch))


def _text_columns(policy: Policy, config: TrainingConfig, rows: Sequence[Row]) -> _Columns:
    """Return padded columns and weights; padded columns have weight 0."""
    by_prompt: dict[int, list[dict[int, float]]] = {}
    for group, _ in rows:
        if group.prompt_index not in by_prompt:
            concepts = policy.family.concept_columns(group.prompt, group.core_spans)
            by_prompt[group.prompt_index] = [column_weights(each, config.capture.t5_weight) for each in concepts]
    weights = [by_prompt[group.prompt_index] for group, _ in rows]
    used = [sorted({column for concept in row for column in concept}) for row in weights]
    indexes = torch.zeros(len(rows), max(1, *map(len, used)), dtype=torch.int64)
    mixing = torch.zeros(len(rows), max(1, *map(len, weights)), indexes.shape[1])
    for row, (columns, concepts_of_row) in enumerate(zip(used, weights, strict=True)):
        indexes[row, : len(columns)] = torch.tensor(columns, dtype=torch.int64)
        for concept, shares in enumerate(concepts_of_row):
            for column, share in shares.items():
                mixing[row, concept, columns.index(column)] = share
    unmapped = [tuple(index for index, shares in enumerate(row) if not shares) for row in weights]
    return _Columns(indexes=indexes.to(policy.device), weights=mixing.to(policy.device), unmapped=unmapped)


def _trajectory(config: TrainingConfig, batch: Sequence[Row], real: int, sampled: _Sampled) -> MicroBatchTrajectory:
    forward = isinstance(config.objective, ForwardProcessConfig)
    return MicroBatchTrajectory(
        rollout_ids=tuple(spec.rollout_id for _, spec in batch[:real]),
        prompts=tuple(group.prompt for group, _ in batch),
        steps=tuple(sampled.steps),
        final_latent=sampled.latent if forward else None,
    )


def _finish(
    rows: Sequence[Row],
    pixels: NDArray[np.uint8],
    sampled: _Sampled,
    columns: _Columns | None,
    token_grid: tuple[int, int],
    on_rollout: Callable[[FinishedRollout], None],
) -> None:
    for row, (group, spec) in enumerate(rows):
        on_rollout(
            FinishedRollout(
                rollout_id=spec.rollout_id,
                seed=spec.seed,
                prompt_hash=group.prompt_hash,
                image_png=encode_png(pixels[row]),
                attention=_attention(group, row, sampled, columns, token_grid),
            )
        )


def _attention(
    group: RolloutGroup, row: int, sampled: _Sampled, columns: _Columns | None, token_grid: tuple[int, int]
) -> AttentionMaps | None:
    """Return the maps [S, J, h, w] of one rollout, J = concepts of its prompt; planes not asked for are all 1."""
    steps = tuple(step for step in sorted(group.attention_masks) if step in sampled.maps)
    if columns is None or not steps:
        return None
    count = 1 + max((span.concept_index for span in group.core_spans), default=-1)
    values = torch.stack([sampled.maps[step][row, :count] for step in steps])
    for index, step in enumerate(steps):
        skipped = sorted(set(range(count)) - set(group.attention_masks[step]))
        values[index, skipped] = 1
    return AttentionMaps(
        values=values.reshape(len(steps), count, *token_grid).numpy().astype(np.float32),
        step_indexes=steps,
        unmapped_concept_indexes=columns.unmapped[row],
    )
