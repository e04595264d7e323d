import torch

from star_worker.forward_process import (
    add_noise,
    forward_process_loss,
    matching_log_density,
    positive_share,
)


def values(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 4, 8, 8, generator=generator) for _ in range(count)]


def test_loss_equals_the_formula_in_float64() -> None:
    clean, noise, velocity, old = (each.double() for each in values(4))
    sigma, beta = torch.tensor([0.4, 0.9]).double(), 0.5
    maps = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(1)).double()
    positive = positive_share(torch.tensor([2.0, -1.0]).double(), maps, 2.5, 2)
    received = forward_process_loss(velocity, old, add_noise(clean, noise, sigma), positive, beta)
    for row in range(2):
        s, x0 = sigma[row], clean[row]
        noised = (1 - s) * x0 + s * noise[row]
        rho = 0.5 + 0.5 * ((2.0, -1.0)[row] * maps[row] / 2.5).clamp(-1, 1)
        rho = torch.kron(rho, torch.ones(2, 2).double())
        total = 0
        for weight, sign in ((rho, 1), (1 - rho, -1)):
            error = noised - s * (old[row] + sign * beta * (velocity[row] - old[row])) - x0
            total = total + weight * error**2 / error.abs().mean()
        torch.testing.assert_close(received[row], total.mean() / beta)


def test_advantage_zero_at_the_old_policy_has_no_gradient_and_a_positive_one_pulls_to_the_data() -> None:
    clean, noise, old = values(3)
    latents = add_noise(clean, noise, torch.tensor([0.5, 0.5]))
    velocity = old.clone().requires_grad_()
    for advantage, moves in ((0.0, False), (1.0, True)):
        positive = positive_share(torch.full((2,), advantage), None, 2.5, 2)
        loss = forward_process_loss(velocity, old, latents, positive, 1.0).sum()
        (gradient,) = torch.autograd.grad(loss, velocity)
        assert bool(gradient.abs().max() > 1e-8) == moves
    target = noise - clean
    assert float((-gradient * (target - old)).sum()) > 0


def test_matching_log_density_is_highest_at_the_velocity_of_the_pair() -> None:
    clean, noise, velocity = values(3)
    latents = add_noise(clean, noise, torch.tensor([0.5, 0.5]))
    exact = matching_log_density(noise - clean, latents, 2)
    assert exact.shape == (2, 16)
    assert float(exact.abs().max()) == 0
    expected = -((velocity - (noise - clean)) ** 2)[0, :, :2, 2:4].mean()
    torch.testing.assert_close(matching_log_density(velocity, latents, 2)[0, 1], expected)
