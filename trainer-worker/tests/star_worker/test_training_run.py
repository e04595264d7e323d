import dataclasses
import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
from PIL import Image

from star_worker.errors import StarError
from star_worker.training_run import TrainingRun
from star_worker.types import (
    FinishedRollout,
    ForwardProcessConfig,
    KlConfig,
    LossMask,
    PolicyGradientConfig,
    RolloutPlan,
    TrainingConfig,
    UpdateMetrics,
)
from tests.tiny_pipeline import FORWARD_PROCESS, POLICY_GRADIENT, group, loss_masks, plan, training_config


def nothing(*_: object) -> None:
    pass


def load(config: TrainingConfig) -> TrainingRun:
    return TrainingRun.load(config, 7, nothing)


def roll(run: TrainingRun, rollout_plan: RolloutPlan) -> list[FinishedRollout]:
    finished: list[FinishedRollout] = []
    run.rollout(rollout_plan, finished.append, nothing, nothing)
    return finished


def iterate(run: TrainingRun, iteration: int, masks: list[LossMask] | None = None) -> UpdateMetrics:
    rollout_plan = plan(iteration=iteration)
    roll(run, rollout_plan)
    return run.update(iter(masks or loss_masks(rollout_plan)), iteration, 100 + iteration, nothing, nothing)


@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize(("guidance_scale", "both"), [(1.0, True), (3.0, True), (3.0, False)])
def test_ratio_before_the_first_step_is_exactly_one(
    pipeline_folder: Path, lora: bool, guidance_scale: float, both: bool
) -> None:
    run = load(training_config(pipeline_folder, lora=lora, guidance_scale=guidance_scale, trains_unconditional=both))
    metrics = [iterate(run, iteration) for iteration in range(2)]
    assert [each.values["ratio_max_error"] for each in metrics] == [0.0, 0.0]
    assert metrics[0].values["trained_rollout_count"] == 4
    assert metrics[0].values["gradient_norm"] > 0
    assert run.policy_version == 2


def test_a_later_optimiser_step_is_off_policy_and_is_measured(pipeline_folder: Path) -> None:
    objective = dataclasses.replace(POLICY_GRADIENT, optimizer_step_count=2)
    values = iterate(load(training_config(pipeline_folder, objective)), 0).values
    assert values["ratio_max_error"] == 0.0
    assert values["ratio_max_deviation"] > 0
    assert values["optimizer_step_count"] == 2


def test_a_policy_that_moved_after_sampling_is_refused_before_anything_is_stepped(pipeline_folder: Path) -> None:
    run = load(training_config(pipeline_folder))
    rollout_plan = plan()
    roll(run, rollout_plan)
    with torch.no_grad():
        for parameter in run.policy.parameters:
            parameter.add_(0.05)
    before = run.state_tensors()
    with pytest.raises(StarError) as caught:
        run.update(iter(loss_masks(rollout_plan)), 0, 1, nothing, nothing)
    assert caught.value.reason == "NOT_ON_POLICY"
    assert all(torch.equal(value, before[name]) for name, value in run.state_tensors().items())
    assert run.policy_version == 0


def test_a_non_finite_gradient_is_refused_without_a_step(pipeline_folder: Path) -> None:
    run = load(training_config(pipeline_folder))
    rollout_plan = plan()
    roll(run, rollout_plan)
    before = run.state_tensors()
    with pytest.raises(StarError) as caught:
        run.update(iter(loss_masks(rollout_plan, (math.inf, 1.0))), 0, 1, nothing, nothing)
    assert caught.value.reason == "NOT_FINITE"
    assert all(torch.equal(value, before[name]) for name, value in run.state_tensors().items())


