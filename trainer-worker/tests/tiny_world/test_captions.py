"""Wrong captions are wrong, and differ in what they say they differ in."""

import random

import pytest

from tiny_world.captions import holds, wrong_captions
from tiny_world.prompts import Record, evaluation_records_by_tag, geneval_records, ocr_records, training_records_by_tag
from tiny_world.renderer import draw_record
from tiny_world.text_encoders import UNKNOWN, build_tokenizer

KINDS = {
    "single_object": {"shape"},
    "two_object": {"shape"},
    "counting": {"count", "shape"},
    "colors": {"color", "shape"},
    "position": {"shape", "position"},
    "color_attr": {"color", "shape"},
    "ocr": {"letter"},
}


def every_record() -> dict[str, Record]:
    return {record["prompt"]: record for side in (*geneval_records(), *ocr_records()) for record in side}


def sample(rng: random.Random) -> list[Record]:
    by_tag = training_records_by_tag()
    return [rng.choice(by_tag[tag]) for tag in by_tag for _ in range(40)]


def test_every_kind_of_prompt_gets_the_changes_that_apply() -> None:
    rng = random.Random(1)
    for record in sample(rng):
        colored = any("color" in clause for clause in record.get("include", []))
        expected = KINDS[record["tag"]] | ({"color"} if colored else set())
        assert set(wrong_captions(record["prompt"], rng)) == expected


def test_a_wrong_caption_is_grammar_that_does_not_hold() -> None:
    rng, known, tokenizer = random.Random(2), every_record(), build_tokenizer(begins=True)
    judged = 0
    for record in sample(rng):
        scene = draw_record(record, rng)
        for wrong in wrong_captions(record["prompt"], rng).values():
            assert wrong != record["prompt"]
            assert UNKNOWN not in tokenizer(wrong).input_ids
            # Changed words may be no words of the lists.
            if wrong in known:
                judged += 1
                assert not holds(known[wrong], record, scene)
            else:
                assert record["tag"] == "ocr"
    assert judged > 300


def test_captions_of_other_prompts_may_hold_too() -> None:
    rng, known = random.Random(3), every_record()
    red = known["a photo of two red circles"]
    scene = draw_record(red, rng)
    assert holds(known["a photo of two circles"], red, scene)
    assert not holds(known["a photo of three circles"], red, scene)
    assert not holds(known["a photo of two blue circles"], red, scene)
    card = next(record for record in known.values() if record["prompt"].startswith("a card"))
    sign = known[card["prompt"].replace("card", "sign")]
    assert holds(sign, card, draw_record(card, rng))
    assert not holds(card, red, scene)


@pytest.mark.parametrize("side", [training_records_by_tag, evaluation_records_by_tag])
def test_the_right_caption_holds(side) -> None:
    rng = random.Random(4)
    for records in side().values():
        for record in rng.sample(records, min(20, len(records))):
            assert holds(record, record, draw_record(record, rng))
