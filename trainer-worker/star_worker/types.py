"""Values that pass between the worker's parts. Frozen, free of protobuf and of gRPC.

Shape letters: B pictures in a micro-batch, S captured or trained steps, J concepts, C H W latent channels and size,
h w rows and columns of image tokens, P = h * w positions.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Precision = Literal["float32", "bfloat16", "float16"]
Sampler = Literal["flow_sde", "cps"]
RatioLevel = Literal["position", "rollout", "gspo_token"]
TrustRegion = Literal["clip", "kl_mask"]
StepWeight = Literal["none", "std_over_dt", "inverse_dt"]
KlKind = Literal["none", "mean", "velocity", "anchored"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraConfig:
    """Low-rank adapter; scale is alpha / rank."""

    rank: int
    alpha: int
    target_modules: tuple[str, ...]
    # Scale alpha / sqrt(rank) instead.
    rank_stabilised: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """Model and its trainable part; `lora` None: full fine-tune of the transformer."""

    path: str
    precision: Precision
    height: int
    width: int
    max_sequence_length: int
    lora: LoraConfig | None
    gradient_checkpointing: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Guidance:
    """Classifier-free guidance; scale 1 switches it off.

    trains_unconditional: gradients also flow through the pass with the empty prompt. Otherwise that pass runs by itself
    and without a graph, in sampling too, so that both have equal batch shapes.
    """

    scale: float
    trains_unconditional: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingConfig:
    """Training schedule: `sigmas` has T + 1 values from 1 down to 0. Steps outside the window are ODE steps."""

    sigmas: tuple[float, ...]
    sampler: Sampler
    noise_level: float
    window_start: int
    window_size: int
    guidance: Guidance


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptureConfig:
    """Transformer blocks whose joint attention is read; none: no capture."""

    blocks: tuple[int, ...]
    t5_weight: float
    data_kind: Literal["uint8", "float16"]


@dataclass(frozen=True, kw_only=True, slots=True)
class KlConfig:
    """KL against the untrained policy (method.md 10); `target` None: the weight `beta` stays as it is."""

    kind: KlKind
    beta: float
    target: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyGradientConfig:
    """Policy gradient on the stochastic steps (method.md 9.1 to 9.2); level "rollout" without maps is Flow-GRPO's."""

    ratio_level: RatioLevel
    trust_region: TrustRegion
    clip_range: float
    kl_threshold: float
    ratio_norm: bool
    step_weight: StepWeight
    kl: KlConfig
    optimizer_step_count: int
    on_policy_tolerance: float

    @property
    def needs_old_mean(self) -> bool:
        """Whether the rollout keeps the mean of every trained step beside its log-density."""
        return self.ratio_norm or self.trust_region == "kl_mask"


@dataclass(frozen=True, kw_only=True, slots=True)
class ForwardProcessConfig:
    """Position-weighted regression at drawn noise levels on clean latents (method.md 9.5).

    form: DiffusionNFT or AWM. beta and advantage_scale belong to NFT; ratio_level, clip_range and old_policy_beta
    (weight of the velocity distance from the old policy) to AWM.
    """

    form: Literal["nft", "awm"]
    beta: float
    advantage_scale: float
    ratio_level: RatioLevel
    clip_range: float
    old_policy_beta: float
    kl: KlConfig
    noise_level_count: int
    optimizer_step_count: int
    sigma_min: float
    sigma_shift: float
    old_policy_decay_max: float
    old_policy_decay_slope: float


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """AdamW."""

    learning_rate: float
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float
    max_grad_norm: float
    warmup_step_count: int
    # Largest decay of the moving average of the trainable parameters; None: no average is kept.
    ema_decay: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """The worker's part of a recipe. Every field is set by the control plane."""

    model: ModelConfig
    sampling: SamplingConfig
    capture: CaptureConfig
    objective: PolicyGradientConfig | ForwardProcessConfig
    optimizer: OptimizerConfig
    micro_batch_size: int
    thread_count: int
    checkpoint_every: int
    checkpoint_keep: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CoreSpan:
    """Character span of a prompt (Unicode code points) that names a concept."""

    start: int
    end: int
    concept_index: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutSpec:
    """One rollout to make; `seed` is the root of its noise."""

    rollout_id: str
    rollout_index: int
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutGroup:
    """A prompt with its rollouts and, per captured step, the concepts to read (the attention masks)."""

    prompt_index: int
    prompt: str
    prompt_hash: str
    rollouts: tuple[RolloutSpec, ...]
    core_spans: tuple[CoreSpan, ...]
    # step_index -> concept indexes
    attention_masks: dict[int, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutPlan:
    """All rollouts of a task, in order. `sigmas` and window override the training schedule (evaluation)."""

    iteration: int
    sigmas: tuple[float, ...]
    window_start: int
    window_size: int
    keep_trajectory: bool
    groups: tuple[RolloutGroup, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionMaps:
    """Captured attention of one rollout.

    values: float32 [S, J, h, w], >= 0, mean 1 over h, w. Planes of unmapped concepts are all 1.
    """

    values: NDArray[np.float32]
    step_indexes: tuple[int, ...]
    unmapped_concept_indexes: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedRollout:
    """What goes up for one rollout: echo, picture as PNG, attention."""

    rollout_id: str
    seed: int
    prompt_hash: str
    image_png: bytes
    attention: AttentionMaps | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LossMask:
    """Loss mask of one rollout.

    advantage: None where there is no reward; the rollout is then left out of the loss.
    allocation_maps: float32 [S, h, w], mean 1 over h, w; None: 1 everywhere.
    step_indexes: step of every entry of axis 0; trained steps not listed have the map 1.
    """

    rollout_id: str
    advantage: float | None
    allocation_maps: NDArray[np.float32] | None
    step_indexes: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateMetrics:
    """`values` are reproducible, `seconds` are not. All finite."""

    values: dict[str, float]
    seconds: dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedModel:
    """What was loaded."""

    trainable_parameter_count: int
    parameter_count: int
    token_rows: int
    token_columns: int
    values_per_token: int
    environment: dict[str, str]


# Called with (phase, fraction 0..1).
ProgressCallback = Callable[[str, float], None]
# Raises StarError CANCELLED when the task at hand must stop; called between forward passes.
CheckCancelled = Callable[[], None]
