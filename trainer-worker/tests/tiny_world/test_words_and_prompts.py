"""Prompts and words: the shipped files are what the code writes, and nothing held out is trained on."""

import json
from pathlib import Path

from tiny_world.paths import MODEL
from tiny_world.prompts import FILES, records_by_file, write_prompts
from tiny_world.vocabulary import HELD_OUT_TAGS
from tiny_world.words import all_words, split_words


def test_shipped_prompts_are_byte_identical(tmp_path: Path) -> None:
    write_prompts(tmp_path)
    for name in FILES:
        shipped = (MODEL / "prompts" / f"{name}.jsonl").read_bytes()
        assert (tmp_path / f"{name}.jsonl").read_bytes() == shipped


def test_training_and_evaluation_prompts_are_disjoint() -> None:
    files = records_by_file()
    for kind in ("geneval", "ocr"):
        train = {record["prompt"] for record in files[f"{kind}-train"]}
        held_out = {record["prompt"] for record in files[f"{kind}-eval"]}
        assert len(train) == len(files[f"{kind}-train"])
        assert len(held_out) == len(files[f"{kind}-eval"])
        assert not train & held_out


def test_pairs_are_held_out_in_both_orders() -> None:
    files = records_by_file()
    contents = [
        {
            frozenset((clause["class"], clause.get("color")) for clause in record["include"])
            for record in files[name]
            if record["tag"] in ("two_object", "color_attr")
        }
        for name in ("geneval-train", "geneval-eval")
    ]
    assert not contents[0] & contents[1]


def test_enough_held_out_prompts_of_every_kind() -> None:
    held_out = records_by_file()["geneval-eval"]
    assert len(held_out) >= 250
    assert {record["tag"] for record in held_out} == set(HELD_OUT_TAGS)


def test_words_are_many_and_held_out_words_use_the_same_letters() -> None:
    train, held_out = split_words()
    assert len(train) >= 200
    assert len(held_out) >= 60
    assert not set(train) & set(held_out)
    assert sorted(train + held_out) == sorted(set(all_words()))
    assert set("".join(held_out)) <= set("".join(train))


def test_metadata_follows_geneval() -> None:
    by_prompt = {record["prompt"]: record for name in FILES[:2] for record in records_by_file()[name]}
    assert by_prompt["a photo of three red circles"] == {
        "tag": "counting",
        "include": [{"class": "circle", "count": 3, "color": "red"}],
        "exclude": [{"class": "circle", "count": 4}],
        "prompt": "a photo of three red circles",
    }
    assert by_prompt["a photo of a star left of a circle"] == {
        "tag": "position",
        "include": [{"class": "circle", "count": 1}, {"class": "star", "count": 1, "position": ["left of", 0]}],
        "prompt": "a photo of a star left of a circle",
    }
    assert "a photo of an orange heart" in by_prompt


def test_lines_are_json_objects() -> None:
    line = (MODEL / "prompts" / "ocr-eval.jsonl").read_text().splitlines()[0]
    record = json.loads(line)
    assert record["tag"] == "ocr"
    assert f'"{record["text"]}"' in record["prompt"]
