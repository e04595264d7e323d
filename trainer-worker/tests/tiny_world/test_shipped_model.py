"""The shipped pipeline: loads with plain diffusers, draws what is asked, and is small."""

import numpy as np
import pytest
import torch
from diffusers import StableDiffusion3Pipeline

from tiny_world.judge import is_right
from tiny_world.paths import MODEL
from tiny_world.pipeline import embed, sampling_sigmas, seeded_noise
from tiny_world.prompts import training_records_by_tag


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusion3Pipeline:
    loaded: StableDiffusion3Pipeline = StableDiffusion3Pipeline.from_pretrained(MODEL)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def test_plain_call_draws_a_good_picture(pipeline: StableDiffusion3Pipeline) -> None:
    by_prompt = {record["prompt"]: record for record in training_records_by_tag()["colors"]}
    prompts = list(by_prompt)[:8]
    right = 0
    for seed, prompt in enumerate(prompts):
        image = pipeline(
            prompt,
            num_inference_steps=8,
            guidance_scale=1.0,
            height=64,
            width=64,
            max_sequence_length=16,
            generator=torch.Generator().manual_seed(seed),
        ).images[0]
        assert image.size == (64, 64)
        right += is_right(by_prompt[prompt], np.asarray(image))
    assert right >= 3


def test_all_parts_load_in_float32(pipeline: StableDiffusion3Pipeline) -> None:
    parts = (
        pipeline.vae,
        pipeline.transformer,
        pipeline.text_encoder,
        pipeline.text_encoder_2,
        pipeline.text_encoder_3,
    )
    assert {part.dtype for part in parts} == {torch.float32}


def test_folder_is_small_and_holds_no_pickle() -> None:
    files = [path for path in MODEL.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 12 * 1024 * 1024
    assert {path.suffix for path in files} <= {".json", ".jsonl", ".safetensors", ".md"}


def test_tokenizers_give_offsets_of_words_and_letters(pipeline: StableDiffusion3Pipeline) -> None:
    prompt = 'a sign that says "CAT"'
    for tokenizer in (pipeline.tokenizer, pipeline.tokenizer_2, pipeline.tokenizer_3):
        encoding = tokenizer(prompt, return_offsets_mapping=True, padding="max_length")
        pieces = [prompt[start:end] for start, end in encoding["offset_mapping"] if end > start]
        assert pieces == ["a", "sign", "that", "says", '"', "C", "A", "T", '"']
        assert tokenizer.model_max_length == 16
        assert len(encoding["input_ids"]) == 16


def test_unknown_words_do_not_crash(pipeline: StableDiffusion3Pipeline) -> None:
    text, pooled = embed(pipeline, ["a photo of a zebra", "", "Wort " * 40])
    assert text.shape == (3, 32, 128)
    assert pooled.shape == (3, 128)


def test_every_prompt_word_is_known(pipeline: StableDiffusion3Pipeline) -> None:
    prompts = [record["prompt"] for records in training_records_by_tag().values() for record in records]
    ids = pipeline.tokenizer_3(prompts)["input_ids"]
    unknown = pipeline.tokenizer_3.unk_token_id
    assert max(len(row) for row in ids) <= 16
    assert all(unknown not in row for row in ids)


def test_sigmas_are_the_shifted_eighths() -> None:
    sigmas = sampling_sigmas()
    assert sigmas[0] == 1.0
    assert sigmas[-1] == 0.0
    assert sigmas[7] == pytest.approx(0.3)
    assert torch.equal(seeded_noise(2, 5), seeded_noise(2, 5))
