import math

import pytest
import torch

from star_worker.policy_gradient import clipped_objective, ratio_statistics


def batch(shift: float = 0.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    old = torch.randn(4, 16, generator=generator)
    new = (old + shift * torch.randn(4, 16, generator=generator)).requires_grad_()
    weights = torch.rand(4, 16, generator=generator)
    return new, old, torch.tensor([1.0, -2.0, 0.5, 3.0]), weights / weights.mean(1, keepdim=True)


@pytest.mark.parametrize("level", ["position", "rollout"])
def test_at_ratio_one_both_levels_have_the_gradient_of_the_weighted_advantage(level: str) -> None:
    new, old, advantage, weights = batch()
    objective = clipped_objective(new, old, advantage, weights, clip_range=1e-3, ratio_level=level)
    (gradient,) = torch.autograd.grad(objective.loss.sum(), new)
    torch.testing.assert_close(gradient, -advantage[:, None] * weights / 16)
    assert torch.equal(objective.ratio, torch.ones_like(objective.ratio))


def test_a_map_of_one_is_the_scalar_loss_bit_for_bit() -> None:
    new, old, advantage, _ = batch(0.01)
    losses = [
        clipped_objective(new, old, advantage, weights, clip_range=1e-3, ratio_level="rollout").loss
        for weights in (None, torch.ones(4, 16))
    ]
    ratio = (new.mean(1) - old.mean(1)).exp()
    scalar = torch.maximum(-advantage * ratio, -advantage * ratio.clamp(1 - 1e-3, 1 + 1e-3))
    assert torch.equal(losses[0], losses[1])
    torch.testing.assert_close(losses[0], scalar, rtol=1e-6, atol=1e-6)


def test_the_clip_stops_the_gradient_only_where_the_ratio_helps_already() -> None:
    old = torch.zeros(1, 4)
    new = torch.tensor([[0.1, -0.1, 0.1, -0.1]], requires_grad=True)
    weights = torch.tensor([[1.0, 1.0, 1.0, 1.0]])
    for advantage, moving in ((1.0, [False, True, False, True]), (-1.0, [True, False, True, False])):
        objective = clipped_objective(
            new, old, torch.tensor([advantage]), weights, clip_range=0.01, ratio_level="position"
        )
        (gradient,) = torch.autograd.grad(objective.loss.sum(), new)
        assert (gradient[0] != 0).tolist() == moving


def test_token_ratios_spread_by_the_square_root_of_the_positions_more_than_the_picture_ratio() -> None:
    """method.md 9.2: the reason why the clip range per position is sqrt(P) times that of a picture."""
    generator = torch.Generator().manual_seed(0)
    old = torch.zeros(4000, 64)
    new = 1e-3 * torch.randn(4000, 64, generator=generator)
    ones = torch.ones(4000)
    position, rollout = (
        clipped_objective(new, old, ones, None, clip_range=1e-4, ratio_level=level).ratio.std()
        for level in ("position", "rollout")
    )
    assert float(position / rollout) == pytest.approx(math.sqrt(64), rel=0.05)


def test_statistics_leave_out_rows_that_do_not_count() -> None:
    new, old = torch.tensor([[0.1, 0.0], [5.0, 5.0]]), torch.zeros(2, 2)
    objective = clipped_objective(new, old, torch.ones(2), None, clip_range=0.05, ratio_level="position")
    statistics = ratio_statistics(objective, torch.tensor([True, False]), 0.05)
    assert (statistics.count, int(statistics.clipped), int(statistics.clipped_above)) == (2, 1, 1)
    assert float(statistics.max_error) == pytest.approx(math.exp(0.1) - 1, rel=1e-5)
