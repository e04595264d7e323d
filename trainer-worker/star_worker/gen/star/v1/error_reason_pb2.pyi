from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_INTERNAL: _ClassVar[ErrorReason]
    ERROR_REASON_RECIPE_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_PROTOCOL_VERSION_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_TENSOR_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_TASK_ECHO_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_LEASE_EXPIRED: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_STATE_CONFLICT: _ClassVar[ErrorReason]
    ERROR_REASON_MODEL_NOT_LOADABLE: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_ON_POLICY: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_FINITE: _ClassVar[ErrorReason]
    ERROR_REASON_CHECKPOINT_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_SCORER_NOT_LOADABLE: _ClassVar[ErrorReason]
    ERROR_REASON_SCORER_CRASHED: _ClassVar[ErrorReason]
    ERROR_REASON_SCORER_TIMEOUT: _ClassVar[ErrorReason]
    ERROR_REASON_SCORE_NOT_FINITE: _ClassVar[ErrorReason]
    ERROR_REASON_IMAGE_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_PROMPT_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_STORAGE_FAILED: _ClassVar[ErrorReason]
    ERROR_REASON_CANCELLED: _ClassVar[ErrorReason]
    ERROR_REASON_WORKER_LOST: _ClassVar[ErrorReason]
    ERROR_REASON_ARGUMENT_INVALID: _ClassVar[ErrorReason]
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_INTERNAL: ErrorReason
ERROR_REASON_RECIPE_INVALID: ErrorReason
ERROR_REASON_PROTOCOL_VERSION_MISMATCH: ErrorReason
ERROR_REASON_TENSOR_INVALID: ErrorReason
ERROR_REASON_TASK_ECHO_MISMATCH: ErrorReason
ERROR_REASON_LEASE_EXPIRED: ErrorReason
ERROR_REASON_NOT_FOUND: ErrorReason
ERROR_REASON_STATE_CONFLICT: ErrorReason
ERROR_REASON_MODEL_NOT_LOADABLE: ErrorReason
ERROR_REASON_NOT_ON_POLICY: ErrorReason
ERROR_REASON_NOT_FINITE: ErrorReason
ERROR_REASON_CHECKPOINT_INVALID: ErrorReason
ERROR_REASON_SCORER_NOT_LOADABLE: ErrorReason
ERROR_REASON_SCORER_CRASHED: ErrorReason
ERROR_REASON_SCORER_TIMEOUT: ErrorReason
ERROR_REASON_SCORE_NOT_FINITE: ErrorReason
ERROR_REASON_IMAGE_INVALID: ErrorReason
ERROR_REASON_PROMPT_INVALID: ErrorReason
ERROR_REASON_STORAGE_FAILED: ErrorReason
ERROR_REASON_CANCELLED: ErrorReason
ERROR_REASON_WORKER_LOST: ErrorReason
ERROR_REASON_ARGUMENT_INVALID: ErrorReason
