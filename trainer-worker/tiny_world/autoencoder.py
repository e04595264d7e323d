"""The autoencoder: an `AutoencoderKL` of 0.66 M parameters, 64x64x3 to 16x16x8, trained on fresh pictures."""

import math
import random
import time
from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from tiny_world.prompts import training_records_by_tag
from tiny_world.renderer import Picture, draw_record
from tiny_world.settings import AUTOENCODER_STEPS

BATCH: Final = 8
LEARNING_RATE: Final = 2e-3
POOL: Final = 10_000
"""Pictures drawn once and reused in random order."""
LATENT_CHANNELS: Final = 8


def build_autoencoder() -> AutoencoderKL:
    """Return an untrained autoencoder."""
    channels = (16, 32, 64)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        force_upcast=False,
        shift_factor=0.0,
        scaling_factor=1.0,
    )


def to_tensor(pictures: list[Picture]) -> Tensor:
    """Return float32 [B, 3, 64, 64] in -1..1."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pictures(pixels_B3HW: Tensor) -> list[Picture]:
    """Round -1..1 to uint8 pictures."""
    levels = ((pixels_B3HW.float().clamp(-1, 1) + 1) * 127.5).round().byte()
    return list(levels.permute(0, 2, 3, 1).numpy())


@torch.no_grad()
def encode(autoencoder: AutoencoderKL, pictures: list[Picture]) -> Tensor:
    """Return normalised latents float32 [B, 8, 16, 16], mean 0 and deviation 1 over the training pictures."""
    mean = autoencoder.encode(to_tensor(pictures)).latent_dist.mean
    latents: Tensor = (mean - autoencoder.config.shift_factor) * autoencoder.config.scaling_factor
    return latents


@torch.no_grad()
def decode(autoencoder: AutoencoderKL, latents_BCHW: Tensor) -> list[Picture]:
    """Return pictures of normalised latents."""
    raw = latents_BCHW / autoencoder.config.scaling_factor + autoencoder.config.shift_factor
    return [picture for chunk in torch.split(raw, 50) for picture in to_pictures(autoencoder.decode(chunk).sample)]


def _loss(autoencoder: AutoencoderKL, pixels: Tensor) -> tuple[Tensor, float]:
    """Return (squared + absolute error + a little KL, mean squared error)."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        posterior = autoencoder.encode(pixels).latent_dist
        decoded = autoencoder.decode(posterior.sample()).sample
    error = decoded.float() - pixels
    squared = error.square().mean()
    divergence = posterior.kl().mean() / (LATENT_CHANNELS * 16 * 16)
    return 2 * squared + error.abs().mean() + 1e-3 * divergence, float(squared.detach())


def _normalise_latents(autoencoder: AutoencoderKL, pixels: Tensor) -> None:
    """Measure mean and deviation of the latents and note them in the configuration."""
    with torch.no_grad():
        latents = torch.cat([autoencoder.encode(chunk).latent_dist.mean for chunk in torch.split(pixels, 100)])
    autoencoder.register_to_config(scaling_factor=float(1 / latents.std()), shift_factor=float(latents.mean()))


def train_autoencoder(folder: Path, *, steps: int = AUTOENCODER_STEPS, seed: int = 0) -> None:
    """Train from nothing (about five minutes) and save the autoencoder, rounded to float16, under `folder`."""
    torch.manual_seed(seed)
    torch.set_num_threads(2)
    rng = random.Random(seed)
    by_tag = training_records_by_tag()
    tags = list(by_tag)
    pictures = [draw_record(rng.choice(by_tag[rng.choice(tags)]), rng).picture for _ in range(POOL)]
    autoencoder = build_autoencoder()
    optimiser = torch.optim.AdamW(autoencoder.parameters(), LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1, (step + 1) / 30) * (0.005 + 0.995 * (1 + math.cos(math.pi * step / steps)) / 2)
    )
    started = time.monotonic()
    for step in range(1, steps + 1):
        loss, squared = _loss(autoencoder, to_tensor(rng.sample(pictures, BATCH)))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(autoencoder.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
        if step % 250 == 0:
            elapsed_s = time.monotonic() - started
            left_s = elapsed_s * (steps - step) / step
            quality = 10 * math.log10(4 / squared)
            print(f"autoencoder {step}/{steps} {elapsed_s:.0f} s, {left_s:.0f} s left, {quality:.1f} dB", flush=True)
    autoencoder.eval().half().float()
    _normalise_latents(autoencoder, to_tensor(pictures[:1000]))
    autoencoder.half().save_pretrained(folder)


def load_autoencoder(folder: Path) -> AutoencoderKL:
    """Load a saved autoencoder in float32, frozen."""
    autoencoder: AutoencoderKL = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32)
    return autoencoder.eval().requires_grad_(False)
