import pytest

from star_worker.prompt_tokens import ConceptColumns, TokenOffsets, column_weights, concept_columns
from tests.tiny_pipeline import clip_tokenizer, core_spans, t5_tokenizer


def offsets(tokenizer: object, prompt: str, length: int = 16) -> TokenOffsets:
    encoding = tokenizer(prompt, padding="max_length", max_length=length, truncation=True, return_offsets_mapping=True)
    return TokenOffsets(offsets=encoding["offset_mapping"], attention_mask=encoding["attention_mask"])


def columns(prompt: str, *words: str, length: int = 16) -> tuple[ConceptColumns, ...]:
    clip = [offsets(clip_tokenizer("<|endoftext|>"), prompt, length), offsets(clip_tokenizer("!"), prompt, length)]
    return concept_columns(core_spans(prompt, words), clip, offsets(t5_tokenizer(), prompt, length), length)


def test_words_map_to_their_columns_in_both_parts() -> None:
    # CLIP: BOS a red cat; T5: a red cat.
    assert columns("a red cat", "red", "cat") == (
        ConceptColumns(clip=(2,), t5=(17,)),
        ConceptColumns(clip=(3,), t5=(18,)),
    )


def test_a_real_exclamation_mark_is_not_taken_for_padding() -> None:
    (concept,) = columns("a red !", "!")
    assert concept.clip == (3,)
    assert len(concept.t5) == 1


def test_all_pieces_of_an_unknown_word_count_and_a_repeated_offset_counts_once() -> None:
    (concept,) = columns("a xyz", "xyz")
    assert concept.clip == (2, 3, 4)
    # T5: a, bare leading piece (offsets of x), x, y, z.
    assert len(concept.t5) == 3


def test_truncated_words_are_unmapped() -> None:
    assert columns("a red cat", "cat", length=3) == (ConceptColumns(clip=(), t5=()),)
    assert column_weights(ConceptColumns(clip=(), t5=()), 0.7) == {}


def test_offsets_count_code_points() -> None:
    (plain,), (wide,) = columns("a e red", "red"), columns("a \U0001f408 red", "red")
    assert plain.clip[-1] < wide.clip[-1]
    assert len(wide.clip) == 1


@pytest.mark.parametrize(
    ("concept", "expected"),
    [
        (ConceptColumns(clip=(1, 2), t5=(9,)), {1: 0.15, 2: 0.15, 9: 0.7}),
        (ConceptColumns(clip=(1, 2), t5=()), {1: 0.5, 2: 0.5}),
        (ConceptColumns(clip=(), t5=(9,)), {9: 1.0}),
    ],
)
def test_weights_mix_the_encoders_and_fall_back(concept: ConceptColumns, expected: dict[int, float]) -> None:
    assert column_weights(concept, 0.7) == pytest.approx(expected)
