"""Measures how often the image-text model prefers the right caption to a wrong one, by kind of change."""

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tiny_world.captions import wrong_captions
from tiny_world.prompts import Record, evaluation_records_by_tag
from tiny_world.renderer import Picture, draw_record
from tiny_world.seeds import derive_seed

PICTURES: Final = 1000

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


def held_out_records(count: int, rng: random.Random) -> list[Record]:
    """Draw prompts that no training has seen; every kind equally often."""
    by_tag = evaluation_records_by_tag()
    return [rng.choice(by_tag[tag]) for tag in by_tag for _ in range(count // len(by_tag))]


def measure_separation(score: Score, seed: int) -> dict[str, Separation]:
    """Compare right and wrong captions on fresh pictures of held-out prompts; the wrong ones by kind, and "all"."""
    rng = random.Random(derive_seed("image-text card", seed))
    pictures, right, wrong, kinds = [], [], [], []
    for record in held_out_records(PICTURES, rng):
        picture = draw_record(record, rng).picture
        for kind, caption in wrong_captions(record["prompt"], rng).items():
            pictures.append(picture)
            right.append(record["prompt"])
            wrong.append(caption)
            kinds.append(kind)
    wins = score(pictures, right) > score(pictures, wrong)
    by_kind: dict[str, list[bool]] = defaultdict(list)
    for kind, won in zip(kinds, wins.tolist(), strict=True):
        by_kind[kind].append(won)
        by_kind["all"].append(won)
    return {kind: Separation(len(won), sum(won)) for kind, won in by_kind.items()}
