"""What the transformer is trained on, and when.

Five phases: first all kinds with many words, which are learnt soonest; then mostly the kinds that are hard; then more
noise, at which it is decided what stands where; then mostly positions and colours of pairs; and at last, while the
learning rate falls, words that do not always keep to their caption. The careless words are what leaves room for
reinforcement learning: a base model that has only ever seen right words would soon write every word right.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tiny_world.prompts import Record
from tiny_world.words import letters

THINGS_STEP: Final = 1300
"""Where the second phase begins."""
LAYOUT_STEP: Final = 5275
"""Where the third phase begins."""
PLACES_STEP: Final = 6244
"""Where the fourth phase begins."""
DECAY_FRACTION: Final = 0.1
"""Share of all steps in which the learning rate falls; the last phase."""

FIRST_WEIGHTS: Final = {
    "single_object": 0.5,
    "two_object": 1.5,
    "counting": 2.0,
    "colors": 1.0,
    "position": 2.5,
    "color_attr": 2.5,
    "ocr": 3.0,
}
"""How often each kind is drawn in the first phase; all records of a kind are equally likely."""
LATER_WEIGHTS: Final = {
    "single_object": 0.3,
    "two_object": 2.0,
    "counting": 2.5,
    "colors": 1.0,
    "position": 3.0,
    "color_attr": 3.0,
    "ocr": 0.7,
}
PLACES_WEIGHTS: Final = {
    "single_object": 0.2,
    "two_object": 2.0,
    "counting": 2.0,
    "colors": 0.7,
    "position": 5.0,
    "color_attr": 4.0,
    "ocr": 0.7,
}
"""Mostly what is hardest: which thing stands where."""
LAST_WEIGHTS: Final = {**PLACES_WEIGHTS, "ocr": 1.8}
"""The last phase: enough words to notice that their letters are careless."""
WRONG_LETTER: Final = 0.25
"""Chance of each letter to be drawn wrong in the last phase."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One part of the training."""

    pool: str
    """Name of the pool of pictures."""
    weights: Mapping[str, float] | None
    """How often each kind is drawn from the pool; None for as often as the pool holds it."""
    noise_mean: float
    """Mean of the noise level's logit."""
    noise_deviation: float
    """Standard deviation of the noise level's logit."""


WORDS: Final = Phase("clean", None, 1.0, 1.0)
THINGS: Final = Phase("clean", LATER_WEIGHTS, 1.0, 1.0)
LAYOUT: Final = Phase("clean", LATER_WEIGHTS, 1.8, 1.3)
PLACES: Final = Phase("clean", PLACES_WEIGHTS, 2.2, 1.3)
LAST: Final = Phase("careless", None, 1.6, 1.5)
POOL_WEIGHTS: Final = {"clean": FIRST_WEIGHTS, "careless": LAST_WEIGHTS}
"""How often each kind is drawn into a pool."""
POOL_SIZES: Final = {"clean": 40_000, "careless": 16_000}
"""Pictures in a pool."""


def decay_start(steps: int) -> int:
    """Return the step at which the last phase begins."""
    return round((1 - DECAY_FRACTION) * steps)


def phase_at(step: int, steps: int) -> Phase:
    """Return the phase of a step in a training of `steps` steps."""
    if step >= decay_start(steps):
        return LAST
    if step >= PLACES_STEP:
        return PLACES
    if step >= LAYOUT_STEP:
        return LAYOUT
    return THINGS if step >= THINGS_STEP else WORDS


def carelessly(record: Record, rng: random.Random) -> Record:
    """Return what is drawn for a record in the last phase: words with wrong letters now and then."""
    if "text" not in record:
        return record
    drawn = [rng.choice(letters()) if rng.random() < WRONG_LETTER else letter for letter in record["text"]]
    return {**record, "text": "".join(drawn)}
