from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RatioLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RATIO_LEVEL_UNSPECIFIED: _ClassVar[RatioLevel]
    RATIO_LEVEL_POSITION: _ClassVar[RatioLevel]
    RATIO_LEVEL_ROLLOUT: _ClassVar[RatioLevel]
    RATIO_LEVEL_GSPO_TOKEN: _ClassVar[RatioLevel]
RATIO_LEVEL_UNSPECIFIED: RatioLevel
RATIO_LEVEL_POSITION: RatioLevel
RATIO_LEVEL_ROLLOUT: RatioLevel
RATIO_LEVEL_GSPO_TOKEN: RatioLevel

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
    __slots__ = ("rank", "alpha", "target_modules", "rank_stabilised")
    RANK_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    TARGET_MODULES_FIELD_NUMBER: _ClassVar[int]
    RANK_STABILISED_FIELD_NUMBER: _ClassVar[int]
    rank: int
    alpha: int
    target_modules: _containers.RepeatedScalarFieldContainer[str]
    rank_stabilised: bool
    def __init__(self, rank: _Optional[int] = ..., alpha: _Optional[int] = ..., target_modules: _Optional[_Iterable[str]] = ..., rank_stabilised: _Optional[bool] = ...) -> None: ...

class SamplingConfig(_message.Message):
    __slots__ = ("sigmas", "sampler", "noise_level", "window_start", "window_size", "guidance_scale", "detaches_unconditional")
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
    DETACHES_UNCONDITIONAL_FIELD_NUMBER: _ClassVar[int]
    sigmas: _containers.RepeatedScalarFieldContainer[float]
    sampler: SamplingConfig.Sampler
    noise_level: float
    window_start: int
    window_size: int
    guidance_scale: float
    detaches_unconditional: bool
    def __init__(self, sigmas: _Optional[_Iterable[float]] = ..., sampler: _Optional[_Union[SamplingConfig.Sampler, str]] = ..., noise_level: _Optional[float] = ..., window_start: _Optional[int] = ..., window_size: _Optional[int] = ..., guidance_scale: _Optional[float] = ..., detaches_unconditional: _Optional[bool] = ...) -> None: ...

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

class KlConfig(_message.Message):
    __slots__ = ("kind", "beta", "target")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[KlConfig.Kind]
        KIND_NONE: _ClassVar[KlConfig.Kind]
        KIND_MEAN: _ClassVar[KlConfig.Kind]
        KIND_VELOCITY: _ClassVar[KlConfig.Kind]
        KIND_ANCHORED: _ClassVar[KlConfig.Kind]
    KIND_UNSPECIFIED: KlConfig.Kind
    KIND_NONE: KlConfig.Kind
    KIND_MEAN: KlConfig.Kind
    KIND_VELOCITY: KlConfig.Kind
    KIND_ANCHORED: KlConfig.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    BETA_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    kind: KlConfig.Kind
    beta: float
    target: float
    def __init__(self, kind: _Optional[_Union[KlConfig.Kind, str]] = ..., beta: _Optional[float] = ..., target: _Optional[float] = ...) -> None: ...

