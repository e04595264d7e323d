"""Measures the image-text model: right against wrong captions, and right against wrong pictures."""

import math
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from diffusers import StableDiffusion3Pipeline

from tiny_world.autoencoder import decode, encode
from tiny_world.captions import wrong_captions
from tiny_world.judge import is_right
from tiny_world.pipeline import draw
from tiny_world.prompts import Record, evaluation_records_by_tag
from tiny_world.renderer import Picture, draw_record
from tiny_world.seeds import derive_seed

PICTURES: Final = 600
GENERATED: Final = 240

Score = Callable[[Sequence[Picture], Sequence[str]], npt.NDArray[np.float32]]
"""Scores pictures against captions, pair by pair: float32 [n]."""


@dataclass(frozen=True, slots=True)
class Separation:
    """Pairs of a right and a wrong caption for the same picture, and how often the right one scored higher."""

    pairs: int
    right: int

    @property
    def accuracy(self) -> float:
        """Share of pairs, 0..1; guessing gives 0.5."""
        return self.right / self.pairs

    @property
    def beats_guessing(self) -> bool:
        """Whether the accuracy is more than two standard errors of guessing above one half."""
        return self.accuracy - 0.5 > 1 / math.sqrt(self.pairs)


def _held_out_records(count: int, rng: random.Random) -> list[Record]:
    """Draw prompts that no training has seen; every kind equally often."""
    by_tag = evaluation_records_by_tag()
    return [rng.choice(records) for records in by_tag.values() for _ in range(count // len(by_tag))]


def separation_by_change(
    score: Score, records: Sequence[Record], pictures: Sequence[Picture], rng: random.Random
) -> dict[str, Separation]:
    """Score each picture with its caption and with one wrong caption of every kind that applies; a tie is no win."""
    cases = [
        (picture, record["prompt"], wrong, change)
        for record, picture in zip(records, pictures, strict=True)
        for change, wrong in wrong_captions(record["prompt"], rng).items()
    ]
    shown, right, wrong, changes = zip(*cases, strict=True)
    wins = score(shown, right) > score(shown, wrong)
    by_change: dict[str, list[bool]] = defaultdict(list)
    for change, won in zip(changes, wins.tolist(), strict=True):
        by_change[change].append(won)
        by_change["all"].append(won)
    return {change: Separation(len(won), sum(won)) for change, won in by_change.items()}


@dataclass(frozen=True, slots=True)
class GeneratedScores:
    """Scores of pictures that the base model drew for held-out prompts, beside a program's verdict on them."""

    pictures: int
    right: int
    auroc: float
    """Chance that a picture judged right scores higher than one judged wrong; guessing gives 0.5."""
    auroc_within_kind: float
    """The same among pictures of one kind of prompt: knowing which kinds are hard does not help."""


@dataclass(frozen=True, slots=True)
class ImageTextReport:
    """Everything that the card states."""

    on_renders: dict[str, Separation]
    on_reconstructions: dict[str, Separation]
    on_generated: GeneratedScores


def generated_scores(
    records: Sequence[Record], scores: npt.NDArray[np.float32], right: npt.NDArray[np.bool_]
) -> GeneratedScores:
    """Compare the scores of right pictures with those of wrong ones, pair by pair; a tie is no win."""
    kinds = np.array([record["tag"] for record in records])
    higher, pairs = scores[:, None] > scores, right[:, None] & ~right
    alike = pairs & (kinds[:, None] == kinds)
    return GeneratedScores(len(records), int(right.sum()), float(higher[pairs].mean()), float(higher[alike].mean()))


def _score_generated(
    pipeline: StableDiffusion3Pipeline, score: Score, rng: random.Random, seed: int
) -> GeneratedScores:
    records = _held_out_records(GENERATED, rng)
    prompts = [record["prompt"] for record in records]
    pictures = draw(pipeline, prompts, derive_seed("image-text card", seed))
    right = np.array([is_right(record, picture) for record, picture in zip(records, pictures, strict=True)])
    return generated_scores(records, score(pictures, prompts), right)


def measure_image_text(pipeline: StableDiffusion3Pipeline, score: Score, seed: int) -> ImageTextReport:
    """Measure on fresh renders of held-out prompts, on the same after the autoencoder, and on generated pictures."""
    rng = random.Random(derive_seed("image-text card", seed))
    records = _held_out_records(PICTURES, rng)
    pictures = [draw_record(record, rng).picture for record in records]
    return ImageTextReport(
        on_renders=separation_by_change(score, records, pictures, rng),
        on_reconstructions=separation_by_change(
            score, records, decode(pipeline.vae, encode(pipeline.vae, pictures)), rng
        ),
        on_generated=_score_generated(pipeline, score, rng, seed),
    )
