"""What differs between model families. `policy.py` works with any of them; one file per family declares the rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor

from star_worker.attention_capture import AttentionCapture
from star_worker.errors import StarError
from star_worker.prompt_tokens import ConceptColumns, TokenOffsets
from star_worker.types import CoreSpan


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditioning:
    """Encoded prompts: text [B, L, D] and pooled [B, D']."""

    text: Tensor
    pooled: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class FamilyTraits:
    """What a family declares.

    image_first: order of the joint sequence, image tokens before text tokens or after.
    rotary: whether queries and keys are rotated before the attention, which capture has to do as well.
    embeds_guidance: the guidance scale is an input of the model, instead of a second pass with the empty prompt.
    encoders: parts of the text sequence, in order.
    """

    image_first: bool
    rotary: bool
    embeds_guidance: bool
    encoders: tuple[str, ...]


class ModelFamily(Protocol):
    """A loaded pipeline behind one set of names. Latents are [B, C, H, W], image tokens patch_size x patch_size."""

    traits: ClassVar[FamilyTraits]
    pipeline: Any
    patch_size: int
    latent_channels: int
    # Text tokens of a prompt.
    text_length: int

    def encode(self, prompt: str) -> Conditioning:
        """Return one encoded prompt, B = 1."""
        ...

    def predict(self, latent: Tensor, timestep: Tensor, condition: Conditioning, guidance_scale: float) -> Tensor:
        """Return the output of one forward pass, [B, C, H, W]; timestep [B], 0..1000."""
        ...

    def concept_columns(self, prompt: str, core_spans: Sequence[CoreSpan]) -> tuple[ConceptColumns, ...]:
        """Return the text columns of every concept."""
        ...

    def read_attention(self, block: Any, capture: AttentionCapture) -> None:
        """Put a reading processor on the joint attention of one block."""
        ...


def token_offsets(tokenizer: Any, prompt: str, length: int) -> TokenOffsets:
    """Return offsets and mask of a prompt, padded or cut to `length` tokens."""
    encoding = tokenizer(prompt, padding="max_length", max_length=length, truncation=True, return_offsets_mapping=True)
    return TokenOffsets(
        offsets=[(int(start), int(end)) for start, end in encoding["offset_mapping"]],
        attention_mask=list(encoding["attention_mask"]),
    )


def install_capture(family: ModelFamily, capture: AttentionCapture, blocks: Sequence[int]) -> None:
    """Make the joint attention of `blocks` readable. Raises RECIPE_INVALID for a block that the model does not have."""
    modules = family.pipeline.transformer.transformer_blocks
    for block in blocks:
        if not 0 <= block < len(modules):
            message = f"allocation.blocks: the model has the blocks 0 to {len(modules) - 1}, received {block}"
            raise StarError("RECIPE_INVALID", message)
        family.read_attention(modules[block], capture)
