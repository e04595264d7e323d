from star_worker.gen.star.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CoreSpan(_message.Message):
    __slots__ = ("start", "end", "concept_index")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    CONCEPT_INDEX_FIELD_NUMBER: _ClassVar[int]
    start: int
    end: int
    concept_index: int
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ..., concept_index: _Optional[int] = ...) -> None: ...

class RolloutSpec(_message.Message):
    __slots__ = ("rollout_id", "rollout_index", "seed")
    ROLLOUT_ID_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_INDEX_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    rollout_id: str
    rollout_index: int
    seed: int
    def __init__(self, rollout_id: _Optional[str] = ..., rollout_index: _Optional[int] = ..., seed: _Optional[int] = ...) -> None: ...

class AttentionMask(_message.Message):
    __slots__ = ("step_index", "concept_indexes")
    STEP_INDEX_FIELD_NUMBER: _ClassVar[int]
    CONCEPT_INDEXES_FIELD_NUMBER: _ClassVar[int]
    step_index: int
    concept_indexes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, step_index: _Optional[int] = ..., concept_indexes: _Optional[_Iterable[int]] = ...) -> None: ...

class RolloutGroup(_message.Message):
    __slots__ = ("prompt_index", "prompt", "prompt_hash", "rollouts", "core_spans", "attention_masks")
    PROMPT_INDEX_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_HASH_FIELD_NUMBER: _ClassVar[int]
    ROLLOUTS_FIELD_NUMBER: _ClassVar[int]
    CORE_SPANS_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_MASKS_FIELD_NUMBER: _ClassVar[int]
    prompt_index: int
    prompt: str
    prompt_hash: str
    rollouts: _containers.RepeatedCompositeFieldContainer[RolloutSpec]
    core_spans: _containers.RepeatedCompositeFieldContainer[CoreSpan]
    attention_masks: _containers.RepeatedCompositeFieldContainer[AttentionMask]
    def __init__(self, prompt_index: _Optional[int] = ..., prompt: _Optional[str] = ..., prompt_hash: _Optional[str] = ..., rollouts: _Optional[_Iterable[_Union[RolloutSpec, _Mapping]]] = ..., core_spans: _Optional[_Iterable[_Union[CoreSpan, _Mapping]]] = ..., attention_masks: _Optional[_Iterable[_Union[AttentionMask, _Mapping]]] = ...) -> None: ...

class AttentionMaskChunk(_message.Message):
    __slots__ = ("header", "group")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    header: RolloutTaskHeader
    group: RolloutGroup
    def __init__(self, header: _Optional[_Union[RolloutTaskHeader, _Mapping]] = ..., group: _Optional[_Union[RolloutGroup, _Mapping]] = ...) -> None: ...

class RolloutTaskHeader(_message.Message):
    __slots__ = ("group_count", "sigmas", "window_start", "window_size", "keep_trajectory")
    GROUP_COUNT_FIELD_NUMBER: _ClassVar[int]
    SIGMAS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_START_FIELD_NUMBER: _ClassVar[int]
    WINDOW_SIZE_FIELD_NUMBER: _ClassVar[int]
    KEEP_TRAJECTORY_FIELD_NUMBER: _ClassVar[int]
    group_count: int
    sigmas: _containers.RepeatedScalarFieldContainer[float]
    window_start: int
    window_size: int
    keep_trajectory: bool
    def __init__(self, group_count: _Optional[int] = ..., sigmas: _Optional[_Iterable[float]] = ..., window_start: _Optional[int] = ..., window_size: _Optional[int] = ..., keep_trajectory: _Optional[bool] = ...) -> None: ...

class AttentionMaps(_message.Message):
    __slots__ = ("values", "scales", "offsets", "step_indexes", "unmapped_concept_indexes")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    SCALES_FIELD_NUMBER: _ClassVar[int]
    OFFSETS_FIELD_NUMBER: _ClassVar[int]
    STEP_INDEXES_FIELD_NUMBER: _ClassVar[int]
    UNMAPPED_CONCEPT_INDEXES_FIELD_NUMBER: _ClassVar[int]
    values: _tensor_pb2.Tensor
    scales: _containers.RepeatedScalarFieldContainer[float]
    offsets: _containers.RepeatedScalarFieldContainer[float]
    step_indexes: _containers.RepeatedScalarFieldContainer[int]
    unmapped_concept_indexes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, values: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., scales: _Optional[_Iterable[float]] = ..., offsets: _Optional[_Iterable[float]] = ..., step_indexes: _Optional[_Iterable[int]] = ..., unmapped_concept_indexes: _Optional[_Iterable[int]] = ...) -> None: ...

class RolloutTaskEcho(_message.Message):
    __slots__ = ("task_id", "lease_token", "attempt", "policy_version", "sigmas")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    SIGMAS_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    lease_token: str
    attempt: int
    policy_version: int
    sigmas: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, task_id: _Optional[str] = ..., lease_token: _Optional[str] = ..., attempt: _Optional[int] = ..., policy_version: _Optional[int] = ..., sigmas: _Optional[_Iterable[float]] = ...) -> None: ...

class RolloutResult(_message.Message):
    __slots__ = ("rollout_id", "seed", "prompt_hash", "attention", "image_byte_count")
    ROLLOUT_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    PROMPT_HASH_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    IMAGE_BYTE_COUNT_FIELD_NUMBER: _ClassVar[int]
    rollout_id: str
    seed: int
    prompt_hash: str
    attention: AttentionMaps
    image_byte_count: int
    def __init__(self, rollout_id: _Optional[str] = ..., seed: _Optional[int] = ..., prompt_hash: _Optional[str] = ..., attention: _Optional[_Union[AttentionMaps, _Mapping]] = ..., image_byte_count: _Optional[int] = ...) -> None: ...

class ImageChunk(_message.Message):
    __slots__ = ("rollout_id", "offset", "data")
    ROLLOUT_ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    rollout_id: str
    offset: int
    data: bytes
    def __init__(self, rollout_id: _Optional[str] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class RolloutChunk(_message.Message):
    __slots__ = ("echo", "result", "image")
    ECHO_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    echo: RolloutTaskEcho
    result: RolloutResult
    image: ImageChunk
    def __init__(self, echo: _Optional[_Union[RolloutTaskEcho, _Mapping]] = ..., result: _Optional[_Union[RolloutResult, _Mapping]] = ..., image: _Optional[_Union[ImageChunk, _Mapping]] = ...) -> None: ...
