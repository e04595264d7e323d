"""Prompts with GenEval metadata and prompts with one quoted word, split into training and evaluation.

The split is by content, not by line: "a circle and a star" and "a star and a circle" are on the same side. All
training, the pretraining included, sees only the training side.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations, permutations
from pathlib import Path
from typing import Final, NotRequired, TypedDict

from tiny_world.seeds import stable_order
from tiny_world.vocabulary import (
    CARRIERS,
    COLORS,
    HELD_OUT_TAGS,
    NUMBERS,
    RELATIONS,
    SHAPES,
    plural,
    with_article,
)
from tiny_world.words import split_words

# "class" is a Python keyword, hence the functional form.
Clause = TypedDict(
    "Clause", {"class": str, "count": int, "color": NotRequired[str], "position": NotRequired[list[str | int]]}
)


class Record(TypedDict):
    """One metadata line; exactly GenEval's fields, plus `text` for the word of an ocr prompt."""

    tag: str
    include: NotRequired[list[Clause]]
    exclude: NotRequired[list[Clause]]
    prompt: str
    text: NotRequired[str]


HELD_OUT_FRACTION: Final = {
    "two_object": 0.25, "counting": 0.2, "colors": 0.2, "position": 0.25, "color_attr": 0.2,
}  # fmt: skip
FILES: Final = ("geneval-train", "geneval-eval", "ocr-train", "ocr-eval")


def _singles() -> Iterator[tuple[str, Record]]:
    for shape in SHAPES:
        yield (
            shape,
            {
                "tag": "single_object",
                "include": [{"class": shape, "count": 1}],
                "prompt": f"a photo of {with_article(shape)}",
            },
        )


def _pairs() -> Iterator[tuple[str, Record]]:
    for first, second in permutations(SHAPES, 2):
        yield (
            " ".join(sorted((first, second))),
            {
                "tag": "two_object",
                "include": [{"class": first, "count": 1}, {"class": second, "count": 1}],
                "prompt": f"a photo of {with_article(first)} and {with_article(second)}",
            },
        )


def _countings() -> Iterator[tuple[str, Record]]:
    for count, number in NUMBERS.items():
        for shape in SHAPES:
            for color in (None, *COLORS):
                clause: Clause = {"class": shape, "count": count}
                if color is not None:
                    clause["color"] = color
                words = " ".join(word for word in (number, color, plural(shape)) if word)
                yield (
                    words,
                    {
                        "tag": "counting",
                        "include": [clause],
                        "exclude": [{"class": shape, "count": count + 1}],
                        "prompt": f"a photo of {words}",
                    },
                )


def _colors() -> Iterator[tuple[str, Record]]:
    for color in COLORS:
        for shape in SHAPES:
            yield (
                f"{color} {shape}",
                {
                    "tag": "colors",
                    "include": [{"class": shape, "count": 1, "color": color}],
                    "prompt": f"a photo of {with_article(color, shape)}",
                },
            )


def _positions() -> Iterator[tuple[str, Record]]:
    for first, second in permutations(SHAPES, 2):
        for relation in RELATIONS:
            yield (
                f"{first} {relation} {second}",
                {
                    "tag": "position",
                    "include": [
                        {"class": second, "count": 1},
                        {"class": first, "count": 1, "position": [relation, 0]},
                    ],
                    "prompt": f"a photo of {with_article(first)} {relation} {with_article(second)}",
                },
            )


def _color_attributes() -> Iterator[tuple[str, Record]]:
    for shapes in combinations(SHAPES, 2):
        for colors in permutations(COLORS, 2):
            things = list(zip(colors, shapes, strict=True))
            for (color1, shape1), (color2, shape2) in (things, things[::-1]):
                yield (
                    f"{things}",
                    {
                        "tag": "color_attr",
                        "include": [
                            {"class": shape1, "count": 1, "color": color1},
                            {"class": shape2, "count": 1, "color": color2},
                        ],
                        "prompt": f"a photo of {with_article(color1, shape1)} and {with_article(color2, shape2)}",
                    },
                )


def _split(combos: Iterable[tuple[str, Record]]) -> tuple[list[Record], list[Record]]:
    """Split the prompts of one kind by the key of what they show."""
    by_key: dict[str, list[Record]] = defaultdict(list)
    for key, record in combos:
        by_key[key].append(record)
    tag = next(iter(by_key.values()))[0]["tag"]
    fraction = HELD_OUT_FRACTION.get(tag, 0.0)
    held_out = set(stable_order(by_key, key=tag)[: round(fraction * len(by_key))])
    train = [record for key, records in by_key.items() if key not in held_out for record in records]
    return train, [record for key, records in by_key.items() if key in held_out for record in records]


def geneval_records() -> tuple[list[Record], list[Record]]:
    """Return all (training, evaluation) records of the six GenEval kinds."""
    train: list[Record] = []
    evaluation: list[Record] = []
    for kind in (_singles(), _pairs(), _countings(), _colors(), _positions(), _color_attributes()):
        kind_train, kind_evaluation = _split(kind)
        train += kind_train
        evaluation += kind_evaluation
    return train, evaluation


def ocr_records() -> tuple[list[Record], list[Record]]:
    """Return all (training, evaluation) records with a quoted word; the words of the two sides differ."""
    train, held_out = (
        [
            Record(tag="ocr", prompt=f'a {carrier} that says "{word}"', text=word)
            for word in words
            for carrier in CARRIERS
        ]
        for words in split_words()
    )
    return train, held_out


def records_by_file() -> dict[str, list[Record]]:
    """Return the records of every prompt file, by the file's name without its ending."""
    geneval_train, geneval_evaluation = geneval_records()
    ocr_train, ocr_evaluation = ocr_records()
    return dict(zip(FILES, (geneval_train, geneval_evaluation, ocr_train, ocr_evaluation), strict=True))


def to_jsonl(records: Iterable[Record]) -> str:
    """Write records as JSON lines; equal records give equal bytes."""
    return "".join(json.dumps(record) + "\n" for record in records)


def write_prompts(folder: Path) -> dict[str, int]:
    """Write the four prompt files and return the number of lines of each."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for name, records in records_by_file().items():
        (folder / f"{name}.jsonl").write_text(to_jsonl(records), encoding="ascii", newline="\n")
        counts[name] = len(records)
    return counts


def training_records_by_tag() -> dict[str, list[Record]]:
    """Return the training side by kind, quoted words included."""
    by_tag: dict[str, list[Record]] = defaultdict(list)
    for record in [*geneval_records()[0], *ocr_records()[0]]:
        by_tag[record["tag"]].append(record)
    return dict(by_tag)


def evaluation_records_by_tag() -> dict[str, list[Record]]:
    """Return the held-out side by kind, quoted words included (no single_object: nothing to hold out)."""
    by_tag: dict[str, list[Record]] = {tag: [] for tag in (*HELD_OUT_TAGS, "ocr")}
    for record in [*geneval_records()[1], *ocr_records()[1]]:
        by_tag[record["tag"]].append(record)
    return by_tag
