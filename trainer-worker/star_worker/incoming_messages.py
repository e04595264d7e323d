"""What the control plane sends -> the worker's own types. Nothing is trusted: what does not fit is a StarError.

ARGUMENT_INVALID: a field is missing, unknown or out of range. TENSOR_INVALID: element type, shape or byte length.
"""

import math
import re
from collections.abc import Iterable, Iterator

from star_worker.errors import StarError
from star_worker.gen.star.v1 import rollout_pb2, tensor_pb2, update_pb2, worker_service_pb2
from star_worker.message_checks import checked_schedule, require
from star_worker.tasks import (
    CancelTask,
    ControlMessage,
    ExportWork,
    InvalidOffer,
    PrepareWork,
    RolloutWork,
    Shutdown,
    TaskOffer,
    UpdateWork,
    Welcome,
)
from star_worker.tensor_codec import WireTensor, WireType, decode_allocation_maps
from star_worker.training_config_message import training_config
from star_worker.types import (
    CoreSpan,
    LossMask,
    RolloutGroup,
    RolloutPlan,
    RolloutSpec,
)

# Run ids become folder names.
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_WIRE_TYPES: dict[int, WireType] = {
    tensor_pb2.DATA_TYPE_FLOAT32: "float32",
    tensor_pb2.DATA_TYPE_FLOAT16: "float16",
    tensor_pb2.DATA_TYPE_FLOAT64: "float64",
    tensor_pb2.DATA_TYPE_UINT8: "uint8",
}


def control_message(response: worker_service_pb2.ConnectResponse) -> ControlMessage:
    """A message of the control stream; an offer that does not hold together becomes an InvalidOffer.

    Raises StarError ARGUMENT_INVALID for a kind of message that this version does not know.
    """
    kind = response.WhichOneof("message")
    if kind == "welcome":
        interval_ms = response.welcome.heartbeat_interval_ms
        require(interval_ms > 0, f"welcome.heartbeat_interval_ms: expected > 0, received {interval_ms}")
        return Welcome(heartbeat_interval_s=interval_ms / 1000)
    if kind == "cancel":
        return CancelTask(task_id=response.cancel.task_id)
    if kind == "shutdown":
        return Shutdown(message=response.shutdown.message)
    require(kind == "offer", "control stream: expected welcome, offer, cancel or shutdown, received another message")
    try:
        return _task_offer(response.offer)
    except StarError as error:
        return InvalidOffer(task_id=response.offer.task_id, lease_token=response.offer.lease_token, error=error)


def _task_offer(offer: worker_service_pb2.TaskOffer) -> TaskOffer:
    require(bool(offer.task_id and offer.lease_token), "offer: expected a task_id and a lease_token, received none")
    require(_RUN_ID.fullmatch(offer.run_id) is not None, f"offer.run_id: {offer.run_id!r} is no valid run id")
    for name in ("iteration", "policy_version"):
        require(getattr(offer, name) >= 0, f"offer.{name}: expected >= 0, received {getattr(offer, name)}")
    return TaskOffer(
        task_id=offer.task_id,
        run_id=offer.run_id,
        iteration=offer.iteration,
        lease_token=offer.lease_token,
        attempt=offer.attempt,
        policy_version=offer.policy_version,
        work=_work(offer),
    )


def _work(offer: worker_service_pb2.TaskOffer) -> PrepareWork | RolloutWork | UpdateWork | ExportWork:
    kind = offer.WhichOneof("work")
    if kind == "prepare":
        require(offer.prepare.HasField("config"), "offer.prepare.config: missing")
        return PrepareWork(config=training_config(offer.prepare.config), run_seed=offer.prepare.run_seed)
    if kind == "rollout":
        return RolloutWork(rollout_count=offer.rollout.rollout_count)
    if kind == "update":
        return UpdateWork(seed=offer.update.seed, force_checkpoint=offer.update.force_checkpoint)
    require(kind == "export", "offer.work: expected prepare, rollout, update or export, received another kind")
    return ExportWork()


