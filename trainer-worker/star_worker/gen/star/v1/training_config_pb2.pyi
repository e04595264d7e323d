from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TrainingConfig(_message.Message):
    __slots__ = ("model", "sampling", "capture", "objective", "optimizer", "micro_batch_size", "thread_count", "checkpoint_every", "checkpoint_keep")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_FIELD_NUMBER: _ClassVar[int]
    OBJECTIVE_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    MICRO_BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    THREAD_COUNT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_EVERY_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_KEEP_FIELD_NUMBER: _ClassVar[int]
    model: ModelConfig
    sampling: SamplingConfig
    capture: CaptureConfig
    objective: ObjectiveConfig
    optimizer: OptimizerConfig
    micro_batch_size: int
    thread_count: int
    checkpoint_every: int
    checkpoint_keep: int
    def __init__(self, model: _Optional[_Union[ModelConfig, _Mapping]] = ..., sampling: _Optional[_Union[SamplingConfig, _Mapping]] = ..., capture: _Optional[_Union[CaptureConfig, _Mapping]] = ..., objective: _Optional[_Union[ObjectiveConfig, _Mapping]] = ..., optimizer: _Optional[_Union[OptimizerConfig, _Mapping]] = ..., micro_batch_size: _Optional[int] = ..., thread_count: _Optional[int] = ..., checkpoint_every: _Optional[int] = ..., checkpoint_keep: _Optional[int] = ...) -> None: ...

class ModelConfig(_message.Message):
    __slots__ = ("path", "precision", "height", "width", "max_sequence_length", "lora", "gradient_checkpointing")
    PATH_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    MAX_SEQUENCE_LENGTH_FIELD_NUMBER: _ClassVar[int]
    LORA_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_CHECKPOINTING_FIELD_NUMBER: _ClassVar[int]
    path: str
    precision: str
    height: int
    width: int
    max_sequence_length: int
    lora: LoraConfig
    gradient_checkpointing: bool
    def __init__(self, path: _Optional[str] = ..., precision: _Optional[str] = ..., height: _Optional[int] = ..., width: _Optional[int] = ..., max_sequence_length: _Optional[int] = ..., lora: _Optional[_Union[LoraConfig, _Mapping]] = ..., gradient_checkpointing: _Optional[bool] = ...) -> None: ...

class LoraConfig(_message.Message):
    __slots__ = ("rank", "alpha", "target_modules")
    RANK_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    TARGET_MODULES_FIELD_NUMBER: _ClassVar[int]
    rank: int
    alpha: int
    target_modules: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, rank: _Optional[int] = ..., alpha: _Optional[int] = ..., target_modules: _Optional[_Iterable[str]] = ...) -> None: ...

