import math

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from star_worker.errors import StarError
from star_worker.flow_sde import draw_step, ode_step, score_step, step_rule
from star_worker.schedule import check_sigmas, diffusers_sigmas, linear_sigmas, trained_steps

SIGMAS = diffusers_sigmas(10, 3.0)


def latents(count: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 4, 8, 8, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("steps", [4, 10, 40])
def test_sigmas_equal_those_of_diffusers(steps: int) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(steps)
    torch.testing.assert_close(torch.tensor(diffusers_sigmas(steps, 3.0)), scheduler.sigmas, rtol=0, atol=1e-7)


def test_linear_sigmas_are_shifted_equal_parts() -> None:
    assert linear_sigmas(4, 3.0) == (1.0, 0.9, 0.75, 0.5, 0.0)


def test_the_last_step_is_never_trained() -> None:
    assert list(trained_steps(11, 0, 10)) == list(range(9))
    assert list(trained_steps(11, 2, 3)) == [2, 3, 4]
    assert not trained_steps(11, 9, 3)


def test_sigmas_that_do_not_fall_are_refused() -> None:
    with pytest.raises(StarError, match="fall strictly"):
        check_sigmas((1.0, 0.5, 0.5, 0.0))


@pytest.mark.parametrize("sampler", ["flow_sde", "cps"])
@pytest.mark.parametrize("index", [0, 4, 8])
def test_scoring_a_drawn_step_gives_its_log_density_bit_for_bit(sampler: str, index: int) -> None:
    latent, velocity, noise = latents()
    rule = step_rule(sampler, SIGMAS, index, 0.7)
    drawn = draw_step(rule, latent, velocity, noise, 2)
    assert torch.equal(score_step(rule, latent, velocity, drawn.next_latent, 2).log_density, drawn.log_density)


def test_log_density_per_position_is_the_gaussian_mean_over_its_values() -> None:
    latent, velocity, noise = latents()
    rule = step_rule("flow_sde", SIGMAS, 3, 0.7)
    drawn = draw_step(rule, latent, velocity, noise, 2)
    density = torch.distributions.Normal(drawn.mean, rule.std).log_prob(drawn.next_latent)
    # Row 1, column 2 of the 4 x 4 token grid.
    torch.testing.assert_close(drawn.log_density[:, 6], density[:, :, 2:4, 4:6].mean((1, 2, 3)), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(drawn.log_density.mean(1), density.mean((1, 2, 3)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sampler", ["flow_sde", "cps"])
def test_noise_level_zero_is_the_ode(sampler: str) -> None:
    latent, velocity, noise = latents()
    rule = step_rule(sampler, SIGMAS, 4, 0.0)
    expected = ode_step(latent, velocity, SIGMAS[4], SIGMAS[5])
    made = draw_step(rule, latent, velocity, noise, 2)
    torch.testing.assert_close(made.next_latent, expected, rtol=0, atol=1e-6)
    if sampler == "flow_sde":
        assert math.isnan(float(made.log_density.mean()))


def test_the_first_step_from_sigma_one_has_the_noise_level_as_its_std() -> None:
    assert step_rule("flow_sde", SIGMAS, 0, 0.7).std == pytest.approx(0.7, rel=1e-6)
