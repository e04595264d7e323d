import pytest
import torch

from star_worker.kl_penalty import adapted_weight, anchor_weights, anchored_kl, mean_kl, velocity_kl


def test_mean_kl_is_the_squared_distance_over_twice_the_variance() -> None:
    mean, reference = torch.full((2, 1, 2, 2), 3.0), torch.full((2, 1, 2, 2), 1.0)
    assert mean_kl(mean, reference, 0.5).tolist() == [8.0, 8.0]
    assert velocity_kl(mean, reference).tolist() == [4.0, 4.0]


def test_anchor_weights_have_mean_one_and_are_larger_where_the_map_is_small() -> None:
    maps = torch.tensor([[0.2, 0.8, 3.0, 0.0]])
    weights = anchor_weights(maps)
    assert float(weights.mean()) == pytest.approx(1)
    # 2 - w within [0.5, 1.5]: 1.5, 1.2, 0.5, 1.5.
    torch.testing.assert_close(weights, torch.tensor([[1.5, 1.2, 0.5, 1.5]]) / 1.175)


def test_anchored_kl_of_a_uniform_map_is_the_mean_kl() -> None:
    shift = torch.rand(2, 4, generator=torch.Generator().manual_seed(0))
    uniform = anchored_kl(shift, torch.ones(2, 4), 0.7)
    torch.testing.assert_close(uniform, shift.mean(1) / (2 * 0.7**2))
    assert float(anchored_kl(shift, torch.tensor([[0.0, 2.0, 1.0, 1.0]] * 2), 0.7)[0]) != float(uniform[0])


@pytest.mark.parametrize(("measured", "expected"), [(1.6, 0.2), (1.4, 0.1), (0.7, 0.1), (0.6, 0.05)])
def test_the_weight_moves_only_outside_the_band_around_the_target(measured: float, expected: float) -> None:
    assert adapted_weight(0.1, measured, 1.0) == pytest.approx(expected)
