import pytest
import torch

from star_worker.parameter_average import ema_decay, mix_policies, old_policy_decay


def test_old_policy_starts_as_a_copy_and_then_lags() -> None:
    assert [old_policy_decay(k, 0.9, 0.02) for k in (0, 10, 100)] == [0.0, 0.2, 0.9]
    old, current = [torch.tensor([1.0])], [torch.tensor([2.0])]
    mix_policies(old, current, 0.75)
    assert float(old[0]) == 1.25
    mix_policies(old, current, 0.0)
    assert float(old[0]) == 2.0


def test_the_memory_of_the_average_grows_up_to_its_limit() -> None:
    assert [ema_decay(k, 0.9) for k in (0, 8, 1000)] == [0.1, 0.5, 0.9]
    assert ema_decay(1000, 0.9999) == pytest.approx(1001 / 1010)
