"""A run on this worker: policy, optimiser, old policy, policy version. What the protocol side works with."""

import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import diffusers
import peft
import torch
import transformers
from diffusers.training_utils import _collate_lora_metadata
from peft import get_peft_model_state_dict
from torch import Tensor

from star_worker.errors import StarError
from star_worker.forward_process_update import update_forward_process
from star_worker.kl_penalty import adapted_weight
from star_worker.optimizer import PolicyOptimizer
from star_worker.parameter_average import ema_decay, mix_policies, old_policy_decay
from star_worker.policy import Policy
from star_worker.policy_gradient_update import update_policy_gradient
from star_worker.rollout import sample
from star_worker.trajectory_store import Trajectories
from star_worker.types import (
    CheckCancelled,
    FinishedRollout,
    ForwardProcessConfig,
    LossMask,
    PreparedModel,
    ProgressCallback,
    RolloutPlan,
    TrainingConfig,
    UpdateMetrics,
)
from star_worker.update import UpdateInput, collect_loss_masks


class TrainingRun:
    """One run; not safe for use from several threads."""

    def __init__(self, config: TrainingConfig, policy: Policy) -> None:
        self.config = config
        self.policy = policy
        self.policy_version = 0
        self.optimizer = PolicyOptimizer(policy.names, policy.parameters, config.optimizer)
        # The forward process samples with a slowly moving copy of the trainable parameters.
        forward = isinstance(config.objective, ForwardProcessConfig)
        self.old_policy: list[Tensor] = [value.clone() for value in policy.initial] if forward else []
        # Evaluation and export use the moving average where one is kept.
        averaged = config.optimizer.ema_decay is not None
        self.average: list[Tensor] = [value.clone() for value in policy.initial] if averaged else []
        self.kl_weight = config.objective.kl.beta
        self._trajectories: Trajectories | None = None
        self.prepared = _prepared(policy)

    @classmethod
    def load(cls, config: TrainingConfig, run_seed: int, check_cancelled: CheckCancelled) -> "TrainingRun":
        """Load the model and make its trainable part, policy version 0.

        Raises MODEL_NOT_LOADABLE, RECIPE_INVALID (size, blocks, target modules), CANCELLED.
        """
        if config.thread_count > 0:
            torch.set_num_threads(config.thread_count)
        check_cancelled()
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        policy = Policy.load(config.model, run_seed, device)
        check_cancelled()
        if config.capture.blocks:
            policy.install_capture(config.capture.blocks)
        return cls(config, policy)

    def rollout(
        self,
        plan: RolloutPlan,
        on_rollout: Callable[[FinishedRollout], None],
        progress: ProgressCallback,
        check_cancelled: CheckCancelled,
    ) -> None:
        """Sample `plan`; `on_rollout` is called in plan order from one other thread.

        With `keep_trajectory` the trajectories are held for `update` (and replace those held before). Training
        rollouts of the forward process come from the old policy, evaluation from the moving average where one is kept,
        everything else from the current policy.
        """
        values = self.old_policy if plan.keep_trajectory else self.average
        with self.policy.using(values or self._current()):
            trajectories = sample(self.policy, self.config, plan, on_rollout, progress, check_cancelled)
        if plan.keep_trajectory:
            self._trajectories = trajectories

    def update(
        self,
        loss_masks: Iterator[LossMask],
        iteration: int,
        seed: int,
        progress: ProgressCallback,
        check_cancelled: CheckCancelled,
    ) -> UpdateMetrics:
        """Train on the trajectories of `iteration` and raise the policy version by 1.

        Raises STATE_CONFLICT (no rollout of that iteration), TASK_ECHO_MISMATCH, TENSOR_INVALID, NOT_ON_POLICY (nothing
        was stepped), NOT_FINITE, CANCELLED. After NOT_FINITE or CANCELLED some optimiser steps may have been made: go
        back to a checkpoint.
        """
        trajectories = self._trajectories
        if trajectories is None or trajectories.iteration != iteration:
            held = "none" if trajectories is None else f"those of iteration {trajectories.iteration}"
            message = f"update of iteration {iteration}: expected its trajectories on this worker, received {held}"
            raise StarError("STATE_CONFLICT", f"{message}; sample the iteration again")
        asked_s = perf_counter()
        masks = collect_loss_masks(loss_masks, trajectories, self.policy.token_grid)
        waited_s = perf_counter() - asked_s
        work = UpdateInput(
            policy=self.policy,
            optimizer=self.optimizer,
            guidance=self.config.sampling.guidance,
            trajectories=trajectories,
            loss_masks=masks,
            seed=seed,
            old_policy=self.old_policy,
            kl_weight=self.kl_weight,
        )
        metrics = self._optimise(work, progress, check_cancelled)
        self._after_update(iteration, metrics)
        metrics.seconds["waiting_for_masks"] = waited_s
        self.optimizer.zero_grad()
        self._trajectories = None
        self.policy_version += 1
        return metrics

    def _optimise(
        self, work: UpdateInput, progress: ProgressCallback, check_cancelled: CheckCancelled
    ) -> UpdateMetrics:
        objective = self.config.objective
        if isinstance(objective, ForwardProcessConfig):
            return update_forward_process(work, objective, progress, check_cancelled)
        return update_policy_gradient(work, objective, progress, check_cancelled)

    def _after_update(self, iteration: int, metrics: UpdateMetrics) -> None:
        """Move what follows the policy: old policy, moving average, weight of the KL term."""
        objective, largest_decay = self.config.objective, self.config.optimizer.ema_decay
        if isinstance(objective, ForwardProcessConfig):
            decay = old_policy_decay(iteration, objective.old_policy_decay_max, objective.old_policy_decay_slope)
            mix_policies(self.old_policy, self._current(), decay)
        if largest_decay is not None:
            mix_policies(self.average, self._current(), ema_decay(iteration, largest_decay))
        if objective.kl.target is not None and "kl" in metrics.values:
            self.kl_weight = adapted_weight(self.kl_weight, metrics.values["kl"], objective.kl.target)

    def _current(self) -> list[Tensor]:
        return [parameter.data for parameter in self.policy.parameters]

    def _followers(self) -> dict[str, list[Tensor]]:
        """Return what follows the policy, by name in a checkpoint; parts that this recipe does not keep are empty."""
        return {"old_policy": self.old_policy, "average": self.average}

    def state_tensors(self) -> dict[str, Tensor]:
        """Return all that an update changes: parameters, optimiser, followers, KL weight; copies, on the CPU."""
        names = self.policy.names
        state = {f"optimizer/{name}": value for name, value in self.optimizer.state_tensors().items()}
        for part, values in {"trainable": self._current(), **self._followers()}.items():
            state |= {f"{part}/{name}": value for name, value in zip(names, values, strict=False)}
        state["schedule/kl_weight"] = torch.tensor(self.kl_weight, dtype=torch.float64)
        return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in state.items()}

    def load_state(self, state: dict[str, Tensor], policy_version: int) -> None:
        """Put back what `state_tensors` returned; trajectories held are dropped.

        Raises CHECKPOINT_INVALID, with parameters untouched, for other names or shapes.
        """
        parts: dict[str, dict[str, Tensor]] = {
            part: {} for part in ("trainable", "optimizer", "schedule", *self._followers())
        }
        for key, value in state.items():
            part, _, name = key.partition("/")
            if part not in parts:
                raise StarError("CHECKPOINT_INVALID", f"expected keys of {sorted(parts)}, received {key}")
            parts[part][name] = value
        targets = {"trainable": self._current(), **self._followers()}
        for part, values in targets.items():
            _check_names(self.policy.names if values else [], values, parts[part], part)
        _check_names(["kl_weight"], [torch.tensor(0.0)], parts["schedule"], "schedule")
        self.optimizer.load_state(parts["optimizer"])
        for part, values in targets.items():
            for name, target in zip(self.policy.names, values, strict=False):
                target.copy_(parts[part][name])
        self.kl_weight = float(parts["schedule"]["kl_weight"])
        self._trajectories = None
        self.policy_version = policy_version

    def export(self, folder: Path) -> str:
        """Write the trained part in diffusers format and return its kind.

        "lora": `pytorch_lora_weights.safetensors` for the pipeline's `load_lora_weights(folder)`.
        "transformer": a folder for `from_pretrained(folder)` of the transformer's class. Raises STORAGE_FAILED.
        """
        with self.policy.using(self.average or self._current()):
            return self._write_export(folder)

    def _write_export(self, folder: Path) -> str:
        transformer = self.policy.transformer
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if self.config.model.lora is None:
                transformer.save_pretrained(folder)
                return "transformer"
            type(self.policy.pipeline).save_lora_weights(
                folder,
                transformer_lora_layers=get_peft_model_state_dict(transformer),
                # Carries alpha: without it a loader takes alpha = rank.
                **_collate_lora_metadata({"transformer": transformer}),
            )
        except OSError as error:
            raise StarError(
                "STORAGE_FAILED", f"export to {folder} failed: {error}; free space or check rights"
            ) from error
        return "lora"


