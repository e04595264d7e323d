"""gRPC client of the control plane: one object per connection, three channels (control, bulk up, bulk down).

Separate channels keep small control messages out of the way of bulk data, and the two bulk directions out of each
other's flow control.
"""

import logging
import threading
from collections.abc import Iterator
from typing import Any, Literal, get_args

import grpc

from star_worker import incoming_messages as incoming
from star_worker import outgoing_messages as outgoing
from star_worker.config import WorkerSettings
from star_worker.errors import Reason, StarError
from star_worker.gen.star.v1 import worker_service_pb2 as pb
from star_worker.gen.star.v1.worker_service_pb2_grpc import WorkerServiceStub
from star_worker.message_queue import MessageQueue, QueueClosed, QueueTimeout
from star_worker.tasks import ControlMessage, TaskOffer, TaskResult
from star_worker.types import FinishedRollout, LossMask, RolloutPlan

_LOG = logging.getLogger(__name__)
_MAX_MESSAGE_BYTES = 16 * 1024 * 1024
_QUEUE_LENGTH = 16
_KEEPALIVE_MS = 10_000
REASON_KEY = "star-reason"
_REASONS: tuple[Reason, ...] = get_args(Reason)
_BY_CODE: dict[grpc.StatusCode, Reason] = {
    grpc.StatusCode.CANCELLED: "CANCELLED",
    grpc.StatusCode.UNAVAILABLE: "WORKER_LOST",
    grpc.StatusCode.DEADLINE_EXCEEDED: "WORKER_LOST",
}
_CHANNEL_OPTIONS = (
    # Without it, equal channels to one address share one connection.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", _KEEPALIVE_MS),
    # The two above alone notice a stopped server only after a minute.
    ("grpc.http2.ping_timeout_ms", _KEEPALIVE_MS),
    ("grpc.http2.max_pings_without_data", 0),
    # Trying again is the worker loop's business: a repeated call may find its lease gone.
    ("grpc.enable_retries", 0),
)


class ConnectionLost(Exception):
    """The control stream ended; the lease of the task at hand is gone."""


