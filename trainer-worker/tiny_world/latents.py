"""The pool of encoded training pictures, made once and read by all training processes."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor

from tiny_world.autoencoder import encode
from tiny_world.curriculum import POOL_SIZES, POOL_WEIGHTS, carelessly
from tiny_world.prompts import Record, training_records_by_tag
from tiny_world.renderer import draw_record
from tiny_world.seeds import derive_seed

POOL_PARTS: Final = 2
"""Each training process makes one part."""


@dataclass(frozen=True, slots=True)
class LatentPool:
    """Encoded pictures with the index of their prompt among `training_prompts()`."""

    latents: Tensor
    """bfloat16 [N, 8, 16, 16], normalised."""
    prompt_indexes: Tensor
    """int64 [N]."""

    def draw(self, count: int, weights: Mapping[str, float] | None, generator: torch.Generator) -> Tensor:
        """Draw indexes int64 [count], uniformly or with the given weight of each kind."""
        if weights is None:
            return torch.randint(0, len(self.latents), (count,), generator=generator)
        return torch.multinomial(self._chances(weights), count, replacement=True, generator=generator)

    def _chances(self, weights: Mapping[str, float]) -> Tensor:
        """Return each entry's chance: the weight of its kind, shared by all entries of that kind."""
        tags = list(weights)
        kind_of_prompt = torch.tensor([tags.index(record["tag"]) for record in training_records()])
        kinds = kind_of_prompt[self.prompt_indexes]
        shares = torch.tensor(list(weights.values())) / torch.bincount(kinds, minlength=len(tags))
        return shares[kinds]


@cache
def training_records() -> list[Record]:
    """List all training records in one fixed order."""
    return [record for records in training_records_by_tag().values() for record in records]


def training_prompts() -> list[str]:
    """List the training prompts in the order of `training_records`."""
    return [record["prompt"] for record in training_records()]


def _draw_indexes(count: int, weights: Mapping[str, float], rng: random.Random) -> list[int]:
    """Draw record indexes: first the kind by weight, then a record of that kind."""
    by_tag: dict[str, list[int]] = {tag: [] for tag in weights}
    for index, record in enumerate(training_records()):
        by_tag[record["tag"]].append(index)
    tags = rng.choices(list(weights), list(weights.values()), k=count)
    return [rng.choice(by_tag[tag]) for tag in tags]


def pool_paths(cache: Path, pool: str) -> list[Path]:
    """Return the files of a pool."""
    return [cache / f"latents-{pool}-{part}.safetensors" for part in range(POOL_PARTS)]


def build_pool_part(autoencoder: AutoencoderKL, path: Path, *, pool: str, part: int, seed: int) -> None:
    """Draw and encode one part of a pool and save it, unless it is there already."""
    if path.exists():
        return
    number = list(POOL_WEIGHTS).index(pool) * POOL_PARTS + part
    rng = random.Random(derive_seed("latents", seed, number))
    records = training_records()
    indexes = _draw_indexes(POOL_SIZES[pool] // POOL_PARTS, POOL_WEIGHTS[pool], rng)
    chunks = []
    for start in range(0, len(indexes), 200):
        asked = [records[index] for index in indexes[start : start + 200]]
        shown = [carelessly(record, rng) for record in asked] if pool == "careless" else asked
        pictures = [draw_record(record, rng).picture for record in shown]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            chunks.append(encode(autoencoder, pictures).bfloat16())
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    save_file({"latents": torch.cat(chunks).contiguous(), "prompt_indexes": torch.tensor(indexes)}, temporary)
    temporary.replace(path)


def load_pool(paths: list[Path]) -> LatentPool:
    """Load all parts of the pool."""
    parts = [load_file(path) for path in paths]
    return LatentPool(
        latents=torch.cat([part["latents"] for part in parts]),
        prompt_indexes=torch.cat([part["prompt_indexes"] for part in parts]),
    )
