"""The one error type of the worker. Reasons are those of proto/star/v1/error_reason.proto without the prefix."""

from typing import Literal

Reason = Literal[
    "INTERNAL",
    "RECIPE_INVALID",
    "PROTOCOL_VERSION_MISMATCH",
    "TENSOR_INVALID",
    "TASK_ECHO_MISMATCH",
    "LEASE_EXPIRED",
    "NOT_FOUND",
    "STATE_CONFLICT",
    "MODEL_NOT_LOADABLE",
    "SCORER_NOT_LOADABLE",
    "NOT_ON_POLICY",
    "NOT_FINITE",
    "CHECKPOINT_INVALID",
    "STORAGE_FAILED",
    "CANCELLED",
    "WORKER_LOST",
    "ARGUMENT_INVALID",
]


class StarError(Exception):
    """A failure with a reason; the message names expected and received values."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.message = message
