"""Wrong captions: a right one with one thing changed, so that only a model that reads it whole can tell them apart."""

import random
import re
from collections.abc import Callable
from typing import Final

from tiny_world.judge import objects_fulfil
from tiny_world.prompts import Record
from tiny_world.renderer import Scene
from tiny_world.vocabulary import COLORS, NUMBERS, RELATIONS, SHAPES, article, plural
from tiny_world.words import letters


def _occurring(caption: str, words: tuple[str, ...]) -> list[str]:
    """List the words that occur in a caption, in its order."""
    found = [(match.start(), word) for word in words for match in re.finditer(rf"\b{word}\b", caption)]
    return [word for _, word in sorted(found)]


def _with_right_articles(caption: str) -> str:
    return re.sub(r"\ban? (\w+)", lambda match: f"{article(match[1])} {match[1]}", caption)


def _replaced(caption: str, changes: dict[str, str]) -> str:
    """Replace whole words, all at once, and put the articles right."""
    words = re.compile(r"\b(" + "|".join(map(re.escape, changes)) + r")\b")
    return _with_right_articles(words.sub(lambda match: changes[match[1]], caption))


def _one_changed(caption: str, words: tuple[str, ...], rng: random.Random) -> str | None:
    present = _occurring(caption, words)
    if not present:
        return None
    return _replaced(caption, {rng.choice(present): rng.choice([word for word in words if word not in present])})


def _color(caption: str, rng: random.Random) -> str | None:
    """Another colour, or the colours of two things exchanged."""
    present = _occurring(caption, COLORS)
    if len(present) == 2 and rng.random() < 0.5:
        return _replaced(caption, {present[0]: present[1], present[1]: present[0]})
    return _one_changed(caption, COLORS, rng)


def _count(caption: str, rng: random.Random) -> str | None:
    return _one_changed(caption, tuple(NUMBERS.values()), rng)


def _shape(caption: str, rng: random.Random) -> str | None:
    singular = _one_changed(caption, SHAPES, rng)
    return singular if singular is not None else _one_changed(caption, tuple(map(plural, SHAPES)), rng)


def _position(caption: str, rng: random.Random) -> str | None:
    """Another relation, or the two things exchanged."""
    if not _occurring(caption, RELATIONS):
        return None
    if rng.random() < 0.5:
        first, second = _occurring(caption, SHAPES)
        return _replaced(caption, {first: second, second: first})
    return _one_changed(caption, RELATIONS, rng)


def _letter(caption: str, rng: random.Random) -> str | None:
    """One letter of the quoted word changed."""
    if '"' not in caption:
        return None
    before, word, after = caption.split('"')
    index = rng.randrange(len(word))
    letter = rng.choice([letter for letter in letters() if letter != word[index]])
    return f'{before}"{word[:index]}{letter}{word[index + 1 :]}"{after}'


CHANGES: Final[dict[str, Callable[[str, random.Random], str | None]]] = {
    "color": _color,
    "count": _count,
    "shape": _shape,
    "position": _position,
    "letter": _letter,
}
"""What can be changed; a change returns None for a caption that has nothing of its kind."""


def wrong_captions(caption: str, rng: random.Random) -> dict[str, str]:
    """Return one wrong caption for every change that applies, by its name."""
    changed = {name: change(caption, rng) for name, change in CHANGES.items()}
    return {name: wrong for name, wrong in changed.items() if wrong is not None}


def holds(record: Record, shown: Record, scene: Scene) -> bool:
    """Tell whether the caption of `record` is also right for the scene that was drawn for `shown`."""
    if "text" in record or "text" in shown:
        return record.get("text") == shown.get("text")
    return objects_fulfil(record, scene.placements)