class ControlClient:
    """A connection; `close` ends it."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._channels = [_channel(settings.server) for _ in range(3)]
        control, up, down = (_stub(channel) for channel in self._channels)
        self._control: Any = control
        self._up: Any = up
        self._down: Any = down
        self._outbox: MessageQueue[pb.ConnectRequest] = MessageQueue(_QUEUE_LENGTH)
        self._lock = threading.Lock()
        self._task_calls: set[Any] = set()
        self._task_is_cancelled = False
        self._stream: Any = None

    def close(self) -> None:
        """Cancels all calls and closes the channels."""
        self.cancel_task_calls()
        self._outbox.close()
        if self._stream is not None:
            self._stream.cancel()
        for channel in self._channels:
            channel.close()

    # ---- control stream

    def connect(self, *, protocol_version: int, device: str, software_version: str) -> None:
        """Opens the control stream with hello as its first message."""
        message = outgoing.hello(
            protocol_version=protocol_version,
            worker_id=self._settings.worker_id,
            device=device,
            software_version=software_version,
        )
        self._send(message)
        # No deadline: the stream lives as long as the worker. Heartbeats and keepalive find a dead peer.
        requests = self._outbox.drain(idle_timeout_s=self._settings.task_timeout_s)
        self._stream = self._control.Connect(requests)

    def messages(self) -> Iterator[ControlMessage]:
        """Messages of the control plane, for one reading thread.

        Raises StarError when the control plane refuses with a reason, ConnectionLost when the stream ends otherwise.
        """
        try:
            for response in self._stream:
                yield incoming.control_message(response)
        except grpc.RpcError as error:
            if _given_reason(error) is not None:
                raise star_error(error, self._settings.server) from error
            raise ConnectionLost(f"{self._settings.server}: {_describe(error)}") from error
        raise ConnectionLost(f"{self._settings.server}: the control plane closed the stream")

    def send_heartbeat(self, task_id: str, lease_token: str) -> None:
        """Raises ConnectionLost."""
        self._send(outgoing.heartbeat(task_id, lease_token))

    def send_progress(self, task_id: str, phase: str, fraction: float) -> None:
        """Dropped when the queue is full: progress is for people, and the next one replaces it."""
        try:
            self._outbox.put(outgoing.progress(task_id, phase, fraction), timeout_s=0)
        except (QueueClosed, QueueTimeout):
            _LOG.debug("progress dropped")

    def send_completed(self, offer: TaskOffer, policy_version: int, result: TaskResult) -> None:
        """Raises ConnectionLost, and StarError NOT_FINITE for metrics that are not finite."""
        self._send(outgoing.task_completed(offer, policy_version, result))

    def send_failed(self, task_id: str, lease_token: str, error: StarError) -> None:
        """Raises ConnectionLost."""
        self._send(outgoing.task_failed(task_id, lease_token, error))

    def finish(self, timeout_s: float) -> None:
        """Sends what is queued and half-closes the stream; waits for the end of the stream."""
        self._outbox.close()
        try:
            done = threading.Event()
            if self._stream.add_callback(done.set):
                done.wait(timeout_s)
        except grpc.RpcError as error:
            _LOG.debug("stream ended with %s", error)

    def _send(self, message: pb.ConnectRequest) -> None:
        try:
            self._outbox.put(message, self._settings.send_timeout_s)
        except (QueueClosed, QueueTimeout) as error:
            raise ConnectionLost(f"{self._settings.server}: the control plane takes no messages") from error

    # ---- bulk

    def fetch_rollout_plan(self, offer: TaskOffer) -> RolloutPlan:
        """All groups of a rollout task. Raises StarError."""
        request = pb.FetchRolloutTaskRequest(task_id=offer.task_id, lease_token=offer.lease_token)
        call = self._down.FetchRolloutTask(request, timeout=self._settings.send_timeout_s)
        return incoming.rollout_plan(self._responses(call), offer.iteration)

    def fetch_loss_masks(self, offer: TaskOffer) -> Iterator[LossMask]:
        """Loss masks in the order of the task; waits until the scores are there. Raises StarError."""
        request = pb.FetchLossMasksRequest(task_id=offer.task_id, lease_token=offer.lease_token)
        call = self._down.FetchLossMasks(request, timeout=self._settings.task_timeout_s)
        return incoming.loss_masks(self._responses(call))

    def submit_rollouts(
        self, offer: TaskOffer, policy_version: int, plan: RolloutPlan, data_kind: Literal["uint8", "float16"]
    ) -> "RolloutUpload":
        """Opens the upload of a rollout task; its first message echoes what is done."""
        upload = RolloutUpload(self._settings, data_kind)
        call = self._up.SubmitRollouts.future(upload.requests(), timeout=self._settings.task_timeout_s)
        self._track(call)
        upload.start(call, outgoing.rollout_echo(offer, policy_version, plan))
        return upload

    def begin_task(self) -> None:
        """Allows bulk calls again after `cancel_task_calls`."""
        with self._lock:
            self._task_is_cancelled = False

    def cancel_task_calls(self) -> None:
        """Ends all bulk calls and those that the task still opens, so that nobody waits in one. For any thread."""
        with self._lock:
            self._task_is_cancelled = True
            calls = list(self._task_calls)
        for call in calls:
            call.cancel()

    def _responses(self, call: Any) -> Iterator[Any]:
        self._track(call)
        try:
            yield from call
        except grpc.RpcError as error:
            raise star_error(error, self._settings.server) from error
        finally:
            # Nothing is left running when the consumer stops early.
            call.cancel()

    def _track(self, call: Any) -> None:
        def forget() -> None:
            with self._lock:
                self._task_calls.discard(call)

        with self._lock:
            self._task_calls.add(call)
            is_cancelled = self._task_is_cancelled
        if is_cancelled:
            call.cancel()
        if not call.add_callback(forget):
            forget()


class RolloutUpload:
    """One SubmitRollouts call. At most 16 messages wait; more make the sampling wait."""

    def __init__(self, settings: WorkerSettings, data_kind: Literal["uint8", "float16"]) -> None:
        self._settings = settings
        self._data_kind: Literal["uint8", "float16"] = data_kind
        self._queue: MessageQueue[pb.SubmitRolloutsRequest] = MessageQueue(_QUEUE_LENGTH)
        self._call: Any = None
        self._rollout_count = 0

    def requests(self) -> Iterator[pb.SubmitRolloutsRequest]:
        """What gRPC sends."""
        return self._queue.drain(idle_timeout_s=self._settings.task_timeout_s)

    def start(self, call: Any, echo: pb.SubmitRolloutsRequest) -> None:
        """Binds the call; its end closes the queue and so wakes a waiting `add`."""
        self._call = call
        call.add_done_callback(lambda _: self._queue.close())
        self._put(echo)

    def add(self, rollout: FinishedRollout) -> None:
        """Sends a rollout; waits while the control plane is slower than sampling. Raises StarError."""
        for message in outgoing.rollout_messages(rollout, self._data_kind):
            self._put(message)
        self._rollout_count += 1

    def finish(self, expected_count: int) -> None:
        """Waits until the control plane has everything. Raises StarError, also when the counts differ."""
        self._queue.close()
        response = self._result(self._settings.send_timeout_s)
        stored = response.accepted_count + response.repeated_count
        if not self._rollout_count == stored == expected_count:
            raise StarError(
                "TASK_ECHO_MISMATCH",
                f"expected {expected_count} rollouts, sampled {self._rollout_count}, the control plane has {stored}",
            )

    def abandon(self) -> None:
        """Ends the call; what went up stays with the control plane, which knows that the task is not complete."""
        self._call.cancel()
        self._queue.close()

    def _put(self, message: pb.SubmitRolloutsRequest) -> None:
        try:
            self._queue.put(message, self._settings.send_timeout_s)
        except QueueClosed:
            self._result(self._settings.send_timeout_s)
            raise StarError("STATE_CONFLICT", "the control plane ended the upload before its last rollout") from None
        except QueueTimeout as error:
            message_text = f"{self._settings.server} took no rollouts for {self._settings.send_timeout_s:g} s"
            raise StarError("WORKER_LOST", message_text) from error

    def _result(self, timeout_s: float) -> pb.SubmitRolloutsResponse:
        try:
            response: pb.SubmitRolloutsResponse = self._call.result(timeout=timeout_s)
        except grpc.FutureTimeoutError as error:
            raise StarError("WORKER_LOST", f"{self._settings.server} did not confirm the rollouts") from error
        except grpc.FutureCancelledError as error:
            raise StarError("CANCELLED", "the upload was cancelled") from error
        except grpc.RpcError as error:
            raise star_error(error, self._settings.server) from error
        return response


def star_error(error: grpc.RpcError, server: str) -> StarError:
    """A failed call as a StarError: the reason of the control plane where it gave one, else by status code."""
    given = _given_reason(error)
    known: Reason | None = next((reason for reason in _REASONS if reason == given), None)
    if known is not None:
        return StarError(known, str(error.details()))
    fallback: Reason = _BY_CODE.get(error.code(), "INTERNAL")
    prefix = f"{server}: " if given is None else f"{server}: {given}: "
    return StarError(fallback, prefix + _describe(error))


def _given_reason(error: Any) -> str | None:
    for key, value in error.trailing_metadata() or ():
        if key == REASON_KEY:
            return str(value)
    return None


def _describe(error: Any) -> str:
    return f"{error.code().name}: {error.details()}"


def _channel(server: str) -> grpc.Channel:
    is_loopback = server.rpartition(":")[0] in ("127.0.0.1", "localhost", "[::1]")
    # A proxy of the environment is for other hosts; many environments forget to except this one.
    options = (*_CHANNEL_OPTIONS, ("grpc.enable_http_proxy", 0 if is_loopback else 1))
    return grpc.insecure_channel(server, options=options)


def _stub(channel: grpc.Channel) -> WorkerServiceStub:
    return WorkerServiceStub(channel)  # type: ignore[no-untyped-call]
