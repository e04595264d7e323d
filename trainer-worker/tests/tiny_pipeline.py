"""A random Stable Diffusion 3 pipeline of a few thousand parameters, built by code, and configs that fit it."""

from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from star_worker.schedule import linear_sigmas
from star_worker.types import (
    CaptureConfig,
    CoreSpan,
    ForwardProcessConfig,
    Guidance,
    KlConfig,
    LoraConfig,
    LossMask,
    ModelConfig,
    OptimizerConfig,
    PolicyGradientConfig,
    RolloutGroup,
    RolloutPlan,
    RolloutSpec,
    SamplingConfig,
    TrainingConfig,
)

PROMPTS = ("a red cat", "a blue dog and a red cat")
TARGETS = ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "attn.add_q_proj", "attn.add_k_proj")
MERGES = [("c", "a"), ("ca", "t</w>"), ("r", "e"), ("re", "d</w>"), ("b", "l"), ("bl", "u"), ("blu", "e</w>")]
WORDS = ("a", "red", "cat", "blue", "dog", "and")
NO_KL = KlConfig(kind="none", beta=0.1, target=None)
POLICY_GRADIENT = PolicyGradientConfig(
    ratio_level="position",
    trust_region="clip",
    clip_range=3e-3,
    kl_threshold=1e-6,
    ratio_norm=False,
    step_weight="std_over_dt",
    kl=NO_KL,
    optimizer_step_count=1,
    on_policy_tolerance=0.0,
)
FORWARD_PROCESS = ForwardProcessConfig(
    form="nft",
    beta=1.0,
    advantage_scale=2.5,
    ratio_level="position",
    clip_range=3e-3,
    old_policy_beta=0.1,
    kl=NO_KL,
    noise_level_count=2,
    optimizer_step_count=2,
    sigma_min=0.3,
    sigma_shift=3.0,
    old_policy_decay_max=0.9,
    old_policy_decay_slope=0.1,
)


def clip_tokenizer(pad: str) -> CLIPTokenizer:
    letters = sorted(ByteLevel.alphabet())
    tokens = letters + [letter + "</w>" for letter in letters] + ["".join(pair) for pair in MERGES]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    ids = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=ids, merges=MERGES, pad_token=pad, model_max_length=16)


def t5_tokenizer() -> T5TokenizerFast:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    pieces += [("\u2581" + word, -3.0) for word in WORDS] + [(chr(code), -6.0) for code in range(33, 127)]
    pieces += [(f"<extra_id_{index}>", 0.0) for index in range(99, -1, -1)]
    return T5TokenizerFast(vocab=pieces, model_max_length=16)


def clip_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModelWithProjection:
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            projection_dim=16,
            max_position_embeddings=16,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_transformer(
    layers: int = 3,
    heads: int = 2,
    head_width: int = 16,
    dual_attention: tuple[int, ...] = (0,),
    qk_norm: str | None = "rms_norm",
) -> SD3Transformer2DModel:
    return shaken(
        SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=layers,
            attention_head_dim=head_width,
            num_attention_heads=heads,
            joint_attention_dim=32,
            caption_projection_dim=heads * head_width,
            pooled_projection_dim=32,
            pos_embed_max_size=8,
            dual_attention_layers=dual_attention,
            qk_norm=qk_norm,
        )
    )


Transformer = TypeVar("Transformer", bound=torch.nn.Module)


