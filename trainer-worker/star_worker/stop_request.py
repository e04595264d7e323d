"""The wish to end the process, from signals or from the death of the parent process."""

import logging
import os
import signal
import threading
from collections.abc import Callable

_LOG = logging.getLogger(__name__)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PARENT_POLL_S = 0.5
# Time to drop the task at hand after the parent's death.
_GRACE_S = 30.0


class StopRequest:
    """Set once, by any thread; listeners are called by that thread."""

    def __init__(self) -> None:
        self._set = threading.Event()
        self._lock = threading.Lock()
        self._listeners: set[Callable[[], None]] = set()

    def set(self) -> None:
        """Asks to stop."""
        self._set.set()
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    def is_set(self) -> bool:
        """True after `set`."""
        return self._set.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Waits at most `timeout_s`; True when set."""
        return self._set.wait(timeout_s)

    def add_listener(self, listener: Callable[[], None]) -> None:
        """Called at `set`, at once when that has been."""
        with self._lock:
            self._listeners.add(listener)
        if self.is_set():
            listener()

    def remove_listener(self, listener: Callable[[], None]) -> None:
        """Not called any more."""
        with self._lock:
            self._listeners.discard(listener)


def stop_on_signals(stop: StopRequest) -> None:
    """SIGINT and SIGTERM set `stop`; a second one ends the process at once.

    Call from the main thread before any other thread starts: the signals are blocked in all threads and taken by one
    that waits for them, so no Python code is interrupted while it holds a lock.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

    def watch() -> None:
        first = signal.sigwait(_SIGNALS)
        _LOG.info("%s received: dropping the task at hand and disconnecting", signal.Signals(first).name)
        stop.set()
        second = signal.sigwait(_SIGNALS)
        os._exit(128 + second)

    threading.Thread(target=watch, name="signals", daemon=True).start()


def stop_with_parent(stop: StopRequest, parent_id: int) -> None:
    """Sets `stop` when the process `parent_id` is no longer this one's parent, and ends the process soon after."""

    def watch() -> None:
        while os.getppid() == parent_id:
            if stop.wait(_PARENT_POLL_S):
                return
        _LOG.info("the parent process has ended: stopping")
        stop.set()
        threading.Event().wait(_GRACE_S)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
