"""Checks the programmatic reader on pictures whose content is known."""

import random

from tiny_world.evaluate import choose_records
from tiny_world.judge import is_right
from tiny_world.prompts import training_records_by_tag
from tiny_world.renderer import draw_record
from tiny_world.seeds import derive_seed


def reader_accuracy(*, per_tag: int, seed: int) -> dict[str, float]:
    """Return by kind how often the reader accepts a fresh render of the prompt."""
    accuracies = {}
    for tag, records in training_records_by_tag().items():
        rng = random.Random(derive_seed("reader check", seed, tag))
        chosen = choose_records(records, per_tag, rng)
        accuracies[tag] = sum(is_right(record, draw_record(record, rng).picture) for record in chosen) / per_tag
    return accuracies
