"""Core-content spans of a prompt -> columns of the joint text sequence. Pure.

The sequence is the CLIP part (both CLIP encoders share its positions) followed by the T5 part.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from star_worker.types import CoreSpan


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenOffsets:
    """Output of a fast tokenizer after truncation: (start, end) code points per token, and its attention mask."""

    offsets: Sequence[tuple[int, int]]
    attention_mask: Sequence[int]


@dataclass(frozen=True, kw_only=True, slots=True)
class ConceptColumns:
    """Text columns of one concept in each part; both empty: the concept is unmapped (unknown or truncated)."""

    clip: tuple[int, ...]
    t5: tuple[int, ...]


def concept_columns(
    core_spans: Sequence[CoreSpan], clip: Sequence[TokenOffsets], t5: TokenOffsets | None, clip_length: int
) -> tuple[ConceptColumns, ...]:
    """Return the columns of every concept 0..max index, T5 columns shifted by the `clip_length` CLIP positions.

    Both CLIP tokenizers are given because they may differ in their padding; their columns are united.
    """
    count = 1 + max((span.concept_index for span in core_spans), default=-1)
    columns = []
    for concept in range(count):
        spans = [span for span in core_spans if span.concept_index == concept]
        clip_part = sorted({column for tokens in clip for column in _columns(spans, tokens)})
        t5_part = sorted({clip_length + column for column in _columns(spans, t5)}) if t5 else []
        columns.append(ConceptColumns(clip=tuple(clip_part), t5=tuple(t5_part)))
    return tuple(columns)


def column_weights(concept: ConceptColumns, t5_weight: float) -> dict[int, float]:
    """Return column -> weight, sum 1: pieces of an encoder count alike, the T5 part has `t5_weight`.

    Where one part is missing the other has the full weight; unmapped: empty.
    """
    if not concept.t5 or not concept.clip:
        t5_weight = 1.0 if concept.t5 else 0.0
    parts = ((concept.clip, 1 - t5_weight), (concept.t5, t5_weight))
    return {column: share / len(part) for part, share in parts for column in part if share > 0}


def _columns(spans: Iterable[CoreSpan], tokens: TokenOffsets) -> set[int]:
    pieces = _content_pieces(tokens)
    return {index for span in spans for index, (start, end) in pieces.items() if start < span.end and end > span.start}


def _content_pieces(tokens: TokenOffsets) -> dict[int, tuple[int, int]]:
    """Return column -> offsets of the pieces that stand for characters.

    Special tokens and pads have the empty offsets (0, 0). They are not told by id: CLIP-L pads with its end token and
    CLIP-G's pad id is a real "!". T5's bare leading piece repeats the offsets of the next piece: the later one counts.
    """
    by_offsets = {
        (start, end): index
        for index, ((start, end), visible) in enumerate(zip(tokens.offsets, tokens.attention_mask, strict=True))
        if visible and end > start
    }
    return {index: offsets for offsets, index in by_offsets.items()}
