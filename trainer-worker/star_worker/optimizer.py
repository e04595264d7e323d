"""AdamW over the trainable parameters with warm-up, gradient clip and the refusal of non-finite gradients."""

from collections.abc import Sequence

import torch
from torch import Tensor

from star_worker.errors import StarError
from star_worker.types import OptimizerConfig

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


class PolicyOptimizer:
    """Optimiser state by parameter name; `step_count` counts steps made."""

    def __init__(self, names: Sequence[str], parameters: Sequence[torch.nn.Parameter], config: OptimizerConfig) -> None:
        self._names = names
        self._parameters = list(parameters)
        self._config = config
        self.step_count = 0
        self._adamw = torch.optim.AdamW(
            self._parameters,
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            eps=config.epsilon,
            weight_decay=config.weight_decay,
            fused=True,
        )

    def zero_grad(self) -> None:
        """Drop all gradients."""
        self._adamw.zero_grad(set_to_none=True)

    def learning_rate(self) -> float:
        """Return the rate of the next step: rises linearly from 0 over the warm-up, then constant."""
        warmup = self._config.warmup_step_count
        rise = min(1.0, (self.step_count + 1) / warmup) if warmup else 1.0
        return self._config.learning_rate * rise

    def step(self, loss: Tensor) -> float:
        """Make one step and return the gradient norm before the clip.

        Raises NOT_FINITE, with parameters and moments untouched, when `loss` (for the message) or a gradient is not.
        """
        norm = float(torch.nn.utils.clip_grad_norm_(self._parameters, self._config.max_grad_norm, foreach=True))
        if not (torch.isfinite(loss).all() and norm < float("inf")):
            self.zero_grad()
            message = f"expected a finite loss and gradient, received loss {float(loss)} and gradient norm {norm}"
            raise StarError("NOT_FINITE", f"{message}; lower the learning rate or go back to a checkpoint")
        for group in self._adamw.param_groups:
            group["lr"] = self.learning_rate()
        self._adamw.step()
        self.step_count += 1
        return norm

    def state_tensors(self) -> dict[str, Tensor]:
        """Return moments and step counts by name; a parameter that never had a gradient has none."""
        state = {"step_count": torch.tensor(self.step_count)}
        for name, parameter in zip(self._names, self._parameters, strict=True):
            for moment, value in self._adamw.state.get(parameter, {}).items():
                state[f"{moment}/{name}"] = value.detach().clone()
        return state

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Put back what `state_tensors` returned. Raises CHECKPOINT_INVALID for another set of names or shapes."""
        known = {f"{moment}/{name}": value for name, value in self._by_name() for moment in _MOMENTS}
        unknown = sorted(state.keys() - known.keys() - {"step_count"})
        count = state.get("step_count")
        if unknown or count is None or count.shape != ():
            received = "none" if count is None else f"shape {tuple(count.shape)}"
            message = f"optimiser state: expected one step_count, received {received}, and no unknown {unknown[:3]}"
            raise StarError("CHECKPOINT_INVALID", message)
        self._adamw.state.clear()
        for name, parameter in self._by_name():
            if f"step/{name}" in state:
                self._adamw.state[parameter] = {
                    moment: self._checked(state, f"{moment}/{name}", parameter) for moment in _MOMENTS
                }
        self.step_count = int(count)

    def _by_name(self) -> list[tuple[str, torch.nn.Parameter]]:
        return list(zip(self._names, self._parameters, strict=True))

    @staticmethod
    def _checked(state: dict[str, Tensor], key: str, parameter: torch.nn.Parameter) -> Tensor:
        value = state.get(key)
        expected = torch.Size(()) if key.startswith("step/") else parameter.shape
        if value is None or value.shape != expected:
            received = None if value is None else tuple(value.shape)
            message = f"optimiser state {key}: expected shape {tuple(expected)}, received {received}"
            raise StarError("CHECKPOINT_INVALID", message)
        return value.to(parameter.device, torch.float32, copy=True)
