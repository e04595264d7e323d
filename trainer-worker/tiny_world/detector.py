"""Trains the detector, exports it and measures it."""

import random
import time
from pathlib import Path
from typing import Final

import torch
from diffusers import StableDiffusion3Pipeline

from tiny_world.detector_card import write_manifest_and_card
from tiny_world.detector_model import Detector, export_onnx
from tiny_world.detector_scenes import (
    Example,
    fresh_example,
    label_by_reader,
    reconstructed_examples,
    spoiled_example,
)
from tiny_world.detector_targets import detector_loss, targets_of
from tiny_world.pipeline import draw, load_pipeline
from tiny_world.prompts import training_records_by_tag
from tiny_world.seeds import derive_seed
from tiny_world.vocabulary import GENEVAL_TAGS

BATCH: Final = 32
LEARNING_RATE: Final = 2e-3
RENDERED: Final = 12_000
RECONSTRUCTED: Final = 4_000
GENERATED: Final = 2_000
"""Pictures of the base model for training prompts, labelled by the reader where it is sure."""


def _generated_examples(pipeline: StableDiffusion3Pipeline, rng: random.Random, seed: int) -> list[Example]:
    by_tag = training_records_by_tag()
    prompts = [rng.choice(by_tag[rng.choice(GENEVAL_TAGS)])["prompt"] for _ in range(GENERATED)]
    pictures = draw(pipeline, prompts, derive_seed("detector pictures", seed))
    return [example for example in map(label_by_reader, pictures) if example is not None]


def training_examples(pipeline: StableDiffusion3Pipeline, seed: int) -> list[Example]:
    """Draw the training set: renders clean and spoiled, reconstructions, and generated pictures."""
    rng = random.Random(derive_seed("detector", seed))
    generator = torch.Generator().manual_seed(derive_seed("detector latents", seed))
    examples = [spoiled_example(rng) if rng.random() < 0.6 else fresh_example(rng) for _ in range(RENDERED)]
    for _ in range(RECONSTRUCTED // 200):
        examples += reconstructed_examples(pipeline.vae, 200, rng, generator)
    generated = _generated_examples(pipeline, rng, seed)
    print(f"detector: {len(generated)} of {GENERATED} generated pictures labelled by the reader", flush=True)
    return examples + 3 * generated


def train_detector(model: Path, folder: Path, *, steps: int, seed: int) -> None:
    """Train from nothing, then write model.onnx, manifest.yaml and README.md to `folder`."""
    torch.manual_seed(seed)
    pipeline = load_pipeline(model)
    examples = training_examples(pipeline, seed)
    detector = Detector()
    optimiser = torch.optim.AdamW(detector.parameters(), LEARNING_RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps)
    rng = random.Random(derive_seed("detector batches", seed))
    started = time.monotonic()
    for step in range(1, steps + 1):
        loss = detector_loss(detector, targets_of(rng.sample(examples, BATCH)))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 5.0)
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
        if step % 100 == 0:
            elapsed_s = time.monotonic() - started
            left_s = elapsed_s * (steps - step) / step
            print(f"detector {step}/{steps} loss {loss.item():.3f} {elapsed_s:.0f} s, {left_s:.0f} s left", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    export_onnx(detector.eval(), str(folder / "model.onnx"))
    write_manifest_and_card(pipeline, folder, steps=steps, seconds=time.monotonic() - started)
