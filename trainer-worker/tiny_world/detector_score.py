"""Measures the detector: per class against known objects, and whole pictures against the programmatic reader."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tiny_world.detector_runtime import THRESHOLD, DetectorSession, judged_right, objects_of
from tiny_world.detector_scenes import Example, Label
from tiny_world.judge import is_right
from tiny_world.prompts import Record
from tiny_world.reader import ReadObject
from tiny_world.renderer import Picture
from tiny_world.vocabulary import SHAPES

MATCH_OVERLAP = 0.5
"""A detection is a hit when class and box (intersection over union) agree with a known object."""


@dataclass(slots=True)
class ClassCounts:
    """Hits, false alarms and misses by shape."""

    hits: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SHAPES, 0))
    false_alarms: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SHAPES, 0))
    misses: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SHAPES, 0))

    def precision(self, shape: str) -> float:
        """Return hits / detections (1 when nothing was detected)."""
        found = self.hits[shape] + self.false_alarms[shape]
        return self.hits[shape] / found if found else 1.0

    def recall(self, shape: str) -> float:
        """Return hits / known objects (1 when there were none)."""
        known = self.hits[shape] + self.misses[shape]
        return self.hits[shape] / known if known else 1.0


def box_overlap(first: Sequence[float], second: Sequence[float]) -> float:
    """Return intersection over union of two boxes."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(width, 0.0) * max(height, 0.0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return shared / (areas - shared)


def _count(counts: ClassCounts, known: Sequence[Label], found: Sequence[ReadObject]) -> None:
    left = list(known)
    for detection in found:
        match = next(
            (
                label
                for label in left
                if SHAPES[label.shape] == detection.shape and box_overlap(label.box, detection.box) >= MATCH_OVERLAP
            ),
            None,
        )
        if match is not None:
            left.remove(match)
        (counts.false_alarms if match is None else counts.hits)[str(detection.shape)] += 1
    for label in left:
        counts.misses[SHAPES[label.shape]] += 1


def count_by_class(session: DetectorSession, examples: Sequence[Example]) -> ClassCounts:
    """Compare detections above the threshold with the labels."""
    pictures = [example.picture for example in examples]
    detections = session.detect(pictures)
    counts = ClassCounts()
    for index, example in enumerate(examples):
        _count(counts, example.labels, objects_of(example.picture, detections, index, THRESHOLD))
    return counts


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often detector and reader come to the same strict verdict on pictures."""

    total: int
    same: int
    detector_right: int
    reader_right: int


def agreement(session: DetectorSession, records: Sequence[Record], pictures: Sequence[Picture]) -> Agreement:
    """Judge each picture twice: by the detector and by the program that reads shapes."""
    detections = session.detect(list(pictures))
    by_detector = [
        judged_right(record, picture, detections, index)
        for index, (record, picture) in enumerate(zip(records, pictures, strict=True))
    ]
    by_reader = [is_right(record, picture) for record, picture in zip(records, pictures, strict=True)]
    same = sum(first == second for first, second in zip(by_detector, by_reader, strict=True))
    return Agreement(len(pictures), same, sum(by_detector), sum(by_reader))
