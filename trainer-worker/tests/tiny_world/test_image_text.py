"""The image-text model: its loss, and the shipped bundle on held-out prompts."""

import hashlib
import json
import math
import random

import numpy as np
import pytest
import torch
import yaml

from tiny_world.golden_cases import image_text_cases
from tiny_world.image_text import contrast
from tiny_world.image_text_model import contents_of
from tiny_world.image_text_runtime import ImageTextSession
from tiny_world.image_text_score import Separation, generated_scores, separation_by_change
from tiny_world.paths import IMAGE_TEXT
from tiny_world.prompts import evaluation_records_by_tag
from tiny_world.renderer import Placement, Scene, draw_placements, draw_record, draw_word


def test_the_loss_counts_wrong_captions_and_other_pictures() -> None:
    pictures, scale = torch.eye(2), torch.tensor(3.0)
    wrong = -pictures[:, None].expand(2, 2, 2)
    alone = contrast(pictures, pictures, wrong, scale=scale, right=torch.eye(2, dtype=torch.bool))
    by_picture = math.log(1 + math.exp(-3) + 2 * math.exp(-6))
    by_caption = math.log(1 + math.exp(-3))
    assert alone.item() == pytest.approx((by_picture + by_caption) / 2, rel=1e-5)


def test_captions_of_other_pictures_that_hold_are_left_out() -> None:
    pictures, scale = torch.eye(2), torch.tensor(3.0)
    wrong = -pictures[:, None].expand(2, 2, 2)
    loss = contrast(pictures, pictures, wrong, scale=scale, right=torch.ones(2, 2, dtype=torch.bool))
    assert loss.item() == pytest.approx(math.log(1 + 2 * math.exp(-6)) / 2, rel=1e-3)


def test_contents_say_what_lies_where() -> None:
    rng = random.Random(5)
    placements = [Placement("star", "blue", 12.5, 52, 8.5), Placement("star", "red", 52, 52, 8.5)]
    scenes = [Scene(draw_placements(placements, rng), placements), Scene(draw_word("CAT", rng))]
    contents = contents_of(scenes, ["", "CAT"])
    assert contents.shape.tolist() == [[0, 0, 0, 0, 0, 0, 4, 0, 4], [0] * 9]
    assert contents.color.tolist() == [[-1, -1, -1, -1, -1, -1, 4, -1, 0], [-1] * 9]
    assert contents.things.nonzero().tolist() == [[0, 3, 0], [0, 3, 4]]
    assert contents.place[0, 3].tolist() == pytest.approx([0.25 / 32, 20 / 32])
    assert contents.place[1].isnan().all()
    assert contents.letter[0].tolist() == [0, 0, 0, 0]
    assert (contents.letter[1] > 0).tolist() == [True, True, True, False]


def test_the_shipped_bundle_is_small_and_equal_to_pytorch() -> None:
    manifest = yaml.safe_load((IMAGE_TEXT / "manifest.yaml").read_text())
    image, text = manifest["image"], manifest["text"]
    for entry in (image["graph"], text["graph"], text["tokenizer"]):
        assert hashlib.sha256((IMAGE_TEXT / entry["path"]).read_bytes()).hexdigest() == entry["sha256"]
    assert sum(path.stat().st_size for path in IMAGE_TEXT.iterdir()) <= 3_000_000
    checks = json.loads((IMAGE_TEXT / "parity.json").read_text())["checks"]
    assert len(checks) == 3
    assert all(check["max_error"] <= check["tolerance"] for check in checks)


def test_golden_cases_are_what_the_command_writes() -> None:
    written = json.loads((IMAGE_TEXT / "golden/cases.json").read_text())["cases"]
    fresh = image_text_cases(ImageTextSession(IMAGE_TEXT).score)
    assert [(case["name"], case["prompt"]) for case in written] == [(case.name, case.prompt) for case in fresh]
    for case, again in zip(written, fresh, strict=True):
        assert case["expected"]["score"]["value"] == pytest.approx(again.expected["score"][0], abs=1e-5)


def test_the_shipped_model_separates_right_from_wrong_captions_of_held_out_prompts() -> None:
    rng = random.Random(6)
    records = [rng.choice(records) for records in evaluation_records_by_tag().values() for _ in range(25)]
    pictures = [draw_record(record, rng).picture for record in records]
    found = separation_by_change(ImageTextSession(IMAGE_TEXT).score, records, pictures, rng)
    assert found["all"].accuracy >= 0.85
    for change in ("shape", "color", "count", "letter"):
        assert found[change].accuracy >= 0.8, change
    # What the model does not tell (relations of places) is said where its users look.
    card = (IMAGE_TEXT / "README.md").read_text()
    guessed = card.split("No better than guessing: ")[1].split(";")[0]
    assert {change for change, pairs in found.items() if not pairs.beats_guessing} <= set(guessed.split(", "))


def test_guessing_is_not_beaten_by_luck() -> None:
    assert not Separation(100, 60).beats_guessing
    assert Separation(100, 61).beats_guessing


def test_generated_pictures_are_compared_within_their_kind_too() -> None:
    records = [{"tag": tag, "prompt": ""} for tag in ("easy", "easy", "hard", "hard")]
    right = np.array([True, False, True, False])
    found = generated_scores(records, np.array([0.9, 0.8, 0.3, 0.2], np.float32), right)
    # Pairs: easy-easy won, easy-hard won, hard-easy lost, hard-hard won.
    assert (found.pictures, found.right) == (4, 2)
    assert (found.auroc, found.auroc_within_kind) == (0.75, 1.0)
