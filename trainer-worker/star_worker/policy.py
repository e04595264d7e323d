"""A text-to-image flow model as a policy: loading, guidance, decoding, and its trainable parameters.

The transformer is always in evaluation mode, in sampling and in training alike: any difference (dropout) would break
the on-policy ratio.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from numpy.typing import NDArray
from peft import LoraConfig as PeftLoraConfig
from torch import Tensor

from star_worker.attention_capture import AttentionCapture, choose_kernel
from star_worker.errors import StarError
from star_worker.flux_family import FluxFamily
from star_worker.model_family import Conditioning, ModelFamily, install_capture
from star_worker.sd3_family import Sd3Family
from star_worker.seeds import derive_seed
from star_worker.types import Guidance, LoraConfig, ModelConfig, Precision

_DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
_FAMILIES: dict[str, Callable[[Any, ModelConfig], ModelFamily]] = {
    "StableDiffusion3Pipeline": Sd3Family,
    "FluxPipeline": FluxFamily,
}
# Prompts whose encoding is kept; about 1.7 MB each for SD3.5-M in half precision.
_CACHED_PROMPTS = 256


class Policy:
    """The model and its trainable parameters (float32)."""

    def __init__(self, family: ModelFamily, config: ModelConfig, run_seed: int, device: torch.device) -> None:
        self.family = family
        self.config = config
        self.device = device
        self.dtype = _DTYPES[config.precision]
        self.pipeline = family.pipeline.to(device)
        self.transformer: Any = self.pipeline.transformer
        self.capture: AttentionCapture | None = None
        self._encoded: OrderedDict[str, Conditioning] = OrderedDict()
        for part in self.pipeline.components.values():
            if isinstance(part, torch.nn.Module):
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
        self.patch_size, channels = family.patch_size, family.latent_channels
        scale = int(self.pipeline.vae_scale_factor)
        self._check_size(scale * self.patch_size)
        self.latent_shape = (channels, config.height // scale, config.width // scale)
        self.token_grid = (self.latent_shape[1] // self.patch_size, self.latent_shape[2] // self.patch_size)
        self.values_per_token = channels * self.patch_size**2

    @classmethod
    def load(cls, config: ModelConfig, run_seed: int, device: torch.device) -> "Policy":
        """Load from a diffusers folder (or the local hub cache); MODEL_NOT_LOADABLE names the folder and the fix."""
        return cls(load_family(config), config, run_seed, device)

    def install_capture(self, blocks: Sequence[int]) -> None:
        """Make the joint attention of `blocks` readable, after the kernel's self-test."""
        rows, columns = self.token_grid
        tokens = rows * columns + self.family.text_length
        settings = self.transformer.config
        kernel = choose_kernel(
            self.device, self.dtype, settings.num_attention_heads, tokens, settings.attention_head_dim
        )
        self.capture = AttentionCapture(kernel)
        install_capture(self.family, self.capture, blocks)

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Return the encoded prompts, detached; every prompt is encoded alone and kept."""
        parts = [self._encode_one(prompt) for prompt in prompts]
        return Conditioning(
            text=torch.cat([part.text for part in parts]), pooled=torch.cat([part.pooled for part in parts])
        )

    def velocity(self, latent: Tensor, sigma: float | Tensor, condition: Conditioning, guidance: Guidance) -> Tensor:
        """Return the velocity, float32 [B, C, H, W], at noise level `sigma` (one for all, or [B]).

        Guidance runs the empty prompt as well: in the same batch, first half, or by itself without a graph. A model
        that takes the scale as an input needs neither.
        """
        batch, scale = latent.shape[0], guidance.scale
        timestep = torch.as_tensor(sigma, dtype=torch.float32, device=self.device).expand(batch) * 1000
        if scale == 1 or self.family.traits.embeds_guidance:
            return self._forward(latent, timestep, condition, scale)
        one = self._encode_one("")
        empty = Conditioning(text=one.text.expand_as(condition.text), pooled=one.pooled.expand_as(condition.pooled))
        if guidance.trains_unconditional:
            both = Conditioning(
                text=torch.cat([empty.text, condition.text]), pooled=torch.cat([empty.pooled, condition.pooled])
            )
            output = self._forward(torch.cat([latent, latent]), torch.cat([timestep, timestep]), both, scale)
            unconditional, conditional = output.chunk(2)
        else:
            with torch.no_grad(), self._unread():
                unconditional = self._forward(latent, timestep, empty, scale)
            conditional = self._forward(latent, timestep, condition, scale)
        return unconditional + scale * (conditional - unconditional)

    def _unread(self) -> AbstractContextManager[None]:
        """Attention of the empty prompt is nobody's concern."""
        return nullcontext() if self.capture is None else self.capture.paused()

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

    def _forward(self, latent: Tensor, timestep: Tensor, condition: Conditioning, guidance_scale: float) -> Tensor:
        # A fresh autocast scope per pass: its cache of rounded weights must not outlive an optimiser step.
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            output = self.family.predict(latent, timestep, condition, guidance_scale)
        return output.float()

    @torch.no_grad()
    def _encode_one(self, prompt: str) -> Conditioning:
        known = self._encoded.get(prompt)
        if known is not None:
            self._encoded.move_to_end(prompt)
            return known
        encoded = self.family.encode(prompt)
        self._encoded[prompt] = encoded
        if len(self._encoded) > _CACHED_PROMPTS:
            self._encoded.popitem(last=False)
        return encoded

    def _check_size(self, multiple: int) -> None:
        height, width = self.config.height, self.config.width
        if height % multiple or width % multiple:
            message = f"model.height and model.width must be multiples of {multiple}, received {height} x {width}"
            raise StarError("RECIPE_INVALID", message)


def load_family(config: ModelConfig) -> ModelFamily:
    """Load a pipeline and choose its family by its class. Raises MODEL_NOT_LOADABLE."""
    pipeline = _load_pipeline(config)
    name = type(pipeline).__name__
    if name in _FAMILIES:
        return _FAMILIES[name](pipeline, config)
    known = ", ".join(_FAMILIES)
    raise StarError("MODEL_NOT_LOADABLE", f"model.path: expected a pipeline of class {known}, received {name}")


def _load_pipeline(config: ModelConfig) -> Any:
    folder = Path(config.path)
    dtype = _DTYPES[config.precision]
    frozen = dtype if config.lora is not None else torch.float32
    try:
        pipeline = DiffusionPipeline.from_pretrained(
            config.path,
            dtype={"transformer": frozen, "vae": torch.float32, "default": dtype},
            local_files_only=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        found = "it exists but cannot be read" if folder.is_dir() else "there is no such folder and no such hub model"
        message = (
            f"model.path: expected a model folder in diffusers format at {folder.absolute()}, {found} in "
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
