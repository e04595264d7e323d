"""Trains the image-text model on fresh renders with right and wrong captions."""

import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPModel, PreTrainedTokenizerFast

from tiny_world.captions import holds, wrong_captions
from tiny_world.image_text_card import save_checkpoint, write_bundle_and_card
from tiny_world.image_text_model import (
    BATCH,
    ContentsReader,
    build_image_text_model,
    contents_of,
    embed_captions,
    embed_pictures,
    token_ids,
)
from tiny_world.prompts import Record, training_records_by_tag
from tiny_world.renderer import Scene, draw_record
from tiny_world.seeds import derive_seed
from tiny_world.text_encoders import build_tokenizer

LEARNING_RATE: Final = 1.5e-3
WRONG: Final = 3
"""Wrong captions of a picture in one step."""
MAX_LOG_SCALE: Final = 3.7
"""Logits are at most 40 times the cosine: much sharper, and training would look at the hardest pairs only."""
WEIGHTS: Final = {
    "single_object": 0.3,
    "two_object": 1.0,
    "counting": 2.0,
    "colors": 0.7,
    "position": 5.0,
    "color_attr": 4.0,
    "ocr": 2.0,
}
"""How often each kind is drawn; most of all what is hardest."""
CHANGE_WEIGHTS: Final = {"color": 2.0, "count": 2.0, "shape": 1.0, "position": 3.0, "letter": 1.0}
"""How often each kind of wrong caption is drawn, among those that a prompt has."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures with their captions."""

    records: list[Record]
    scenes: list[Scene]
    wrong: list[str]
    """`WRONG` captions for every picture, one picture after the other."""

    def right(self) -> Tensor:
        """Return which captions hold for which pictures, bool [B pictures, B captions]."""
        rows = [
            [holds(record, shown, scene) for record in self.records]
            for shown, scene in zip(self.records, self.scenes, strict=True)
        ]
        return torch.tensor(rows)


def _draw_wrong(caption: str, rng: random.Random) -> str:
    wrong = wrong_captions(caption, rng)
    return rng.choices(list(wrong.values()), [CHANGE_WEIGHTS[change] for change in wrong])[0]


def draw_batch(by_tag: dict[str, list[Record]], rng: random.Random) -> Batch:
    """Draw prompts of the training side, a fresh picture of each, and wrong captions."""
    tags = rng.choices(list(WEIGHTS), list(WEIGHTS.values()), k=BATCH)
    records = [rng.choice(by_tag[tag]) for tag in tags]
    wrong = [_draw_wrong(record["prompt"], rng) for record in records for _ in range(WRONG)]
    return Batch(records, [draw_record(record, rng) for record in records], wrong)


def contrast(pictures: Tensor, captions: Tensor, wrong: Tensor, *, scale: Tensor, right: Tensor) -> Tensor:
    """Return CLIP's loss with wrong captions beside those of the batch.

    Captions of other pictures that happen to hold are no wrong answers, so they are left out.

    Args:
        pictures: Embeddings [B, D] of length 1.
        captions: The same of their captions.
        wrong: The same of their wrong captions [B, WRONG, D].
        scale: What multiplies the cosines.
        right: Which caption holds for which picture, bool [B, B].
    """
    others = right & ~torch.eye(len(right), dtype=torch.bool)
    between = (scale * pictures @ captions.T).masked_fill(others, -torch.inf)
    against = scale * torch.einsum("bd,bkd->bk", pictures, wrong)
    target = torch.arange(len(pictures))
    by_picture = F.cross_entropy(torch.cat([between, against], dim=1), target)
    return (by_picture + F.cross_entropy(between.T, target)) / 2


def _loss(model: CLIPModel, reader: ContentsReader, tokenizer: PreTrainedTokenizerFast, batch: Batch) -> Tensor:
    captions = [record["prompt"] for record in batch.records]
    embedded = embed_captions(model, token_ids(tokenizer, captions + batch.wrong))
    pictures, token = embed_pictures(model, [scene.picture for scene in batch.scenes])
    loss = contrast(
        pictures,
        embedded[:BATCH],
        embedded[BATCH:].view(BATCH, WRONG, -1),
        scale=model.logit_scale.clamp(max=MAX_LOG_SCALE).exp(),
        right=batch.right(),
    )
    words = [record.get("text", "") for record in batch.records]
    return loss + reader.loss(token, contents_of(batch.scenes, words))


def train_image_text_model(*, steps: int, seed: int) -> CLIPModel:
    """Train from nothing."""
    torch.manual_seed(seed)
    model, reader, tokenizer = build_image_text_model(), ContentsReader(), build_tokenizer(begins=True)
    parameters = [*model.parameters(), *reader.parameters()]
    optimiser = torch.optim.AdamW(parameters, LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps)
    by_tag, rng = training_records_by_tag(), random.Random(derive_seed("image-text", seed))
    started = time.monotonic()
    for step in range(1, steps + 1):
        loss = _loss(model, reader, tokenizer, draw_batch(by_tag, rng))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
        if step % 50 == 0:
            elapsed_s = time.monotonic() - started
            left_s = elapsed_s * (steps - step) / step
            print(
                f"image-text {step}/{steps} loss {loss.item():.3f} {elapsed_s:.0f} s, {left_s:.0f} s left", flush=True
            )
    with torch.no_grad():
        model.logit_scale.clamp_(max=MAX_LOG_SCALE)
    return model.eval()


def make_image_text_scorer(model: Path, checkpoint: Path, folder: Path, *, steps: int, seed: int) -> None:
    """Train, keep the weights in `checkpoint`, and write the scorer bundle with its card to `folder`."""
    started = time.monotonic()
    save_checkpoint(train_image_text_model(steps=steps, seed=seed), checkpoint)
    seconds = time.monotonic() - started
    write_bundle_and_card(model, checkpoint, folder, steps=steps, seconds=seconds, seed=seed)
