"""Measures strict accuracy by kind of prompt on held-out prompts with fixed noise."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from diffusers import StableDiffusion3Pipeline
from PIL import Image

from tiny_world.judge import is_right
from tiny_world.pipeline import draw
from tiny_world.prompts import Record, evaluation_records_by_tag
from tiny_world.renderer import Picture
from tiny_world.seeds import derive_seed
from tiny_world.vocabulary import HELD_OUT_TAGS


@dataclass(frozen=True, slots=True)
class TagResult:
    """Strict accuracy of one kind."""

    right: int
    total: int

    @property
    def accuracy(self) -> float:
        """Return the share of pictures that are strictly right."""
        return self.right / self.total


def choose_records(records: Sequence[Record], count: int, rng: random.Random) -> list[Record]:
    """Take each record equally often, give or take one, until there are `count`."""
    chosen: list[Record] = []
    while len(chosen) < count:
        chosen += rng.sample(list(records), min(len(records), count - len(chosen)))
    return chosen


def evaluation_records(per_tag: int, seed: int) -> dict[str, list[Record]]:
    """Choose held-out records of every kind; depends only on the arguments."""
    return {
        tag: choose_records(records, per_tag, random.Random(derive_seed("evaluate", seed, tag)))
        for tag, records in evaluation_records_by_tag().items()
    }


def contact_sheet(rows: Sequence[Sequence[Picture]], path: Path) -> None:
    """Save pictures as one image; all rows have the same length."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in rows])).save(path)


def measure(
    pipeline: StableDiffusion3Pipeline, *, per_tag: int, seed: int, sheet: Path | None = None
) -> dict[str, TagResult]:
    """Draw held-out prompts of every kind and count the strictly right pictures."""
    results, rows = {}, []
    for tag, records in evaluation_records(per_tag, seed).items():
        pictures = draw(pipeline, [record["prompt"] for record in records], derive_seed("noise", seed, tag))
        right = sum(is_right(record, picture) for record, picture in zip(records, pictures, strict=True))
        results[tag] = TagResult(right, len(records))
        rows.append(pictures[:16])
    if sheet is not None:
        contact_sheet(rows, sheet)
    return results


def overall(results: Mapping[str, TagResult]) -> float:
    """Return the plain mean over the five held-out GenEval kinds."""
    return sum(results[tag].accuracy for tag in HELD_OUT_TAGS) / len(HELD_OUT_TAGS)


def describe(results: Mapping[str, TagResult]) -> str:
    """Write the accuracies on one line."""
    kinds = ", ".join(f"{tag} {result.accuracy:.2f}" for tag, result in results.items())
    return f"overall {overall(results):.3f} ({kinds})"
