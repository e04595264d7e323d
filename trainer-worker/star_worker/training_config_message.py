"""The training configuration as it arrives -> the worker's own types; ARGUMENT_INVALID names the field."""

from typing import Literal

from star_worker.gen.star.v1 import training_config_pb2 as config_pb2
from star_worker.message_checks import checked_schedule, choice, fields_of, require, require_positive
from star_worker.types import (
    CaptureConfig,
    ForwardProcessConfig,
    Guidance,
    KlConfig,
    KlKind,
    LoraConfig,
    ModelConfig,
    OptimizerConfig,
    PolicyGradientConfig,
    Precision,
    RatioLevel,
    Sampler,
    SamplingConfig,
    StepWeight,
    TrainingConfig,
    TrustRegion,
)

_PRECISIONS: dict[str, Precision] = {"float32": "float32", "bfloat16": "bfloat16", "float16": "float16"}
_SAMPLERS: dict[int, Sampler] = {
    config_pb2.SamplingConfig.SAMPLER_FLOW_SDE: "flow_sde",
    config_pb2.SamplingConfig.SAMPLER_CPS: "cps",
}
_DATA_KINDS: dict[int, Literal["uint8", "float16"]] = {
    config_pb2.CaptureConfig.DATA_KIND_UINT8: "uint8",
    config_pb2.CaptureConfig.DATA_KIND_FLOAT16: "float16",
}
_RATIO_LEVELS: dict[int, RatioLevel] = {
    config_pb2.RATIO_LEVEL_POSITION: "position",
    config_pb2.RATIO_LEVEL_ROLLOUT: "rollout",
    config_pb2.RATIO_LEVEL_GSPO_TOKEN: "gspo_token",
}
_TRUST_REGIONS: dict[int, TrustRegion] = {
    config_pb2.PolicyGradientConfig.TRUST_REGION_CLIP: "clip",
    config_pb2.PolicyGradientConfig.TRUST_REGION_KL_MASK: "kl_mask",
}
_STEP_WEIGHTS: dict[int, StepWeight] = {
    config_pb2.PolicyGradientConfig.STEP_WEIGHT_NONE: "none",
    config_pb2.PolicyGradientConfig.STEP_WEIGHT_STD_OVER_DT: "std_over_dt",
    config_pb2.PolicyGradientConfig.STEP_WEIGHT_INVERSE_DT: "inverse_dt",
}
_FORMS: dict[int, Literal["nft", "awm"]] = {
    config_pb2.ForwardProcessConfig.FORM_NFT: "nft",
    config_pb2.ForwardProcessConfig.FORM_AWM: "awm",
}
_KL_KINDS: dict[int, KlKind] = {
    config_pb2.KlConfig.KIND_NONE: "none",
    config_pb2.KlConfig.KIND_MEAN: "mean",
    config_pb2.KlConfig.KIND_VELOCITY: "velocity",
    config_pb2.KlConfig.KIND_ANCHORED: "anchored",
}


def training_config(config: config_pb2.TrainingConfig) -> TrainingConfig:
    """The worker's part of a recipe. Raises StarError ARGUMENT_INVALID naming the field."""
    for part in ("model", "sampling", "capture", "objective", "optimizer"):
        require(config.HasField(part), f"config.{part}: missing")
    for name in ("micro_batch_size", "checkpoint_every", "checkpoint_keep"):
        require_positive(config, name)
    require(config.thread_count >= 0, f"config.thread_count: expected >= 0, received {config.thread_count}")
    return TrainingConfig(
        model=_model_config(config.model),
        sampling=_sampling_config(config.sampling),
        capture=CaptureConfig(
            blocks=tuple(config.capture.blocks),
            t5_weight=config.capture.t5_weight,
            data_kind=choice(_DATA_KINDS, config.capture.data_kind, "config.capture.data_kind"),
        ),
        objective=_objective_config(config.objective),
        optimizer=_optimizer_config(config.optimizer),
        micro_batch_size=config.micro_batch_size,
        thread_count=config.thread_count,
        checkpoint_every=config.checkpoint_every,
        checkpoint_keep=config.checkpoint_keep,
    )


