from star_worker.gen.star.v1 import error_reason_pb2 as _error_reason_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CharacterOperation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHARACTER_OPERATION_UNSPECIFIED: _ClassVar[CharacterOperation]
    CHARACTER_OPERATION_MATCH: _ClassVar[CharacterOperation]
    CHARACTER_OPERATION_SUBSTITUTE: _ClassVar[CharacterOperation]
    CHARACTER_OPERATION_INSERT: _ClassVar[CharacterOperation]
    CHARACTER_OPERATION_DELETE: _ClassVar[CharacterOperation]
CHARACTER_OPERATION_UNSPECIFIED: CharacterOperation
CHARACTER_OPERATION_MATCH: CharacterOperation
CHARACTER_OPERATION_SUBSTITUTE: CharacterOperation
CHARACTER_OPERATION_INSERT: CharacterOperation
CHARACTER_OPERATION_DELETE: CharacterOperation

class ScorerRequest(_message.Message):
    __slots__ = ("batch", "heartbeat", "shutdown", "refusal")
    BATCH_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    SHUTDOWN_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    batch: ScoreBatch
    heartbeat: ScorerHeartbeat
    shutdown: ScorerShutdown
    refusal: ScoreFailure
    def __init__(self, batch: _Optional[_Union[ScoreBatch, _Mapping]] = ..., heartbeat: _Optional[_Union[ScorerHeartbeat, _Mapping]] = ..., shutdown: _Optional[_Union[ScorerShutdown, _Mapping]] = ..., refusal: _Optional[_Union[ScoreFailure, _Mapping]] = ...) -> None: ...

class ScorerReply(_message.Message):
    __slots__ = ("ready", "load_failure", "result", "heartbeat")
    READY_FIELD_NUMBER: _ClassVar[int]
    LOAD_FAILURE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    ready: ScorerReady
    load_failure: ScoreFailure
    result: ScoreBatchResult
    heartbeat: ScorerHeartbeat
    def __init__(self, ready: _Optional[_Union[ScorerReady, _Mapping]] = ..., load_failure: _Optional[_Union[ScoreFailure, _Mapping]] = ..., result: _Optional[_Union[ScoreBatchResult, _Mapping]] = ..., heartbeat: _Optional[_Union[ScorerHeartbeat, _Mapping]] = ...) -> None: ...

