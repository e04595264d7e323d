"""Every model family behind the same seam: sampling, exact capture, log-density, training step, export."""

import dataclasses
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline, StableDiffusion3Pipeline

from star_worker.attention_capture import fused_cpu_kernel
from star_worker.errors import StarError
from star_worker.policy import Policy
from star_worker.training_run import TrainingRun
from star_worker.types import FinishedRollout, Guidance
from tests.tiny_pipeline import (
    FORWARD_PROCESS,
    POLICY_GRADIENT,
    PROMPTS,
    build_flux_pipeline,
    build_pipeline,
    build_transformer,
    group,
    loss_masks,
    plan,
    training_config,
)

BUILDERS = {
    "sd3-medium": lambda: build_pipeline(build_transformer(dual_attention=(), qk_norm=None)),
    "sd3.5-medium": build_pipeline,
    "sd3.5-large": lambda: build_pipeline(build_transformer(dual_attention=(), layers=4)),
    "flux.1": build_flux_pipeline,
}


@pytest.fixture(scope="module", params=BUILDERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("family") / request.param
    BUILDERS[request.param]().save_pretrained(path)
    return path


def nothing(*_: object) -> None:
    pass


def load_policy(folder: Path, *, blocks: tuple[int, ...] = ()) -> Policy:
    policy = Policy.load(training_config(folder, lora=False).model, 7, torch.device("cpu"))
    if blocks:
        policy.install_capture(blocks)
    return policy


def guidance(scale: float) -> Guidance:
    return Guidance(scale=scale, trains_unconditional=True)


def velocity(policy: Policy, scale: float = 1.0) -> torch.Tensor:
    latent = torch.randn(2, *policy.latent_shape, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        return policy.velocity(latent, 0.7, policy.encode(PROMPTS), guidance(scale))


def test_sampling_without_noise_gives_the_pictures_of_diffusers(folder: Path) -> None:
    """Same latents, same sigmas, the pipeline's own loop: packing, text and guidance are the family's."""
    policy = load_policy(folder)
    pipeline = policy.pipeline
    sigmas = (1.0, 0.9, 0.75, 0.0)
    latent = torch.randn(1, *policy.latent_shape, generator=torch.Generator().manual_seed(5))
    given, own = latent, latent
    is_flux = isinstance(pipeline, FluxPipeline)
    if is_flux:
        given = FluxPipeline._pack_latents(latent, 1, *policy.latent_shape)
    pipeline.scheduler = type(pipeline.scheduler)(shift=1.0)
    expected = pipeline(
        PROMPTS[0],
        sigmas=list(sigmas[:-1]),
        num_inference_steps=3,
        guidance_scale=3.0,
        latents=given,
        height=16,
        width=16,
        max_sequence_length=12,
        output_type="latent",
    ).images
    if is_flux:
        expected = FluxPipeline._unpack_latents(expected, 16, 16, pipeline.vae_scale_factor)
    with torch.no_grad():
        for sigma, after in pairwise(sigmas):
            own = own + (after - sigma) * policy.velocity(own, sigma, policy.encode(PROMPTS[:1]), guidance(3.0))
    torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-5)


def test_reading_leaves_the_velocity_bit_equal_and_equals_a_naive_softmax(folder: Path) -> None:
    plain = velocity(load_policy(folder))
    policy = load_policy(folder, blocks=(1,))
    assert policy.capture is not None
    assert policy.capture.kernel is fused_cpu_kernel
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def kernel(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append((query, key))
        return fused_cpu_kernel(query, key, value)

    policy.capture.kernel = kernel
    columns = torch.tensor([[0, 3], [5, 5]])
    with policy.capture.reading(columns):
        assert torch.equal(velocity(policy), plain)
    ((query, key),) = seen
    probability = (query @ key.transpose(2, 3) * query.shape[3] ** -0.5).softmax(3).mean(1)
    length = policy.family.text_length
    first = policy.family.traits.image_first
    image, text = (slice(-length), slice(-length, None)) if first else (slice(length, None), slice(length))
    for row in range(2):
        expected = probability[row, image, text][:, columns[row]]
        torch.testing.assert_close(policy.capture.probabilities()[row], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_ratio_is_exactly_one_and_an_update_moves_the_policy(folder: Path, checkpointing: bool) -> None:
    config = training_config(folder, POLICY_GRADIENT, blocks=(0, 1))
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, gradient_checkpointing=checkpointing))
    run = TrainingRun.load(config, 7, nothing)
    finished: list[FinishedRollout] = []
    run.rollout(plan(), finished.append, nothing, nothing)
    metrics = run.update(iter(loss_masks(plan())), 0, 1, nothing, nothing).values
    assert metrics["ratio_max_error"] == 0.0
    assert metrics["parameter_distance_from_base"] > 0
    assert all(float(each.attention.values.std()) > 0.001 for each in finished)


def test_the_forward_process_moves_the_policy(folder: Path) -> None:
    run = TrainingRun.load(training_config(folder, FORWARD_PROCESS), 7, nothing)
    run.rollout(plan(), nothing, nothing, nothing)
    metrics = run.update(iter(loss_masks(plan())), 0, 1, nothing, nothing).values
    assert metrics["parameter_distance_from_base"] > 0


def test_swapping_the_spans_of_two_nouns_swaps_their_maps(folder: Path) -> None:
    run = TrainingRun.load(training_config(folder), 7, nothing)

    def maps(words: tuple[str, ...]) -> torch.Tensor:
        finished: list[FinishedRollout] = []
        run.rollout(plan(group(1, words)), finished.append, nothing, nothing)
        return torch.from_numpy(finished[0].attention.values)

    first, second = maps(("dog", "cat")), maps(("cat", "dog"))
    assert torch.equal(first, second.flip(1))
    assert float((first[:, 0] - first[:, 1]).abs().max()) > 0.001


def test_the_exported_adapter_loads_in_plain_diffusers(folder: Path, tmp_path: Path) -> None:
    run = TrainingRun.load(training_config(folder), 7, nothing)
    run.rollout(plan(), nothing, nothing, nothing)
    run.update(iter(loss_masks(plan())), 0, 1, nothing, nothing)
    assert run.export(tmp_path) == "lora"
    pipeline_class = FluxPipeline if "flux" in folder.name else StableDiffusion3Pipeline
    pipeline = pipeline_class.from_pretrained(folder)
    pipeline.load_lora_weights(tmp_path)
    other = load_policy(folder)
    other.family.pipeline.transformer = other.transformer = pipeline.transformer
    torch.testing.assert_close(velocity(other), velocity(run.policy), rtol=1e-5, atol=1e-6)


def test_a_block_that_does_not_exist_is_refused(folder: Path) -> None:
    with pytest.raises(StarError, match=r"blocks 0 to [23], received 9") as caught:
        load_policy(folder, blocks=(9,))
    assert caught.value.reason == "RECIPE_INVALID"