def _optimizer_config(optimizer: config_pb2.OptimizerConfig) -> OptimizerConfig:
    decay = optimizer.ema_decay if optimizer.HasField("ema_decay") else None
    return OptimizerConfig(**{**fields_of(optimizer), "ema_decay": decay})


def _model_config(model: config_pb2.ModelConfig) -> ModelConfig:
    require(bool(model.path), "config.model.path: expected a folder or a hub id, received an empty string")
    for name in ("height", "width", "max_sequence_length"):
        require_positive(model, name)
    lora = None
    if model.HasField("lora"):
        require_positive(model.lora, "rank")
        require_positive(model.lora, "alpha")
        require(bool(model.lora.target_modules), "config.model.lora.target_modules: expected names, received none")
        lora = LoraConfig(
            rank=model.lora.rank,
            alpha=model.lora.alpha,
            target_modules=tuple(model.lora.target_modules),
            rank_stabilised=model.lora.rank_stabilised,
        )
    return ModelConfig(
        path=model.path,
        precision=choice(_PRECISIONS, model.precision, "config.model.precision"),
        height=model.height,
        width=model.width,
        max_sequence_length=model.max_sequence_length,
        lora=lora,
        gradient_checkpointing=model.gradient_checkpointing,
    )


def _sampling_config(sampling: config_pb2.SamplingConfig) -> SamplingConfig:
    sigmas = checked_schedule(sampling.sigmas, sampling.window_start, sampling.window_size, "config.sampling")
    return SamplingConfig(
        sigmas=sigmas,
        sampler=choice(_SAMPLERS, sampling.sampler, "config.sampling.sampler"),
        noise_level=sampling.noise_level,
        window_start=sampling.window_start,
        window_size=sampling.window_size,
        guidance=Guidance(scale=sampling.guidance_scale, trains_unconditional=not sampling.detaches_unconditional),
    )


def _objective_config(objective: config_pb2.ObjectiveConfig) -> PolicyGradientConfig | ForwardProcessConfig:
    kind = objective.WhichOneof("kind")
    if kind == "forward_process":
        return _forward_process_config(objective.forward_process, "config.objective.forward_process")
    require(kind == "policy_gradient", "config.objective: expected policy_gradient or forward_process, received none")
    return _policy_gradient_config(objective.policy_gradient, "config.objective.policy_gradient")


def _policy_gradient_config(message: config_pb2.PolicyGradientConfig, name: str) -> PolicyGradientConfig:
    fields = fields_of(message)
    fields["ratio_level"] = choice(_RATIO_LEVELS, message.ratio_level, f"{name}.ratio_level")
    fields["trust_region"] = choice(_TRUST_REGIONS, message.trust_region, f"{name}.trust_region")
    fields["step_weight"] = choice(_STEP_WEIGHTS, message.step_weight, f"{name}.step_weight")
    fields["kl"] = _kl_config(message.kl, f"{name}.kl")
    return PolicyGradientConfig(**fields)


def _forward_process_config(message: config_pb2.ForwardProcessConfig, name: str) -> ForwardProcessConfig:
    fields = fields_of(message)
    fields["form"] = choice(_FORMS, message.form, f"{name}.form")
    fields["ratio_level"] = choice(_RATIO_LEVELS, message.ratio_level, f"{name}.ratio_level")
    fields["kl"] = _kl_config(message.kl, f"{name}.kl")
    return ForwardProcessConfig(**fields)


def _kl_config(kl: config_pb2.KlConfig, name: str) -> KlConfig:
    target = kl.target if kl.HasField("target") else None
    return KlConfig(kind=choice(_KL_KINDS, kl.kind, f"{name}.kind"), beta=kl.beta, target=target)
