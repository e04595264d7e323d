"""Sigma tables: falling noise levels from 1 to 0. Pure.

Only plain values leave this file: sampling, evaluation and scoring each carry their own table.
"""

from itertools import pairwise

import torch

from star_worker.errors import StarError

_TRAIN_TIMESTEPS = 1000


def shift_sigma(sigma: float, shift: float) -> float:
    """Return `shift * s / (1 + (shift - 1) * s)`, the time shift of SD3."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def linear_sigmas(num_inference_steps: int, shift: float) -> tuple[float, ...]:
    """Return T + 1 values: 1, (T-1)/T, ..., 1/T, each shifted, then 0."""
    _check_step_count(num_inference_steps)
    levels = (1 - index / num_inference_steps for index in range(num_inference_steps))
    return (*(shift_sigma(level, shift) for level in levels), 0.0)


def diffusers_sigmas(num_inference_steps: int, shift: float) -> tuple[float, ...]:
    """Return the T + 1 float32 values of `FlowMatchEulerDiscreteScheduler(shift).set_timesteps(T)`.

    diffusers warps the lower end twice: its smallest sigma is shifted already, then all values are shifted again
    (flow-grpo-reference 1.1).
    """
    _check_step_count(num_inference_steps)
    lowest = shift_sigma(1 / _TRAIN_TIMESTEPS, shift)
    levels = torch.linspace(1, lowest, num_inference_steps, dtype=torch.float64)
    shifted = (shift * levels / (1 + (shift - 1) * levels)).to(torch.float32)
    return (*shifted.tolist(), 0.0)


def trained_steps(sigma_count: int, window_start: int, window_size: int) -> range:
    """Return the stochastic steps: the window without the last step, which is always an ODE step and never trained.

    `sigma_count` is T + 1.
    """
    last = sigma_count - 2
    return range(min(window_start, last), min(window_start + window_size, last))


def check_sigmas(sigmas: tuple[float, ...]) -> None:
    """Raise ARGUMENT_INVALID unless the table falls strictly from at most 1 to exactly 0."""
    falling = all(left > right for left, right in pairwise(sigmas))
    if len(sigmas) < 2 or not falling or sigmas[0] > 1 or sigmas[-1] != 0:
        message = f"sigmas must fall strictly from at most 1 to 0, received {list(sigmas)}"
        raise StarError("ARGUMENT_INVALID", message)


def _check_step_count(num_inference_steps: int) -> None:
    if num_inference_steps < 1:
        raise StarError("ARGUMENT_INVALID", f"num_inference_steps must be at least 1, received {num_inference_steps}")
