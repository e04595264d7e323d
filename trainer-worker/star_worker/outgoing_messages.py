"""The worker's own types -> what it sends to the control plane."""

import math
from collections.abc import Iterator
from typing import Literal

from star_worker.errors import StarError
from star_worker.gen.star.v1 import rollout_pb2, tensor_pb2, update_pb2, worker_service_pb2
from star_worker.tasks import (
    ExportResult,
    TaskOffer,
    TaskResult,
    UpdateResult,
)
from star_worker.tensor_codec import encode_attention
from star_worker.types import (
    AttentionMaps,
    FinishedRollout,
    PreparedModel,
    RolloutPlan,
)

MAX_CHUNK_BYTES = 1024 * 1024


def hello(
    *, protocol_version: int, worker_id: str, device: str, software_version: str
) -> worker_service_pb2.ConnectRequest:
    """First message of the control stream."""
    return worker_service_pb2.ConnectRequest(
        hello=worker_service_pb2.Hello(
            protocol_version=protocol_version,
            worker_id=worker_id,
            device=device,
            software_version=software_version,
        )
    )


def heartbeat(task_id: str, lease_token: str) -> worker_service_pb2.ConnectRequest:
    """Both empty: no task at hand."""
    return worker_service_pb2.ConnectRequest(
        heartbeat=worker_service_pb2.Heartbeat(task_id=task_id, lease_token=lease_token)
    )


def progress(task_id: str, phase: str, fraction: float) -> worker_service_pb2.ConnectRequest:
    """`fraction` 0..1."""
    return worker_service_pb2.ConnectRequest(
        progress=worker_service_pb2.Progress(task_id=task_id, phase=phase, fraction=fraction)
    )


def task_completed(offer: TaskOffer, policy_version: int, result: TaskResult) -> worker_service_pb2.ConnectRequest:
    """`policy_version`: what the worker holds now."""
    completed = worker_service_pb2.TaskCompleted(
        task_id=offer.task_id, lease_token=offer.lease_token, policy_version=policy_version
    )
    if isinstance(result, PreparedModel):
        completed.prepare.CopyFrom(_prepare_result(result))
    elif isinstance(result, UpdateResult):
        completed.update.CopyFrom(_update_result(result))
    elif isinstance(result, ExportResult):
        completed.export.CopyFrom(worker_service_pb2.ExportResult(path=result.path, format=result.format))
    return worker_service_pb2.ConnectRequest(completed=completed)


def _prepare_result(model: PreparedModel) -> worker_service_pb2.PrepareResult:
    return worker_service_pb2.PrepareResult(
        trainable_parameter_count=model.trainable_parameter_count,
        parameter_count=model.parameter_count,
        token_rows=model.token_rows,
        token_columns=model.token_columns,
        values_per_token=model.values_per_token,
        environment=model.environment,
    )


def _update_result(result: UpdateResult) -> worker_service_pb2.UpdateResult:
    wrong = {name: value for name, value in result.metrics.values.items() if not math.isfinite(value)}
    if wrong:
        raise StarError("NOT_FINITE", f"update metrics: expected finite values, received {wrong}")
    return worker_service_pb2.UpdateResult(
        metrics=update_pb2.UpdateMetrics(values=result.metrics.values, seconds=result.metrics.seconds),
        checkpoint_written=result.checkpoint_path is not None,
        checkpoint_path=result.checkpoint_path or "",
    )


def task_failed(task_id: str, lease_token: str, error: StarError) -> worker_service_pb2.ConnectRequest:
    """A failed task with its reason."""
    return worker_service_pb2.ConnectRequest(
        failed=worker_service_pb2.TaskFailed(
            task_id=task_id, lease_token=lease_token, reason=f"ERROR_REASON_{error.reason}", message=error.message
        )
    )


def rollout_echo(offer: TaskOffer, policy_version: int, plan: RolloutPlan) -> worker_service_pb2.SubmitRolloutsRequest:
    """First message of SubmitRollouts."""
    return worker_service_pb2.SubmitRolloutsRequest(
        chunk=rollout_pb2.RolloutChunk(
            echo=rollout_pb2.RolloutTaskEcho(
                task_id=offer.task_id,
                lease_token=offer.lease_token,
                attempt=offer.attempt,
                policy_version=policy_version,
                sigmas=plan.sigmas,
            )
        )
    )


def rollout_messages(
    rollout: FinishedRollout, data_kind: Literal["uint8", "float16"]
) -> Iterator[worker_service_pb2.SubmitRolloutsRequest]:
    """The result of a rollout, then its picture in pieces of at most MAX_CHUNK_BYTES."""
    result = rollout_pb2.RolloutResult(
        rollout_id=rollout.rollout_id,
        seed=rollout.seed,
        prompt_hash=rollout.prompt_hash,
        image_byte_count=len(rollout.image_png),
    )
    if rollout.attention is not None:
        result.attention.CopyFrom(attention_maps(rollout.attention, data_kind))
    yield worker_service_pb2.SubmitRolloutsRequest(chunk=rollout_pb2.RolloutChunk(result=result))
    for offset in range(0, len(rollout.image_png), MAX_CHUNK_BYTES):
        image = rollout_pb2.ImageChunk(
            rollout_id=rollout.rollout_id,
            offset=offset,
            data=rollout.image_png[offset : offset + MAX_CHUNK_BYTES],
        )
        yield worker_service_pb2.SubmitRolloutsRequest(chunk=rollout_pb2.RolloutChunk(image=image))


def attention_maps(maps: AttentionMaps, data_kind: Literal["uint8", "float16"]) -> rollout_pb2.AttentionMaps:
    """Raises StarError TENSOR_INVALID when the steps do not fit the values."""
    coded = encode_attention(maps.values, data_kind)
    if len(maps.step_indexes) != maps.values.shape[0]:
        raise StarError(
            "TENSOR_INVALID",
            f"attention: expected {maps.values.shape[0]} step indexes, received {len(maps.step_indexes)}",
        )
    values = coded.values
    return rollout_pb2.AttentionMaps(
        values=tensor_pb2.Tensor(
            data_type=f"DATA_TYPE_{values.data_type.upper()}", shape=values.shape, data=values.data
        ),
        scales=coded.scales,
        offsets=coded.offsets,
        step_indexes=maps.step_indexes,
        unmapped_concept_indexes=maps.unmapped_concept_indexes,
    )
