"""One connection to the control plane with its threads: reading and heartbeats. The main thread takes the offers.

Nothing here waits without a limit. When the stream ends, the task at hand is cancelled: its lease is gone.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType

from star_worker import PROTOCOL_VERSION, __version__
from star_worker.config import WorkerSettings
from star_worker.control_client import ConnectionLost, ControlClient
from star_worker.errors import StarError
from star_worker.message_queue import MessageQueue, QueueClosed, QueueTimeout
from star_worker.stop_request import StopRequest
from star_worker.tasks import CancelTask, ControlMessage, InvalidOffer, Shutdown, TaskOffer, TaskResult, Welcome

_LOG = logging.getLogger(__name__)
_PROGRESS_INTERVAL_S = 0.5
_JOIN_TIMEOUT_S = 5.0
_IDLE_POLL_S = 60.0
# The control plane offers one task at a time; a few more are room for an offer that crosses a cancel.
_INBOX_LENGTH = 4


class Session:
    """Use as a context manager. Entering connects and waits for the welcome; leaving ends calls and threads."""

    def __init__(self, settings: WorkerSettings, device: str, stop: StopRequest) -> None:
        self._settings = settings
        self._device = device
        self._stop = stop
        self.client = ControlClient(settings)
        self._inbox: MessageQueue[Welcome | TaskOffer | InvalidOffer] = MessageQueue(_INBOX_LENGTH)
        self._closing = threading.Event()
        # Why the stream ended; None while it lives.
        self._end: StarError | ConnectionLost | None = None
        self._shutdown: Shutdown | None = None
        self._task: TaskOffer | None = None
        # Orders heartbeats and answers: no heartbeat names a task after its answer.
        self._sending = threading.Lock()
        self._cancelled_task_id = ""
        self._last_progress = ("", 0.0)
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Session":
        try:
            self.client.connect(protocol_version=PROTOCOL_VERSION, device=self._device, software_version=__version__)
            self._start(self._read, "control-reader")
            welcome = self._welcome()
            self._stop.add_listener(self._interrupt)
            self._start(lambda: self._send_heartbeats(welcome.heartbeat_interval_s), "heartbeat")
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.remove_listener(self._interrupt)
        if self._end is None:
            self.client.finish(_JOIN_TIMEOUT_S)
        self._close()

    # ---- for the main thread

    def offers(self) -> Iterator[TaskOffer | InvalidOffer]:
        """Offers until the control plane says shutdown or the process shall stop. Raises ConnectionLost, StarError."""
        while not self.is_leaving:
            try:
                message = self._inbox.get(_IDLE_POLL_S)
            except QueueTimeout:
                continue
            except QueueClosed:
                self._raise_end()
                return
            if isinstance(message, Welcome):
                raise StarError("STATE_CONFLICT", "expected one welcome, received two")
            yield message

    def begin(self, offer: TaskOffer) -> None:
        """Makes `offer` the task at hand, of heartbeats and cancellation. Raises StarError when it must not start."""
        self.client.begin_task()
        self._task = offer
        # The first phase of a task is new, also when the task before ended in a phase of the same name.
        self._last_progress = ("", 0.0)
        self.check_cancelled()

    def check_cancelled(self) -> None:
        """Raises StarError CANCELLED, or WORKER_LOST when this worker is going away, if the task must stop."""
        task = self._task
        if self._end is not None:
            raise StarError("WORKER_LOST", f"the connection was lost: {self._end}")
        if self.is_leaving:
            raise StarError("WORKER_LOST", "the worker is shutting down and dropped the task")
        if task is not None and task.task_id == self._cancelled_task_id:
            raise StarError("CANCELLED", f"task {task.task_id} was cancelled by the control plane")

    def report_progress(self, phase: str, fraction: float) -> None:
        """Sends progress twice a second at most; a new phase goes at once."""
        last_phase, last_time = self._last_progress
        now = time.monotonic()
        if self._task is None or (phase == last_phase and now - last_time < _PROGRESS_INTERVAL_S):
            return
        self._last_progress = (phase, now)
        self.client.send_progress(self._task.task_id, phase, min(1.0, max(0.0, fraction)))

    def send_completed(self, offer: TaskOffer, policy_version: int, result: TaskResult) -> None:
        """Raises ConnectionLost."""
        self._require_stream()
        with self._sending:
            self.client.send_completed(offer, policy_version, result)
            self._task = None

    def send_failed(self, task_id: str, lease_token: str, error: StarError) -> None:
        """Raises ConnectionLost."""
        self._require_stream()
        with self._sending:
            self.client.send_failed(task_id, lease_token, error)
            self._task = None

    # ---- threads

    def _read(self) -> None:
        try:
            for message in self.client.messages():
                self._receive(message)
        except (StarError, ConnectionLost) as error:
            self._end = error
        except Exception as error:
            # Without a reader the worker would wait for ever.
            _LOG.exception("reading the control stream failed")
            self._end = ConnectionLost(f"reading the control stream failed: {error!r}")
        self._interrupt()

    def _receive(self, message: ControlMessage) -> None:
        if isinstance(message, CancelTask):
            self._cancelled_task_id = message.task_id
            if self._task is not None and self._task.task_id == message.task_id:
                self.client.cancel_task_calls()
        elif isinstance(message, Shutdown):
            self._shutdown = message
            self._interrupt()
        else:
            self._take(message)

    def _take(self, message: Welcome | TaskOffer | InvalidOffer) -> None:
        try:
            self._inbox.put(message, timeout_s=0)
        except QueueTimeout:
            raise ConnectionLost(f"the control plane made more than {_INBOX_LENGTH} offers at once") from None
        except QueueClosed:
            _LOG.info("offer ignored: the worker is leaving")

    def _send_heartbeats(self, interval_s: float) -> None:
        while not self._closing.wait(interval_s):
            try:
                with self._sending:
                    task = self._task
                    self.client.send_heartbeat(task.task_id if task else "", task.lease_token if task else "")
            except ConnectionLost:
                return

    # ---- ends

    def _welcome(self) -> Welcome:
        try:
            message = self._inbox.get(self._settings.connect_timeout_s)
        except QueueTimeout:
            raise ConnectionLost(
                f"{self._settings.server}: no welcome within {self._settings.connect_timeout_s:g} s"
            ) from None
        except QueueClosed:
            self._raise_end()
            raise ConnectionLost("stopped before the welcome") from None
        if not isinstance(message, Welcome):
            raise StarError("STATE_CONFLICT", "expected welcome as the first message, received an offer")
        return message

    @property
    def is_leaving(self) -> bool:
        """True when the control plane said shutdown or the process shall stop."""
        return self._shutdown is not None or self._stop.is_set()

    def _interrupt(self) -> None:
        """Wakes the main thread wherever it waits."""
        self._inbox.close()
        self.client.cancel_task_calls()

    def _raise_end(self) -> None:
        if self._end is not None and not self.is_leaving:
            raise self._end

    def _require_stream(self) -> None:
        if self._end is not None:
            raise ConnectionLost(str(self._end))

    def _start(self, target: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _close(self) -> None:
        self._closing.set()
        self.client.close()
        for thread in self._threads:
            thread.join(_JOIN_TIMEOUT_S)
            if thread.is_alive():
                _LOG.warning("thread %s did not end in time", thread.name)