def test_rollouts_do_not_depend_on_the_micro_batch_size_or_on_the_plan(pipeline_folder: Path) -> None:
    by_size = [
        {each.rollout_id: each for each in roll(load(training_config(pipeline_folder, micro_batch_size=size)), plan())}
        for size in (4, 6, 1)
    ]
    for other in by_size[1:]:
        for name, rollout in by_size[0].items():
            pictures = [np.array(Image.open(io.BytesIO(each.image_png)), int) for each in (rollout, other[name])]
            assert np.abs(pictures[0] - pictures[1]).max() <= 1
            np.testing.assert_allclose(rollout.attention.values, other[name].attention.values, atol=1e-5)
    assert len({each.image_png for each in by_size[0].values()}) == 6


def test_rollouts_come_in_plan_order_with_their_echo_and_maps_of_mean_one(pipeline_folder: Path) -> None:
    rollout_plan = plan(group(0, ("cat",)), group(1, ("dog", "cat")))
    finished = roll(load(training_config(pipeline_folder)), rollout_plan)
    specs = [(each, spec) for each in rollout_plan.groups for spec in each.rollouts]
    assert [each.rollout_id for each in finished] == [spec.rollout_id for _, spec in specs]
    for rollout, (each, spec) in zip(finished, specs, strict=True):
        assert (rollout.seed, rollout.prompt_hash) == (spec.seed, each.prompt_hash)
        assert rollout.attention.values.shape == (3, len(each.core_spans), 4, 4)
        np.testing.assert_allclose(rollout.attention.values.mean((2, 3)), 1, atol=1e-5)
        assert rollout.attention.values.std() > 0.01
        assert Image.open(io.BytesIO(rollout.image_png)).size == (16, 16)


@pytest.mark.parametrize(("guidance_scale", "both"), [(1.0, True), (3.0, True), (3.0, False)])
def test_swapping_the_spans_of_two_nouns_swaps_their_maps(
    pipeline_folder: Path, guidance_scale: float, both: bool
) -> None:
    run = load(training_config(pipeline_folder, guidance_scale=guidance_scale, trains_unconditional=both))
    first = roll(run, plan(group(1, ("dog", "cat"))))[0].attention.values
    second = roll(run, plan(group(1, ("cat", "dog"))))[0].attention.values
    np.testing.assert_array_equal(first, second[:, ::-1])
    assert np.abs(first[:, 0] - first[:, 1]).max() > 0.01


def test_a_truncated_concept_is_reported_unmapped_with_planes_of_one(pipeline_folder: Path) -> None:
    prompt = "a red cat " * 8 + "dog"
    finished = roll(load(training_config(pipeline_folder)), plan(group(0, ("cat", "dog"), prompt=prompt)))
    assert finished[0].attention.unmapped_concept_indexes == (1,)
    assert (finished[0].attention.values[:, 1] == 1).all()
    assert (finished[0].attention.values[:, 0] != 1).any()


@pytest.mark.parametrize("objective", [POLICY_GRADIENT, FORWARD_PROCESS])
@pytest.mark.parametrize("lora", [True, False])
def test_two_iterations_and_a_resume_equal_four_bit_for_bit(
    pipeline_folder: Path, objective: object, lora: bool
) -> None:
    config = training_config(pipeline_folder, objective, lora=lora)
    straight, first, resumed = load(config), load(config), load(config)
    expected = [iterate(straight, iteration).values for iteration in range(4)]
    received = [iterate(first, iteration).values for iteration in range(2)]
    resumed.load_state(first.state_tensors(), first.policy_version)
    received += [iterate(resumed, iteration).values for iteration in range(2, 4)]
    assert received == expected
    assert resumed.policy_version == 4
    wanted = straight.state_tensors()
    assert all(torch.equal(value, wanted[name]) for name, value in resumed.state_tensors().items())


@pytest.mark.parametrize("part", ["trainable", "optimizer", "average", "schedule"])
def test_state_of_another_shape_is_refused(pipeline_folder: Path, part: str) -> None:
    run = load(training_config(pipeline_folder, ema_decay=0.9))
    state = run.state_tensors()
    name = next(name for name in state if name.startswith(f"{part}/"))
    with pytest.raises(StarError) as caught:
        run.load_state({**state, name: torch.zeros(3)}, 1)
    assert caught.value.reason == "CHECKPOINT_INVALID"