def shaken(transformer: Transformer) -> Transformer:
    """Zero initial values would hide errors, and flat attention would hide wrong columns."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in transformer.named_parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
            if "norm_q" in name or "norm_added_q" in name:
                parameter.mul_(2)
    return transformer


def build_pipeline(transformer: SD3Transformer2DModel | None = None) -> StableDiffusion3Pipeline:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokenizer, tokenizer_2, tokenizer_3 = clip_tokenizer("<|endoftext|>"), clip_tokenizer("!"), t5_tokenizer()
        return StableDiffusion3Pipeline(
            transformer=transformer or build_transformer(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
            vae=build_vae(),
            text_encoder=clip_encoder(tokenizer),
            tokenizer=tokenizer,
            text_encoder_2=clip_encoder(tokenizer_2),
            tokenizer_2=tokenizer_2,
            text_encoder_3=t5_encoder(tokenizer_3),
            tokenizer_3=tokenizer_3,
        )


def build_flux_pipeline() -> FluxPipeline:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokenizer, tokenizer_2 = clip_tokenizer("<|endoftext|>"), t5_tokenizer()
        transformer = FluxTransformer2DModel(
            in_channels=16,
            num_layers=3,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=16,
            guidance_embeds=True,
            axes_dims_rope=(4, 6, 6),
        )
        clip = clip_encoder(tokenizer)
        return FluxPipeline(
            transformer=shaken(transformer),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
            vae=build_vae(),
            text_encoder=CLIPTextModel(clip.config),
            tokenizer=tokenizer,
            text_encoder_2=t5_encoder(tokenizer_2),
            tokenizer_2=tokenizer_2,
        )


def t5_encoder(tokenizer: T5TokenizerFast) -> T5EncoderModel:
    return T5EncoderModel(T5Config(vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2))


def build_vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        shift_factor=0.1,
        scaling_factor=1.5,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def training_config(
    folder: Path,
    objective: PolicyGradientConfig | ForwardProcessConfig = POLICY_GRADIENT,
    *,
    lora: bool = True,
    micro_batch_size: int = 4,
    guidance_scale: float = 1.0,
    trains_unconditional: bool = True,
    blocks: tuple[int, ...] = (0, 1),
    ema_decay: float | None = None,
) -> TrainingConfig:
    adapter = LoraConfig(rank=4, alpha=8, target_modules=TARGETS, rank_stabilised=False)
    return TrainingConfig(
        model=ModelConfig(
            path=str(folder),
            precision="float32",
            height=16,
            width=16,
            max_sequence_length=12,
            lora=adapter if lora else None,
            gradient_checkpointing=False,
        ),
        sampling=SamplingConfig(
            sigmas=linear_sigmas(4, 3.0),
            sampler="flow_sde",
            noise_level=0.7,
            window_start=0,
            window_size=2,
            guidance=Guidance(scale=guidance_scale, trains_unconditional=trains_unconditional),
        ),
        capture=CaptureConfig(blocks=blocks, t5_weight=0.7, data_kind="uint8"),
        objective=objective,
        optimizer=OptimizerConfig(
            learning_rate=1e-3,
            beta1=0.9,
            beta2=0.999,
            epsilon=1e-8,
            weight_decay=1e-4,
            max_grad_norm=1.0,
            warmup_step_count=0,
            ema_decay=ema_decay,
        ),
        micro_batch_size=micro_batch_size,
        thread_count=1,
        checkpoint_every=1,
        checkpoint_keep=1,
    )


def core_spans(prompt: str, words: tuple[str, ...]) -> tuple[CoreSpan, ...]:
    return tuple(
        CoreSpan(start=prompt.index(word), end=prompt.index(word) + len(word), concept_index=index)
        for index, word in enumerate(words)
    )


def group(index: int, words: tuple[str, ...] = ("cat",), rollouts: int = 3, prompt: str | None = None) -> RolloutGroup:
    prompt = PROMPTS[index] if prompt is None else prompt
    return RolloutGroup(
        prompt_index=index,
        prompt=prompt,
        prompt_hash=sha256(prompt.encode()).hexdigest(),
        rollouts=tuple(
            RolloutSpec(rollout_id=f"{index}-{row}", rollout_index=row, seed=1000 * index + row)
            for row in range(rollouts)
        ),
        core_spans=core_spans(prompt, words),
        attention_masks={step: tuple(range(len(words))) for step in (0, 1, 2)},
    )


def plan(*groups: RolloutGroup, iteration: int = 0, keep_trajectory: bool = True) -> RolloutPlan:
    return RolloutPlan(
        iteration=iteration,
        sigmas=linear_sigmas(4, 3.0),
        window_start=0,
        window_size=2 if keep_trajectory else 0,
        keep_trajectory=keep_trajectory,
        groups=groups or (group(0), group(1)),
    )


def loss_masks(rollout_plan: RolloutPlan, advantages: tuple[float | None, ...] = (1.0, -0.5, None)) -> list[LossMask]:
    ids = [spec.rollout_id for each in rollout_plan.groups for spec in each.rollouts]
    return [
        LossMask(rollout_id=name, advantage=advantages[row % len(advantages)], allocation_maps=None, step_indexes=())
        for row, name in enumerate(ids)
    ]
