from star_worker.gen.star.v1 import error_reason_pb2 as _error_reason_pb2
from star_worker.gen.star.v1 import rollout_pb2 as _rollout_pb2
from star_worker.gen.star.v1 import training_config_pb2 as _training_config_pb2
from star_worker.gen.star.v1 import update_pb2 as _update_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ConnectRequest(_message.Message):
    __slots__ = ("hello", "heartbeat", "progress", "completed", "failed")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    heartbeat: Heartbeat
    progress: Progress
    completed: TaskCompleted
    failed: TaskFailed
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., completed: _Optional[_Union[TaskCompleted, _Mapping]] = ..., failed: _Optional[_Union[TaskFailed, _Mapping]] = ...) -> None: ...

class ConnectResponse(_message.Message):
    __slots__ = ("welcome", "offer", "cancel", "shutdown")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    OFFER_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    SHUTDOWN_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    offer: TaskOffer
    cancel: CancelTask
    shutdown: Shutdown
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., offer: _Optional[_Union[TaskOffer, _Mapping]] = ..., cancel: _Optional[_Union[CancelTask, _Mapping]] = ..., shutdown: _Optional[_Union[Shutdown, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol_version", "worker_id", "device", "software_version")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_VERSION_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    worker_id: str
    device: str
    software_version: str
    def __init__(self, protocol_version: _Optional[int] = ..., worker_id: _Optional[str] = ..., device: _Optional[str] = ..., software_version: _Optional[str] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("heartbeat_interval_ms",)
    HEARTBEAT_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    heartbeat_interval_ms: int
    def __init__(self, heartbeat_interval_ms: _Optional[int] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("task_id", "lease_token")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    lease_token: str
    def __init__(self, task_id: _Optional[str] = ..., lease_token: _Optional[str] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("task_id", "phase", "fraction")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    phase: str
    fraction: float
    def __init__(self, task_id: _Optional[str] = ..., phase: _Optional[str] = ..., fraction: _Optional[float] = ...) -> None: ...

class TaskOffer(_message.Message):
    __slots__ = ("task_id", "run_id", "iteration", "lease_token", "attempt", "policy_version", "prepare", "rollout", "update", "export")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ITERATION_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    PREPARE_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    EXPORT_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    run_id: str
    iteration: int
    lease_token: str
    attempt: int
    policy_version: int
    prepare: PrepareWork
    rollout: RolloutWork
    update: UpdateWork
    export: ExportWork
    def __init__(self, task_id: _Optional[str] = ..., run_id: _Optional[str] = ..., iteration: _Optional[int] = ..., lease_token: _Optional[str] = ..., attempt: _Optional[int] = ..., policy_version: _Optional[int] = ..., prepare: _Optional[_Union[PrepareWork, _Mapping]] = ..., rollout: _Optional[_Union[RolloutWork, _Mapping]] = ..., update: _Optional[_Union[UpdateWork, _Mapping]] = ..., export: _Optional[_Union[ExportWork, _Mapping]] = ...) -> None: ...

class PrepareWork(_message.Message):
    __slots__ = ("config", "run_seed")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    RUN_SEED_FIELD_NUMBER: _ClassVar[int]
    config: _training_config_pb2.TrainingConfig
    run_seed: int
    def __init__(self, config: _Optional[_Union[_training_config_pb2.TrainingConfig, _Mapping]] = ..., run_seed: _Optional[int] = ...) -> None: ...

class RolloutWork(_message.Message):
    __slots__ = ("rollout_count",)
    ROLLOUT_COUNT_FIELD_NUMBER: _ClassVar[int]
    rollout_count: int
    def __init__(self, rollout_count: _Optional[int] = ...) -> None: ...

class UpdateWork(_message.Message):
    __slots__ = ("seed", "force_checkpoint")
    SEED_FIELD_NUMBER: _ClassVar[int]
    FORCE_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    seed: int
    force_checkpoint: bool
    def __init__(self, seed: _Optional[int] = ..., force_checkpoint: _Optional[bool] = ...) -> None: ...

class ExportWork(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TaskCompleted(_message.Message):
    __slots__ = ("task_id", "lease_token", "policy_version", "prepare", "update", "export")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    PREPARE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    EXPORT_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    lease_token: str
    policy_version: int
    prepare: PrepareResult
    update: UpdateResult
    export: ExportResult
    def __init__(self, task_id: _Optional[str] = ..., lease_token: _Optional[str] = ..., policy_version: _Optional[int] = ..., prepare: _Optional[_Union[PrepareResult, _Mapping]] = ..., update: _Optional[_Union[UpdateResult, _Mapping]] = ..., export: _Optional[_Union[ExportResult, _Mapping]] = ...) -> None: ...

class PrepareResult(_message.Message):
    __slots__ = ("trainable_parameter_count", "parameter_count", "token_rows", "token_columns", "values_per_token", "environment")
    class EnvironmentEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TRAINABLE_PARAMETER_COUNT_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_COUNT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_ROWS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_COLUMNS_FIELD_NUMBER: _ClassVar[int]
    VALUES_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    trainable_parameter_count: int
    parameter_count: int
    token_rows: int
    token_columns: int
    values_per_token: int
    environment: _containers.ScalarMap[str, str]
    def __init__(self, trainable_parameter_count: _Optional[int] = ..., parameter_count: _Optional[int] = ..., token_rows: _Optional[int] = ..., token_columns: _Optional[int] = ..., values_per_token: _Optional[int] = ..., environment: _Optional[_Mapping[str, str]] = ...) -> None: ...

class UpdateResult(_message.Message):
    __slots__ = ("metrics", "checkpoint_written", "checkpoint_path")
    METRICS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_WRITTEN_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_PATH_FIELD_NUMBER: _ClassVar[int]
    metrics: _update_pb2.UpdateMetrics
    checkpoint_written: bool
    checkpoint_path: str
    def __init__(self, metrics: _Optional[_Union[_update_pb2.UpdateMetrics, _Mapping]] = ..., checkpoint_written: _Optional[bool] = ..., checkpoint_path: _Optional[str] = ...) -> None: ...

class ExportResult(_message.Message):
    __slots__ = ("path", "format")
    PATH_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    path: str
    format: str
    def __init__(self, path: _Optional[str] = ..., format: _Optional[str] = ...) -> None: ...

class TaskFailed(_message.Message):
    __slots__ = ("task_id", "lease_token", "reason", "message")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    lease_token: str
    reason: _error_reason_pb2.ErrorReason
    message: str
    def __init__(self, task_id: _Optional[str] = ..., lease_token: _Optional[str] = ..., reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class CancelTask(_message.Message):
    __slots__ = ("task_id",)
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    def __init__(self, task_id: _Optional[str] = ...) -> None: ...

class Shutdown(_message.Message):
    __slots__ = ("message",)
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    message: str
    def __init__(self, message: _Optional[str] = ...) -> None: ...

class FetchRolloutTaskRequest(_message.Message):
    __slots__ = ("task_id", "lease_token")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    lease_token: str
    def __init__(self, task_id: _Optional[str] = ..., lease_token: _Optional[str] = ...) -> None: ...

class FetchRolloutTaskResponse(_message.Message):
    __slots__ = ("chunk",)
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    chunk: _rollout_pb2.AttentionMaskChunk
    def __init__(self, chunk: _Optional[_Union[_rollout_pb2.AttentionMaskChunk, _Mapping]] = ...) -> None: ...

class SubmitRolloutsRequest(_message.Message):
    __slots__ = ("chunk",)
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    chunk: _rollout_pb2.RolloutChunk
    def __init__(self, chunk: _Optional[_Union[_rollout_pb2.RolloutChunk, _Mapping]] = ...) -> None: ...

class SubmitRolloutsResponse(_message.Message):
    __slots__ = ("accepted_count", "repeated_count")
    ACCEPTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    REPEATED_COUNT_FIELD_NUMBER: _ClassVar[int]
    accepted_count: int
    repeated_count: int
    def __init__(self, accepted_count: _Optional[int] = ..., repeated_count: _Optional[int] = ...) -> None: ...

class FetchLossMasksRequest(_message.Message):
    __slots__ = ("task_id", "lease_token")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    lease_token: str
    def __init__(self, task_id: _Optional[str] = ..., lease_token: _Optional[str] = ...) -> None: ...

class FetchLossMasksResponse(_message.Message):
    __slots__ = ("chunk",)
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    chunk: _update_pb2.LossMaskChunk
    def __init__(self, chunk: _Optional[_Union[_update_pb2.LossMaskChunk, _Mapping]] = ...) -> None: ...