def test_forward_process_samples_training_with_the_old_and_evaluation_with_the_current_policy(
    pipeline_folder: Path,
) -> None:
    run = load(training_config(pipeline_folder, FORWARD_PROCESS))
    # In training the window is stochastic; ODE on both sides makes the pictures comparable.
    train, evaluation = (dataclasses.replace(plan(keep_trajectory=keep), window_size=0) for keep in (True, False))
    untrained = roll(run, evaluation)
    with torch.no_grad():
        for parameter in run.policy.parameters:
            parameter.add_(0.1)
    assert [each.image_png for each in roll(run, train)] == [each.image_png for each in untrained]
    assert [each.image_png for each in roll(run, evaluation)] != [each.image_png for each in untrained]


def test_exported_lora_gives_the_same_velocity_in_a_stock_pipeline(pipeline_folder: Path, tmp_path: Path) -> None:
    run = load(training_config(pipeline_folder))
    for iteration in range(2):
        iterate(run, iteration)
    assert run.export(tmp_path / "lora") == "lora"
    stock = StableDiffusion3Pipeline.from_pretrained(pipeline_folder)
    condition = run.policy.encode(["a red cat"])
    latent = torch.randn(1, *run.policy.latent_shape, generator=torch.Generator().manual_seed(0))
    arguments = {
        "hidden_states": latent,
        "timestep": torch.tensor([500.0]),
        "encoder_hidden_states": condition.text,
        "pooled_projections": condition.pooled,
    }
    with torch.no_grad():
        trained = run.policy.velocity(latent, 0.5, condition, run.config.sampling.guidance)
        base = stock.transformer(**arguments).sample
        stock.load_lora_weights(tmp_path / "lora")
        loaded = stock.transformer(**arguments).sample
    torch.testing.assert_close(loaded, trained, rtol=0, atol=1e-6)
    assert (base - trained).abs().max() > 1e-4


def test_exported_full_fine_tune_loads_as_a_transformer(pipeline_folder: Path, tmp_path: Path) -> None:
    run = load(training_config(pipeline_folder, lora=False))
    iterate(run, 0)
    assert run.export(tmp_path / "full") == "transformer"
    loaded = dict(SD3Transformer2DModel.from_pretrained(tmp_path / "full").named_parameters())
    assert all(
        torch.equal(loaded[name], value) for name, value in zip(run.policy.names, run.policy.parameters, strict=True)
    )


def test_a_missing_model_folder_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(StarError, match="nowhere") as caught:
        load(training_config(tmp_path / "nowhere"))
    assert caught.value.reason == "MODEL_NOT_LOADABLE"


def test_cancelling_stops_between_forward_passes(pipeline_folder: Path) -> None:
    run = load(training_config(pipeline_folder))

    def cancel_at(count: int) -> Callable[[], None]:
        calls = iter(range(count))

        def check() -> None:
            if next(calls, None) is None:
                raise StarError("CANCELLED", "stopped")

        return check

    finished: list[FinishedRollout] = []
    with pytest.raises(StarError, match="stopped"):
        run.rollout(plan(), finished.append, nothing, cancel_at(6))
    assert len(finished) == 4


def kl(kind: str, target: float | None = None) -> KlConfig:
    return KlConfig(kind=kind, beta=0.1, target=target)