class ScorerHeartbeat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ScorerShutdown(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ScorerReady(_message.Message):
    __slots__ = ("bundle_hash", "runtime", "scorer")
    BUNDLE_HASH_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    SCORER_FIELD_NUMBER: _ClassVar[int]
    bundle_hash: str
    runtime: str
    scorer: str
    def __init__(self, bundle_hash: _Optional[str] = ..., runtime: _Optional[str] = ..., scorer: _Optional[str] = ...) -> None: ...

class ScoreBatch(_message.Message):
    __slots__ = ("batch_id", "attempt", "items")
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    batch_id: int
    attempt: int
    items: _containers.RepeatedCompositeFieldContainer[ScoreItem]
    def __init__(self, batch_id: _Optional[int] = ..., attempt: _Optional[int] = ..., items: _Optional[_Iterable[_Union[ScoreItem, _Mapping]]] = ...) -> None: ...

class ScoreItem(_message.Message):
    __slots__ = ("rollout_id", "prompt", "image")
    ROLLOUT_ID_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    rollout_id: str
    prompt: ScorePrompt
    image: bytes
    def __init__(self, rollout_id: _Optional[str] = ..., prompt: _Optional[_Union[ScorePrompt, _Mapping]] = ..., image: _Optional[bytes] = ...) -> None: ...

class ScorePrompt(_message.Message):
    __slots__ = ("prompt", "tag", "include", "exclude", "target_text")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_FIELD_NUMBER: _ClassVar[int]
    TARGET_TEXT_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    tag: str
    include: _containers.RepeatedCompositeFieldContainer[IncludeClause]
    exclude: _containers.RepeatedCompositeFieldContainer[ExcludeClause]
    target_text: str
    def __init__(self, prompt: _Optional[str] = ..., tag: _Optional[str] = ..., include: _Optional[_Iterable[_Union[IncludeClause, _Mapping]]] = ..., exclude: _Optional[_Iterable[_Union[ExcludeClause, _Mapping]]] = ..., target_text: _Optional[str] = ...) -> None: ...

class IncludeClause(_message.Message):
    __slots__ = ("class_name", "count", "color", "position")
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    COLOR_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    class_name: str
    count: int
    color: str
    position: PositionClause
    def __init__(self, class_name: _Optional[str] = ..., count: _Optional[int] = ..., color: _Optional[str] = ..., position: _Optional[_Union[PositionClause, _Mapping]] = ...) -> None: ...

class PositionClause(_message.Message):
    __slots__ = ("relation", "target_index")
    RELATION_FIELD_NUMBER: _ClassVar[int]
    TARGET_INDEX_FIELD_NUMBER: _ClassVar[int]
    relation: str
    target_index: int
    def __init__(self, relation: _Optional[str] = ..., target_index: _Optional[int] = ...) -> None: ...

class ExcludeClause(_message.Message):
    __slots__ = ("class_name", "count")
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    class_name: str
    count: int
    def __init__(self, class_name: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class ScoreBatchResult(_message.Message):
    __slots__ = ("batch_id", "attempt", "outcomes")
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    batch_id: int
    attempt: int
    outcomes: _containers.RepeatedCompositeFieldContainer[ScoreOutcome]
    def __init__(self, batch_id: _Optional[int] = ..., attempt: _Optional[int] = ..., outcomes: _Optional[_Iterable[_Union[ScoreOutcome, _Mapping]]] = ...) -> None: ...

class ScoreOutcome(_message.Message):
    __slots__ = ("value", "failure", "abstention")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    ABSTENTION_FIELD_NUMBER: _ClassVar[int]
    value: ScoreValue
    failure: ScoreFailure
    abstention: ScoreAbstention
    def __init__(self, value: _Optional[_Union[ScoreValue, _Mapping]] = ..., failure: _Optional[_Union[ScoreFailure, _Mapping]] = ..., abstention: _Optional[_Union[ScoreAbstention, _Mapping]] = ...) -> None: ...

class ScoreAbstention(_message.Message):
    __slots__ = ("message",)
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    message: str
    def __init__(self, message: _Optional[str] = ...) -> None: ...

class ScoreValue(_message.Message):
    __slots__ = ("values", "detections", "text")
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    VALUES_FIELD_NUMBER: _ClassVar[int]
    DETECTIONS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    values: _containers.ScalarMap[str, float]
    detections: DetectionEvidence
    text: TextEvidence
    def __init__(self, values: _Optional[_Mapping[str, float]] = ..., detections: _Optional[_Union[DetectionEvidence, _Mapping]] = ..., text: _Optional[_Union[TextEvidence, _Mapping]] = ...) -> None: ...

class ScoreFailure(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: _error_reason_pb2.ErrorReason
    message: str
    def __init__(self, reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class PixelBox(_message.Message):
    __slots__ = ("left", "top", "right", "bottom")
    LEFT_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    RIGHT_FIELD_NUMBER: _ClassVar[int]
    BOTTOM_FIELD_NUMBER: _ClassVar[int]
    left: float
    top: float
    right: float
    bottom: float
    def __init__(self, left: _Optional[float] = ..., top: _Optional[float] = ..., right: _Optional[float] = ..., bottom: _Optional[float] = ...) -> None: ...

class DetectionEvidence(_message.Message):
    __slots__ = ("objects", "reason", "failures", "clause_vector", "color_backend")
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    CLAUSE_VECTOR_FIELD_NUMBER: _ClassVar[int]
    COLOR_BACKEND_FIELD_NUMBER: _ClassVar[int]
    objects: _containers.RepeatedCompositeFieldContainer[DetectedObject]
    reason: str
    failures: _containers.RepeatedCompositeFieldContainer[ClauseFailure]
    clause_vector: _containers.RepeatedScalarFieldContainer[float]
    color_backend: str
    def __init__(self, objects: _Optional[_Iterable[_Union[DetectedObject, _Mapping]]] = ..., reason: _Optional[str] = ..., failures: _Optional[_Iterable[_Union[ClauseFailure, _Mapping]]] = ..., clause_vector: _Optional[_Iterable[float]] = ..., color_backend: _Optional[str] = ...) -> None: ...

class ClauseFailure(_message.Message):
    __slots__ = ("rule_set", "list", "index", "message")
    RULE_SET_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    rule_set: str
    list: str
    index: int
    message: str
    def __init__(self, rule_set: _Optional[str] = ..., list: _Optional[str] = ..., index: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class DetectedObject(_message.Message):
    __slots__ = ("class_name", "score", "box", "color", "mask")
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    COLOR_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    class_name: str
    score: float
    box: PixelBox
    color: str
    mask: RunLengthMask
    def __init__(self, class_name: _Optional[str] = ..., score: _Optional[float] = ..., box: _Optional[_Union[PixelBox, _Mapping]] = ..., color: _Optional[str] = ..., mask: _Optional[_Union[RunLengthMask, _Mapping]] = ...) -> None: ...

class RunLengthMask(_message.Message):
    __slots__ = ("width", "height", "runs")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    runs: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ..., runs: _Optional[_Iterable[int]] = ...) -> None: ...

class TextEvidence(_message.Message):
    __slots__ = ("text", "lines", "alignment")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    ALIGNMENT_FIELD_NUMBER: _ClassVar[int]
    text: str
    lines: _containers.RepeatedCompositeFieldContainer[TextLine]
    alignment: _containers.RepeatedCompositeFieldContainer[CharacterMatch]
    def __init__(self, text: _Optional[str] = ..., lines: _Optional[_Iterable[_Union[TextLine, _Mapping]]] = ..., alignment: _Optional[_Iterable[_Union[CharacterMatch, _Mapping]]] = ...) -> None: ...

class CharacterMatch(_message.Message):
    __slots__ = ("operation", "target_index", "recognized_index")
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    TARGET_INDEX_FIELD_NUMBER: _ClassVar[int]
    RECOGNIZED_INDEX_FIELD_NUMBER: _ClassVar[int]
    operation: CharacterOperation
    target_index: int
    recognized_index: int
    def __init__(self, operation: _Optional[_Union[CharacterOperation, str]] = ..., target_index: _Optional[int] = ..., recognized_index: _Optional[int] = ...) -> None: ...

class TextLine(_message.Message):
    __slots__ = ("text", "confidence", "box", "polygon")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    POLYGON_FIELD_NUMBER: _ClassVar[int]
    text: str
    confidence: float
    box: PixelBox
    polygon: _containers.RepeatedCompositeFieldContainer[PixelPoint]
    def __init__(self, text: _Optional[str] = ..., confidence: _Optional[float] = ..., box: _Optional[_Union[PixelBox, _Mapping]] = ..., polygon: _Optional[_Iterable[_Union[PixelPoint, _Mapping]]] = ...) -> None: ...

class PixelPoint(_message.Message):
    __slots__ = ("x", "y")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    x: float
    y: float
    def __init__(self, x: _Optional[float] = ..., y: _Optional[float] = ...) -> None: ...
