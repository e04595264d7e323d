"""Golden cases of the shipped scorers: pictures with what a scorer has to say of them (docs/scorers.md)."""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image

from tiny_world.captions import wrong_captions
from tiny_world.image_text_score import Score
from tiny_world.judge import is_right
from tiny_world.prompts import Record, evaluation_records_by_tag
from tiny_world.renderer import Picture, draw_record
from tiny_world.seeds import derive_seed
from tiny_world.vocabulary import HELD_OUT_TAGS

SCORE_TOLERANCE: Final = 1e-4
"""Float32 in another order of operations."""


@dataclass(frozen=True, slots=True)
class GoldenCase:
    """A picture, the line of a prompt file that it is scored under, and (value, tolerance) by reported name."""

    name: str
    picture: Picture
    prompt: Record
    expected: Mapping[str, tuple[float, float]]


def detector_cases() -> list[GoldenCase]:
    """Return one right and one wrong picture of every held-out kind; the wrong one belongs to another prompt."""
    cases = []
    for tag in HELD_OUT_TAGS:
        rng = random.Random(derive_seed("golden cases", tag))
        records = evaluation_records_by_tag()[tag]
        asked = rng.choice(records)
        right = draw_record(asked, rng).picture
        # "a star and a heart" shows what "a heart and a star" asks for: look before calling it wrong.
        others = (draw_record(rng.choice(records), rng).picture for _ in range(100))
        wrong = next(picture for picture in others if not is_right(asked, picture))
        cases.append(GoldenCase(f"{tag}-right", right, asked, {"strict": (1, 0), "score": (1, 0)}))
        cases.append(GoldenCase(f"{tag}-wrong", wrong, asked, {"strict": (0, 0)}))
    return cases


def image_text_cases(score: Score) -> list[GoldenCase]:
    """Return one picture of every held-out kind with its caption and with a wrong one, and what `score` gives them.

    The expected values come from another runtime than a run's (Pillow, tokenizers, ONNX Runtime in Python): a scorer
    that prepares pictures or texts in another way misses them.
    """
    cases = []
    for tag in HELD_OUT_TAGS:
        rng = random.Random(derive_seed("golden cases", tag))
        asked = rng.choice(evaluation_records_by_tag()[tag])
        picture = draw_record(asked, rng).picture
        wrong = next(iter(wrong_captions(asked["prompt"], rng).values()))
        for name, prompt in (("right", asked["prompt"]), ("wrong", wrong)):
            expected = float(score([picture], [prompt])[0])
            line = Record(prompt=prompt, tag=tag)
            cases.append(GoldenCase(f"{tag}-{name}", picture, line, {"score": (round(expected, 6), SCORE_TOLERANCE)}))
    return cases


def write_golden_cases(folder: Path, cases: Sequence[GoldenCase]) -> str:
    """Write golden/NAME.png and golden/cases.json into a bundle folder; return the manifest's line."""
    place = folder / "golden"
    place.mkdir(exist_ok=True)
    written = [_write_case(place, case) for case in cases]
    text = json.dumps({"cases": written}, indent=2) + "\n"
    (place / "cases.json").write_text(text, encoding="ascii")
    return f"golden: {{path: golden/cases.json, sha256: {hashlib.sha256(text.encode()).hexdigest()}}}\n"


def _write_case(place: Path, case: GoldenCase) -> dict[str, Any]:
    path = place / f"{case.name}.png"
    Image.fromarray(case.picture).save(path)
    return {
        "name": case.name,
        "image": {"path": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
        "prompt": case.prompt,
        "expected": {name: {"value": value, "tolerance": off} for name, (value, off) in case.expected.items()},
    }