def test_a_detached_unconditional_pass_changes_the_gradient_and_not_the_pictures(pipeline_folder: Path) -> None:
    runs = [
        load(training_config(pipeline_folder, guidance_scale=3.0, trains_unconditional=both)) for both in (True, False)
    ]
    pictures = [[np.array(Image.open(io.BytesIO(each.image_png)), int) for each in roll(run, plan())] for run in runs]
    assert max(np.abs(a - b).max() for a, b in zip(*pictures, strict=True)) <= 1
    norms = [iterate(run, 0).values["gradient_norm"] for run in runs]
    # The empty prompt's part is (1 - scale) times its own slope: far from nothing.
    assert abs(norms[0] - norms[1]) > 1e-3 * norms[0]


METHODS = {
    "gspo_token": {"ratio_level": "gspo_token"},
    "rollout": {"ratio_level": "rollout"},
    "guard_position": {"ratio_norm": True, "step_weight": "inverse_dt"},
    "guard_rollout": {"ratio_norm": True, "step_weight": "inverse_dt", "ratio_level": "rollout"},
    "kl_mask": {"trust_region": "kl_mask"},
    "kl_mask_rollout": {"trust_region": "kl_mask", "ratio_level": "rollout"},
    "velocity_kl": {"kl": kl("velocity")},
    "anchored_kl": {"kl": kl("anchored")},
}


@pytest.mark.parametrize("name", METHODS)
def test_every_policy_gradient_method_is_exactly_on_policy_and_moves(pipeline_folder: Path, name: str) -> None:
    objective = dataclasses.replace(POLICY_GRADIENT, optimizer_step_count=2, **METHODS[name])
    run = load(training_config(pipeline_folder, objective))
    values = [iterate(run, iteration).values for iteration in range(2)]
    assert [each["ratio_max_error"] for each in values] == [0.0, 0.0]
    assert values[1]["ratio_max_deviation"] > 0
    assert values[1]["parameter_distance_from_base"] > values[0]["parameter_distance_from_base"] > 0


def test_awm_starts_at_ratio_one_and_moves(pipeline_folder: Path) -> None:
    objective = dataclasses.replace(FORWARD_PROCESS, form="awm", optimizer_step_count=1, kl=kl("velocity"))
    values = [iterate(load(training_config(pipeline_folder, objective)), 0).values]
    assert values[0]["ratio_max_deviation"] == 0.0
    assert values[0]["kl"] == 0.0
    assert values[0]["gradient_norm"] > 0


def test_the_kl_weight_adapts_and_is_part_of_the_checkpoint(pipeline_folder: Path) -> None:
    config = training_config(pipeline_folder, dataclasses.replace(POLICY_GRADIENT, kl=kl("velocity", 1e9)))
    run = load(config)
    assert iterate(run, 0).values["kl_weight"] == 0.1
    assert iterate(run, 1).values["kl_weight"] == 0.05
    other = load(config)
    other.load_state(run.state_tensors(), run.policy_version)
    assert other.kl_weight == run.kl_weight == 0.025


def test_evaluation_uses_the_moving_average_and_training_does_not(pipeline_folder: Path) -> None:
    config = training_config(pipeline_folder, ema_decay=0.9)
    run, plain = load(config), load(training_config(pipeline_folder))
    for each in (run, plain):
        iterate(each, 0)
    assert torch.equal(_flat(run.policy.parameters), _flat(plain.policy.parameters))
    expected = [0.1 * a + 0.9 * b for a, b in zip(run.policy.initial, run.policy.parameters, strict=True)]
    torch.testing.assert_close(_flat(run.average), _flat(expected))
    held_out = dataclasses.replace(plan(), keep_trajectory=False)
    assert roll(run, held_out)[0].image_png != roll(plain, held_out)[0].image_png
    other = load(config)
    other.load_state(run.state_tensors(), 1)
    assert torch.equal(_flat(other.average), _flat(run.average))


def _flat(values: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in values])


def test_kl_term_is_zero_at_the_base_and_positive_after_a_step(pipeline_folder: Path) -> None:
    run = load(training_config(pipeline_folder, dataclasses.replace(POLICY_GRADIENT, kl=kl("mean"))))
    values = [iterate(run, iteration).values for iteration in range(2)]
    assert values[0]["kl"] == 0.0
    assert values[1]["kl"] > 0
    assert values[1]["ratio_max_error"] == 0.0


