"""The shipped detector graph: its contract, and its verdicts on fresh renders."""

import hashlib
import random
from pathlib import Path

import numpy as np
import pytest
import yaml

from tiny_world.detector_card import manifest
from tiny_world.detector_runtime import DetectorSession, color_name
from tiny_world.detector_score import agreement
from tiny_world.golden_cases import detector_cases, write_golden_cases
from tiny_world.paths import DETECTOR
from tiny_world.prompts import training_records_by_tag
from tiny_world.renderer import draw_record
from tiny_world.vocabulary import COLORS, GENEVAL_TAGS, SHAPES


@pytest.fixture(scope="module")
def session() -> DetectorSession:
    return DetectorSession(DETECTOR / "model.onnx")


def test_detector_agrees_with_the_reader_on_fresh_renders(session: DetectorSession) -> None:
    rng = random.Random(21)
    by_tag = training_records_by_tag()
    records = [rng.choice(by_tag[tag]) for tag in GENEVAL_TAGS for _ in range(30)]
    result = agreement(session, records, [draw_record(record, rng).picture for record in records])
    assert result.same / result.total >= 0.95
    assert result.detector_right / result.total >= 0.95


def test_outputs_keep_the_contract(session: DetectorSession) -> None:
    rng = random.Random(22)
    record = next(r for r in training_records_by_tag()["counting"] if r["include"][0]["count"] == 4)
    scene = draw_record(record, rng)
    found = session.detect([scene.picture] * 3)
    assert found.boxes.shape == (3, 16, 4)
    assert found.boxes.dtype == np.float32
    assert found.scores.shape == (3, 16)
    assert found.classes.shape == (3, 16)
    assert found.classes.dtype == np.int64
    assert found.masks.shape == (3, 16, 64, 64)
    for values in (found.scores, found.masks):
        assert values.min() >= 0
        assert values.max() <= 1
    assert (np.diff(found.scores[0]) <= 0).all()
    assert not found.boxes[found.scores == 0].any()
    assert not found.masks[found.scores == 0].any()
    assert np.array_equal(found.boxes[0], found.boxes[2])


def test_masked_colour_is_the_drawn_colour(session: DetectorSession) -> None:
    rng = random.Random(23)
    for record in training_records_by_tag()["colors"]:
        scene = draw_record(record, rng)
        found = session.detect([scene.picture])
        assert color_name(scene.picture, found.masks[0, 0]) == scene.placements[0].color


def test_manifest_and_golden_cases_are_what_the_command_writes(tmp_path: Path) -> None:
    text = (DETECTOR / "manifest.yaml").read_text()
    written = write_golden_cases(tmp_path, detector_cases())
    assert text == manifest(DETECTOR / "model.onnx", written)
    for path in (tmp_path / "golden").iterdir():
        assert path.read_bytes() == (DETECTOR / "golden" / path.name).read_bytes()
    loaded = yaml.safe_load(text)
    assert loaded["classes"] == list(SHAPES)
    assert [color["name"] for color in loaded["colors"]["prototypes"]] == list(COLORS)
    digest = hashlib.sha256((DETECTOR / loaded["graph"]["path"]).read_bytes()).hexdigest()
    assert loaded["graph"]["sha256"] == digest