class SamplingConfig(_message.Message):
    __slots__ = ("sigmas", "sampler", "noise_level", "window_start", "window_size", "guidance_scale")
    class Sampler(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SAMPLER_UNSPECIFIED: _ClassVar[SamplingConfig.Sampler]
        SAMPLER_FLOW_SDE: _ClassVar[SamplingConfig.Sampler]
        SAMPLER_CPS: _ClassVar[SamplingConfig.Sampler]
    SAMPLER_UNSPECIFIED: SamplingConfig.Sampler
    SAMPLER_FLOW_SDE: SamplingConfig.Sampler
    SAMPLER_CPS: SamplingConfig.Sampler
    SIGMAS_FIELD_NUMBER: _ClassVar[int]
    SAMPLER_FIELD_NUMBER: _ClassVar[int]
    NOISE_LEVEL_FIELD_NUMBER: _ClassVar[int]
    WINDOW_START_FIELD_NUMBER: _ClassVar[int]
    WINDOW_SIZE_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
    sigmas: _containers.RepeatedScalarFieldContainer[float]
    sampler: SamplingConfig.Sampler
    noise_level: float
    window_start: int
    window_size: int
    guidance_scale: float
    def __init__(self, sigmas: _Optional[_Iterable[float]] = ..., sampler: _Optional[_Union[SamplingConfig.Sampler, str]] = ..., noise_level: _Optional[float] = ..., window_start: _Optional[int] = ..., window_size: _Optional[int] = ..., guidance_scale: _Optional[float] = ...) -> None: ...

class CaptureConfig(_message.Message):
    __slots__ = ("blocks", "t5_weight", "data_kind")
    class DataKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        DATA_KIND_UNSPECIFIED: _ClassVar[CaptureConfig.DataKind]
        DATA_KIND_UINT8: _ClassVar[CaptureConfig.DataKind]
        DATA_KIND_FLOAT16: _ClassVar[CaptureConfig.DataKind]
    DATA_KIND_UNSPECIFIED: CaptureConfig.DataKind
    DATA_KIND_UINT8: CaptureConfig.DataKind
    DATA_KIND_FLOAT16: CaptureConfig.DataKind
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    T5_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    DATA_KIND_FIELD_NUMBER: _ClassVar[int]
    blocks: _containers.RepeatedScalarFieldContainer[int]
    t5_weight: float
    data_kind: CaptureConfig.DataKind
    def __init__(self, blocks: _Optional[_Iterable[int]] = ..., t5_weight: _Optional[float] = ..., data_kind: _Optional[_Union[CaptureConfig.DataKind, str]] = ...) -> None: ...

class ObjectiveConfig(_message.Message):
    __slots__ = ("policy_gradient", "forward_process")
    POLICY_GRADIENT_FIELD_NUMBER: _ClassVar[int]
    FORWARD_PROCESS_FIELD_NUMBER: _ClassVar[int]
    policy_gradient: PolicyGradientConfig
    forward_process: ForwardProcessConfig
    def __init__(self, policy_gradient: _Optional[_Union[PolicyGradientConfig, _Mapping]] = ..., forward_process: _Optional[_Union[ForwardProcessConfig, _Mapping]] = ...) -> None: ...

class PolicyGradientConfig(_message.Message):
    __slots__ = ("ratio_level", "clip_range", "kl_beta", "optimizer_step_count", "equalize_steps", "on_policy_tolerance")
    class RatioLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        RATIO_LEVEL_UNSPECIFIED: _ClassVar[PolicyGradientConfig.RatioLevel]
        RATIO_LEVEL_POSITION: _ClassVar[PolicyGradientConfig.RatioLevel]
        RATIO_LEVEL_ROLLOUT: _ClassVar[PolicyGradientConfig.RatioLevel]
    RATIO_LEVEL_UNSPECIFIED: PolicyGradientConfig.RatioLevel
    RATIO_LEVEL_POSITION: PolicyGradientConfig.RatioLevel
    RATIO_LEVEL_ROLLOUT: PolicyGradientConfig.RatioLevel
    RATIO_LEVEL_FIELD_NUMBER: _ClassVar[int]
    CLIP_RANGE_FIELD_NUMBER: _ClassVar[int]
    KL_BETA_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_STEP_COUNT_FIELD_NUMBER: _ClassVar[int]
    EQUALIZE_STEPS_FIELD_NUMBER: _ClassVar[int]
    ON_POLICY_TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    ratio_level: PolicyGradientConfig.RatioLevel
    clip_range: float
    kl_beta: float
    optimizer_step_count: int
    equalize_steps: bool
    on_policy_tolerance: float
    def __init__(self, ratio_level: _Optional[_Union[PolicyGradientConfig.RatioLevel, str]] = ..., clip_range: _Optional[float] = ..., kl_beta: _Optional[float] = ..., optimizer_step_count: _Optional[int] = ..., equalize_steps: _Optional[bool] = ..., on_policy_tolerance: _Optional[float] = ...) -> None: ...

class ForwardProcessConfig(_message.Message):
    __slots__ = ("beta", "advantage_scale", "noise_level_count", "optimizer_step_count", "sigma_min", "sigma_shift", "old_policy_decay_max", "old_policy_decay_slope")
    BETA_FIELD_NUMBER: _ClassVar[int]
    ADVANTAGE_SCALE_FIELD_NUMBER: _ClassVar[int]
    NOISE_LEVEL_COUNT_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_STEP_COUNT_FIELD_NUMBER: _ClassVar[int]
    SIGMA_MIN_FIELD_NUMBER: _ClassVar[int]
    SIGMA_SHIFT_FIELD_NUMBER: _ClassVar[int]
    OLD_POLICY_DECAY_MAX_FIELD_NUMBER: _ClassVar[int]
    OLD_POLICY_DECAY_SLOPE_FIELD_NUMBER: _ClassVar[int]
    beta: float
    advantage_scale: float
    noise_level_count: int
    optimizer_step_count: int
    sigma_min: float
    sigma_shift: float
    old_policy_decay_max: float
    old_policy_decay_slope: float
    def __init__(self, beta: _Optional[float] = ..., advantage_scale: _Optional[float] = ..., noise_level_count: _Optional[int] = ..., optimizer_step_count: _Optional[int] = ..., sigma_min: _Optional[float] = ..., sigma_shift: _Optional[float] = ..., old_policy_decay_max: _Optional[float] = ..., old_policy_decay_slope: _Optional[float] = ...) -> None: ...

class OptimizerConfig(_message.Message):
    __slots__ = ("learning_rate", "beta1", "beta2", "epsilon", "weight_decay", "max_grad_norm", "warmup_step_count")
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    BETA1_FIELD_NUMBER: _ClassVar[int]
    BETA2_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    MAX_GRAD_NORM_FIELD_NUMBER: _ClassVar[int]
    WARMUP_STEP_COUNT_FIELD_NUMBER: _ClassVar[int]
    learning_rate: float
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float
    max_grad_norm: float
    warmup_step_count: int
    def __init__(self, learning_rate: _Optional[float] = ..., beta1: _Optional[float] = ..., beta2: _Optional[float] = ..., epsilon: _Optional[float] = ..., weight_decay: _Optional[float] = ..., max_grad_norm: _Optional[float] = ..., warmup_step_count: _Optional[int] = ...) -> None: ...