def rollout_plan(chunks: Iterator[worker_service_pb2.FetchRolloutTaskResponse], iteration: int) -> RolloutPlan:
    """The whole answer to FetchRolloutTask. Raises StarError ARGUMENT_INVALID when pieces are missing or do not fit."""
    first = next(chunks, None)
    is_header = first is not None and first.chunk.WhichOneof("part") == "header"
    require(is_header, "rollout task: expected the header first, received something else")
    assert first is not None
    header = first.chunk.header
    sigmas = checked_schedule(header.sigmas, header.window_start, header.window_size, "rollout task")
    groups = tuple(_rollout_group(chunk, len(sigmas) - 1) for chunk in chunks)
    require(
        len(groups) == header.group_count,
        f"rollout task: expected {header.group_count} groups, received {len(groups)}",
    )
    ids = [rollout.rollout_id for group in groups for rollout in group.rollouts]
    require(len(set(ids)) == len(ids) and all(ids), "rollout task: expected rollout ids that are set and unique")
    return RolloutPlan(
        iteration=iteration,
        sigmas=sigmas,
        window_start=header.window_start,
        window_size=header.window_size,
        keep_trajectory=header.keep_trajectory,
        groups=groups,
    )


def _rollout_group(response: worker_service_pb2.FetchRolloutTaskResponse, step_count: int) -> RolloutGroup:
    require(response.chunk.WhichOneof("part") == "group", "rollout task: expected a group, received something else")
    group = response.chunk.group
    name = f"group {group.prompt_index}"
    require(bool(group.rollouts), f"{name}: expected rollouts, received none")
    masks = {mask.step_index: tuple(mask.concept_indexes) for mask in group.attention_masks}
    require(len(masks) == len(group.attention_masks), f"{name}: expected one attention mask per step, received two")
    outside = [step for step in masks if not 0 <= step < step_count]
    require(not outside, f"{name}: expected attention mask steps in 0..{step_count - 1}, received {outside}")
    return RolloutGroup(
        prompt_index=group.prompt_index,
        prompt=group.prompt,
        prompt_hash=group.prompt_hash,
        rollouts=tuple(
            RolloutSpec(rollout_id=each.rollout_id, rollout_index=each.rollout_index, seed=each.seed)
            for each in group.rollouts
        ),
        core_spans=tuple(_core_span(span, len(group.prompt), name) for span in group.core_spans),
        attention_masks=masks,
    )


def _core_span(span: rollout_pb2.CoreSpan, prompt_length: int, name: str) -> CoreSpan:
    require(
        0 <= span.start < span.end <= prompt_length and span.concept_index >= 0,
        f"{name}: expected a core span inside 0..{prompt_length}, received {span.start}..{span.end}",
    )
    return CoreSpan(start=span.start, end=span.end, concept_index=span.concept_index)


def loss_masks(chunks: Iterable[worker_service_pb2.FetchLossMasksResponse]) -> Iterator[LossMask]:
    """Loss masks one by one, as the chunks arrive."""
    for response in chunks:
        for mask in response.chunk.masks:
            yield loss_mask(mask)


def loss_mask(mask: update_pb2.LossMask) -> LossMask:
    """Raises StarError ARGUMENT_INVALID or TENSOR_INVALID naming the rollout."""
    require(bool(mask.rollout_id), "loss mask: expected a rollout_id, received none")
    name = f"loss mask of {mask.rollout_id}"
    advantage = mask.advantage if mask.HasField("advantage") else None
    require(advantage is None or math.isfinite(advantage), f"{name}: expected a finite advantage, received {advantage}")
    steps = tuple(mask.step_indexes)
    require(len(set(steps)) == len(steps) and min(steps, default=0) >= 0, f"{name}: invalid steps {list(steps)}")
    maps = None
    if mask.HasField("allocation_maps"):
        maps = decode_allocation_maps(wire_tensor(mask.allocation_maps), mask.scales)
    map_count = 0 if maps is None else maps.shape[0]
    if map_count != len(steps):
        raise StarError("TENSOR_INVALID", f"{name}: expected {len(steps)} allocation maps, received {map_count}")
    return LossMask(rollout_id=mask.rollout_id, advantage=advantage, allocation_maps=maps, step_indexes=steps)


def wire_tensor(tensor: tensor_pb2.Tensor) -> WireTensor:
    """Raises StarError TENSOR_INVALID for an unknown element type; the codec checks the rest."""
    if tensor.data_type not in _WIRE_TYPES:
        raise StarError("TENSOR_INVALID", f"tensor: expected a known element type, received {tensor.data_type}")
    return WireTensor(data_type=_WIRE_TYPES[tensor.data_type], shape=tuple(tensor.shape), data=tensor.data)