class PolicyGradientConfig(_message.Message):
    __slots__ = ("ratio_level", "clip_range", "optimizer_step_count", "on_policy_tolerance", "trust_region", "kl_threshold", "ratio_norm", "step_weight", "kl")
    class TrustRegion(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        TRUST_REGION_UNSPECIFIED: _ClassVar[PolicyGradientConfig.TrustRegion]
        TRUST_REGION_CLIP: _ClassVar[PolicyGradientConfig.TrustRegion]
        TRUST_REGION_KL_MASK: _ClassVar[PolicyGradientConfig.TrustRegion]
    TRUST_REGION_UNSPECIFIED: PolicyGradientConfig.TrustRegion
    TRUST_REGION_CLIP: PolicyGradientConfig.TrustRegion
    TRUST_REGION_KL_MASK: PolicyGradientConfig.TrustRegion
    class StepWeight(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STEP_WEIGHT_UNSPECIFIED: _ClassVar[PolicyGradientConfig.StepWeight]
        STEP_WEIGHT_NONE: _ClassVar[PolicyGradientConfig.StepWeight]
        STEP_WEIGHT_STD_OVER_DT: _ClassVar[PolicyGradientConfig.StepWeight]
        STEP_WEIGHT_INVERSE_DT: _ClassVar[PolicyGradientConfig.StepWeight]
    STEP_WEIGHT_UNSPECIFIED: PolicyGradientConfig.StepWeight
    STEP_WEIGHT_NONE: PolicyGradientConfig.StepWeight
    STEP_WEIGHT_STD_OVER_DT: PolicyGradientConfig.StepWeight
    STEP_WEIGHT_INVERSE_DT: PolicyGradientConfig.StepWeight
    RATIO_LEVEL_FIELD_NUMBER: _ClassVar[int]
    CLIP_RANGE_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_STEP_COUNT_FIELD_NUMBER: _ClassVar[int]
    ON_POLICY_TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    TRUST_REGION_FIELD_NUMBER: _ClassVar[int]
    KL_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    RATIO_NORM_FIELD_NUMBER: _ClassVar[int]
    STEP_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    KL_FIELD_NUMBER: _ClassVar[int]
    ratio_level: RatioLevel
    clip_range: float
    optimizer_step_count: int
    on_policy_tolerance: float
    trust_region: PolicyGradientConfig.TrustRegion
    kl_threshold: float
    ratio_norm: bool
    step_weight: PolicyGradientConfig.StepWeight
    kl: KlConfig
    def __init__(self, ratio_level: _Optional[_Union[RatioLevel, str]] = ..., clip_range: _Optional[float] = ..., optimizer_step_count: _Optional[int] = ..., on_policy_tolerance: _Optional[float] = ..., trust_region: _Optional[_Union[PolicyGradientConfig.TrustRegion, str]] = ..., kl_threshold: _Optional[float] = ..., ratio_norm: _Optional[bool] = ..., step_weight: _Optional[_Union[PolicyGradientConfig.StepWeight, str]] = ..., kl: _Optional[_Union[KlConfig, _Mapping]] = ...) -> None: ...

class ForwardProcessConfig(_message.Message):
    __slots__ = ("beta", "advantage_scale", "noise_level_count", "optimizer_step_count", "sigma_min", "sigma_shift", "old_policy_decay_max", "old_policy_decay_slope", "form", "ratio_level", "clip_range", "old_policy_beta", "kl")
    class Form(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FORM_UNSPECIFIED: _ClassVar[ForwardProcessConfig.Form]
        FORM_NFT: _ClassVar[ForwardProcessConfig.Form]
        FORM_AWM: _ClassVar[ForwardProcessConfig.Form]
    FORM_UNSPECIFIED: ForwardProcessConfig.Form
    FORM_NFT: ForwardProcessConfig.Form
    FORM_AWM: ForwardProcessConfig.Form
    BETA_FIELD_NUMBER: _ClassVar[int]
    ADVANTAGE_SCALE_FIELD_NUMBER: _ClassVar[int]
    NOISE_LEVEL_COUNT_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_STEP_COUNT_FIELD_NUMBER: _ClassVar[int]
    SIGMA_MIN_FIELD_NUMBER: _ClassVar[int]
    SIGMA_SHIFT_FIELD_NUMBER: _ClassVar[int]
    OLD_POLICY_DECAY_MAX_FIELD_NUMBER: _ClassVar[int]
    OLD_POLICY_DECAY_SLOPE_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    RATIO_LEVEL_FIELD_NUMBER: _ClassVar[int]
    CLIP_RANGE_FIELD_NUMBER: _ClassVar[int]
    OLD_POLICY_BETA_FIELD_NUMBER: _ClassVar[int]
    KL_FIELD_NUMBER: _ClassVar[int]
    beta: float
    advantage_scale: float
    noise_level_count: int
    optimizer_step_count: int
    sigma_min: float
    sigma_shift: float
    old_policy_decay_max: float
    old_policy_decay_slope: float
    form: ForwardProcessConfig.Form
    ratio_level: RatioLevel
    clip_range: float
    old_policy_beta: float
    kl: KlConfig
    def __init__(self, beta: _Optional[float] = ..., advantage_scale: _Optional[float] = ..., noise_level_count: _Optional[int] = ..., optimizer_step_count: _Optional[int] = ..., sigma_min: _Optional[float] = ..., sigma_shift: _Optional[float] = ..., old_policy_decay_max: _Optional[float] = ..., old_policy_decay_slope: _Optional[float] = ..., form: _Optional[_Union[ForwardProcessConfig.Form, str]] = ..., ratio_level: _Optional[_Union[RatioLevel, str]] = ..., clip_range: _Optional[float] = ..., old_policy_beta: _Optional[float] = ..., kl: _Optional[_Union[KlConfig, _Mapping]] = ...) -> None: ...

class OptimizerConfig(_message.Message):
    __slots__ = ("learning_rate", "beta1", "beta2", "epsilon", "weight_decay", "max_grad_norm", "warmup_step_count", "ema_decay")
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    BETA1_FIELD_NUMBER: _ClassVar[int]
    BETA2_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    MAX_GRAD_NORM_FIELD_NUMBER: _ClassVar[int]
    WARMUP_STEP_COUNT_FIELD_NUMBER: _ClassVar[int]
    EMA_DECAY_FIELD_NUMBER: _ClassVar[int]
    learning_rate: float
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float
    max_grad_norm: float
    warmup_step_count: int
    ema_decay: float
    def __init__(self, learning_rate: _Optional[float] = ..., beta1: _Optional[float] = ..., beta2: _Optional[float] = ..., epsilon: _Optional[float] = ..., weight_decay: _Optional[float] = ..., max_grad_norm: _Optional[float] = ..., warmup_step_count: _Optional[int] = ..., ema_decay: _Optional[float] = ...) -> None: ...
