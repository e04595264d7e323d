"""The image-text model: a CLIP in miniature, and what helps it to learn in minutes."""

from collections.abc import Sequence
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
EMBEDDING: Final = 64
PATCH: Final = 8
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
    """Return float32 [B, 64] of length 1."""
    return F.normalize(model.get_text_features(ids).pooler_output, dim=-1)


class Layout(nn.Module):
    """Says from the picture's class token what lies in every cell; used while training only.

    Captions alone teach a picture tower slowly; the layout tells it at once what there is to see.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shape = nn.Linear(IMAGE_WIDTH, CELLS * (len(SHAPES) + 1))
        self.color = nn.Linear(IMAGE_WIDTH, CELLS * len(COLORS))
        self.letter = nn.Linear(IMAGE_WIDTH, MAX_LETTERS * (len(letters()) + 1))

    def loss(self, token: Tensor, targets: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Return the sum of the cross entropies of shapes, colours (where there is a shape) and letters."""
        shape, color, letter = targets
        batch = len(token)
        return (
            F.cross_entropy(self.shape(token).view(batch * CELLS, -1), shape.flatten())
            + F.cross_entropy(self.color(token).view(batch * CELLS, -1), color.flatten(), ignore_index=-1)
            + F.cross_entropy(self.letter(token).view(batch * MAX_LETTERS, -1), letter.flatten())
        )


def layout_targets(scenes: Sequence[Scene], words: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Return classes int64 of shapes [B, 9] (0: none), colours [B, 9] (-1: none) and letters [B, 4] (0: none)."""
    shape = torch.zeros(len(scenes), CELLS, dtype=torch.int64)
    color = torch.full_like(shape, -1)
    letter = torch.zeros(len(scenes), MAX_LETTERS, dtype=torch.int64)
    for index, (scene, word) in enumerate(zip(scenes, words, strict=True)):
        for p in scene.placements:
            column, row = (min(range(3), key=lambda cell: abs(CELL_CENTRES[cell] - at)) for at in (p.x, p.y))
            shape[index, 3 * row + column] = SHAPES.index(p.shape) + 1
            color[index, 3 * row + column] = COLORS.index(p.color)
        for place, name in enumerate(word):
            letter[index, place] = letters().index(name) + 1
    return shape, color, letter


def embed_pictures(model: CLIPModel, pictures: list[Picture]) -> tuple[Tensor, Tensor]:
    """Return embeddings float32 [B, 64] of length 1, and the class token [B, 96] that they come from."""
    token = model.vision_model(pixel_values=to_tensor(pictures)).pooler_output
    return F.normalize(model.visual_projection(token), dim=-1), token
