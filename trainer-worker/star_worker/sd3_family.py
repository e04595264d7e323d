"""Stable Diffusion 3 Medium, 3.5 Medium and 3.5 Large."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers.models.attention_processor import JointAttnProcessor2_0
from torch import Tensor

from star_worker.attention_capture import AttentionCapture
from star_worker.model_family import Conditioning, FamilyTraits, token_offsets
from star_worker.prompt_tokens import ConceptColumns, concept_columns
from star_worker.types import CoreSpan, ModelConfig


class Sd3Family:
    """Image tokens first, then the positions that both CLIP encoders share, then T5's; positions added at the input."""

    traits: ClassVar = FamilyTraits(image_first=True, rotary=False, embeds_guidance=False, encoders=("clip", "t5"))

    def __init__(self, pipeline: Any, config: ModelConfig) -> None:
        self.pipeline = pipeline
        self.patch_size = int(pipeline.transformer.config.patch_size)
        self.latent_channels = int(pipeline.transformer.config.in_channels)
        self._t5_length = config.max_sequence_length
        self._clip_length = int(pipeline.tokenizer_max_length)
        self.text_length = self._clip_length + self._t5_length

    def encode(self, prompt: str) -> Conditioning:
        """Return one encoded prompt."""
        text, _, pooled, _ = self.pipeline.encode_prompt(
            prompt,
            prompt,
            prompt,
            do_classifier_free_guidance=False,
            max_sequence_length=self._t5_length,
            device=self.pipeline.transformer.device,
        )
        return Conditioning(text=text.detach(), pooled=pooled.detach())

    def predict(self, latent: Tensor, timestep: Tensor, condition: Conditioning, guidance_scale: float) -> Tensor:
        """Return the velocity of one forward pass; guidance is the caller's."""
        output: Tensor = self.pipeline.transformer(
            hidden_states=latent,
            encoder_hidden_states=condition.text,
            pooled_projections=condition.pooled,
            timestep=timestep,
            return_dict=False,
        )[0]
        return output

    def concept_columns(self, prompt: str, core_spans: Sequence[CoreSpan]) -> tuple[ConceptColumns, ...]:
        """Return the text columns of every concept."""
        pipeline = self.pipeline
        clip = [
            token_offsets(tokenizer, prompt, self._clip_length)
            for tokenizer in (pipeline.tokenizer, pipeline.tokenizer_2)
        ]
        t5 = None
        if pipeline.tokenizer_3 is not None and pipeline.text_encoder_3 is not None:
            t5 = token_offsets(pipeline.tokenizer_3, prompt, self._t5_length)
        return concept_columns(core_spans, clip, t5, self._clip_length)

    def read_attention(self, block: Any, capture: AttentionCapture) -> None:
        """Only the joint `attn`: the image-only `attn2` of dual blocks keeps the stock processor."""
        block.attn.set_processor(_ReadingProcessor(capture))


class _ReadingProcessor:
    """Stock joint attention, except that the text columns are read while the capture is `reading`."""

    def __init__(self, capture: AttentionCapture) -> None:
        self._capture = capture
        # diffusers' own annotations ask for subclasses of Tensor that nothing ever makes.
        self._stock: Any = JointAttnProcessor2_0()

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **unused: Any
    ) -> Any:
        if self._capture.columns is None or encoder_hidden_states is None:
            return self._stock(attn, hidden_states, encoder_hidden_states)
        count = hidden_states.shape[1]
        query, key, value = _joint_projections(attn, hidden_states, encoder_hidden_states)
        output = self._capture.attend(query, key, value, slice(count), slice(count, None))
        return _project_out(attn, output, count)


def _joint_projections(attn: Any, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return query, key, value [B, N, P + L, D], image first, as the stock processor forms them."""

    def heads(values: Tensor) -> Tensor:
        return values.view(values.shape[0], -1, attn.heads, values.shape[-1] // attn.heads).transpose(1, 2)

    def normed(norm: Any, values: Tensor) -> Tensor:
        result: Tensor = values if norm is None else norm(values)
        return result

    image_query = normed(attn.norm_q, heads(attn.to_q(image)))
    image_key = normed(attn.norm_k, heads(attn.to_k(image)))
    text_query = normed(attn.norm_added_q, heads(attn.add_q_proj(text)))
    text_key = normed(attn.norm_added_k, heads(attn.add_k_proj(text)))
    query = torch.cat([image_query, text_query], 2)
    key = torch.cat([image_key, text_key], 2)
    value = torch.cat([heads(attn.to_v(image)), heads(attn.add_v_proj(text))], 2)
    return query, key, value


def _project_out(attn: Any, output: Tensor, image_count: int) -> tuple[Tensor, Tensor]:
    joined = output.transpose(1, 2).flatten(2)
    image, text = joined[:, :image_count], joined[:, image_count:]
    if not attn.context_pre_only:
        text = attn.to_add_out(text)
    return attn.to_out[1](attn.to_out[0](image)), text
