import math

import pytest
import torch
from torch import Tensor

from star_worker.policy_gradient import (
    Surrogate,
    clipped,
    form_ratio,
    kl_masked,
    normalised_log_ratio,
    ratio_statistics,
)

LEVELS = ("position", "rollout", "gspo_token")


def batch(shift: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Log-ratios [4, 16], advantages [4], maps [4, 16] of mean 1."""
    generator = torch.Generator().manual_seed(0)
    log_ratio = (shift * torch.randn(4, 16, generator=generator)).requires_grad_()
    weights = torch.rand(4, 16, generator=generator)
    return log_ratio, torch.tensor([1.0, -2.0, 0.5, 3.0]), weights / weights.mean(1, keepdim=True)


def gradient(surrogate: Surrogate, log_ratio: Tensor) -> Tensor:
    return torch.autograd.grad(surrogate.loss.sum(), log_ratio)[0]


@pytest.mark.parametrize("level", LEVELS)
def test_at_ratio_one_all_levels_have_the_gradient_of_the_weighted_advantage(level: str) -> None:
    log_ratio, advantage, weights = batch()
    ratio = form_ratio(log_ratio, advantage, weights, level)
    torch.testing.assert_close(gradient(clipped(ratio, 1e-3), log_ratio), -advantage[:, None] * weights / 16)
    assert torch.equal(ratio.ratio, torch.ones_like(ratio.ratio))


@pytest.mark.parametrize("level", LEVELS)
def test_gradient_is_that_of_finite_differences(level: str) -> None:
    log_ratio, advantage, weights = (each.detach().double() for each in batch(0.3))

    def loss(values: Tensor) -> Tensor:
        return clipped(form_ratio(values, advantage, weights, level), 0.2).loss.sum()

    values = log_ratio.clone().requires_grad_()
    own = torch.autograd.grad(loss(values), values)[0]
    if level == "gspo_token":
        # Its value depends on the picture only: compare with the ratio of the picture, position by position.
        picture = log_ratio.mean(1, keepdim=True).exp()
        better = (advantage[:, None] > 0) == (picture > 1)
        stopped = ((picture - 1).abs() > 0.2) & better
        torch.testing.assert_close(own, torch.where(stopped, 0.0, -advantage[:, None] * weights * picture / 16))
        return
    step = 1e-6
    for row, column in ((0, 0), (1, 5), (2, 9), (3, 15)):
        nudge = torch.zeros_like(log_ratio)
        nudge[row, column] = step
        slope = float(loss(log_ratio + nudge) - loss(log_ratio - nudge)) / (2 * step)
        assert float(own[row, column]) == pytest.approx(slope, abs=1e-7)


def test_a_map_of_one_is_the_scalar_loss_bit_for_bit() -> None:
    log_ratio, advantage, _ = batch(0.01)
    losses = [
        clipped(form_ratio(log_ratio, advantage, weights, "rollout"), 1e-3).loss
        for weights in (None, torch.ones(4, 16))
    ]
    ratio = log_ratio.mean(1).exp()
    scalar = torch.maximum(-advantage * ratio, -advantage * ratio.clamp(1 - 1e-3, 1 + 1e-3))
    assert torch.equal(losses[0], losses[1])
    torch.testing.assert_close(losses[0], scalar, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("advantage", "moving"), [(1.0, [False, True]), (-1.0, [True, False])])
def test_the_clip_stops_the_gradient_only_where_the_ratio_helps_already(advantage: float, moving: list[bool]) -> None:
    log_ratio = torch.tensor([[0.1, -0.1]], requires_grad=True)
    surrogate = clipped(form_ratio(log_ratio, torch.tensor([advantage]), None, "position"), 0.01)
    assert (gradient(surrogate, log_ratio)[0] != 0).tolist() == moving


@pytest.mark.parametrize(("advantage", "moving"), [(1.0, [False, True, True]), (-1.0, [True, False, True])])
def test_the_kl_mask_stops_what_is_far_and_would_go_further(advantage: float, moving: list[bool]) -> None:
    """Positions: far above, far below, near above."""
    log_ratio = torch.tensor([[0.1, -0.1, 0.1]], requires_grad=True)
    ratio = form_ratio(log_ratio, torch.tensor([advantage]), None, "position")
    # Divergence = shift / (2 std^2) = 0.5, 0.5, 1e-9.
    surrogate = kl_masked(ratio, torch.tensor([[0.25, 0.25, 5e-10]]), 0.5, 1e-6)
    assert (gradient(surrogate, log_ratio)[0] != 0).tolist() == moving
    assert surrogate.stopped[0].tolist() == [not each for each in moving]


def test_the_kl_mask_of_a_picture_takes_the_mean_divergence() -> None:
    log_ratio = torch.tensor([[0.1, 0.3]], requires_grad=True)
    ratio = form_ratio(log_ratio, torch.tensor([1.0]), None, "rollout")
    shift = torch.tensor([[0.0, 1.0]])
    # Mean divergence: (0 + 1 / 2) / 2.
    assert bool(kl_masked(ratio, shift, 1.0, 0.25).stopped)
    assert not bool(kl_masked(ratio, shift, 1.0, 0.26).stopped)


def test_ratio_norm_is_the_projection_of_the_noise_on_the_shift() -> None:
    """GRPO-Guard: std (log r + mean(d mu^2) / (2 std^2)) = mean(noise d mu), per position and so per picture."""
    generator = torch.Generator().manual_seed(1)
    noise, shift = (torch.randn(3, 8, 64, generator=generator, dtype=torch.float64) for _ in range(2))
    std, shift = 0.3, 0.01 * shift
    # x = mu_old + std noise; log density = -(x - mu)^2 / (2 std^2), mean over the 64 values of a position.
    log_ratio = (((std * noise) ** 2 - (std * noise - shift) ** 2) / (2 * std**2)).mean(2)
    normalised = normalised_log_ratio(log_ratio, (shift**2).mean(2), std)
    torch.testing.assert_close(normalised, (noise * shift).mean(2))


def test_token_ratios_spread_by_the_square_root_of_the_positions_more_than_the_picture_ratio() -> None:
    """method.md 9.2: the reason why the clip range per position is sqrt(P) times that of a picture."""
    log_ratio = 1e-3 * torch.randn(4000, 64, generator=torch.Generator().manual_seed(0))
    position, rollout = (
        form_ratio(log_ratio, torch.ones(4000), None, level).ratio.std() for level in ("position", "rollout")
    )
    assert float(position / rollout) == pytest.approx(math.sqrt(64), rel=0.05)


def test_statistics_leave_out_rows_that_do_not_count() -> None:
    ratio = form_ratio(torch.tensor([[0.1, 0.0], [5.0, 5.0]]), torch.ones(2), None, "position")
    statistics = ratio_statistics(ratio, clipped(ratio, 0.05).stopped, torch.tensor([True, False]))
    assert (statistics.count, int(statistics.clipped), int(statistics.clipped_above)) == (2, 1, 1)
    assert float(statistics.max_error) == pytest.approx(math.exp(0.1) - 1, rel=1e-5)
