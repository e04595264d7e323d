"""The image-text model: a CLIP in miniature, and what helps it to learn in minutes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from tiny_world.autoencoder import to_tensor
from tiny_world.renderer import CELL_CENTRES, MAX_LETTERS, Picture, Scene
from tiny_world.text_encoders import BEGIN, END, MAX_TOKENS, PAD, vocabulary
from tiny_world.vocabulary import COLORS, PICTURE_SIZE, SHAPES
from tiny_world.words import letters

IMAGE_WIDTH: Final = 96
TEXT_WIDTH: Final = 64
EMBEDDING: Final = 128
PATCH: Final = 8
BATCH: Final = 48
"""Pictures of one training step."""
CELLS: Final = len(CELL_CENTRES) ** 2


def build_image_text_model() -> CLIPModel:
    """Return an untrained CLIP for 64-pixel pictures and the small world's words."""
    text = {
        "vocab_size": len(vocabulary()),
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 4 * TEXT_WIDTH,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": MAX_TOKENS,
        "bos_token_id": BEGIN,
        "eos_token_id": END,
        "pad_token_id": PAD,
    }
    vision = {
        "hidden_size": IMAGE_WIDTH,
        "intermediate_size": 4 * IMAGE_WIDTH,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": PICTURE_SIZE,
        "patch_size": PATCH,
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=EMBEDDING))


def token_ids(tokenizer: PreTrainedTokenizerFast, captions: Sequence[str]) -> Tensor:
    """Return int64 [B, 16], padded."""
    return cast(Tensor, tokenizer(list(captions), padding="max_length", return_tensors="pt").input_ids)


def embed_captions(model: CLIPModel, ids: Tensor) -> Tensor:
    """Return float32 [B, 128] of length 1."""
    return F.normalize(model.get_text_features(ids).pooler_output, dim=-1)


@dataclass(frozen=True, slots=True)
class Contents:
    """What pictures show, as classes and numbers."""

    shape: Tensor
    """int64 [B, 9]: class of the shape in each cell, 0 for none."""
    color: Tensor
    """int64 [B, 9]: class of its colour, -1 for none."""
    letter: Tensor
    """int64 [B, 4]: class of the letter in each place, 0 for none."""
    things: Tensor
    """float32 [B, shapes, colours]: 1 where the picture shows a shape in a colour."""
    place: Tensor
    """float32 [B, shapes, 2]: mean x and y of a shape, -1..1; NaN for a shape that is not there."""


def contents_of(scenes: Sequence[Scene], words: Sequence[str]) -> Contents:
    """Write down what is in scenes and which words they show."""
    count = len(scenes)
    shape = torch.zeros(count, CELLS, dtype=torch.int64)
    color = torch.full_like(shape, -1)
    letter = torch.zeros(count, MAX_LETTERS, dtype=torch.int64)
    things = torch.zeros(count, len(SHAPES), len(COLORS))
    places: list[list[Tensor]] = []
    for index, (scene, word) in enumerate(zip(scenes, words, strict=True)):
        for p in scene.placements:
            cell = sum(3**axis * CELL_CENTRES.index(_nearest_centre(at)) for axis, at in enumerate((p.x, p.y)))
            kind, paint = SHAPES.index(p.shape), COLORS.index(p.color)
            shape[index, cell], color[index, cell], things[index, kind, paint] = kind + 1, paint, 1
        for place, name in enumerate(word):
            letter[index, place] = letters().index(name) + 1
        places.append([_mean_place(scene, name) for name in SHAPES])
    return Contents(shape, color, letter, things, torch.stack([torch.stack(row) for row in places]))


def _nearest_centre(at: float) -> int:
    return min(CELL_CENTRES, key=lambda centre: abs(centre - at))


def _mean_place(scene: Scene, shape: str) -> Tensor:
    middle = PICTURE_SIZE / 2
    found = [((p.x - middle) / middle, (p.y - middle) / middle) for p in scene.placements if p.shape == shape]
    return torch.tensor(found).mean(0) if found else torch.full((2,), torch.nan)


class ContentsReader(nn.Module):
    """Says from the picture's class token what the picture shows; used while training only.

    Captions alone teach a picture tower slowly. This tells it at once what there is to see, in a form that a linear
    projection can compare with a caption: things for "a red circle", places for "left of", letters one by one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shape = nn.Linear(IMAGE_WIDTH, CELLS * (len(SHAPES) + 1))
        self.color = nn.Linear(IMAGE_WIDTH, CELLS * len(COLORS))
        self.letter = nn.Linear(IMAGE_WIDTH, MAX_LETTERS * (len(letters()) + 1))
        self.things = nn.Linear(IMAGE_WIDTH, len(SHAPES) * len(COLORS))
        self.place = nn.Linear(IMAGE_WIDTH, len(SHAPES) * 2)

    def loss(self, token: Tensor, contents: Contents) -> Tensor:
        """Return the sum of the losses of all parts; a part that a picture does not have costs nothing."""
        batch = len(token)
        there = ~contents.place.isnan()
        place = self.place(token).view_as(contents.place)
        things = self.things(token).view_as(contents.things)
        return (
            F.cross_entropy(self.shape(token).view(batch * CELLS, -1), contents.shape.flatten())
            + F.cross_entropy(self.color(token).view(batch * CELLS, -1), contents.color.flatten(), ignore_index=-1)
            + F.cross_entropy(self.letter(token).view(batch * MAX_LETTERS, -1), contents.letter.flatten())
            + F.binary_cross_entropy_with_logits(things, contents.things, reduction="sum") / (2 * batch)
            + F.mse_loss(place[there], contents.place[there])
        )


def embed_pictures(model: CLIPModel, pictures: list[Picture]) -> tuple[Tensor, Tensor]:
    """Return embeddings float32 [B, 128] of length 1, and the class token [B, 96] that they come from."""
    token = model.vision_model(pixel_values=to_tensor(pictures)).pooler_output
    return F.normalize(model.visual_projection(token), dim=-1), token