def _check_names(names: list[str], targets: list[Tensor], received: dict[str, Tensor], part: str) -> None:
    expected = {name: target.shape for name, target in zip(names, targets, strict=True)}
    wrong = [name for name in expected.keys() | received.keys() if expected.get(name) != _shape(received, name)]
    if wrong:
        name = sorted(wrong)[0]
        message = f"{part}/{name}: expected shape {expected.get(name)}, received {_shape(received, name)}"
        raise StarError("CHECKPOINT_INVALID", f"{message}; the checkpoint is of another model or recipe")


def _shape(tensors: dict[str, Tensor], name: str) -> torch.Size | None:
    return tensors[name].shape if name in tensors else None


def _prepared(policy: Policy) -> PreparedModel:
    rows, columns = policy.token_grid
    return PreparedModel(
        trainable_parameter_count=sum(parameter.numel() for parameter in policy.parameters),
        parameter_count=sum(parameter.numel() for parameter in policy.transformer.parameters()),
        token_rows=rows,
        token_columns=columns,
        values_per_token=policy.values_per_token,
        environment={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
            "peft": peft.__version__,
            "device": torch.cuda.get_device_name() if policy.device.type == "cuda" else platform.machine(),
            "precision": policy.config.precision,
            "threads": str(torch.get_num_threads()),
        },
    )
