"""FLUX.1. Latents travel as [B, C, H, W]; packing into tokens stays in this file."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor
from torch import Tensor

from star_worker.attention_capture import AttentionCapture
from star_worker.model_family import Conditioning, FamilyTraits, token_offsets
from star_worker.prompt_tokens import ConceptColumns, concept_columns
from star_worker.types import CoreSpan, ModelConfig

# FLUX packs 2 x 2 latent pixels into a token itself; its transformer's patch size is 1.
_PATCH_SIZE = 2


class FluxFamily:
    """T5's tokens first, then image tokens, rotated by position; CLIP gives the pooled vector only."""

    traits: ClassVar = FamilyTraits(image_first=False, rotary=True, embeds_guidance=True, encoders=("t5",))

    def __init__(self, pipeline: Any, config: ModelConfig) -> None:
        self.pipeline = pipeline
        self.patch_size = _PATCH_SIZE
        self.latent_channels = int(pipeline.transformer.config.in_channels) // _PATCH_SIZE**2
        self.text_length = config.max_sequence_length

    def encode(self, prompt: str) -> Conditioning:
        """Return one encoded prompt."""
        text, pooled, _ = self.pipeline.encode_prompt(
            prompt,
            prompt,
            max_sequence_length=self.text_length,
            device=self.pipeline.transformer.device,
        )
        return Conditioning(text=text.detach(), pooled=pooled.detach())

    def predict(self, latent: Tensor, timestep: Tensor, condition: Conditioning, guidance_scale: float) -> Tensor:
        """Return the velocity of one forward pass; the guidance scale is an input where the model takes one."""
        transformer = self.pipeline.transformer
        rows, columns = latent.shape[2] // _PATCH_SIZE, latent.shape[3] // _PATCH_SIZE
        guidance = None
        if transformer.config.guidance_embeds:
            guidance = torch.full_like(timestep, guidance_scale)
        output = transformer(
            hidden_states=_packed(latent),
            encoder_hidden_states=condition.text,
            pooled_projections=condition.pooled,
            timestep=timestep / 1000,
            img_ids=_token_places(rows, columns).to(latent),
            txt_ids=torch.zeros(condition.text.shape[1], 3).to(latent),
            guidance=guidance,
            return_dict=False,
        )[0]
        return _unpacked(output, rows, columns)

    def concept_columns(self, prompt: str, core_spans: Sequence[CoreSpan]) -> tuple[ConceptColumns, ...]:
        """Return the text columns of every concept; there are no CLIP columns."""
        t5 = token_offsets(self.pipeline.tokenizer_2, prompt, self.text_length)
        return concept_columns(core_spans, [], t5, 0)

    def read_attention(self, block: Any, capture: AttentionCapture) -> None:
        """Double-stream blocks only: single-stream blocks have no text projections of their own."""
        block.attn.set_processor(_ReadingProcessor(capture))


class _ReadingProcessor(FluxAttnProcessor):  # type: ignore[misc]
    """Stock joint attention, except that the text columns are read while the capture is `reading`."""

    def __init__(self, capture: AttentionCapture) -> None:
        super().__init__()
        self._capture = capture

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> Any:
        if self._capture.columns is None or encoder_hidden_states is None:
            return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, image_rotary_emb)
        count = encoder_hidden_states.shape[1]
        query, key, value = _joint_projections(attn, hidden_states, encoder_hidden_states, image_rotary_emb)
        output = self._capture.attend(query, key, value, slice(count, None), slice(count))
        joined = output.transpose(1, 2).flatten(2)
        text, image = joined[:, :count].contiguous(), joined[:, count:].contiguous()
        return attn.to_out[1](attn.to_out[0](image)), attn.to_add_out(text)


def _joint_projections(attn: Any, image: Tensor, text: Tensor, rotary: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return query, key, value [B, N, L + P, D], text first and rotated, as the stock processor forms them."""

    def heads(values: Tensor) -> Tensor:
        return values.view(*values.shape[:2], -1, attn.head_dim)

    def joined(of_text: Tensor, of_image: Tensor) -> Tensor:
        return torch.cat([of_text, of_image], 1)

    query = joined(attn.norm_added_q(heads(attn.add_q_proj(text))), attn.norm_q(heads(attn.to_q(image))))
    key = joined(attn.norm_added_k(heads(attn.add_k_proj(text))), attn.norm_k(heads(attn.to_k(image))))
    value = joined(heads(attn.add_v_proj(text)), heads(attn.to_v(image)))
    if rotary is not None:
        query, key = (apply_rotary_emb(values, rotary, sequence_dim=1) for values in (query, key))
    return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)


def _packed(latent: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, P, 4 C]."""
    batch, channels, height, width = latent.shape
    rows, columns = height // _PATCH_SIZE, width // _PATCH_SIZE
    tiles = latent.view(batch, channels, rows, _PATCH_SIZE, columns, _PATCH_SIZE)
    return tiles.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, -1)


def _unpacked(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """[B, P, 4 C] -> [B, C, H, W]."""
    tiles = tokens.view(tokens.shape[0], rows, columns, -1, _PATCH_SIZE, _PATCH_SIZE)
    return tiles.permute(0, 3, 1, 4, 2, 5).reshape(tokens.shape[0], -1, rows * _PATCH_SIZE, columns * _PATCH_SIZE)


def _token_places(rows: int, columns: int) -> Tensor:
    """Row and column of every image token, [P, 3]; the first axis is the text's."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([torch.zeros_like(row), row, column], 2).flatten(0, 1)