def test_missing_loss_masks_are_an_error_and_none_with_an_advantage_makes_no_step(pipeline_folder: Path) -> None:
    run = load(training_config(pipeline_folder))
    rollout_plan = plan()
    roll(run, rollout_plan)
    with pytest.raises(StarError) as caught:
        run.update(iter(loss_masks(rollout_plan)[:-1]), 0, 1, nothing, nothing)
    assert caught.value.reason == "TASK_ECHO_MISMATCH"
    before = run.state_tensors()
    metrics = run.update(iter(loss_masks(rollout_plan, (None,))), 0, 1, nothing, nothing)
    assert metrics.values["optimizer_step_count"] == 0
    assert "loss" not in metrics.values
    assert all(torch.equal(value, before[name]) for name, value in run.state_tensors().items())


def _gradient(run: TrainingRun, rollout_plan: RolloutPlan, advantages: dict[str, float | None]) -> torch.Tensor:
    """Return the gradient of the first optimiser step of an update on a plan, before the clip."""
    roll(run, rollout_plan)
    taken: list[torch.Tensor] = []
    step = run.optimizer.step

    def taking(loss: torch.Tensor) -> float:
        taken.append(_flat([value.grad for value in run.policy.parameters if value.grad is not None]).clone())
        return step(loss)

    run.optimizer.step = taking  # type: ignore[method-assign]
    masks = [
        dataclasses.replace(mask, advantage=advantages[mask.rollout_id], allocation_maps=maps, step_indexes=(0, 1))
        for mask, maps in zip(loss_masks(rollout_plan), _maps(rollout_plan, run.policy.token_grid), strict=True)
    ]
    run.update(iter(masks), rollout_plan.iteration, 5, nothing, nothing)
    return taken[0]


def _maps(rollout_plan: RolloutPlan, token_grid: tuple[int, int]) -> list[np.ndarray]:
    """Return maps of mean 1 that depend on the rollout alone."""
    seeds = [spec.seed for each in rollout_plan.groups for spec in each.rollouts]
    maps = [np.random.default_rng(seed).random((2, *token_grid)).astype(np.float32) for seed in seeds]
    return [each / each.mean((1, 2), keepdims=True) for each in maps]


@pytest.mark.parametrize(
    "objective",
    [
        dataclasses.replace(POLICY_GRADIENT, kl=kl("velocity")),
        dataclasses.replace(POLICY_GRADIENT, ratio_level="rollout"),
        FORWARD_PROCESS,
        dataclasses.replace(FORWARD_PROCESS, form="awm", kl=kl("velocity")),
    ],
    ids=["policy_gradient_position_kl", "policy_gradient_rollout", "forward_process_nft", "forward_process_awm"],
)
def test_the_gradient_with_missing_rewards_is_that_of_the_surviving_rollouts_alone(
    pipeline_folder: Path, objective: PolicyGradientConfig | ForwardProcessConfig
) -> None:
    lost = ("0-1", "1-0")
    names = ["0-0", "0-1", "0-2", "1-0", "1-1", "1-2"]
    advantages = {name: None if name in lost else 1.0 - 0.4 * row for row, name in enumerate(names)}
    survivors = tuple(
        dataclasses.replace(each, rollouts=tuple(spec for spec in each.rollouts if spec.rollout_id not in lost))
        for each in plan().groups
    )
    gradients = []
    for groups in (plan().groups, survivors):
        run = load(training_config(pipeline_folder, objective))
        # One update before, so that the policy differs from its reference and the KL term has a gradient.
        iterate(run, 0)
        gradients.append(_gradient(run, plan(*groups, iteration=1), advantages))
    scale = float(gradients[1].abs().max())
    assert scale > 0
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-5 * scale)
