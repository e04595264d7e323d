"""Messages of the control stream as the worker sees them. Frozen, free of protobuf and of gRPC."""

from dataclasses import dataclass

from star_worker.errors import StarError
from star_worker.types import PreparedModel, TrainingConfig, UpdateMetrics


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareWork:
    """Load the model in exactly the state of the offer's policy version; 0 is the untrained model."""

    config: TrainingConfig
    run_seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutWork:
    """Sample what FetchRolloutTask lists."""

    rollout_count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateWork:
    """Train on the trajectories kept by the rollout task of the same iteration."""

    seed: int
    force_checkpoint: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportWork:
    """Write the trained part in diffusers format."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskOffer:
    """Work to do under a lease. `policy_version`: what the worker must hold (prepare: what it must load)."""

    task_id: str
    run_id: str
    iteration: int
    lease_token: str
    attempt: int
    policy_version: int
    work: PrepareWork | RolloutWork | UpdateWork | ExportWork


@dataclass(frozen=True, kw_only=True, slots=True)
class InvalidOffer:
    """An offer that cannot be understood; it is answered with `error`."""

    task_id: str
    lease_token: str
    error: StarError


@dataclass(frozen=True, kw_only=True, slots=True)
class Welcome:
    """The control plane accepts the worker."""

    heartbeat_interval_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelTask:
    """Stop that task as soon as possible."""

    task_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Shutdown:
    """Finish nothing more and disconnect."""

    message: str


ControlMessage = Welcome | TaskOffer | InvalidOffer | CancelTask | Shutdown


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateResult:
    """`checkpoint_path` None: no checkpoint was due."""

    metrics: UpdateMetrics
    checkpoint_path: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportResult:
    """Folder and "lora" or "transformer"."""

    path: str
    format: str


# None: a rollout task, whose result went up by SubmitRollouts.
TaskResult = PreparedModel | UpdateResult | ExportResult | None
