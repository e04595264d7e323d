"""Decides whether a picture is strictly right: exactly what the prompt asks for and nothing else."""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from tiny_world.lettering import read_word
from tiny_world.prompts import Record
from tiny_world.reader import read_objects
from tiny_world.renderer import Picture

Box = tuple[float, float, float, float]
POSITION_SLACK = 0.1


class Thing(Protocol):
    """What is judged of an object, whether it was read from a picture or drawn into it."""

    @property
    def shape(self) -> str | None:
        """Name of the shape; None when it looks like none."""

    @property
    def color(self) -> str:
        """Name of the colour."""

    @property
    def box(self) -> Box:
        """Edges xmin, ymin, xmax, ymax in pixels."""


def relations(first: Box, second: Box) -> set[str]:
    """Return GenEval's relations of the first box to the second, by their centres."""
    offsets, shrunk = [], []
    for axis in (0, 1):
        offset = (first[axis] + first[axis + 2] - second[axis] - second[axis + 2]) / 2
        sizes = abs(first[axis + 2] - first[axis]) + abs(second[axis + 2] - second[axis])
        rest = max(abs(offset) - POSITION_SLACK * sizes, 0.0)
        offsets.append(offset)
        shrunk.append(rest if offset > 0 else -rest)
    length = (offsets[0] ** 2 + offsets[1] ** 2) ** 0.5
    if max(abs(rest) for rest in shrunk) < 1e-3:
        return set()
    dx, dy = shrunk[0] / length, shrunk[1] / length
    tests = {"left of": dx < -0.5, "right of": dx > 0.5, "above": dy < -0.5, "below": dy > 0.5}
    return {name for name, holds in tests.items() if holds}


def objects_fulfil(record: Record, objects: Sequence[Thing]) -> bool:
    """Tell whether the objects are exactly the asked ones, in the asked colours and positions."""
    wanted = Counter({clause["class"]: clause["count"] for clause in record["include"]})
    if Counter(found.shape for found in objects) != wanted:
        return False
    groups = [[found for found in objects if found.shape == clause["class"]] for clause in record["include"]]
    for clause, group in zip(record["include"], groups, strict=True):
        if "color" in clause and any(found.color != clause["color"] for found in group):
            return False
        if "position" in clause:
            relation, target = clause["position"]
            targets = groups[int(target)]
            if any(relation not in relations(one.box, other.box) for one in group for other in targets):
                return False
    return True


def is_right(record: Record, picture: Picture) -> bool:
    """Tell whether a picture is strictly right for a GenEval or an ocr record."""
    if "text" in record:
        return read_word(picture) == record["text"] and not read_objects(picture)
    return objects_fulfil(record, read_objects(picture))
