"""Stable Diffusion 3 as a policy: loading, text encoding, velocity, decoding, and its trainable parameters.

The transformer is always in evaluation mode, in sampling and in training alike: any difference (dropout) would break
the on-policy ratio.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusion3Pipeline
from numpy.typing import NDArray
from peft import LoraConfig as PeftLoraConfig
from torch import Tensor

from star_worker.attention_capture import AttentionCapture, choose_kernel
from star_worker.errors import StarError
from star_worker.prompt_tokens import ConceptColumns, TokenOffsets, concept_columns
from star_worker.seeds import derive_seed
from star_worker.types import CoreSpan, LoraConfig, ModelConfig, Precision

_DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
# Prompts whose encoding is kept; about 1.7 MB each for SD3.5-M in half precision.
_CACHED_PROMPTS = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditioning:
    """Encoded prompts: text [B, L, D] and pooled [B, D']."""

    text: Tensor
    pooled: Tensor


class Sd3Policy:
    """The model and its trainable parameters (float32)."""

    def __init__(self, pipeline: Any, config: ModelConfig, run_seed: int, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.dtype = _DTYPES[config.precision]
        self.pipeline = pipeline.to(device)
        self.transformer: Any = pipeline.transformer
        self.capture: AttentionCapture | None = None
        self._encoded: OrderedDict[str, Conditioning] = OrderedDict()
        for part in (pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2, pipeline.text_encoder_3):
            if part is not None:
                part.eval().requires_grad_(False)
        _make_trainable(self.transformer, config.lora, run_seed)
        if config.gradient_checkpointing:
            self.transformer.enable_gradient_checkpointing()
        trainable = [(name, value) for name, value in self.transformer.named_parameters() if value.requires_grad]
        self.names = [name for name, _ in trainable]
        self.parameters: list[torch.nn.Parameter] = [value for _, value in trainable]
        # The untrained policy: reference of the KL term and of the distance from the base.
        self.initial = [value.detach().clone() for value in self.parameters]
        # Attention columns and velocities are for pictures of one size.
        self.patch_size = int(self.transformer.config.patch_size)
        scale = int(pipeline.vae_scale_factor)
        self._check_size(scale * self.patch_size)
        channels = int(self.transformer.config.in_channels)
        self.latent_shape = (channels, config.height // scale, config.width // scale)
        self.token_grid = (self.latent_shape[1] // self.patch_size, self.latent_shape[2] // self.patch_size)
        self.values_per_token = channels * self.patch_size**2

    @classmethod
    def load(cls, config: ModelConfig, run_seed: int, device: torch.device) -> "Sd3Policy":
        """Load from a diffusers folder (or the local hub cache); MODEL_NOT_LOADABLE names the folder and the fix."""
        return cls(_load_pipeline(config), config, run_seed, device)

    def install_capture(self, blocks: Sequence[int]) -> None:
        """Make the joint attention of `blocks` readable, after the kernel's self-test."""
        rows, columns = self.token_grid
        tokens = rows * columns + self._clip_length() + self.config.max_sequence_length
        settings = self.transformer.config
        kernel = choose_kernel(
            self.device, self.dtype, settings.num_attention_heads, tokens, settings.attention_head_dim
        )
        self.capture = AttentionCapture(kernel)
        self.capture.install(self.transformer, blocks)

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Return the encoded prompts, detached; every prompt is encoded alone and kept."""
        parts = [self._encode_one(prompt) for prompt in prompts]
        return Conditioning(
            text=torch.cat([part.text for part in parts]), pooled=torch.cat([part.pooled for part in parts])
        )

    def concept_columns(self, prompt: str, core_spans: Sequence[CoreSpan]) -> tuple[ConceptColumns, ...]:
        """Return the text columns of every concept."""
        pipeline = self.pipeline
        clip_length = self._clip_length()
        clip = [_offsets(tokenizer, prompt, clip_length) for tokenizer in (pipeline.tokenizer, pipeline.tokenizer_2)]
        t5 = None
        if pipeline.tokenizer_3 is not None and pipeline.text_encoder_3 is not None:
            t5 = _offsets(pipeline.tokenizer_3, prompt, self.config.max_sequence_length)
        return concept_columns(core_spans, clip, t5, clip_length)

    def velocity(self, latent: Tensor, sigma: float | Tensor, condition: Conditioning, guidance_scale: float) -> Tensor:
        """Return the velocity, float32 [B, C, H, W], at noise level `sigma` (one for all, or [B]).

        guidance_scale 1 is one forward pass; larger ones run the empty prompt in the same batch, first half.
        """
        batch = latent.shape[0]
        timestep = torch.as_tensor(sigma, dtype=torch.float32, device=self.device).expand(batch) * 1000
        if guidance_scale == 1:
            return self._forward(latent, timestep, condition.text, condition.pooled)
        empty = self._encode_one("")
        output = self._forward(
            torch.cat([latent, latent]),
            torch.cat([timestep, timestep]),
            torch.cat([empty.text.expand_as(condition.text), condition.text]),
            torch.cat([empty.pooled.expand_as(condition.pooled), condition.pooled]),
        )
        unconditional, conditional = output.chunk(2)
        return unconditional + guidance_scale * (conditional - unconditional)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> NDArray[np.uint8]:
        """Return pictures uint8 [B, H, W, 3] of clean latents [B, C, H, W]."""
        vae = self.pipeline.vae
        shift = vae.config.shift_factor or 0.0
        images = vae.decode(latents / vae.config.scaling_factor + shift, return_dict=False)[0]
        pixels = (images * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
        result: NDArray[np.uint8] = pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return result

    @contextmanager
    def using(self, values: Sequence[Tensor]) -> Iterator[None]:
        """Run the inside with other values of the trainable parameters; nothing is copied.

        Not to be entered between a forward pass and its backward pass.
        """
        own = [parameter.data for parameter in self.parameters]
        self._place(values)
        try:
            yield
        finally:
            self._place(own)

    def _place(self, values: Sequence[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.data = value

    def _forward(self, latent: Tensor, timestep: Tensor, text: Tensor, pooled: Tensor) -> Tensor:
        # A fresh autocast scope per pass: its cache of rounded weights must not outlive an optimiser step.
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            output: Tensor = self.transformer(
                hidden_states=latent,
                encoder_hidden_states=text,
                pooled_projections=pooled,
                timestep=timestep,
                return_dict=False,
            )[0]
        return output.float()

    @torch.no_grad()
    def _encode_one(self, prompt: str) -> Conditioning:
        known = self._encoded.get(prompt)
        if known is not None:
            self._encoded.move_to_end(prompt)
            return known
        text, _, pooled, _ = self.pipeline.encode_prompt(
            prompt,
            prompt,
            prompt,
            do_classifier_free_guidance=False,
            max_sequence_length=self.config.max_sequence_length,
            device=self.device,
        )
        encoded = Conditioning(text=text.detach(), pooled=pooled.detach())
        self._encoded[prompt] = encoded
        if len(self._encoded) > _CACHED_PROMPTS:
            self._encoded.popitem(last=False)
        return encoded

    def _clip_length(self) -> int:
        return int(self.pipeline.tokenizer_max_length)

    def _check_size(self, multiple: int) -> None:
        height, width = self.config.height, self.config.width
        if height % multiple or width % multiple:
            message = f"model.height and model.width must be multiples of {multiple}, received {height} x {width}"
            raise StarError("RECIPE_INVALID", message)


def _load_pipeline(config: ModelConfig) -> Any:
    folder = Path(config.path)
    dtype = _DTYPES[config.precision]
    frozen = dtype if config.lora is not None else torch.float32
    try:
        pipeline = StableDiffusion3Pipeline.from_pretrained(
            config.path,
            dtype={"transformer": frozen, "vae": torch.float32, "default": dtype},
            local_files_only=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        found = "it exists but cannot be read" if folder.is_dir() else "there is no such folder and no such hub model"
        message = (
            f"model.path: expected a Stable Diffusion 3 folder in diffusers format at {folder.absolute()}, {found} in "
            f"the local cache ({error}); set model.path to a folder that holds model_index.json, or download the model"
        )
        raise StarError("MODEL_NOT_LOADABLE", message) from error
    return pipeline


def _make_trainable(transformer: Any, lora: LoraConfig | None, run_seed: int) -> None:
    transformer.eval().requires_grad_(lora is None)
    if lora is None:
        return
    adapter = PeftLoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=0.0,
        use_rslora=lora.rank_stabilised,
        init_lora_weights="gaussian",
        target_modules=list(lora.target_modules),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(run_seed, "lora"))
        try:
            transformer.add_adapter(adapter)
        except ValueError as error:
            raise StarError("RECIPE_INVALID", f"model.lora.targetModules fit no layer: {error}") from error
    for parameter in transformer.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    transformer.eval()


def _offsets(tokenizer: Any, prompt: str, length: int) -> TokenOffsets:
    encoding = tokenizer(prompt, padding="max_length", max_length=length, truncation=True, return_offsets_mapping=True)
    return TokenOffsets(
        offsets=[(int(start), int(end)) for start, end in encoding["offset_mapping"]],
        attention_mask=list(encoding["attention_mask"]),
    )
