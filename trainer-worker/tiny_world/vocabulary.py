"""Names in the small world: colours, shapes, numbers, relations and the grammar of prompts."""

from typing import Final

PICTURE_SIZE: Final = 64
"""Width and height of every picture, in pixels."""

COLOR_RGB: Final[dict[str, tuple[int, int, int]]] = {
    "red": (220, 30, 35),
    "orange": (255, 135, 0),
    "yellow": (245, 225, 0),
    "green": (25, 160, 60),
    "blue": (35, 75, 230),
    "purple": (150, 40, 180),
}
COLORS: Final = tuple(COLOR_RGB)
SHAPES: Final = ("circle", "square", "triangle", "star", "cross", "heart")
NUMBERS: Final = {2: "two", 3: "three", 4: "four"}
RELATIONS: Final = ("left of", "right of", "above", "below")
CARRIERS: Final = ("sign", "card", "label")
"""What a quoted word is said to be written on; all carriers look the same."""

GENEVAL_TAGS: Final = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
HELD_OUT_TAGS: Final = ("two_object", "counting", "colors", "position", "color_attr")
"""Kinds with enough combinations to hold some out; the base accuracy is measured on these."""
ALL_TAGS: Final = (*GENEVAL_TAGS, "ocr")


def article(next_word: str) -> str:
    """Return "an" before a vowel and "a" otherwise (GenEval's rule)."""
    return "an" if next_word[0] in "aeiou" else "a"


def plural(name: str) -> str:
    """Return GenEval's plural: "es" after an s, else "s"."""
    return name + ("es" if name.endswith("s") else "s")


def with_article(*words: str) -> str:
    """Join words and put the article that the first one asks for in front: "an orange circle"."""
    return " ".join((article(words[0]), *words))


def token_words() -> list[str]:
    """List every word and letter that the tokenizers know, in the order of their ids."""
    grammar = ["a", "an", "photo", "of", "and", "that", "says", '"']
    relations = ["left", "right", "above", "below"]
    letters = [chr(ord("A") + index) for index in range(26)]
    plurals = [plural(shape) for shape in SHAPES]
    return [*grammar, *relations, *CARRIERS, *NUMBERS.values(), *COLORS, *SHAPES, *plurals, *letters]
