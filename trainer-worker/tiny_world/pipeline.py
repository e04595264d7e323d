"""Puts the parts together as a Stable Diffusion 3 pipeline, loads it, and draws with it."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from torch import Tensor

from tiny_world.autoencoder import LATENT_CHANNELS, decode
from tiny_world.renderer import Picture
from tiny_world.text_encoders import MAX_TOKENS, build_clip, build_t5, build_tokenizer
from tiny_world.transformer import LATENT_SIZE

SHIFT: Final = 3.0
SAMPLING_STEPS: Final = 8


def assemble(autoencoder: AutoencoderKL, transformer: SD3Transformer2DModel) -> StableDiffusion3Pipeline:
    """Return a pipeline with the fixed text encoders (seeds 1, 2 and 3)."""
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
        vae=autoencoder,
        text_encoder=build_clip(1),
        tokenizer=build_tokenizer(begins=True),
        text_encoder_2=build_clip(2),
        tokenizer_2=build_tokenizer(begins=True),
        text_encoder_3=build_t5(3),
        tokenizer_3=build_tokenizer(begins=False),
    )


def load_pipeline(folder: Path) -> StableDiffusion3Pipeline:
    """Load a saved pipeline in float32, without progress bars."""
    pipeline: StableDiffusion3Pipeline = StableDiffusion3Pipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.no_grad()
def embed(pipeline: StableDiffusion3Pipeline, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return (float32 [B, 32, 128] text embeddings, float32 [B, 128] pooled) exactly as the pipeline makes them."""
    texts, pooled = [], []
    for start in range(0, len(prompts), 256):
        chunk = list(prompts[start : start + 256])
        text, _, pool, _ = pipeline.encode_prompt(
            chunk, chunk, chunk, do_classifier_free_guidance=False, max_sequence_length=MAX_TOKENS
        )
        texts.append(text)
        pooled.append(pool)
    return torch.cat(texts), torch.cat(pooled)


def sampling_sigmas() -> list[float]:
    """Return the 8 shifted noise levels 3s/(1+2s) of s = 1, 7/8, ..., 1/8, and the final 0."""
    linear = [1 - index / SAMPLING_STEPS for index in range(SAMPLING_STEPS)]
    return [SHIFT * s / (1 + (SHIFT - 1) * s) for s in linear] + [0.0]


@torch.no_grad()
def sample_latents(transformer: SD3Transformer2DModel, text: Tensor, pooled: Tensor, noise_BCHW: Tensor) -> Tensor:
    """Follow the flow from noise to latents in 8 Euler steps without guidance."""
    sigmas = sampling_sigmas()
    done = []
    chunks = (torch.split(tensor, 50) for tensor in (noise_BCHW, text, pooled))
    for x, text_chunk, pooled_chunk in zip(*chunks, strict=True):
        for sigma, next_sigma in pairwise(sigmas):
            velocity = transformer(
                hidden_states=x,
                encoder_hidden_states=text_chunk,
                pooled_projections=pooled_chunk,
                timestep=torch.full((len(x),), 1000 * sigma),
                return_dict=False,
            )[0]
            x = x + (next_sigma - sigma) * velocity
        done.append(x)
    return torch.cat(done)


def seeded_noise(count: int, seed: int) -> Tensor:
    """Return float32 [count, 8, 16, 16] Gaussian noise."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE, generator=generator)


def draw(pipeline: StableDiffusion3Pipeline, prompts: Sequence[str], seed: int) -> list[Picture]:
    """Draw one picture a prompt."""
    text, pooled = embed(pipeline, prompts)
    latents = sample_latents(pipeline.transformer, text, pooled, seeded_noise(len(prompts), seed))
    return decode(pipeline.vae, latents)


def save_pipeline(pipeline: StableDiffusion3Pipeline, folder: Path) -> None:
    """Write the pipeline folder: autoencoder and transformer in float16, the small text encoders in float32."""
    pipeline.vae.half()
    pipeline.transformer.half()
    pipeline.save_pretrained(folder, safe_serialization=True)
    pipeline.vae.float()
    pipeline.transformer.float()
    _forget_origin(folder / "vae" / "config.json")


def _forget_origin(config: Path) -> None:
    """Take out the path that the part was loaded from: it means nothing elsewhere."""
    settings = json.loads(config.read_text())
    settings.pop("_name_or_path", None)
    config.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
