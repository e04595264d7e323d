"""The programmatic reader against pictures whose content is known."""

import random

from tiny_world.judge import is_right, relations
from tiny_world.lettering import read_word
from tiny_world.prompts import training_records_by_tag
from tiny_world.reader_check import reader_accuracy
from tiny_world.renderer import draw_record, draw_word


def test_reader_accepts_ground_truth() -> None:
    accuracies = reader_accuracy(per_tag=60, seed=3)
    assert min(accuracies.values()) >= 0.98


def test_reader_rejects_the_picture_of_another_prompt() -> None:
    rng = random.Random(8)
    by_tag = training_records_by_tag()
    for tag in ("colors", "position", "color_attr"):
        records = rng.sample(by_tag[tag], 20)
        accepted = sum(
            is_right(record, draw_record(other, rng).picture)
            for record, other in zip(records, records[1:] + records[:1], strict=True)
        )
        assert accepted <= 1, tag


def test_reader_rejects_an_extra_object_and_a_wrong_letter() -> None:
    rng = random.Random(9)
    by_prompt = {record["prompt"]: record for records in training_records_by_tag().values() for record in records}
    two = next(record for prompt, record in by_prompt.items() if prompt.startswith("a photo of two"))
    one = by_prompt[f"a photo of a {two['include'][0]['class']}"]
    assert not is_right(one, draw_record(two, rng).picture)
    assert read_word(draw_word("TEAR", rng)) == "TEAR"
    assert not is_right({"tag": "ocr", "prompt": "", "text": "TEAR"}, draw_word("TEAL", rng))


def test_relations_are_genevals() -> None:
    assert relations((0, 0, 10, 10), (30, 0, 40, 10)) == {"left of"}
    assert relations((0, 0, 10, 10), (20, 20, 30, 30)) == {"left of", "above"}
    assert relations((0, 0, 10, 10), (1, 0, 11, 10)) == set()
